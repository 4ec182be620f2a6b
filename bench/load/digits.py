"""Digits pressed by callers, as telephone-events in place of audio packets."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load.sip import EVENT_PAYLOAD_TYPE
from bench.tones import FRAME

KEYS: Final = "0123456789*#ABCD"
PRESSED_PACKETS: Final = 4
END_PACKETS: Final = 3
"""The end is sent three times, so that a single loss does not hide it."""
PAUSE_PACKETS: Final = 3
_VOLUME: Final = 10
_EVENT: Final = struct.Struct(">BBHIIBBH")


class _Press:
    """One leg's keys and how far they are sent."""

    def __init__(self, keys: str) -> None:
        self.keys = [KEYS.index(key) for key in keys]
        self.step = 0
        self.began_at = 0


class Digits:
    """The digits that are being sent, by leg.

    Spec: RFC 4733 §2.5.
    """

    def __init__(self) -> None:
        self._pressed: dict[int, _Press] = {}

    def __len__(self) -> int:
        return len(self._pressed)

    def press(self, leg: int, keys: str) -> None:
        """Send keys one after the other, from the leg's next packet on."""
        self._pressed[leg] = _Press(keys)

    def drop(self, leg: int) -> None:
        """Let go of what is still to be sent."""
        self._pressed.pop(leg, None)

    def packet(self, leg: int, row: NDArray[np.uint8]) -> bytes | None:
        """Return what a leg sends instead of its audio packet `row`, None for the audio itself."""
        press = self._pressed.get(leg)
        if press is None:
            return None
        step, press.step = press.step, press.step + 1
        if step >= PRESSED_PACKETS + END_PACKETS:
            if step + 1 == PRESSED_PACKETS + END_PACKETS + PAUSE_PACKETS:
                press.step = 0
                press.keys.pop(0)
                if not press.keys:
                    del self._pressed[leg]
            return None
        sequence, time = int.from_bytes(row[2:4].tobytes()), int.from_bytes(row[4:8].tobytes())
        if step == 0:
            press.began_at = time
        is_end = step >= PRESSED_PACKETS
        return _EVENT.pack(
            0x80,
            EVENT_PAYLOAD_TYPE | (0x80 if step == 0 else 0),
            sequence,
            press.began_at,
            int.from_bytes(row[8:12].tobytes()),
            press.keys[0],
            _VOLUME | (0x80 if is_end else 0),
            FRAME * min(step + 1, PRESSED_PACKETS),
        )
