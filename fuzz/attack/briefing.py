"""What an attack is told, and how it tells what it found."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field

Address = tuple[str, int]


@dataclass(frozen=True)
class LiveCall:
    """A call of a bystander, as somebody who read its signalling would know it.

    Attributes:
        media: the server's RTP address for this call.
        cseq: of its INVITE; requests with a smaller one are out of order.
    """

    call_id: str
    caller_tag: str
    server_tag: str
    branch: str
    cseq: int
    caller_uri: str
    server_uri: str
    media: Address


@dataclass(frozen=True)
class Briefing:
    """Everything an attack gets to know.

    Attributes:
        rtp_ports: first and last port that the server may give to media.
        moq: its WebTransport listener, when it has one.
    """

    http: Address
    sip: Address
    tcp: Address | None
    seed: int
    datagrams: int
    quick: bool
    rtp_ports: tuple[int, int]
    live: list[LiveCall] = field(default_factory=list)
    moq: Address | None = None

    def to_json(self) -> bytes:
        """The briefing as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, text: str) -> Briefing:
        """Reads what `to_json` wrote."""
        value = json.loads(text)
        value["http"], value["sip"] = tuple(value["http"]), tuple(value["sip"])
        value["rtp_ports"] = tuple(value["rtp_ports"])
        for name in ("tcp", "moq"):
            value[name] = tuple(value[name]) if value[name] else None
        value["live"] = [LiveCall(**{**call, "media": tuple(call["media"])}) for call in value["live"]]
        return cls(**value)


def check(case: str, holds: bool, text: str) -> None:
    """Tells the result of one check; the text says what did not hold."""
    print(json.dumps({"case": case, "holds": bool(holds), "text": text}), flush=True)


def figure(case: str, text: str) -> None:
    """Tells a measured figure."""
    print(json.dumps({"case": case, "figure": text}), flush=True)


def pause(seconds: float) -> None:
    """Waits; attacks that use plain sockets have no loop that this could block."""
    time.sleep(max(0.0, seconds))  # noqa: TID251 - there is no loop here
