"""The driver of one leg's transport: between its session, which has no I/O, and its socket and clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import trio

from vb.mixer.port import RtpPort
from vb.webrtc.session import Session, SessionEvent
from vb.webrtc.stun import Address


class Base(Protocol):
    """A socket or relay that datagrams leave from."""

    def send(self, data: bytes, destination: Address) -> None:
        """Send one, or drop it; never waits."""
        ...


class Transport:
    """Runs a session.

    Args:
        session: the leg's.
        port: brings the STUN and DTLS of the leg's socket.
        base: name of that socket among the session's bases.
        socket: sends from it.
        answers: told of each packet of that socket first; True when it is an answer of a STUN server.
        on_event: told what the session tells; must not wait.
    """

    def __init__(
        self,
        session: Session,
        port: RtpPort,
        base: Address,
        socket: Base,
        answers: Callable[[bytes, Address], bool],
        on_event: Callable[[SessionEvent], None],
    ) -> None:
        self.session = session
        self.base = base
        self._port = port
        self._answers = answers
        self._on_event = on_event
        self._bases: dict[Address, Base] = {base: socket}
        self._woken = trio.Event()
        port.packets.listen(self.wake)

    def add_base(self, base: Address, way: Base) -> None:
        """Let the session send from another base too."""
        self._bases[base] = way

    def remove_base(self, base: Address) -> None:
        """Send from a base no more; what the session still sends from there is lost."""
        self._bases.pop(base, None)

    def wake(self) -> None:
        """Let `run` look at what has come, and at the session's deadline."""
        self._woken.set()

    async def run(self) -> None:
        """Move datagrams and time until cancelled."""
        while True:
            now = trio.current_time()
            for packet in self._port.packets.take():
                if not self._answers(packet.data, packet.source):
                    self.session.receive(packet.data, packet.source, self.base, now)
            self.session.expire(now)
            self.flush()
            deadline = self.session.deadline()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._woken.wait()
            if self._woken.is_set():
                self._woken = trio.Event()

    def receive(self, data: bytes, source: Address, base: Address) -> None:
        """Take a datagram that came to another base than the socket."""
        self.session.receive(data, source, base, trio.current_time())
        self.step()

    def step(self) -> None:
        """Carry on after a change of the session."""
        self.flush()
        self.wake()

    def flush(self) -> None:
        """Send what is to be sent and tell what has happened."""
        for data, source, destination in self.session.outgoing():
            way = self._bases.get(source)
            if way is not None:
                way.send(data, destination)
        for event in self.session.events():
            self._on_event(event)

    def close(self) -> None:
        """Say goodbye to the peer, and let go of whoever was told of events."""
        self.session.close()
        self.flush()
        self._on_event = _ignore
        self._bases.clear()


def _ignore(event: SessionEvent) -> None:
    """Tell nobody."""
