"""The requests of a TURN client: signed, sent again, and matched to their responses.

Spec: RFC 8489 §9.2, RFC 8656 §5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vb.webrtc import stun
from vb.webrtc.generation import RandomBytes
from vb.webrtc.stun import Address, Attr, Kind, Message, Method

INITIAL_TIMEOUT_S: Final = 0.5
TRANSMISSIONS: Final = 5
STREAM_TIMEOUT_S: Final = 15.0
MAX_PENDING: Final = 64

_MAX_CHALLENGES: Final = 3
_UNAUTHORIZED: Final = 401
_STALE_NONCE: Final = 438

Attributes = Sequence[tuple[int, bytes]]


@dataclass(slots=True, eq=False)
class Request:
    """One request.

    Attributes:
        peer: the address that it is about; an attribute that the transaction id masks.
    """

    method: Method
    attributes: Attributes
    peer: Address | None
    data: bytes = b""
    signed: bool = False
    challenges: int = 0
    sent: int = 0
    due_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended.

    Attributes:
        code: 0 for success, 408 when nobody answered, else the server's error.
        response: the server's last word, None when there was none.
    """

    request: Request
    code: int
    response: Message | None


class TurnRequests:
    """Requests to one server on one transport.

    Args:
        stream: the transport is reliable, so that nothing is sent twice.
    """

    def __init__(self, username: str, password: str, random_bytes: RandomBytes, *, stream: bool) -> None:
        self._username = username
        self._password = password
        self._random = random_bytes
        self._stream = stream
        self._realm = b""
        self._nonce = b""
        self._key: bytes | None = None
        self._pending: dict[bytes, Request] = {}
        self.out: list[bytes] = []

    def send(self, method: Method, attributes: Attributes, now: float, peer: Address | None = None) -> bool:
        """Send a request; False when too many are on their way."""
        if len(self._pending) >= MAX_PENDING:
            return False
        self._transmit(Request(method, attributes, peer), now)
        return True

    def receive(self, message: Message, now: float) -> Outcome | None:
        """Take a response; returns how its request ended, None while it goes on or is not ours."""
        request = self._pending.get(message.transaction_id)
        if request is None or message.method != request.method:
            return None
        code = 0
        if message.kind is Kind.ERROR:
            code = stun.read_error_code(message.get(Attr.ERROR_CODE)) or 500
        # A challenge cannot be signed; anything else that answers a signed request must be.
        if code in (_UNAUTHORIZED, _STALE_NONCE):
            return self._challenged(request, message, code, now)
        if request.signed and (self._key is None or not message.verify(self._key)):
            return None
        del self._pending[message.transaction_id]
        return Outcome(request, code, message)

    def expire(self, now: float) -> list[Outcome]:
        """Send again what is due; returns the requests that nobody answered."""
        outcomes = []
        for transaction_id, request in list(self._pending.items()):
            if request.due_at > now:
                continue
            if self._stream or request.sent >= TRANSMISSIONS:
                del self._pending[transaction_id]
                outcomes.append(Outcome(request, 408, None))
            else:
                request.due_at = now + INITIAL_TIMEOUT_S * 2**request.sent
                request.sent += 1
                self.out.append(request.data)
        return outcomes

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next."""
        return min((request.due_at for request in self._pending.values()), default=None)

    def clear(self) -> None:
        """Wait for nothing any more."""
        self._pending.clear()

    def _challenged(self, request: Request, message: Message, code: int, now: float) -> Outcome | None:
        del self._pending[message.transaction_id]
        realm, nonce = message.get(Attr.REALM), message.get(Attr.NONCE)
        refused = request.signed and code == _UNAUTHORIZED
        if realm is None or nonce is None or refused or request.challenges >= _MAX_CHALLENGES:
            return Outcome(request, code, message)
        if realm != self._realm or self._key is None:
            try:
                self._key = stun.long_term_key(self._username, realm.decode(), self._password)
            except UnicodeDecodeError:
                return Outcome(request, code, message)
        self._realm, self._nonce = realm, nonce
        request.challenges += 1
        self._transmit(request, now)
        return None

    def _transmit(self, request: Request, now: float) -> None:
        """Send a request under a new transaction, signed as soon as the server has named its realm."""
        transaction_id = self._random(stun.TRANSACTION_ID_BYTES)
        attributes = list(request.attributes)
        if request.peer is not None:
            attributes.append((Attr.XOR_PEER_ADDRESS, stun.xor_address(request.peer, transaction_id)))
        if self._key is not None:
            attributes += [
                (Attr.USERNAME, self._username.encode()),
                (Attr.REALM, self._realm),
                (Attr.NONCE, self._nonce),
            ]
        request.signed = self._key is not None
        request.data = stun.build(Kind.REQUEST, request.method, transaction_id, attributes, key=self._key)
        request.sent = 1
        request.due_at = now + (STREAM_TIMEOUT_S if self._stream else INITIAL_TIMEOUT_S)
        self._pending[transaction_id] = request
        self.out.append(request.data)
