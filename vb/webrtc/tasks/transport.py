"""The driver of one stream's transport: between a core without I/O and its sockets and clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import trio

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
            now = trio.current_time()
            for packet in self._packets.take():
                if not self._answers(packet.data, packet.source):
                    self._core.receive(packet.data, packet.source, self.base, now)
            self._core.expire(now)
            self.flush()
            deadline = self._core.deadline()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._woken.wait()
            if self._woken.is_set():
                self._woken = trio.Event()

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        """Take a datagram that came to another base than the socket."""
        self._core.receive(data, source, base, trio.current_time())
        self.step()

    def step(self) -> None:
        """Carry on after a change of the core."""
        self.flush()
        self.wake()

    def flush(self) -> None:
        """Send what is to be sent and tell what has happened."""
        for data, source, destination in self._core.outgoing():
            way = self._bases.get(source)
            if way is not None:
                way.send(data, destination)
        for event in self._core.events():
            self._on_event(event)

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
