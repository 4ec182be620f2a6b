"""TURN over a stream: where one message ends and the next begins; and ChannelData, which is no STUN.

Spec: RFC 8656 §12.4 and §12.5, RFC 8489 §6.2.2.
"""

from __future__ import annotations

from typing import Final

from vb.webrtc.stun import HEADER_BYTES

FIRST_CHANNEL: Final = 0x4000
MAX_MESSAGE_BYTES: Final = 65_535 + 4

_CHANNEL_HEADER_BYTES: Final = 4


class TurnFramingError(Exception):
    """The stream holds something that is neither STUN nor ChannelData; nothing after it can be read."""


def is_channel_data(data: bytes) -> bool:
    """Tells whether a message is ChannelData."""
    return len(data) >= _CHANNEL_HEADER_BYTES and 0x40 <= data[0] <= 0x4F


def channel_data(channel: int, data: bytes, *, padded: bool) -> bytes:
    """Returns a ChannelData message.

    Args:
        padded: to a multiple of four bytes, as streams need it.
    """
    padding = bytes(-len(data) & 3) if padded else b""
    return channel.to_bytes(2) + len(data).to_bytes(2) + data + padding


def read_channel_data(message: bytes) -> tuple[int, bytes] | None:
    """Returns channel and data of a ChannelData message, None when it is cut off."""
    length = int.from_bytes(message[2:4])
    if len(message) < _CHANNEL_HEADER_BYTES + length:
        return None
    return int.from_bytes(message[:2]), message[_CHANNEL_HEADER_BYTES : _CHANNEL_HEADER_BYTES + length]


class TurnFramer:
    """Cuts the bytes of a TCP or TLS connection into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes of the stream and return the messages that they complete.

        Raises:
            TurnFramingError: the stream cannot be read any further.
        """
        self._buffer += data
        messages = []
        while (size := self._next_size()) is not None and len(self._buffer) >= size[0]:
            messages.append(bytes(self._buffer[: size[1]]))
            del self._buffer[: size[0]]
        return messages

    def _next_size(self) -> tuple[int, int] | None:
        """Returns the bytes that the first message takes on the stream, and those without padding."""
        if len(self._buffer) < _CHANNEL_HEADER_BYTES:
            return None
        length = int.from_bytes(self._buffer[2:4])
        first = self._buffer[0]
        if first < 4 and length % 4 == 0:
            return HEADER_BYTES + length, HEADER_BYTES + length
        if 0x40 <= first <= 0x4F:
            return _CHANNEL_HEADER_BYTES + length + (-length & 3), _CHANNEL_HEADER_BYTES + length
        raise TurnFramingError("neither STUN nor ChannelData")
