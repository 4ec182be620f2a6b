"""The driver of one stream's transport: between a core without I/O and its sockets and clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import trio

from vb.beat import at_leisure
from vb.webrtc.ice_events import Transmit
from vb.webrtc.stun import Address

E = TypeVar("E")


class Packet(Protocol):
    """A datagram that came."""

    @property
    def data(self) -> bytes:
        """Return what is in it."""
        ...

    @property
    def source(self) -> Address:
        """Return where it came from."""
        ...


class Packets(Protocol):
    """STUN and DTLS as they come, in a bounded queue."""

    def listen(self, wake: Callable[[], object]) -> None:
        """Keep what comes, and call `wake` for each packet."""
        ...

    def take(self) -> Sequence[Packet]:
        """Return what waits."""
        ...


class Base(Protocol):
    """A socket or relay that datagrams leave from."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send one, or drop it; never waits."""
        ...


class Core(Protocol[E]):
    """What a driver runs, such as `Session`."""

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        """Take a datagram that came to a base."""
        ...

    def expire(self, now: float) -> None:
        """Do what is due."""
        ...

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next."""
        ...

    def outgoing(self) -> list[Transmit]:
        """Take the datagrams to send."""
        ...

    def events(self) -> list[E]:
        """Take what has happened."""
        ...

    def close(self) -> None:
        """Say goodbye to the peer."""
        ...


class Transport(Generic[E]):
    """Runs a core.

    Args:
        core: the stream's.
        packets: the STUN and DTLS of the stream's own socket.
        base: name of that socket among the core's bases.
        socket: sends from it.
        on_event: told what the core tells; must not wait.
        answers: told of each packet of that socket first; True when it is an answer of a STUN server.
    """

    def __init__(
        self,
        core: Core[E],
        packets: Packets,
        base: Address,
        socket: Base,
        on_event: Callable[[E], None],
        answers: Callable[[bytes, Address], bool] | None = None,
    ) -> None:
        self.base = base
        self._core = core
        self._packets = packets
        self._answers = answers or _no_answer
        self._on_event = on_event
        self._bases: dict[Address, Base] = {base: socket}
        self._woken = trio.Event()
        packets.listen(self.wake)

    def add_base(self, base: Address, way: Base) -> None:
        """Let the core send from another base too."""
        self._bases[base] = way

    def remove_base(self, base: Address) -> None:
        """Send from a base no more; what the core still sends from there is lost."""
        self._bases.pop(base, None)

    def wake(self) -> None:
        """Let `run` look at what has come, and at the core's deadline."""
        self._woken.set()

    async def run(self) -> None:
        """Move datagrams and time until cancelled."""
        while True:
            # One scope until time is up, not one for each packet: they cost as much as a packet does.
            with trio.CancelScope() as timer:
                while True:
                    due_at = self._turn()
                    if due_at != timer.deadline:
                        timer.deadline = due_at
                    await self._woken.wait()
                    self._woken = trio.Event()

    def _turn(self) -> float:
        """Take what has come and do what is due; return when to come back if nothing comes."""
        core, now = self._core, trio.current_time()
        for packet in self._packets.take():
            if not self._answers(packet.data, packet.source):
                core.receive(packet.data, packet.source, self.base, now)
        due_at = core.deadline()
        is_due = due_at is not None and due_at <= now
        if is_due:
            core.expire(now)
        if self.flush() or is_due:
            due_at = core.deadline()
        return math.inf if due_at is None else at_leisure(due_at, now)

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        """Take a datagram that came to another base than the socket."""
        self._core.receive(data, source, base, trio.current_time())
        self.step()

    def step(self) -> None:
        """Carry on after a change of the core."""
        self.flush()
        self.wake()

    def flush(self) -> bool:
        """Send what is to be sent and tell what has happened; says whether anything has."""
        for data, source, destination in self._core.outgoing():
            way = self._bases.get(source)
            if way is not None:
                way.send(data, destination)
        events = self._core.events()
        for event in events:
            self._on_event(event)
        return bool(events)

    def close(self) -> None:
        """Say goodbye to the peer, and let go of whoever was told of events."""
        self._core.close()
        self.flush()
        self._on_event = _ignore
        self._bases.clear()


def _no_answer(data: bytes, source: Address) -> bool:
    """Take every packet for the peer's."""
    return False


def _ignore(event: object) -> None:
    """Tell nobody."""
