"""Answers that need no state: to strangers, and to those whose connection is gone.

A stranger may have written somebody else's address on his datagrams. So an address is believed only when it
has sent a token back, nothing is kept before that, and a flood gets so many answers a second and no more.

Spec: RFC 9000 §6, §8.1, §10.3.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from typing import Final

from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    encode_quic_version_negotiation,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import TOKEN_LIFETIME, QuicRetryTokenHandler

from vb.quic.invariants import CONNECTION_ID_BYTES, Heading

RESET_TOKEN_BYTES: Final = 16
_LEAST_RESET_BYTES: Final = 21
_MOST_RESET_BYTES: Final = 41
"""A reset is shorter than what it answers, or two servers could go on for ever (RFC 9000 §10.3, §10.3.3)."""
_MAX_DATAGRAM_BYTES: Final = 1200
_CLOSE_CAPACITY: Final = 25


class SpentTokens:
    """Tokens that have opened a connection: each may do so once, however often it is sent again."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._order: deque[tuple[float, bytes]] = deque()

    def spend(self, retry_id: bytes, now: float) -> None:
        """Take note of one, by the connection id that was given with it."""
        self._forget(now)
        self._known.add(retry_id)
        self._order.append((now + TOKEN_LIFETIME, retry_id))

    def has(self, retry_id: bytes, now: float) -> bool:
        """Tell whether one was used before."""
        self._forget(now)
        return retry_id in self._known

    def _forget(self, now: float) -> None:
        while self._order and self._order[0][0] < now:
            self._known.discard(self._order.popleft()[1])

    def __len__(self) -> int:
        return len(self._order)


class Answers:
    """Makes them.

    Args:
        key: secret of this process, 32 bytes: tokens of stateless resets are made with it.
        draw: gives random bytes.
        versions: that we speak.
    """

    def __init__(self, key: bytes, draw: Callable[[int], bytes], versions: list[int]) -> None:
        self._key = key
        self._draw = draw
        self._versions = versions
        self._tokens = QuicRetryTokenHandler()

    def versions(self, heading: Heading) -> bytes:
        """Return which versions there are."""
        return encode_quic_version_negotiation(heading.destination, heading.source, self._versions)

    def retry(self, header: QuicHeader, source: tuple[str, int], now: float) -> bytes:
        """Return a Retry with a token for an address."""
        assert header.version is not None
        retry_id = self._draw(CONNECTION_ID_BYTES)
        token = self._tokens.create_token(
            address=source,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=retry_id,
            now=now,
        )
        return encode_quic_retry(
            header.version, retry_id, header.source_cid, header.destination_cid, token, self._draw(1)[0] & 15
        )

    def read_token(self, header: QuicHeader, source: tuple[str, int], now: float) -> bytes | None:
        """Return the connection id to which the client wrote first; None if the token is not good."""
        try:
            return self._tokens.validate_token(
                address=source, destination_cid=header.destination_cid, token=header.token, now=now
            )
        except ValueError:
            return None

    def refuse(self, header: QuicHeader) -> bytes:
        """Return the end of a connection that was not even begun, for a client with a good token."""
        assert header.version is not None
        crypto = CryptoPair()
        crypto.setup_initial(cid=header.destination_cid, is_client=False, version=header.version)
        builder = QuicPacketBuilder(
            host_cid=header.destination_cid,
            is_client=False,
            max_datagram_size=_MAX_DATAGRAM_BYTES,
            peer_cid=header.source_cid,
            version=header.version,
        )
        builder.start_packet(QuicPacketType.INITIAL, crypto)
        frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=_CLOSE_CAPACITY)
        for value in (QuicErrorCode.CONNECTION_REFUSED, QuicFrameType.PADDING, 0):
            frame.push_uint_var(value)
        return builder.flush()[0][0]

    def reset_token(self, connection_id: bytes) -> bytes:
        """Return the token that ends the connection of an id."""
        return hmac.digest(self._key, connection_id, "sha256")[:RESET_TOKEN_BYTES]

    def reset(self, connection_id: bytes, size: int) -> bytes | None:
        """Return a stateless reset for a datagram of a size; None if it would not be shorter than that."""
        length = min(size - 1, _MOST_RESET_BYTES)
        if length < _LEAST_RESET_BYTES:
            return None
        noise = self._draw(length - RESET_TOKEN_BYTES)
        return bytes((noise[0] & 0x3F | 0x40,)) + noise[1:] + self.reset_token(connection_id)
