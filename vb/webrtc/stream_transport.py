"""What shares a SIP call's RTP socket with its media: ICE where we only answer, and DTLS, each where agreed.

In go descriptions, datagrams and `now`; out come datagrams, events, and the time of the next step. Media
does not pass here: the events tell its keys and where it goes.

Without ICE nobody has proved an address when the first message comes, and a peer behind a NAT has another one
than its description says. So each source gets a handshake of its own, a few at a time; whose certificate is
the announced one is the peer, and what strangers send ends their own attempts only.

Spec: RFC 5763, RFC 5764, RFC 8842 §4, RFC 8445 §2.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vb.rtp.packet import PacketKind, classify
from vb.sdp.dtls import DtlsKeys
from vb.sdp.ice import Credentials
from vb.webrtc.candidate import Candidate
from vb.webrtc.dtls import (
    HANDSHAKE_LIMIT_S,
    MAX_DATAGRAM_BYTES,
    Dtls,
    DtlsContext,
    DtlsState,
    SrtpKeys,
)
from vb.webrtc.generation import RandomBytes
from vb.webrtc.ice import IceAgent
from vb.webrtc.ice_events import IceEvent, IceFailed, Selected, Transmit
from vb.webrtc.stun import Address

MAX_ATTEMPTS: Final = 4
"""Handshakes at a time with sources that nobody vouches for."""
MAX_HELD: Final = 4
"""Datagrams that wait until the answer tells whose certificate is to be expected."""

_BY_ICE: Final[Address] = ("", 0)
"""In place of the source: whatever way ICE has."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A handshake is done: media is protected with its keys."""

    keys: SrtpKeys


@dataclass(frozen=True, slots=True)
class Found:
    """The peer has proved where it is."""

    remote: Address


@dataclass(frozen=True, slots=True)
class Broken:
    """It is over.

    Attributes:
        reason: ICE found no way or lost it, or there was no handshake with the announced certificate.
    """

    reason: Literal["no_connection", "consent_lost", "dtls_failed"]
    detail: str = ""


StreamEvent = Keyed | Found | Broken


