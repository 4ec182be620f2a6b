"""Asking STUN servers how a socket looks from outside, as a state machine without I/O.

Spec: RFC 8489 §6.2.1, RFC 8445 §5.1.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vb.webrtc import stun
from vb.webrtc.generation import RandomBytes
from vb.webrtc.stun import Address, Attr, Kind, Method, StunError

FIRST_WAIT_S: Final = 0.5
MAX_SENT: Final = 4
"""Times that a request is sent: an answer is awaited for 7.5 s altogether."""


@dataclass(slots=True)
class _Query:
    server: Address
    data: bytes
    sent: int
    due: float


class ReflexiveQueries:
    """Questions to several servers from one socket.

    Args:
        random_bytes: source of transaction ids.

    Attributes:
        found: what servers have answered, each address once.
    """

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.found: list[Address] = []
        self._random = random_bytes
        self._open: dict[bytes, _Query] = {}

    @property
    def done(self) -> bool:
        """Whether no question is open."""
        return not self._open

    def ask(self, server: Address, now: float) -> bytes:
        """Return the request to send to a server now."""
        tid = self._random(stun.TRANSACTION_ID_BYTES)
        data = stun.build(Kind.REQUEST, Method.BINDING, tid, [])
        self._open[tid] = _Query(server, data, 1, now + FIRST_WAIT_S)
        return data

    def receive(self, data: bytes, source: Address) -> bool:
        """Take a datagram; False when it is no answer to a question of ours."""
        if not self._open or data[8:20] not in self._open:
            return False
        query = self._open[data[8:20]]
        if query.server != source:
            return False
        try:
            message = stun.parse(data)
            mapped = message.get(Attr.XOR_MAPPED_ADDRESS)
            if message.kind is Kind.SUCCESS and mapped is not None:
                address = stun.read_xor_address(mapped, message.transaction_id)
                if address not in self.found:
                    self.found.append(address)
        except StunError:
            return True
        del self._open[data[8:20]]
        return True

    def expire(self, now: float) -> list[tuple[bytes, Address]]:
        """Return the requests to send again, with their servers; those that nobody answers are given up."""
        again = []
        for tid, query in list(self._open.items()):
            if now < query.due:
                continue
            if query.sent >= MAX_SENT:
                del self._open[tid]
                continue
            query.due = now + FIRST_WAIT_S * 2**query.sent
            query.sent += 1
            again.append((query.data, query.server))
        return again

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next, None when no question is open."""
        return min((query.due for query in self._open.values()), default=None)

    def close(self) -> None:
        """Ask no more."""
        self._open.clear()
