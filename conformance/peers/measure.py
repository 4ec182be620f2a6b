"""What a peer heard: tones, level, and the shape of the packet stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from conformance.expect import Difference

Pcm = NDArray[np.int16]

QUIET_DB = -55.0
"""Comfort noise lies near -65 dBFS; anything below this counts as silence."""


def level_db(pcm: Pcm) -> float:
    """RMS level in dBFS, -99 for digital silence."""
    if not len(pcm):
        return -99.0
    rms = float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)))
    return max(-99.0, 20 * float(np.log10(rms / 32768))) if rms > 0 else -99.0


def tones_of(pcm: Pcm, rate_hz: int) -> list[int]:
    """Frequencies in Hz of the peaks within 20 dB of the strongest one, ascending; nothing below -50 dBFS."""
    if len(pcm) < rate_hz // 20:
        return []
    window = np.hanning(len(pcm))
    size = 1 << (len(pcm) * 4 - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(pcm * window, size)) / (window.sum() / 2) / 32768
    spectrum[: int(60 * size / rate_hz)] = 0
    floor = max(float(spectrum.max()) / 10, 10 ** (-50 / 20))
    inner = spectrum[1:-1]
    peaks = np.flatnonzero((inner > spectrum[:-2]) & (inner >= spectrum[2:]) & (inner > floor)) + 1
    found: list[int] = []
    for peak in sorted(peaks, key=lambda index: -float(spectrum[index])):
        hertz = round(int(peak) * rate_hz / size)
        if all(abs(hertz - other) > 25 for other in found):
            found.append(hertz)
    return sorted(found)


def noise_beside(pcm: Pcm, hertz: float, rate_hz: int) -> float:
    """How loud everything is that is not this tone at a steady phase, in dB against the tone."""
    if not len(pcm):
        return 99.0
    t = np.arange(len(pcm)) / rate_hz
    wave = np.stack([np.sin(2 * np.pi * hertz * t), np.cos(2 * np.pi * hertz * t)], axis=1)
    signal = pcm.astype(np.float64)
    parts, *_ = np.linalg.lstsq(wave, signal, rcond=None)
    tone = wave @ parts
    power, rest = float(np.mean(tone**2)), float(np.mean((signal - tone) ** 2))
    return 10 * float(np.log10(max(rest, 1e-3) / max(power, 1e-3)))


@dataclass
class Heard:
    """One listening window of a peer."""

    who: str
    packets: int
    seconds: float
    payload_types: list[int]
    payload_bytes: list[int]
    timestamp_steps: list[int]
    ssrcs: int
    lost: int
    level_db: float
    tones: list[int]
    pcm: Pcm = field(repr=False)
    rate_hz: int = 8000

    @property
    def packets_per_s(self) -> float:
        return self.packets / self.seconds

    def is_steady(self, payload_type: int = 0, step: int = 160, packets_per_s: float = 50) -> None:
        """Checks an unbroken stream of one payload type at the nominal pace.

        Raises:
            Difference: when it is not.
        """
        where = f"media at {self.who}"
        low, high = packets_per_s * 0.85, packets_per_s * 1.15
        if not low <= self.packets_per_s <= high:
            raise Difference(where, f"about {packets_per_s} packets/s", round(self.packets_per_s, 1))
        for name, got, want in (
            ("payload types", self.payload_types, [payload_type]),
            ("timestamp steps", self.timestamp_steps, [step]),
            ("SSRCs", self.ssrcs, 1),
            ("missing sequence numbers", self.lost, 0),
        ):
            if got != want:
                raise Difference(f"{where}: {name}", want, got)

    def is_quiet(self) -> None:
        """Checks that nothing louder than comfort noise was heard.

        Raises:
            Difference: when something was.
        """
        if self.level_db > QUIET_DB:
            raise Difference(f"media at {self.who}", f"quiet (below {QUIET_DB} dBFS)", self.summary())

    def is_nothing(self) -> None:
        """Checks that at most one packet (a keep-alive) came.

        Raises:
            Difference: when more came.
        """
        if self.packets > 1:
            raise Difference(f"media at {self.who}", "no packets", self.summary())

    def has_tones(self, *expected: int, level: float | None = None, within_db: float = 2.0) -> None:
        """Checks that exactly these frequencies were heard (to 8 Hz), and the level in dBFS if given.

        Raises:
            Difference: when others were, or the level differs.
        """
        near = len(self.tones) == len(expected) and all(
            abs(got - want) <= 8 for got, want in zip(self.tones, sorted(expected), strict=True)
        )
        if not near:
            raise Difference(f"tones at {self.who}", sorted(expected), self.summary())
        if level is not None and abs(self.level_db - level) > within_db:
            raise Difference(f"level at {self.who}", f"{level} ± {within_db} dBFS", round(self.level_db, 1))

    def is_pure(self, hertz: float, noise_db: float = -20.0) -> None:
        """Checks that all but a little of what was heard is one tone, without seams.

        Raises:
            Difference: when the rest is louder than ``noise_db`` below the tone.
        """
        noise = noise_beside(self.pcm, hertz, self.rate_hz)
        if noise > noise_db:
            raise Difference(f"{hertz} Hz at {self.who}", f"noise below {noise_db} dB", f"{noise:.1f} dB")

    def summary(self) -> str:
        """One line for a report."""
        return (
            f"{self.packets} packets in {self.seconds:.2f} s, types {self.payload_types}, "
            f"{self.level_db:.1f} dBFS, tones {self.tones}"
        )


def steps_of(timestamps: Sequence[int], sequences: Sequence[int]) -> list[int]:
    """The distinct timestamp steps per sequence number, ascending."""
    steps: set[int] = set()
    for index in range(1, len(timestamps)):
        gap = (sequences[index] - sequences[index - 1]) & 0xFFFF
        if 0 < gap < 1000:
            steps.add(((timestamps[index] - timestamps[index - 1]) & 0xFFFFFFFF) // gap)
    return sorted(steps)


def lost_in(sequences: Sequence[int]) -> int:
    """How many sequence numbers are missing between the first and the last."""
    if len(sequences) < 2:
        return 0
    span = ((max_forward(sequences) - sequences[0]) & 0xFFFF) + 1
    return span - len(set(sequences))


def max_forward(sequences: Sequence[int]) -> int:
    """The furthest sequence number seen, in modular order from the first."""
    return max(sequences, key=lambda s: (s - sequences[0]) & 0x7FFF)
