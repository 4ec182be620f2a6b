"""A network of virtual time between two agents: with delay, loss, and address translation."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from vb.webrtc.ice_events import Transmit
from vb.webrtc.stun import Address

DELAY_S = 0.01


class Node(Protocol):
    """What sits at some addresses."""

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None: ...
    def outgoing(self) -> list[Transmit]: ...
    def deadline(self) -> float | None: ...
    def expire(self, now: float) -> None: ...


class Packet(NamedTuple):
    """A datagram on its way; `source` is as its receiver sees it."""

    data: bytes
    source: Address
    destination: Address


@dataclass
class Network:
    """Moves datagrams between nodes.

    Attributes:
        loses: tells of a packet whether it is lost.
        translates: outer address of an inner one; packets to the outer one reach the inner one.
    """

    now: float = 0.0
    loses: Callable[[Packet], bool] = lambda packet: False
    translates: dict[Address, Address] = field(default_factory=dict)
    sent: list[tuple[float, Packet]] = field(default_factory=list)
    _nodes: dict[Address, Node] = field(default_factory=dict)
    _flying: list[tuple[float, int, Packet]] = field(default_factory=list)
    _order: Iterable[int] = field(default_factory=itertools.count)

    def attach(self, node: Node, *addresses: Address) -> None:
        for address in addresses:
            self._nodes[address] = node

    def run(self, until: float, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, up to an instant or a condition."""
        while True:
            self._collect()
            if stop():
                return
            due = [at for node in set(self._nodes.values()) if (at := node.deadline()) is not None]
            upcoming = min([*due, *(at for at, *_ in self._flying[:1])], default=float("inf"))
            if upcoming > until:
                self.now = until
                return
            self.now = max(self.now, upcoming)
            while self._flying and self._flying[0][0] <= self.now:
                self._deliver(heapq.heappop(self._flying)[2])
            for node in set(self._nodes.values()):
                at = node.deadline()
                if at is not None and at <= self.now:
                    node.expire(self.now)

    def _collect(self) -> None:
        for node in list(dict.fromkeys(self._nodes.values())):
            for data, source, destination in node.outgoing():
                packet = Packet(data, self.translates.get(source, source), destination)
                self.sent.append((self.now, packet))
                if not self.loses(packet):
                    heapq.heappush(self._flying, (self.now + DELAY_S, next(iter(self._order)), packet))

    def _deliver(self, packet: Packet) -> None:
        inner = {outer: address for address, outer in self.translates.items()}
        destination = inner.get(packet.destination, packet.destination)
        node = self._nodes.get(destination)
        if node is not None:
            node.receive(packet.data, packet.source, destination, self.now)


def seeded(seed: int) -> Callable[[int], bytes]:
    """Returns a source of bytes that is the same in every run."""
    return random.Random(seed).randbytes
