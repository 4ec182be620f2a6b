"""A relay for datagrams that behaves as a bad network does: it loses, delays, doubles and reorders them.

Or as a NAT that forgets: the server sees its client at another port from one moment to the next.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

Address = tuple[str, int]
_MAX_DATAGRAM_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Network:
    """How bad it is, in either direction.

    Attributes:
        loss: share of the datagrams that never arrive.
        doubled: share of those that arrive twice.
        late: share of those that others overtake.
        delay_s: how long each takes.
        late_s: how much longer one takes that is late.
        seed: of what happens to which.
    """

    loss: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    delay_s: float = 0.0
    late_s: float = 0.0
    seed: int = 0


class Relay:
    """One relay for one client.

    Attributes:
        address: where the client sends to.
        passed, lost: how many datagrams were and were not passed on.
    """

    def __init__(self, server: Address, network: Network) -> None:
        self.passed = 0
        self.lost = 0
        self.address: Address = ("", 0)
        self._server = server
        self._network = network
        self._random = random.Random(network.seed)
        self._client: Address | None = None
        self._order = itertools.count()
        self._under_way: list[tuple[float, int, bytes, bool]] = []
        self._woken = trio.Event()
        self._near = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        self._far = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Relay until cancelled."""
        try:
            await self._near.bind(("127.0.0.1", 0))
            await self._far.bind(("127.0.0.1", 0))
            self.address = self._near.getsockname()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive_near)
                nursery.start_soon(self._receive_far)
                task_status.started()
                await self._deliver()
        finally:
            self._near.close()
            self._far.close()

    async def move(self) -> None:
        """Send to the server from another port; what comes to the old one is lost."""
        other = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await other.bind(("127.0.0.1", 0))
        old, self._far = self._far, other
        old.close()

    async def _receive_near(self) -> None:
        while True:
            data, self._client = await self._near.recvfrom(_MAX_DATAGRAM_BYTES)
            self._take(data, True)

    async def _receive_far(self) -> None:
        while True:
            far = self._far
            try:
                data = await far.recv(_MAX_DATAGRAM_BYTES)
            except trio.ClosedResourceError:
                if far is self._far:
                    raise
            else:
                self._take(data, False)

    def _take(self, data: bytes, to_server: bool) -> None:
        network, chance = self._network, self._random
        if chance.random() < network.loss:
            self.lost += 1
            return
        copies = 2 if chance.random() < network.doubled else 1
        for _ in range(copies):
            late_s = network.late_s if chance.random() < network.late else 0.0
            at = trio.current_time() + network.delay_s + late_s
            heapq.heappush(self._under_way, (at, next(self._order), data, to_server))
        self._woken.set()

    async def _deliver(self) -> None:
        while True:
            at = self._under_way[0][0] if self._under_way else math.inf
            with trio.move_on_at(at):
                await self._woken.wait()
            self._woken = trio.Event()
            while self._under_way and self._under_way[0][0] <= trio.current_time():
                _, _, data, to_server = heapq.heappop(self._under_way)
                self.passed += 1
                if to_server:
                    await self._far.sendto(data, self._server)
                elif self._client is not None:
                    await self._near.sendto(data, self._client)


@asynccontextmanager
async def open_relay(server: Address, network: Network) -> AsyncIterator[Relay]:
    """Run a relay inside the block."""
    relay = Relay(server, network)
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        yield relay
        nursery.cancel_scope.cancel()
