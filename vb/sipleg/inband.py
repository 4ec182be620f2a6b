"""The task that listens for digits in a leg's audio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vb.channels import Channel
from vb.log import StrangersLog
from vb.media.one_rate import OneRate
from vb.mixer.frames import Pcm
from vb.mixer.port import Port
from vb.speech.inband_dtmf import RATE_HZ, InbandDtmfDetector

strangers = StrangersLog(__name__)

DIGITS: Final = 32
"""Digits that wait to be told; a hand presses far fewer before the task has its turn."""


class _Ear:
    """A tap that detects digits as the frames pass by."""

    def __init__(self) -> None:
        self.digits: Channel[str] = Channel(DIGITS, overflow="drop_newest", name="inband digits")
        self._detector = InbandDtmfDetector()
        self._rate = OneRate(RATE_HZ)

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Listen to 20 ms."""
        digit = self._detector.feed(self._rate.convert(frame, rate_hz))
        if digit is not None:
            self.digits.put(digit)


async def listen_for_digits(port: Port, on_digit: Callable[[str], None]) -> None:
    """Report every digit that is heard from a leg until cancelled."""
    ear = _Ear()
    port.add_tap_in(ear)
    try:
        async for digit in ear.digits:
            on_digit(digit)
    finally:
        port.remove_tap(ear)
        if ear.digits.dropped:
            strangers.warning("digits lost", count=ear.digits.dropped)
