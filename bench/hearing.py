"""What listeners of any format heard: whether each talker of their room is in it, and nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Samples, Speaker, decode
from bench.generator import Heard
from bench.tones import HEARD, LEAKED, ToneCheck, tone_frequencies

_MARGIN = 0.02
"""Share of a second that a codec may keep to itself at the ends of what was captured."""


def last_second(heard: Heard, speaker: Speaker) -> Samples | None:
    """Return the last second of what a listener heard, None when it has no unbroken one."""
    order = np.argsort((heard.stamps - heard.stamps[:1]).astype(np.int32), kind="stable")
    stamps = heard.stamps[order]
    if not stamps.size or np.unique(np.diff(stamps)).size > 1:
        return None
    samples = decode(speaker.codec, [heard.payloads[place] for place in order.tolist()])
    rate_hz = speaker.form.rate_hz
    return samples[-rate_hz:] if samples.size >= rate_hz * (1 + _MARGIN) else None


def levels_of(second: Samples, frequencies: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the peak level of each frequency in one second of audio of any rate."""
    window = np.hanning(second.size + 1)[:-1]
    levels: NDArray[np.float64] = np.abs(np.fft.rfft(second * window)[frequencies]) * 2 / window.sum()
    return levels


def check_hearing(
    heard: Sequence[Heard], speakers: Sequence[Speaker], rooms: NDArray[np.int64], amplitude: float
) -> ToneCheck:
    """Compare what each listener heard in its last second with who talks in its room.

    Args:
        heard: per listener, what it received.
        speakers: per listener, what it sends itself.
        rooms: the room of each.
        amplitude: the level of every tone.
    """
    frequencies = tone_frequencies(len(heard))
    talks = np.array([speaker.sound == "tone" for speaker in speakers])
    wrong: list[str] = []
    weakest, loudest = np.inf, 0.0
    for number, speaker in enumerate(speakers):
        second = last_second(heard[number], speaker)
        if second is None:
            wrong.append(f"listener {number}, {speaker.codec}: no unbroken second of audio")
            continue
        levels = levels_of(second, frequencies) / amplitude
        mates = talks & (rooms == rooms[number])
        mates[number] = False
        missing, extra = np.flatnonzero(mates & (levels < HEARD)), np.flatnonzero(~mates & (levels > LEAKED))
        if missing.size or extra.size:
            wrong.append(f"listener {number}: misses {missing[:5].tolist()}, hears {extra[:5].tolist()}")
        weakest = min(weakest, float(levels[mates].min(initial=np.inf)))
        loudest = max(loudest, float(levels[~mates].max(initial=0.0)))
    return ToneCheck(tuple(wrong), weakest, loudest)
