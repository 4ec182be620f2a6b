"""The transport of one WebRTC leg: ICE, DTLS and the keys of SRTP behind one object without I/O.

In go datagrams with their source, candidates, descriptions and `now`; out come datagrams with their
destination, events, and the time of the next step. Media does not pass here: the events tell the media
plane its keys and where to send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vb.rtp.packet import PacketKind, classify
from vb.webrtc.candidate import Candidate
from vb.webrtc.dtls import MAX_DATAGRAM_BYTES, Dtls, DtlsContext, DtlsState, Role, SrtpKeys
from vb.webrtc.generation import RandomBytes
from vb.webrtc.ice import IceAgent
from vb.webrtc.ice_events import ConsentBack, ConsentMissing, IceEvent, IceFailed, Selected, Transmit
from vb.webrtc.local_description import LocalTransport
from vb.webrtc.peer_description import PeerTransport
from vb.webrtc.stun import Address

MAX_HELD: Final = 4
"""DTLS datagrams of an authentic source that wait until there is a way back to it."""


@dataclass(frozen=True, slots=True)
class Connected:
    """Media may flow.

    Attributes:
        source: the base to send from.
        remote: where to send.
    """

    keys: SrtpKeys
    source: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class NewAddress:
    """Media goes another way from now on."""

    source: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The peer has fallen silent; it may come back."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The peer is back."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer said goodbye."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It is over; nothing is sent any more.

    Attributes:
        reason: no way to the peer was found in time; it has not answered for too long; or the handshake
            failed, as `detail` says.
    """

    reason: Literal["no_connection", "consent_lost", "dtls_failed"]
    detail: str = ""


SessionEvent = Connected | NewAddress | Disconnected | Reconnected | Closed | Failed


class Session:
    """One leg's transport.

    Args:
        controlling: whether we made the first offer.
        context: the server's certificate.
        random_bytes: source of credentials and transaction ids.
        lite: only answer ICE checks.

    Attributes:
        ice: the agent, to be asked for its credentials and counts.
        dropped: datagrams that were not STUN or DTLS, or DTLS of a source that ICE does not know.
    """

    def __init__(
        self, *, controlling: bool, context: DtlsContext, random_bytes: RandomBytes, lite: bool = False
    ) -> None:
        self.ice = IceAgent(controlling=controlling, random_bytes=random_bytes, lite=lite)
        self.dropped = 0
        self._context = context
        self._lite = lite
        self._dtls: Dtls | None = None
        self._held: deque[bytes] = deque(maxlen=MAX_HELD)
        self._selected: Selected | None = None
        self._connected = False
        self._over = False
        self._out: list[Transmit] = []
        self._events: list[SessionEvent] = []

    def local_transport(
        self, candidates: Sequence[Candidate], *, complete: bool, trickles: bool = True
    ) -> LocalTransport:
        """Return what our next description says of this transport.

        Args:
            candidates: those known by now.
            complete: there will be no further ones.
            trickles: further ones of the peer may come after its description.
        """
        fingerprint = self._context.identity.fingerprint
        return LocalTransport(self.ice.local, fingerprint, tuple(candidates), complete, self._lite, trickles)

    def add_local(self, candidate: Candidate, base: Address) -> None:
        """Add a candidate of ours; see `IceAgent.add_local`."""
        self.ice.add_local(candidate, base)

    def add_remote(self, candidate: Candidate) -> bool:
        """Add a candidate that the peer has found; see `IceAgent.add_remote`."""
        return self.ice.add_remote(candidate)

    def set_peer(self, transport: PeerTransport, role: Role, now: float) -> bool:
        """Take what a description of the peer says of its transport.

        Args:
            role: our part in the handshake; it counts at the first description only.

        Returns:
            True when the peer restarts ICE, so that our answer must carry new credentials.
        """
        restart = self.ice.set_remote(transport.credentials, now, lite=transport.lite)
        for candidate in transport.candidates:
            self.ice.add_remote(candidate)
        if self._dtls is None:
            self._dtls = Dtls(self._context, role, transport.fingerprints)
        self._step(now)
        return restart

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        """Take a STUN or DTLS datagram that came to a base.

        DTLS is taken only from addresses from which ICE has heard the peer's signature.
        """
        kind = classify(data)
        if kind is PacketKind.STUN:
            self.ice.receive(data, source, base, now)
        elif kind is PacketKind.DTLS and len(data) <= MAX_DATAGRAM_BYTES and self.ice.heard(source, base):
            self._held.append(data)
        else:
            self.dropped += 1
            return
        self._step(now)

    def expire(self, now: float) -> None:
        """Do what is due."""
        if self._over:
            return
        self.ice.expire(now)
        if self._dtls is not None:
            self._dtls.expire(now)
        self._step(now)

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next, None when nothing is due without a datagram."""
        if self._over:
            return None
        due = [self.ice.deadline(), None if self._dtls is None else self._dtls.deadline()]
        return min((at for at in due if at is not None), default=None)

    def close(self) -> None:
        """Say goodbye to the peer; what `outgoing` returns next is the last."""
        if self._over:
            return
        if self._dtls is not None:
            self._dtls.close()
            self._send_dtls(self._dtls)
        self._end()

    def outgoing(self) -> list[Transmit]:
        """Take the datagrams to send."""
        # A check or its response goes first: it is what makes the peer take DTLS from this address.
        out = self.ice.outgoing() + self._out
        self._out = []
        return out

    def events(self) -> list[SessionEvent]:
        """Take what has happened."""
        events, self._events = self._events, []
        return events

    def _step(self, now: float) -> None:
        """Carry on after any input: what ICE has found lets DTLS go on, and both together let media flow."""
        if self._over:
            return
        for event in self.ice.events():
            self._ice_event(event)
        dtls = self._dtls
        if self._over or dtls is None or self.ice.route is None:
            return
        dtls.start(now)
        while self._held:
            dtls.receive(self._held.popleft(), now)
        self._send_dtls(dtls)
        if dtls.state is DtlsState.FAILED:
            self._fail(Failed("dtls_failed", dtls.failure or ""))
        elif dtls.state is DtlsState.CLOSED:
            self._events.append(Closed())
            self._end()
        elif dtls.keys is not None and self._selected is not None and not self._connected:
            self._connected = True
            self._events.append(Connected(dtls.keys, self._selected.source, self._selected.remote))

    def _ice_event(self, event: IceEvent) -> None:
        match event:
            case Selected():
                self._selected = event
                if self._connected:
                    self._events.append(NewAddress(event.source, event.remote))
            case ConsentMissing():
                self._events.append(Disconnected())
            case ConsentBack():
                self._events.append(Reconnected())
            case IceFailed():
                self._fail(Failed(event.reason))

    def _send_dtls(self, dtls: Dtls) -> None:
        """Send on the way in use; without one the handshake repeats itself later."""
        route = self.ice.route
        for data in dtls.outgoing():
            if route is not None:
                self._out.append(Transmit(data, *route))

    def _fail(self, failed: Failed) -> None:
        self._events.append(failed)
        self._end()

    def _end(self) -> None:
        """Let go of everything: a dead leg keeps no connection and no candidate."""
        self._over = True
        self.ice.close()
        self._dtls = None
        self._held.clear()
