"""Whose fate hangs on which peer and on which connection: requests of ours that wait, calls that came in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from vb.sip.call import Call
from vb.sip.client_transaction import ClientTransaction
from vb.sip.hop import Hop, TransactionKey
from vb.sip.quoted import quoted_key

G = TypeVar("G")
K = TypeVar("K")
V = TypeVar("V")

Place = tuple[str, str, int]
"""Transport, host and port of a peer."""


class Fates:
    """The requests to each peer, and the requests and calls on each connection.

    Connections are known by their numbers; 0 is none.
    """

    def __init__(self) -> None:
        self._requests_to: dict[Place, dict[TransactionKey, ClientTransaction]] = {}
        self._requests_on: dict[int, dict[TransactionKey, ClientTransaction]] = {}
        self._calls_on: dict[int, dict[Call, None]] = {}

    def enter(self, transaction: ClientTransaction) -> None:
        """Take note of the peer that a request goes to."""
        self._requests_to.setdefault(_place(transaction.hop), {})[transaction.key] = transaction

    def leave(self, transaction: ClientTransaction) -> None:
        """Take note that a request goes to that peer no more."""
        _drop(self._requests_to, _place(transaction.hop), transaction.key)

    def forget(self, transaction: ClientTransaction) -> None:
        """Take note that a request is over."""
        self.leave(transaction)
        _drop(self._requests_on, transaction.flow, transaction.key)

    def ride(self, transaction: ClientTransaction, flow: int, *, reused: bool) -> None:
        """Take note of the connection that a request goes out on, and whether that was up before."""
        _drop(self._requests_on, transaction.flow, transaction.key)
        transaction.flow, transaction.reuses_flow = flow, reused
        self._requests_on.setdefault(flow, {})[transaction.key] = transaction

    def ride_in(self, call: Call, flow: int) -> None:
        """Take note of the connection that leads to the caller."""
        if flow:
            self._calls_on.setdefault(flow, {})[call] = None

    def forget_call(self, call: Call) -> None:
        """Take note that a call is over."""
        if call.peer is not None:
            _drop(self._calls_on, call.peer.flow, call)

    def waiting_for(self, place: Place) -> list[ClientTransaction]:
        """Return the requests to a peer that are not over."""
        return list(self._requests_to.get(place, {}).values())

    def has_asked(self, places: Sequence[Place], quoted: bytes) -> bool:
        """Say whether a report that quotes this is about a request of ours that a peer has yet to answer.

        Anybody may send such a report, whatever it says of its origin (RFC 5927 §4); our branches nobody can
        guess. One that quotes less than them tells nothing, and the request ends by its timers.
        """
        key = quoted_key(quoted)
        return key is not None and any(key in self._requests_to.get(place, ()) for place in places)

    def hangs_on(self, flow: int) -> bool:
        """Say whether a call came over a connection, or a request of ours went out on it."""
        return flow in self._calls_on or flow in self._requests_on

    def lost(self, flow: int) -> tuple[Iterable[ClientTransaction], Iterable[Call]]:
        """Forget a connection; returns the requests and the calls that hung on it."""
        return self._requests_on.pop(flow, {}).values(), self._calls_on.pop(flow, {})


def _drop(index: dict[G, dict[K, V]], group: G, key: K) -> None:
    """Take a member out of its group, and the group out of the index when it was the last."""
    members = index.get(group)
    if members is not None:
        members.pop(key, None)
        if not members:
            del index[group]


def _place(hop: Hop) -> Place:
    return (hop.transport, hop.host, hop.port)
