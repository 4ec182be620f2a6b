"""Call-progress tones by country: the table, its names and a frame source that plays them."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Final

import numpy as np

from vb.media.errors import UnknownTone
from vb.media.frames import FRAME_MS, FRAMES_PER_S, Pcm, frame_samples, silence

PEAK_AMPLITUDE: Final = 23_000
"""Peak of a tone in 16-bit steps, shared equally by its components."""
FADE_MS: Final = 2
DEFAULT_COUNTRY: Final = "us"


@dataclass(frozen=True, slots=True)
class ToneSpec:
    """One tone: its components, its rhythm and its modulation.

    ``cadence_ms`` alternates on and off times and repeats; empty means continuous. Frequencies
    are whole Hz, so every waveform repeats after one second. ``am_hz`` 0 means unmodulated.
    """

    name: str
    frequencies_hz: tuple[int, ...]
    cadence_ms: tuple[int, ...] = ()
    am_hz: int = 0


def _tones(country: str, **types: tuple[str, str]) -> dict[str, ToneSpec]:
    """Build a country's specs from ``type=("440+480", "2000/4000")``; ``*17`` marks 17 Hz AM."""
    specs = {}
    for kind, (pitch, rhythm) in types.items():
        frequencies, _, am = pitch.partition("*")
        name = f"{country}_{kind}"
        specs[name] = ToneSpec(
            name=name,
            frequencies_hz=tuple(int(part) for part in frequencies.split("+")),
            cadence_ms=tuple(int(part) for part in rhythm.split("/") if part),
            am_hz=int(am or 0),
        )
    return specs


TONES: Final[dict[str, ToneSpec]] = {
    **_tones(
        "us",
        ringback=("440+480", "2000/4000"),
        busy=("480+620", "500/500"),
        dial=("350+440", ""),
        congestion=("480+620", "250/250"),
    ),
    **_tones(
        "gb",
        ringback=("400+450", "400/200/400/2000"),
        busy=("400", "375/375"),
        dial=("350+440", ""),
        congestion=("400", "400/350/225/525"),
    ),
    **_tones(
        "de",
        ringback=("425", "1000/4000"),
        busy=("425", "480/480"),
        dial=("425", ""),
        congestion=("425", "240/240"),
    ),
    **_tones(
        "fr",
        ringback=("440", "1500/3500"),
        busy=("440", "500/500"),
        dial=("440", ""),
        congestion=("440", "250/250"),
    ),
    **_tones(
        "au",
        ringback=("400*17", "400/200/400/2000"),
        busy=("400", "375/375"),
        dial=("400+450", ""),
        congestion=("400", "375/375"),
    ),
    **_tones(
        "jp",
        ringback=("400*16", "1000/2000"),
        busy=("400", "500/500"),
        dial=("400", ""),
        congestion=("400", "250/250"),
    ),
    **_tones(
        "it",
        ringback=("425", "1000/4000"),
        busy=("425", "500/500"),
        dial=("425", ""),
        congestion=("425", "200/200"),
    ),
    **_tones(
        "in",
        ringback=("400*25", "400/200/400/2600"),
        busy=("400", "750/750"),
        dial=("400", ""),
        congestion=("400", "250/250"),
    ),
    **_tones(
        "br",
        ringback=("425", "1000/4000"),
        busy=("425", "250/250"),
        dial=("425", ""),
        congestion=("425", "250/250"),
    ),
    **_tones("pl", ringback=("425", "1000/4000")),
    **_tones(
        "ru",
        ringback=("425", "800/3200"),
        busy=("425", "350/350"),
        dial=("425", ""),
        congestion=("425", "175/175"),
    ),
}
"""Every tone by its full name ``{country}_{type}``."""


def parse_tone(name: str) -> ToneSpec:
    """Find a tone by ``{country}_{type}`` or by a bare type, which means the US one.

    Case does not matter, and ``uk_`` means ``gb_``.

    Raises:
        UnknownTone: there is no such tone; the text lists the names there are.
    """
    key = name.strip().lower()
    if "_" not in key:
        key = f"{DEFAULT_COUNTRY}_{key}"
    elif key.startswith("uk_"):
        key = "gb_" + key.removeprefix("uk_")
    spec = TONES.get(key)
    if spec is None:
        raise UnknownTone(f"unknown tone {name[:64]!r}; known tones: {', '.join(TONES)}")
    return spec


@lru_cache(maxsize=64)
def _one_second(frequencies_hz: tuple[int, ...], am_hz: int, rate_hz: int) -> Pcm:
    """Return one period of the unkeyed waveform as 50 frames, shape ``(50, rate_hz // 50)``."""
    turns = np.arange(rate_hz, dtype=np.float64) * (2.0 * np.pi / rate_hz)
    wave = np.zeros(rate_hz)
    for frequency_hz in frequencies_hz:
        wave += np.sin(frequency_hz * turns)
    wave *= PEAK_AMPLITUDE / len(frequencies_hz)
    if am_hz:
        wave *= 0.5 + 0.5 * np.sin(am_hz * turns)
    frames = np.rint(wave).astype(np.int16).reshape(FRAMES_PER_S, frame_samples(rate_hz))
    frames.setflags(write=False)
    return frames


class ToneSource:
    """Plays a tone for ever, at whatever rate each frame is asked for.

    Time is counted in whole frames, so phase and rhythm go on unbroken when the rate changes.
    The rate must be a multiple of 50 Hz.
    """

    __slots__ = ("_cycle_ms", "_envelope_at_ms", "_envelope_level", "_frame", "_segment_ends_ms", "spec")

    finished: Final = False

    def __init__(self, spec: ToneSpec) -> None:
        self.spec = spec
        self._frame = 0
        self._segment_ends_ms = tuple(accumulate(spec.cadence_ms))
        self._cycle_ms = sum(spec.cadence_ms)
        at_ms: list[int] = []
        level: list[int] = []
        for start, end in zip((0, *self._segment_ends_ms[1::2]), self._segment_ends_ms[::2], strict=False):
            at_ms += (start, start + FADE_MS, end - FADE_MS, end)
            level += (0, 1, 1, 0)
        self._envelope_at_ms = tuple(at_ms)
        self._envelope_level = tuple(level)

    def take(self, rate_hz: int) -> Pcm:
        """Return the next 20 ms at ``rate_hz``."""
        frame = self._frame
        self._frame += 1
        wave: Pcm = _one_second(self.spec.frequencies_hz, self.spec.am_hz, rate_hz)[frame % FRAMES_PER_S]
        if not self._cycle_ms:
            return wave.copy()
        start_ms = frame * FRAME_MS % self._cycle_ms
        segment = bisect_right(self._segment_ends_ms, start_ms)
        left_ms = self._segment_ends_ms[segment] - start_ms
        sounding = segment % 2 == 0
        if left_ms >= FRAME_MS and not sounding:
            return silence(rate_hz)
        segment_start_ms = self._segment_ends_ms[segment - 1] if segment else 0
        if sounding and left_ms >= FRAME_MS + FADE_MS and start_ms - segment_start_ms >= FADE_MS:
            return wave.copy()
        return self._keyed(wave, start_ms)

    def _keyed(self, wave: Pcm, start_ms: int) -> Pcm:
        """Return ``wave`` under the on/off envelope; only frames with an edge come here."""
        at_ms = start_ms + np.arange(wave.size) * (FRAME_MS / wave.size)
        level = np.interp(at_ms % self._cycle_ms, self._envelope_at_ms, self._envelope_level)
        keyed: Pcm = np.rint(wave * level).astype(np.int16)
        return keyed
