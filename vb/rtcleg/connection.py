"""The connection of one leg to a WebRTC peer: its socket, transport and candidates, and the tasks for them.

How descriptions come and go is the leg's affair: over the API, or by SIP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Literal, Protocol

import structlog
import trio

from vb.log import StrangersLog
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.gathering import Gathering
from vb.rtcleg.media import RtcMedia
from vb.webrtc.dtls import Role
from vb.webrtc.local_description import LocalTransport
from vb.webrtc.peer_description import PeerTransport
from vb.webrtc.session import (
    Closed,
    Connected,
    Disconnected,
    Failed,
    NewAddress,
    Reconnected,
    Session,
    SessionEvent,
)
from vb.webrtc.tasks import Transport

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)

Loss = Literal["closed", "no_connection", "consent_lost", "dtls_failed"]
"""How a connection ends: the peer said goodbye, never came, fell silent, or is not who it should be."""

Contain = Callable[[str, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Runs a task under a name; its fault ends the leg and nothing else."""


class ConnectionOwner(Protocol):
    """The leg."""

    @property
    def id(self) -> str:
        """Return what names it in the log."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it cares no more."""
        ...

    def media_is_up(self) -> None:
        """Media can flow for the first time."""
        ...

    def media_is_lost(self, loss: Loss) -> None:
        """Media flows no more."""
        ...


class RtcConnection:
    """One connection.

    Args:
        media: its sockets and its place in the plane.
        session: its transport.
        candidates: ours.
        gathering: finds them.
    """

    def __init__(
        self, media: RtcMedia, session: Session, candidates: LocalCandidates, gathering: Gathering
    ) -> None:
        self.media = media
        self.session = session
        self.candidates = candidates
        self.gathering = gathering
        self._owner: ConnectionOwner | None = None
        self.transport = Transport(
            session, media.port.packets, gathering.base, media, self._handle, gathering.receive
        )
        gathering.attach(self.transport, session)

    def belong_to(self, owner: ConnectionOwner) -> None:
        """Tell a leg what happens from now on."""
        self._owner = owner

    def dropped(self) -> Counter[str]:
        """Return how many packets were dropped, by reason."""
        found = Counter(stun=self.session.ice.dropped, transport=self.session.dropped)
        found["relay"] = self.gathering.dropped
        srtp = self.media.srtp
        if srtp is not None:
            found.update(asdict(srtp.counts))
        return found

    def local(self, *, trickles: bool = True) -> LocalTransport:
        """Return what a description of ours says of it, with the candidates that are known by now.

        Args:
            trickles: whether others may come later, of either side; else there are none, whatever is found.
        """
        complete = self.candidates.done or not trickles
        return self.session.local_transport(self.candidates.found, complete=complete, trickles=trickles)

    def follow(self, theirs: PeerTransport, role: Role) -> bool:
        """Take what the peer says of its transport; True when it restarts ICE.

        Args:
            theirs: what it says.
            role: our part in the handshake.
        """
        restart = self.session.set_peer(theirs, role, trio.current_time())
        if restart:
            self.candidates.again()
        for candidate in theirs.candidates:
            self.gathering.permit(candidate)
        self.transport.wake()
        return restart

    @asynccontextmanager
    async def tasks(
        self,
        contain: Contain,
        failed: Callable[[str, Exception], None],
        on_digit: Callable[[str, float], None],
    ) -> AsyncIterator[None]:
        """Serve RTP and look for candidates inside the block; its end leaves the plane.

        Args:
            contain: runs each task.
            failed: told of a fault of what others do for the leg, by its name; ends the leg.
            on_digit: told each digit of the peer, and for how many seconds its key was down.
        """
        try:
            async with trio.open_nursery() as nursery:
                self.media.serve(on_digit, partial(failed, "rtp"))
                nursery.start_soon(contain, "gathering", self.gathering.run)
                try:
                    yield
                finally:
                    self.media.close()
                    self.gathering.detach()
                    nursery.cancel_scope.cancel()
        finally:
            self.media.endpoint.close()

    def close(self) -> None:
        """Say goodbye over DTLS."""
        self.transport.close()
        self._owner = None

    def _handle(self, event: SessionEvent) -> None:
        owner = self._owner
        if owner is None or owner.ended:
            return
        match event:
            case Connected(keys=keys, source=source, remote=remote):
                self.media.secure(keys)
                self.media.aim(self.gathering.way_to(source, remote))
                owner.media_is_up()
            case NewAddress(source=source, remote=remote):
                self.media.aim(self.gathering.way_to(source, remote))
            case Disconnected():
                strangers.info("peer is silent", leg_id=owner.id)
            case Reconnected():
                strangers.info("peer is back", leg_id=owner.id)
            case Closed():
                strangers.info("peer has said goodbye", leg_id=owner.id)
                owner.media_is_lost("closed")
            case Failed(reason=reason, detail=detail):
                strangers.info("transport failed", leg_id=owner.id, reason=reason, detail=detail)
                owner.media_is_lost(reason)
