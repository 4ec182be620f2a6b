"""WebSocket frames of a server, made many at a time (RFC 6455 §5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypedDict

FRAMES: Final = "vb.frames"
"""Type of the ASGI message that carries whole frames."""


class FramesEvent(TypedDict):
    """That message; the connection writes the bytes as they are."""

    type: Literal["vb.frames"]
    bytes: bytes


_FINAL_TEXT: Final = 0x81


def text_frames(texts: Iterable[bytes]) -> bytes:
    """Return one unmasked text frame for each text, which is UTF-8, back to back."""
    parts: list[bytes] = []
    for text in texts:
        length = len(text)
        if length < 126:
            head = bytes((_FINAL_TEXT, length))
        elif length < 65_536:
            head = bytes((_FINAL_TEXT, 126)) + length.to_bytes(2)
        else:
            head = bytes((_FINAL_TEXT, 127)) + length.to_bytes(8)
        parts += head, text
    return b"".join(parts)
