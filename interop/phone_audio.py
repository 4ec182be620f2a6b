"""What a phone says and hears: a continuous tone or digits one way, and what comes in judged by an FFT."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import numpy as np
from baresip.call import Call
from baresip.errors import AudioNotActive, AudioRestarted
from numpy.typing import NDArray

from interop.tones import loud_bins

AMPLITUDE = 8000.0
# 60 ms ahead of the clock: enough for a busy machine, little enough to stay in step.
AHEAD_S = 0.06
DIGIT_S = 0.1
ROWS_HZ = (697, 770, 852, 941)
COLUMNS_HZ = (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"

Pcm = NDArray[np.int16]


def sines(frequencies_hz: Collection[int], rate_hz: int, start: int, samples: int) -> Pcm:
    """Sines one over the other, continued from sample number `start`."""
    at = np.arange(start, start + samples) / rate_hz
    wave = np.zeros(samples)
    for hz in frequencies_hz:
        wave += AMPLITUDE * np.sin(2 * np.pi * hz * at)
    return wave.astype(np.int16)


def key_hz(digit: str) -> tuple[int, int]:
    """The two frequencies of a key.  Spec: ITU-T Q.23."""
    row, column = divmod(KEYS.index(digit), 4)
    return ROWS_HZ[row], COLUMNS_HZ[column]


class CallAudio:
    """The audio of one call; `step` is to be called every few milliseconds.

    A re-INVITE may replace the streams at any time: the tone then starts anew on the next ones.

    Args:
        call: whose.
        tone_hz: what is said until digits are; 0 = silence.
    """

    def __init__(self, call: Call, tone_hz: int) -> None:
        self._call = call
        self._tone = (tone_hz,) if tone_hz else ()
        self._digits = ""
        self._said = asyncio.Event()
        self._begun_s: float | None = None
        self._sent = 0
        self._heard = bytearray()
        self._rate_hz = 0
        self._channels = 1

    def say_digits(self, digits: str) -> asyncio.Event:
        """Say digits in the audio in place of the tone: each 100 ms long, with 100 ms of silence after it.

        Returns:
            What is set when the last one has been said.
        """
        self._digits, self._said = digits, asyncio.Event()
        self._begun_s = None
        return self._said

    def step(self, now_s: float) -> None:
        """Write what is due and read what has come."""
        try:
            info = self._call.audio.info()
            if info.tx_ready:
                self._write(now_s, info.tx_sample_rate, info.tx_channels)
            if info.rx_ready:
                self._rate_hz, self._channels = info.rx_sample_rate, info.rx_channels
                self._heard += self._call.audio.read(1 << 16)
        except (AudioNotActive, AudioRestarted):
            self._begun_s = None

    def _write(self, now_s: float, rate_hz: int, channels: int) -> None:
        if self._begun_s is None:
            self._begun_s, self._sent = now_s, 0
        due = int((now_s - self._begun_s + AHEAD_S) * rate_hz)
        if due > self._sent:
            wave = self._wave(rate_hz, self._sent, due - self._sent)
            self._sent = due
            self._call.audio.write(np.repeat(wave, channels).tobytes())

    def _wave(self, rate_hz: int, start: int, samples: int) -> Pcm:
        if not self._digits:
            return sines(self._tone, rate_hz, start, samples)
        slot = int(2 * DIGIT_S * rate_hz)
        numbers = np.arange(start, start + samples)
        wave = np.zeros(samples, np.int16)
        for number, digit in enumerate(self._digits):
            pressed = (numbers >= number * slot) & (numbers < number * slot + slot // 2)
            if pressed.any():
                wave[pressed] = sines(key_hz(digit), rate_hz, start, samples)[pressed]
        if start >= slot * len(self._digits):
            self._digits = ""
            self._said.set()
        return wave

    def forget(self) -> None:
        """Start listening anew."""
        self._heard.clear()

    def heard(self) -> tuple[dict[int, float], float]:
        """The loud bins since `forget`, and how many seconds came."""
        if not self._rate_hz:
            return {}, 0.0
        channels = max(self._channels, 1)
        pcm = np.frombuffer(bytes(self._heard[: len(self._heard) // (2 * channels) * 2 * channels]), np.int16)
        pcm = pcm[::channels]
        return loud_bins(pcm, self._rate_hz), round(len(pcm) / self._rate_hz, 2)
