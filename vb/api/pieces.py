"""A long body that many clients get, of which each connection holds only the piece that is being written.

Written as a whole it would be copied for every client that does not read, and strangers may ask for it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from quart.wrappers.response import ResponseBody

PIECE_BYTES: Final = 16_384


class Pieces(ResponseBody):
    """Such a body.

    Args:
        content: shared by all that send it.
    """

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._at = 0

    async def __aenter__(self) -> Pieces:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._content.release()

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = bytes(self._content[self._at : self._at + PIECE_BYTES])
        if not piece:
            raise StopAsyncIteration
        self._at += len(piece)
        return piece
