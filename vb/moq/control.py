"""The control stream, from bytes to messages.

Spec: draft-ietf-moq-transport-11 section 8.
"""

from __future__ import annotations

from collections.abc import Iterator

from vb.moq.codes import violation
from vb.moq.messages import MESSAGES, Message
from vb.moq.wire import Incomplete, Reader


class ControlStream:
    """Cuts a stream into messages; what it holds is never more than one of them, 64 KiB."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[Message]:
        """Give the messages that are complete with some more bytes; to be used up before the next call.

        Raises:
            MoqError: one is unknown, or cannot be read.
        """
        self._buffer += data
        while self._buffer:
            reader = Reader(self._buffer)
            try:
                kind = MESSAGES.get(number := reader.varint())
                if kind is None:
                    raise violation(f"message {number:#x} is unknown")
                payload = reader.take(int.from_bytes(reader.take(2)))
            except Incomplete:
                return
            del self._buffer[: reader.at]
            yield kind.decode(payload)