class StreamTransport:
    """ICE and DTLS of one stream.

    Args:
        context: the server's certificate.
        random_bytes: source of credentials and transaction ids.
        base: address of our socket.

    Attributes:
        dropped: datagrams that were not expected, or came from strangers.
    """

    def __init__(self, context: DtlsContext, random_bytes: RandomBytes, base: Address) -> None:
        self.dropped = 0
        self._context = context
        self._random = random_bytes
        self._base = base
        self._ice: IceAgent | None = None
        self._remote: Address | None = None
        self._wanted: DtlsKeys | None = None
        self._attempts: dict[Address, Dtls] = {}
        self._held: list[tuple[bytes, Address]] = []
        self._peer: tuple[Address, Dtls] | None = None
        self._give_up_at: float | None = None
        self._over = False
        self._out: list[Transmit] = []
        self._events: list[StreamEvent] = []

    @property
    def ice_dropped(self) -> int:
        """How many STUN packets were not the peer's."""
        return 0 if self._ice is None else self._ice.dropped

    def answer_ice(self, theirs: Credentials, candidate: Candidate, now: float) -> Credentials:
        """Take the peer's credentials and return ours; new ones are its restart."""
        if self._ice is None:
            self._ice = IceAgent(controlling=False, random_bytes=self._random, lite=True)
            self._ice.add_local(candidate, self._base)
        self._ice.set_remote(theirs, now)
        return self._ice.local

    def follow(self, dtls: DtlsKeys | None, *, ice: bool, remote: Address | None, now: float) -> None:
        """Follow what was agreed.

        An association goes on as long as certificate, role and name stay, and without ICE the address too;
        else a new one begins, whose keys take the place of the old ones once it stands.

        Args:
            dtls: the association to have, None for none.
            ice: whether ICE finds the peer.
            remote: where the peer says it is, None if it does not say now.
        """
        if not ice and self._ice is not None:
            self._ice.close()
            self._ice = None
        changed_way = self._peer is None and (_BY_ICE in self._attempts) != ice
        before, self._wanted = self._wanted, dtls
        moved = not ice and remote is not None and self._remote is not None and remote != self._remote
        self._remote = remote or self._remote
        if dtls is None:
            self._attempts.clear()
            self._held.clear()
            self._peer = self._give_up_at = None
        elif moved or changed_way or before is None or not _is_same(before, dtls):
            self._begin(dtls, now, ice=ice)
        self._step(now)

    def receive(self, data: bytes, source: Address, base: Address, now: float) -> None:
        """Take a STUN or DTLS datagram."""
        kind = classify(data)
        if kind is PacketKind.STUN and self._ice is not None:
            self._ice.receive(data, source, base, now)
        elif kind is PacketKind.DTLS and len(data) <= MAX_DATAGRAM_BYTES:
            self._receive_dtls(data, source, now)
        else:
            self.dropped += 1
        self._step(now)

    def expire(self, now: float) -> None:
        """Do what is due."""
        if self._over:
            return
        if self._ice is not None:
            self._ice.expire(now)
        for dtls in self._attempts.values():
            dtls.expire(now)
        self._step(now)
        if self._give_up_at is not None and now >= self._give_up_at and not self._over:
            self._break(Broken("dtls_failed", "no handshake in time"))

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next."""
        if self._over:
            return None
        due = [self._give_up_at, *(dtls.deadline() for dtls in self._attempts.values())]
        if self._ice is not None:
            due.append(self._ice.deadline())
        return min((at for at in due if at is not None), default=None)

    def outgoing(self) -> list[Transmit]:
        """Take the datagrams to send."""
        out = [] if self._ice is None else self._ice.outgoing()
        out += self._out
        self._out = []
        return out

    def events(self) -> list[StreamEvent]:
        """Take what has happened."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Say goodbye; what `outgoing` returns next is the last."""
        if self._peer is not None and not self._over:
            source, dtls = self._peer
            dtls.close()
            self._send(dtls, source)
        self._end()

    # -- DTLS ----------------------------------------------------------------------------------------------

    def _begin(self, wanted: DtlsKeys, now: float, *, ice: bool) -> None:
        self._attempts.clear()
        self._peer = None
        self._give_up_at = now + HANDSHAKE_LIMIT_S
        if ice:
            self._attempts[_BY_ICE] = self._new(wanted)
        elif wanted.role == "client" and self._remote is not None:
            self._attempts[self._remote] = self._new(wanted)
        held, self._held = self._held, []
        for data, source in held:
            self._receive_dtls(data, source, now)

    def _new(self, wanted: DtlsKeys) -> Dtls:
        return Dtls(self._context, wanted.role, wanted.fingerprints)

    def _receive_dtls(self, data: bytes, source: Address, now: float) -> None:
        wanted = self._wanted
        if wanted is None:
            if len(self._held) < MAX_HELD:
                self._held.append((data, source))
            else:
                self.dropped += 1
            return
        key = source
        if self._ice is not None:
            if not self._ice.heard(source, self._base):
                self.dropped += 1
                return
            key = _BY_ICE
        dtls = self._known(key) or self._admit(wanted, key)
        if dtls is None:
            self.dropped += 1
            return
        dtls.start(now)
        dtls.receive(data, now)

    def _known(self, key: Address) -> Dtls | None:
        if self._peer is not None:
            return self._peer[1] if self._peer[0] == key else None
        return self._attempts.get(key)

    def _admit(self, wanted: DtlsKeys, source: Address) -> Dtls | None:
        """Begin a handshake with a new source, if there is room; the announced one always has some."""
        if self._peer is not None or wanted.role == "client":
            return None
        if len(self._attempts) >= MAX_ATTEMPTS:
            if source != self._remote:
                return None
            self._attempts.pop(next(iter(self._attempts)))
        self._attempts[source] = self._new(wanted)
        return self._attempts[source]

    # -- carrying on ---------------------------------------------------------------------------------------

    def _step(self, now: float) -> None:
        if self._over:
            return
        for event in () if self._ice is None else self._ice.events():
            self._ice_event(event)
        for source, dtls in list(self._attempts.items()):
            if self._over or (source == _BY_ICE and (self._ice is None or self._ice.route is None)):
                return
            dtls.start(now)
            self._send(dtls, source)
            if dtls.state is DtlsState.FAILED:
                self._attempt_failed(source, dtls)
            elif dtls.keys is not None:
                self._connected(source, dtls, dtls.keys)
                return
        if self._peer is not None:
            self._send(self._peer[1], self._peer[0])

    def _attempt_failed(self, source: Address, dtls: Dtls) -> None:
        del self._attempts[source]
        if source in (_BY_ICE, self._remote):
            self._break(Broken("dtls_failed", dtls.failure or ""))
        else:
            self.dropped += 1

    def _connected(self, source: Address, dtls: Dtls, keys: SrtpKeys) -> None:
        self._attempts.clear()
        self._peer = (source, dtls)
        self._give_up_at = None
        self._events.append(Keyed(keys))
        if source != _BY_ICE:
            self._events.append(Found(source))

    def _ice_event(self, event: IceEvent) -> None:
        match event:
            case Selected(remote=remote):
                self._events.append(Found(remote))
            case IceFailed(reason=reason):
                self._break(Broken(reason))
            case _:
                pass

    def _send(self, dtls: Dtls, source: Address) -> None:
        for data in dtls.outgoing():
            if source != _BY_ICE:
                self._out.append(Transmit(data, self._base, source))
            elif self._ice is not None and (route := self._ice.route) is not None:
                self._out.append(Transmit(data, *route))

    def _break(self, broken: Broken) -> None:
        self._events.append(broken)
        self._end()

    def _end(self) -> None:
        """Let go of everything."""
        self._over = True
        if self._ice is not None:
            self._ice.close()
        self._attempts.clear()
        self._held.clear()
        self._peer = self._give_up_at = None


def _is_same(before: DtlsKeys, now: DtlsKeys) -> bool:
    """Tell whether two descriptions are about one association (RFC 8842 §4)."""
    same_certificate = bool(set(before.fingerprints) & set(now.fingerprints))
    return same_certificate and before.role == now.role and before.tls_id == now.tls_id
