"""The driver of a transport: when it takes packets, lets time pass, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from vb.beat import BEAT_S
from vb.webrtc.ice_events import Transmit
from vb.webrtc.stun import Address
from vb.webrtc.tasks.transport import Transport

HERE, THERE = ("192.0.2.1", 4000), ("198.51.100.1", 5000)


@dataclass
class Datagram:
    data: bytes
    source: Address = THERE


class Queue:
    def __init__(self) -> None:
        self.waiting: list[Datagram] = []
        self.wake: Callable[[], object] = lambda: None

    def listen(self, wake: Callable[[], object]) -> None:
        self.wake = wake

    def put(self, data: bytes) -> None:
        self.waiting.append(Datagram(data))
        self.wake()

    def take(self) -> list[Datagram]:
        taken, self.waiting = self.waiting, []
        return taken


class Way:
    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes, destination: Address) -> None:
        self.sent.append(data)


@dataclass
class Repeating:
    """Answers what comes, and says something of its own every so often."""

    every_s: float | None = 5.0
    due_at: float | None = None
    expired_at: list[float] = field(default_factory=list)
    out: list[Transmit] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        if data == b"stop":
            self.due_at = self.every_s = None
            self.told.append("stopped")
        elif data == b"soon":
            self.due_at = now
        else:
            self.out.append(Transmit(b"re " + data, base, source))

    def expire(self, now: float) -> None:
        self.expired_at.append(now)
        self.out.append(Transmit(b"alive", HERE, THERE))
        self.due_at = None if self.every_s is None else now + self.every_s

    def deadline(self) -> float | None:
        return self.due_at

    def outgoing(self) -> list[Transmit]:
        out, self.out = self.out, []
        return out

    def events(self) -> list[str]:
        told, self.told = self.told, []
        return told

    def close(self) -> None:
        self.due_at = None


async def test_packets_are_answered_between_the_times_at_which_something_is_due(
    autojump_clock: trio.testing.MockClock,
) -> None:
    core, queue, way, told = Repeating(), Queue(), Way(), list[str]()
    begun = trio.current_time()
    core.due_at = begun + 5.0
    transport = Transport(core, queue, HERE, way, told.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run)
        for number in (1, 2, 3):
            await trio.sleep(1.0)
            queue.put(b"%d" % number)
        await trio.sleep(8.0)
        assert way.sent == [b"re 1", b"re 2", b"re 3", b"alive", b"alive"]
        assert [at - begun for at in core.expired_at] == pytest.approx([5.0, 10.0], abs=2 * BEAT_S)
        queue.put(b"soon")
        await trio.testing.wait_all_tasks_blocked()
        assert core.expired_at[-1] == trio.current_time()
        await trio.sleep(5.5)
        assert len(core.expired_at) == 4
        queue.put(b"stop")
        await trio.sleep(60.0)
        assert told == ["stopped"]
        assert len(core.expired_at) == 4
        core.due_at = trio.current_time() - 1.0
        transport.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert len(core.expired_at) == 5
        nursery.cancel_scope.cancel()
