"""S3, S4: SIP over TCP - framing, slow and silent senders, floods of connections and resets."""

from __future__ import annotations

import socket
import struct
import time
from random import Random

from fuzz.attack.briefing import Address, Briefing, check, figure, pause
from fuzz.attack.sip_corpus import Corpus, Draft
from fuzz.attack.sip_mutations import Mutator

S3, S4 = "S3 framing of streams", "S4 connection floods and resets"
_WAIT_S = 2.0


def run(briefing: Briefing) -> None:
    """Attack the TCP listener, if there is one."""
    if briefing.tcp is None:
        figure(S3, "not run: the server does not listen on TCP")
        return
    random = Random(briefing.seed)
    corpus = Corpus(random, briefing)
    _framing(briefing.tcp, corpus)
    _mutated(briefing, corpus, Mutator(random))
    _resets(briefing, corpus)
    _idle_flood(briefing.tcp, corpus)
    _endless(briefing.tcp)


def _connect(address: Address) -> socket.socket:
    sock = socket.create_connection(address, timeout=_WAIT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _options(corpus: Corpus, sock: socket.socket) -> Draft:
    draft = corpus.request("OPTIONS", sock.getsockname())
    draft.headers[0] = ("Via", draft.headers[0][1].replace("UDP", "TCP"))
    return draft


def _read(sock: socket.socket, wanted: bytes, count: int = 1, wait_s: float = _WAIT_S) -> tuple[bytes, bool]:
    """What came until `wanted` came `count` times, and whether the server closed."""
    data, deadline = b"", time.monotonic() + wait_s
    while data.count(wanted) < count:
        left = deadline - time.monotonic()
        if left <= 0:
            return data, False
        sock.settimeout(left)
        try:
            chunk = sock.recv(65536)
        except TimeoutError:
            return data, False
        except ConnectionError:
            return data, True
        if not chunk:
            return data, True
        data += chunk
    return data, False


def _framing(address: Address, corpus: Corpus) -> None:
    with _connect(address) as sock:
        data = _options(corpus, sock).to_bytes()
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
        answer, _ = _read(sock, b"SIP/2.0 200")
        check(S3, b"SIP/2.0 200" in answer, f"one byte at a time: {answer[:60]!r}")
        sock.sendall(_options(corpus, sock).to_bytes() + _options(corpus, sock).to_bytes() * 3)
        answer, _ = _read(sock, b"SIP/2.0 200", 4)
        check(
            S3,
            answer.count(b"SIP/2.0 200") == 4,
            f"four messages in a segment: {answer.count(b'SIP/2.0 200')} answers",
        )
        sock.sendall(b"\r\n\r\n")
        answer, _ = _read(sock, b"\r\n")
        check(S3, answer == b"\r\n", f"keep-alive: {answer[:60]!r}")
    for label, length in {
        "no": "", "a negative": "-1", "a huge": "9" * 300, "a large": "4000000000", "a worded": "ten",
        "a listed": "0, 0", "a hex": "0x0",
    }.items():  # fmt: skip
        with _connect(address) as sock:
            draft = _options(corpus, sock)
            draft.content_length = length
            sock.sendall(draft.to_bytes())
            answer, closed = _read(sock, b"never")
            fine = closed and answer[:9] in (b"", b"SIP/2.0 4", b"SIP/2.0 5")
            check(S3, fine, f"{label} Content-Length: closed {closed}, {answer[:40]!r}")
    with _connect(address) as sock:
        first, second = _options(corpus, sock), _options(corpus, sock)
        first.content_length = "10"
        sock.sendall(first.to_bytes() + second.to_bytes())
        answer, _ = _read(sock, b"never", wait_s=1.0)
        check(
            S3,
            answer.count(b"SIP/2.0 200") <= 1,
            f"a Content-Length that eats the next message: {answer[:60]!r}",
        )


def _mutated(briefing: Briefing, corpus: Corpus, mutator: Mutator) -> None:
    """Mutated messages, several to a connection."""
    messages = briefing.datagrams // 20
    sent = connections = 0
    while sent < messages:
        with _connect(briefing.tcp or briefing.sip) as sock:
            connections += 1
            for _ in range(10):
                draft = corpus.draw(sock.getsockname())
                draft.headers = [(n, v.replace("/UDP", "/TCP")) for n, v in draft.headers]
                try:
                    sock.sendall(mutator.mutate(draft))
                except OSError:
                    break
                sent += 1
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    figure(S3, f"{sent} mutated messages on {connections} connections")


def _resets(briefing: Briefing, corpus: Corpus) -> None:
    """INVITEs, then RST before any answer is read."""
    count = 60 if briefing.quick else 400
    began = time.monotonic()
    for _ in range(count):
        with _connect(briefing.tcp or briefing.sip) as sock:
            data = b""
            for _ in range(3):
                draft = corpus.invite(sock.getsockname())
                draft.headers = [(n, v.replace("/UDP", "/TCP")) for n, v in draft.headers]
                data += draft.to_bytes()
            sock.sendall(data)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    figure(S4, f"{count} connections with 3 INVITEs each, reset, in {time.monotonic() - began:.1f} s")


def _idle_flood(address: Address, corpus: Corpus) -> None:
    """More connections than one peer may have: the surplus is closed, those that were there live."""
    first = _connect(address)
    others = []
    for _ in range(200):
        try:
            others.append(_connect(address))
        except OSError:
            break
    pause(0.3)
    refused = 0
    for sock in others:
        sock.settimeout(0.001)
        try:
            refused += sock.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionError:
            refused += 1
    first.sendall(_options(corpus, first).to_bytes())
    answer, _ = _read(first, b"SIP/2.0 200")
    check(S4, b"SIP/2.0 200" in answer, "an established connection starved in a flood of idle ones")
    check(S4, refused > 0, "200 idle connections of one peer were all kept")
    figure(S4, f"200 idle connections of one peer: {refused} refused")
    for sock in [first, *others]:
        sock.close()


def _endless(address: Address) -> None:
    """A header section without end is cut off."""
    with _connect(address) as sock:
        sock.sendall(b"INVITE sip:a@127.0.0.1 SIP/2.0\r\n")
        sent, line = 0, b"X: " + b"y" * 1000 + b"\r\n"
        try:
            while sent < 4_000_000:
                sock.sendall(line)
                sent += len(line)
        except OSError:
            pass
        check(S3, sent < 4_000_000, "4 MB of headers were taken without an objection")
        figure(S3, f"endless headers were cut after {sent >> 10} KiB (socket buffers included)")
