"""A TURN client without I/O: one allocation, its permissions and channels, and the data that it relays.

Spec: RFC 8656; over UDP or a stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vb.webrtc import stun, turn_framing
from vb.webrtc.generation import RandomBytes
from vb.webrtc.stun import Address, Attr, Kind, Message, Method, StunError, ip_version
from vb.webrtc.turn_framing import FIRST_CHANNEL, TurnFramer, TurnFramingError
from vb.webrtc.turn_requests import Outcome, TurnRequests

LIFETIME_S: Final = 600
PERMISSION_REFRESH_S: Final = 240.0
"""Permissions last 300 s; a channel lasts 600 s, and binding it again renews its permission too."""
MAX_PEERS: Final = 32
MAX_CHANNELS: Final = 16

_UDP: Final = 17
_FAMILIES: Final = {4: 1, 6: 2}
_REFRESH_EARLY_S: Final = 60.0
_MIN_LIFETIME_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Allocated:
    """The server relays for us.

    Attributes:
        relayed: the address that peers send to.
        mapped: our own address as the server sees it.
    """

    relayed: Address
    mapped: Address | None


@dataclass(frozen=True, slots=True)
class Permitted:
    """What this peer host sends to the relay reaches us, and what we send reaches it."""

    host: str


@dataclass(frozen=True, slots=True)
class TurnFailed:
    """The allocation was refused or is lost; the client does nothing any more.

    Attributes:
        code: of the server's error, 408 when it did not answer, 0 for a stream that cannot be read.
    """

    code: int
    reason: str


TurnEvent = Allocated | Permitted | TurnFailed


@dataclass(slots=True)
class _Lease:
    """Something that the server forgets unless it is asked again; `active` once it was granted."""

    renew_at: float
    active: bool = False


class TurnClient:
    """One allocation on one server.

    Args:
        stream: the server is reached over TCP or TLS.
        family: IP version that the relayed address is wanted in.

    Attributes:
        relayed: our address at the server, None until allocated and after the end.
        dropped: data for peers without permission, and messages that were none or not expected.
    """

    def __init__(
        self,
        *,
        username: str,
        password: str,
        random_bytes: RandomBytes,
        stream: bool = False,
        family: int = 4,
    ) -> None:
        self.relayed: Address | None = None
        self.dropped = 0
        self._random = random_bytes
        self._stream = stream
        self._family = family
        self._framer = TurnFramer()
        self._requests = TurnRequests(username, password, random_bytes, stream=stream)
        self._refresh_at: float | None = None
        self._permissions: dict[str, _Lease] = {}
        self._channels: dict[Address, int] = {}
        self._channel_leases: dict[Address, _Lease] = {}
        self._peers: dict[int, Address] = {}
        self._closed = False
        self._events: list[TurnEvent] = []

    def start(self, now: float) -> None:
        """Ask for an allocation."""
        attributes = [(int(Attr.REQUESTED_TRANSPORT), bytes([_UDP, 0, 0, 0])), _lifetime(LIFETIME_S)]
        if self._family == 6:
            attributes.append((Attr.REQUESTED_ADDRESS_FAMILY, bytes([_FAMILIES[6], 0, 0, 0])))
        self._requests.send(Method.ALLOCATE, attributes, now)

    def permit(self, host: str, now: float) -> bool:
        """Let a peer's host through; False when it is no address of this relay's family, or one too many."""
        if host in self._permissions:
            return True
        if self._closed or len(self._permissions) >= MAX_PEERS or ip_version(host) != self._family:
            return False
        self._permissions[host] = _Lease(now)
        if self.relayed is not None:
            self._renew_permission(host, now)
        return True

    def bind(self, peer: Address, now: float) -> bool:
        """Ask for a channel to a peer, which saves 32 bytes a packet; False when there are too many."""
        if peer in self._channels:
            return True
        if self._closed or self.relayed is None or len(self._channels) >= MAX_CHANNELS:
            return False
        self._channels[peer] = FIRST_CHANNEL + len(self._channels)
        self._channel_leases[peer] = _Lease(now)
        self._renew_channel(peer, now)
        return True

    def wrap(self, peer: Address, data: bytes) -> bytes | None:
        """Return the message that makes the server send data to a peer, None without permission."""
        lease = self._channel_leases.get(peer)
        if lease is not None and lease.active:
            return turn_framing.channel_data(self._channels[peer], data, padded=self._stream)
        permission = self._permissions.get(peer[0])
        if permission is None or not permission.active or self._closed:
            self.dropped += 1
            return None
        tid = self._random(stun.TRANSACTION_ID_BYTES)
        attributes = [(int(Attr.XOR_PEER_ADDRESS), stun.xor_address(peer, tid)), (int(Attr.DATA), data)]
        return stun.build(Kind.INDICATION, Method.SEND, tid, attributes, with_fingerprint=False)

    def close(self, now: float) -> None:
        """Give the allocation back; what `outgoing` returns next is the last."""
        if self.relayed is not None and not self._closed:
            self._requests.send(Method.REFRESH, [_lifetime(0)], now)
        self._end()

    def receive(self, data: bytes, now: float) -> list[tuple[Address, bytes]]:
        """Take a datagram of the server, or bytes of its stream; returns what peers sent, and which."""
        if self._closed:
            return []
        messages = [data]
        if self._stream:
            try:
                messages = self._framer.feed(data)
            except TurnFramingError:
                self._fail(0, "the stream cannot be read")
                return []
        relayed = [self._message(message, now) for message in messages]
        return [item for item in relayed if item is not None]

    def outgoing(self) -> list[bytes]:
        """Take the messages to send to the server."""
        out, self._requests.out = self._requests.out, []
        return out

    def events(self) -> list[TurnEvent]:
        """Take what has happened."""
        events, self._events = self._events, []
        return events

    def expire(self, now: float) -> None:
        """Do what is due."""
        for outcome in self._requests.expire(now):
            self._ended(outcome, now)
        if self._closed or self.relayed is None:
            return
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh_at = None
            self._requests.send(Method.REFRESH, [_lifetime(LIFETIME_S)], now)
        for host, lease in self._permissions.items():
            if now >= lease.renew_at:
                self._renew_permission(host, now)
        for peer, lease in self._channel_leases.items():
            if now >= lease.renew_at:
                self._renew_channel(peer, now)

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next."""
        due = [self._requests.deadline()]
        if self.relayed is not None:
            due.append(self._refresh_at)
            due += [lease.renew_at for lease in self._permissions.values()]
            due += [lease.renew_at for lease in self._channel_leases.values()]
        return min((at for at in due if at is not None), default=None)

    def _renew_permission(self, host: str, now: float) -> None:
        self._permissions[host].renew_at = now + PERMISSION_REFRESH_S
        self._requests.send(Method.CREATE_PERMISSION, [], now, (host, 0))

    def _renew_channel(self, peer: Address, now: float) -> None:
        self._channel_leases[peer].renew_at = now + PERMISSION_REFRESH_S
        number = self._channels[peer].to_bytes(2) + b"\0\0"
        attributes = [(int(Attr.CHANNEL_NUMBER), number)]
        self._requests.send(Method.CHANNEL_BIND, attributes, now, peer)

    def _message(self, data: bytes, now: float) -> tuple[Address, bytes] | None:
        if turn_framing.is_channel_data(data):
            return self._from_channel(data)
        try:
            message = stun.parse(data)
            if message.kind is Kind.INDICATION and message.method == Method.DATA:
                return self._indicated(message)
        except StunError:
            self.dropped += 1
            return None
        outcome = self._requests.receive(message, now)
        if outcome is not None:
            self._ended(outcome, now)
        return None

    def _from_channel(self, data: bytes) -> tuple[Address, bytes] | None:
        found = turn_framing.read_channel_data(data)
        peer = None if found is None else self._peers.get(found[0])
        if found is None or peer is None:
            self.dropped += 1
            return None
        return peer, found[1]

    def _indicated(self, message: Message) -> tuple[Address, bytes] | None:
        peer, data = message.get(Attr.XOR_PEER_ADDRESS), message.get(Attr.DATA)
        if peer is None or data is None:
            self.dropped += 1
            return None
        return stun.read_xor_address(peer, message.transaction_id), data

    def _ended(self, outcome: Outcome, now: float) -> None:
        if self._closed:
            return
        method, peer, code = outcome.request.method, outcome.request.peer, outcome.code
        if method == Method.ALLOCATE and outcome.response is not None and not code:
            self._allocated(outcome.response, now)
        elif method in (Method.ALLOCATE, Method.REFRESH) and code:
            self._fail(code, f"{method.name.lower()} refused")
        elif method == Method.REFRESH and outcome.response is not None:
            self._refresh_at = _refresh_time(outcome.response, now)
        elif method == Method.CREATE_PERMISSION and peer is not None:
            self._permission_ended(peer[0], granted=not code)
        elif method == Method.CHANNEL_BIND and peer is not None:
            # Without a channel the data goes on in indications.
            self._channel_leases[peer].active = not code
            self._peers[self._channels[peer]] = peer

    def _allocated(self, message: Message, now: float) -> None:
        tid = message.transaction_id
        try:
            relayed = stun.read_xor_address(message.get(Attr.XOR_RELAYED_ADDRESS) or b"", tid)
            mapped = message.get(Attr.XOR_MAPPED_ADDRESS)
            ours = None if mapped is None else stun.read_xor_address(mapped, tid)
        except StunError:
            self._fail(0, "the response has no relayed address")
            return
        self.relayed = relayed
        self._refresh_at = _refresh_time(message, now)
        self._events.append(Allocated(relayed, ours))
        for host in self._permissions:
            self._renew_permission(host, now)

    def _permission_ended(self, host: str, *, granted: bool) -> None:
        lease = self._permissions[host]
        if granted and not lease.active:
            self._events.append(Permitted(host))
        lease.active = granted

    def _fail(self, code: int, reason: str) -> None:
        self._events.append(TurnFailed(code, reason))
        self._end()

    def _end(self) -> None:
        self._closed = True
        self.relayed = None
        self._requests.clear()
        self._permissions.clear()
        self._channels.clear()
        self._channel_leases.clear()


def _lifetime(seconds: int) -> tuple[int, bytes]:
    return Attr.LIFETIME, seconds.to_bytes(4)


def _refresh_time(message: Message, now: float) -> float:
    """Returns when to refresh: a minute before the end, or at half of a short life."""
    granted = stun.read_uint32(message.get(Attr.LIFETIME))
    lifetime = float(LIFETIME_S if granted is None else max(granted, _MIN_LIFETIME_S))
    return now + max(lifetime - _REFRESH_EARLY_S, lifetime / 2)
