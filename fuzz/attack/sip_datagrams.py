"""S1, S2, S5: mutated datagrams, messages beyond every limit, and ambiguous ones."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from random import Random

from fuzz.attack.briefing import Address, Briefing, check, figure
from fuzz.attack.sip_corpus import Corpus, Draft
from fuzz.attack.sip_mutations import Mutator

SOURCES = 4
PACE_PER_S = 1500
FULL_PACE_PER_S = 3000
_FINAL_TO_INVITE = re.compile(rb"SIP/2\.0 ([3-6][0-9]{2}) .*?\r\nCSeq: *([0-9]+) INVITE\r\n", re.DOTALL)
_ANSWER_WAIT_S = 1.0

S1, S2, S5 = "S1 mutated datagrams", "S2 messages beyond limits", "S5 ambiguous messages"


class Sources:
    """A few UDP sockets that send, count what comes back, and acknowledge refused INVITEs."""

    def __init__(self, server: Address, count: int = SOURCES) -> None:
        self.server = server
        self.answers: Counter[int] = Counter()
        self.by_call: dict[bytes, int] = {}
        self.sent = 0
        self._selector = selectors.DefaultSelector()
        self.sockets: list[socket.socket] = []
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            self.sockets.append(sock)
            self._selector.register(sock, selectors.EVENT_READ)

    def local(self, index: int) -> Address:
        """Address of one socket."""
        host, port = self.sockets[index % len(self.sockets)].getsockname()
        return host, port

    def send(self, index: int, data: bytes) -> None:
        """Send one datagram."""
        try:
            self.sockets[index % len(self.sockets)].sendto(data, self.server)
            self.sent += 1
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def collect(self, wait_s: float = 0.0) -> None:
        """Take what has come, waiting no longer than told."""
        deadline = time.monotonic() + wait_s
        while True:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
            for key, _ in ready:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    data = sock.recv(65536)
                except (BlockingIOError, ConnectionRefusedError):
                    continue
                self._take(sock, data)
            if time.monotonic() >= deadline:
                return

    def _take(self, sock: socket.socket, data: bytes) -> None:
        if not data.startswith(b"SIP/2.0 "):
            self.answers[0] += 1
            return
        status = int(data[8:11])
        self.answers[status] += 1
        call_id = header(data, b"Call-ID")
        if call_id is not None and status >= 200:
            self.by_call[call_id] = status
        if _FINAL_TO_INVITE.match(data):
            sock.sendto(ack_of(data, self.server), self.server)

    def close(self) -> None:
        """Close all sockets."""
        for sock in self.sockets:
            sock.close()


def header(data: bytes, name: bytes) -> bytes | None:
    """The first value of a header in raw bytes."""
    match = re.search(rb"\r\n" + name + rb"[ \t]*:[ \t]*([^\r\n]*)", data, re.IGNORECASE)
    return match[1] if match else None


def ack_of(response: bytes, server: Address) -> bytes:
    """The ACK of a refusal: same branch, tags and number."""
    via = (header(response, b"Via") or b"").split(b",")[0]
    number = (header(response, b"CSeq") or b"1").split()[0]
    lines = [
        f"ACK sip:fuzz@{server[0]}:{server[1]} SIP/2.0".encode(),
        b"Via: " + via,
        b"From: " + (header(response, b"From") or b""),
        b"To: " + (header(response, b"To") or b""),
        b"Call-ID: " + (header(response, b"Call-ID") or b""),
        b"CSeq: " + number + b" ACK",
        b"Max-Forwards: 70",
        b"Content-Length: 0",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def run(briefing: Briefing) -> None:
    """Send everything and tell what came back."""
    random = Random(briefing.seed)
    sources = Sources(briefing.sip)
    corpus = Corpus(random, briefing)
    _ambiguous(briefing, sources, corpus)
    _beyond_limits(sources, corpus)
    _mutated(briefing, sources, corpus, Mutator(random))
    sources.close()


def _mutated(briefing: Briefing, sources: Sources, corpus: Corpus, mutator: Mutator) -> None:
    sources.answers.clear()
    began, octets = time.monotonic(), 0
    pace_per_s = PACE_PER_S if briefing.quick else FULL_PACE_PER_S
    for index in range(briefing.datagrams):
        data = mutator.mutate(corpus.draw(sources.local(index)))
        octets += len(data)
        sources.send(index, data)
        ahead = began + index / pace_per_s - time.monotonic()
        if index % 16 == 0 or ahead > 0:
            sources.collect(max(0.0, ahead))
    elapsed = time.monotonic() - began
    sources.collect(_ANSWER_WAIT_S)
    answers = ", ".join(
        f"{status or 'requests'}: {count}" for status, count in sorted(sources.answers.items())
    )
    figure(S1, f"{briefing.datagrams} datagrams, {octets >> 20} MiB in {elapsed:.1f} s, seed {briefing.seed}")
    figure(S1, f"answers {answers}")
    check(
        S1,
        sum(sources.answers.values()) > briefing.datagrams // 20,
        "hardly any answers: the server seems deaf",
    )


def _expect_refused(
    case: str, sources: Sources, label: str, draft: Draft, call_id: str, *, may_be_silent: bool
) -> None:
    sources.send(0, draft.to_bytes())
    deadline = time.monotonic() + _ANSWER_WAIT_S
    key = call_id.encode()
    while key not in sources.by_call and time.monotonic() < deadline:
        sources.collect(0.01 if may_be_silent else 0.005)
        if may_be_silent and time.monotonic() > deadline - _ANSWER_WAIT_S + 0.1:
            break
    status = sources.by_call.get(key)
    fine = (status is None and may_be_silent) or (status is not None and 400 <= status < 600)
    check(case, fine, f"{label}: answered {status}, wanted a refusal{' or silence' if may_be_silent else ''}")


def _ambiguous(briefing: Briefing, sources: Sources, corpus: Corpus) -> None:
    """Two readings of one message must never be possible: it is refused, or it is dropped."""
    local = sources.local(0)
    for name in ("From", "To", "Call-ID", "CSeq"):
        draft = corpus.invite(local)
        value = next(value for key, value in draft.headers if key == name)
        call_id = next(value for key, value in draft.headers if key == "Call-ID")
        draft.headers.append((name, value.replace("fuzz", "other") + "1"))
        _expect_refused(S5, sources, f"two {name}", draft, call_id, may_be_silent=True)
    for label, extra in {
        "two Content-Length": ("Content-Length", "0"),
        "control character in a name": ("Contact\x01", "<sip:x@127.0.0.1>"),
        "control character in a value": ("Route", "<sip:x@127.0.0.1>\x01"),
        "two Content-Type": ("Content-Type", "text/plain"),
        "a line within a line": ("Subject", "a\nRoute: <sip:x@127.0.0.1>"),
    }.items():
        draft = corpus.invite(local)
        draft.headers.append(extra)
        call_id = next(value for key, value in draft.headers if key == "Call-ID")
        _expect_refused(S5, sources, label, draft, call_id, may_be_silent=True)
    draft = corpus.request("OPTIONS", local)
    call_id = next(value for key, value in draft.headers if key == "Call-ID")
    draft.headers = [
        (name, value.replace(" ", "\r\n ", 1) if name == "CSeq" else value) for name, value in draft.headers
    ]
    sources.send(0, draft.to_bytes())
    _wait_for(sources, call_id)
    check(S5, sources.by_call.get(call_id.encode()) == 200, "a folded CSeq is legal and was not taken")


def _wait_for(sources: Sources, call_id: str) -> None:
    deadline = time.monotonic() + _ANSWER_WAIT_S
    while call_id.encode() not in sources.by_call and time.monotonic() < deadline:
        sources.collect(0.01)


def _beyond_limits(sources: Sources, corpus: Corpus) -> None:
    local = sources.local(0)
    beyond: dict[str, list[tuple[str, str]]] = {
        "a header line of 60 KB": [("Subject", "s" * 60_000)],
        "5,000 headers": [("X", "1")] * 5000,
        "200 Vias": [("Via", "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx")] * 200,
        "200 Vias on one line": [("Via", ",".join(["SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx"] * 200))],
        "nested quotes of 8 KB": [("Contact", '"' + '\\"' * 4000)],
        "8 KB of commas": [("Record-Route", "," * 8000)],
        "8 KB of opening brackets": [("Contact", "<" * 8000)],
        "8 KB of semicolons": [("Contact", "<sip:a@127.0.0.1>" + ";" * 8000)],
        "8 KB of spaces": [("Subject", " " * 8000 + "x")],
    }
    answers = []
    for label, headers in beyond.items():
        draft = corpus.invite(local)
        draft.headers += headers
        call_id = next(value for key, value in draft.headers if key == "Call-ID")
        began = time.monotonic()
        sources.send(0, draft.to_bytes())
        while call_id.encode() not in sources.by_call and time.monotonic() < began + 0.1:
            sources.collect(0.005)
        answers.append(f"{label}: {sources.by_call.get(call_id.encode(), 'no final answer')}")
    figure(S2, "; ".join(answers))
    for label in list(beyond)[:4]:
        text = next(item for item in answers if item.startswith(f"{label}:"))
        check(S2, text.endswith(("513", "400", "no final answer")), text)
    bulk = b"\r\n".join(
        [b"INVITE sip:a@127.0.0.1 SIP/2.0"] + [b"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx"] * 1400
    )
    for _ in range(200):
        sources.send(1, bulk[:65_000])
        sources.send(2, bytes(65_000))
        sources.collect(0.002)
    figure(S2, "400 datagrams of 65,000 bytes")
