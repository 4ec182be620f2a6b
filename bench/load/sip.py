"""The few SIP messages that a caller needs, as templates, and the few fields it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.codecs import Speaker

CRLF = "\r\n"
_USUAL: Final = Speaker("PCMU")
EVENT_PAYLOAD_TYPE: Final = 101


@dataclass(frozen=True, slots=True)
class Caller:
    """What stays the same in every message of one call.

    Attributes:
        number: user of the From header.
        room: user of the Request-URI.
        local: our host:port.
        remote: the server's host:port.
        token: tells this run from others in Call-ID, tag and branch.
        digits: whether digits are offered as telephone-events.
        speaker: its format and packet time, PCMU of 20 ms when None.
        direction: of the audio that is offered.
    """

    number: int
    room: str
    local: str
    remote: str
    token: str
    digits: bool = False
    speaker: Speaker | None = None
    direction: str = "sendrecv"

    @property
    def call_id(self) -> str:
        return f"{self.number}-{self.token}"

    @property
    def target(self) -> str:
        return f"sip:{self.room}@{self.remote}"

    def _head(self, method: str, uri: str, cseq: str, to_tag: str, branch: str) -> list[str]:
        tag = f";tag={to_tag}" if to_tag else ""
        return [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.local};branch=z9hG4bK{self.token}{self.number}{branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.number}@{self.local}>;tag=t{self.number}",
            f"To: <{self.target}>{tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq}",
        ]

    def invite(self, rtp_port: int) -> bytes:
        host = self.local.rpartition(":")[0]
        body = audio_sdp(host, rtp_port, digits=self.digits, direction=self.direction, speaker=self.speaker)
        lines = self._head("INVITE", self.target, "1 INVITE", "", "i")
        lines += [self._contact, "Content-Type: application/sdp"]
        return message(lines, body)

    @property
    def _contact(self) -> str:
        return f"Contact: <sip:{self.number}@{self.local}>"

    def ack(self, uri: str, to_tag: str) -> bytes:
        """Acknowledge a 2xx."""
        return message(self._head("ACK", uri, "1 ACK", to_tag, "a"))

    def ack_refusal(self, to_tag: str) -> bytes:
        """Acknowledge any other final response, inside the INVITE's transaction."""
        return message(self._head("ACK", self.target, "1 ACK", to_tag, "i"))

    def bye(self, uri: str, to_tag: str, cseq: int = 2) -> bytes:
        return message(self._head("BYE", uri, f"{cseq} BYE", to_tag, "b"))

    def notify(self, uri: str, to_tag: str, cseq: int, state: str, progress: str) -> bytes:
        """Tell how far a transfer that the server asked for has come."""
        lines = self._head("NOTIFY", uri, f"{cseq} NOTIFY", to_tag, f"n{cseq}")
        lines += [self._contact, "Event: refer", f"Subscription-State: {state}"]
        return message([*lines, "Content-Type: message/sipfrag;version=2.0"], f"{progress}{CRLF}")

    def answer(self, request: Received, rtp_port: int) -> bytes:
        """Accept the server's new offer in a re-INVITE."""
        sdp = audio_sdp(
            self.local.rpartition(":")[0],
            rtp_port,
            digits=self.digits,
            version=int(request.header("cseq").partition(" ")[0]) + 1,
            direction=ANSWERS[offered_direction(request.body)],
            speaker=self.speaker,
        )
        return agree(request, extra=(self._contact, "Content-Type: application/sdp"), body=sdp)


ANSWERS: Final = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
"""Offered directions and what they are answered with."""


def offered_direction(sdp: str) -> str:
    """Return the direction of an offer with one stream."""
    lines = (line.strip().removeprefix("a=") for line in sdp.splitlines())
    return next((line for line in lines if line in ANSWERS), "sendrecv")


def message(lines: list[str], body: str = "") -> bytes:
    """Return a message from its start line and headers, with Content-Length."""
    return (CRLF.join([*lines, f"Content-Length: {len(body)}", "", ""]) + body).encode()


def audio_sdp(
    host: str,
    rtp_port: int,
    *,
    digits: bool = False,
    version: int = 1,
    direction: str = "sendrecv",
    speaker: Speaker | None = None,
) -> str:
    """Return a description with one stream of one format and RTCP on the same port."""
    wanted = speaker or _USUAL
    form = wanted.form
    events = [f"a=rtpmap:{EVENT_PAYLOAD_TYPE} telephone-event/8000", f"a=fmtp:{EVENT_PAYLOAD_TYPE} 0-15"]
    return CRLF.join(
        [
            "v=0",
            f"o=- {rtp_port} {version} IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {rtp_port} RTP/AVP {form.payload_type}{f' {EVENT_PAYLOAD_TYPE}' if digits else ''}",
            f"a=rtpmap:{form.payload_type} {form.rtpmap}",
            *(events if digits else []),
            f"a=ptime:{wanted.ptime_ms}",
            *([f"a=maxptime:{wanted.ptime_ms}"] if wanted.ptime_ms < _USUAL.ptime_ms else []),
            f"a={direction}",
            "a=rtcp-mux",
            "",
        ]
    )


@dataclass(frozen=True, slots=True)
class Received:
    """A message taken apart as far as a caller needs it.

    Attributes:
        status: of a response, 0 for a request.
        method: of the request, or of the request that a response answers.
        headers: raw header lines as name in small letters and value, in order.
        body: the text after the headers.
    """

    status: int
    method: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def header(self, name: str) -> str:
        """Return the first header of a name, empty when absent."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def to_tag(self) -> str:
        return self.header("to").partition(";tag=")[2].partition(";")[0]

    @property
    def contact(self) -> str:
        return self.header("contact").partition("<")[2].partition(">")[0]


def read_message(data: bytes) -> Received | None:
    """Take a datagram apart; None when it is no SIP message."""
    head, _, body = data.decode("utf-8", "replace").partition(CRLF + CRLF)
    first, *lines = head.split(CRLF)
    words = first.split(" ", 2)
    if len(words) < 2 or "SIP/2.0" not in (words[0], words[-1]):
        return None
    headers = tuple(
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
    )
    is_response = words[0] == "SIP/2.0"
    cseq = next((value for name, value in headers if name == "cseq"), "")
    method = cseq.partition(" ")[2] if is_response else words[0]
    return Received(int(words[1]) if is_response and words[1].isdigit() else 0, method, headers, body)


def audio_address(sdp: str) -> tuple[str, int] | None:
    """Return where an answer wants its audio, None when it wants none."""
    host, port = "", 0
    for line in sdp.splitlines():
        if line.startswith("c="):
            host = line.split()[-1]
        elif line.startswith("m=audio "):
            port = int(line.split()[1])
    return (host, port) if host and port else None


def agree(
    request: Received, status: str = "200 OK", *, tag: str = "", extra: tuple[str, ...] = (), body: str = ""
) -> bytes:
    """Return the response to any request of the server, a positive one unless it is told otherwise.

    Args:
        request: that is answered.
        status: and its reason.
        tag: of our end, where the request begins a dialog.
        extra: header lines.
        body: with its type among them.
    """
    kept = [
        f"{name}: {value}{f';tag={tag}' if tag and name == 'to' else ''}"
        for name, value in request.headers
        if name in ("via", "from", "to", "call-id", "cseq")
    ]
    return message([f"SIP/2.0 {status}", *kept, *extra], body)
