"""What a protocol on top of WebTransport sees of its session; it knows nothing of QUIC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """An extended CONNECT that asks for a session (RFC 9220).

    Attributes:
        path: without the query.
        query: raw, without the question mark; may be empty.
        headers: names in lower case, no pseudo-headers, in the order they came.
        origin: the header `origin`, as browsers send it; None from others.
        address: host and port that the request came from, validated by QUIC.
        authority: host and port that were asked for, as the client knows us.
    """

    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    origin: str | None
    address: tuple[str, int]
    authority: str = ""


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no session: an HTTP status and the message of its JSON body."""

    status: int
    message: str


class Session(Protocol):
    """One open session, used in the loop of its listener. No call waits; after its end none does anything."""

    def open_stream(self, *, bidirectional: bool) -> int:
        """Open a stream of ours; returns its id. Raises LookupError while the peer allows no more of them."""

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes of a stream; they leave with the other datagrams of this turn of the loop."""

    def reset(self, stream: int, code: int) -> None:
        """Give up our half of a stream: what has not left is dropped."""

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to give up its half of a stream; what still comes of it is dropped."""

    def unsent(self, stream: int) -> int:
        """Return how many bytes of a stream wait for the peer's credit or its acknowledgement."""

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session with a close capsule; `Receiver.closed` is called, unless it was before."""


class Receiver(Protocol):
    """Whoever serves a session. Called in the loop, in order; an exception ends this session alone."""

    def data(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Take bytes of a stream, which the peer may just have opened by them."""

    def datagram(self, data: bytes) -> None:
        """Take a datagram of the session, which may have overtaken others."""

    def stream_reset(self, stream: int, code: int) -> None:
        """The peer has given up its half of a stream."""

    def stopped(self, stream: int, code: int) -> None:
        """The peer wants no more of our half of a stream."""

    def closed(self, code: int, reason: str) -> None:
        """The session has ended, with or without the connection; nothing comes any more. Called once."""


Accept = Callable[[Request, Session], Receiver | Refusal]
"""Decides about a request before it is answered; it may send on the session only after it has returned."""
