"""What listeners of any format heard: whether each talker of their room is in it, and nobody else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.codecs import Samples, Speaker, decode
from bench.generator import Heard
from bench.tones import HEARD, LEAKED, ToneCheck, tone_frequencies

_MARGIN = 1.1
"""So many seconds are decoded for one that is judged: a codec may keep something to itself at both ends."""
_STEP = 0.5
"""Seconds by which one that is judged lies before another."""
SKIRT_HZ: Final = np.array([-6, -5, -4, -3, 3, 4, 5, 6])
"""Where a tone with a seam has some of its level and a whole one has none."""
TORN: Final = LEAKED / 2
"""Least share of a tone's level that its skirts have in a second with seams."""
TELLING: Final = 0.9
"""Share of the skirts' level above which nothing farther off is a part of them.

Seams mostly have half of it there. A stranger who talks instead of the mate makes a gap in
the mate's tone, whose skirts have at most the level of the stranger.
"""
_LINE_HZ: Final = 1
"""How far the line of a whole tone reaches."""


def unbroken_seconds(heard: Heard, speaker: Speaker) -> Iterator[Samples]:
    """Give seconds of what a listener heard in which no packet is missing, the last one first."""
    order = np.argsort((heard.stamps - heard.stamps[:1]).astype(np.int32), kind="stable")
    steps = np.diff(heard.stamps[order])
    if not steps.size:
        return
    step, form = int(steps.min()), speaker.form
    if not step:
        return
    wanted = math.ceil(_MARGIN * form.clock_hz / step)
    for stop in range(order.size, wanted - 1, -max(1, round(_STEP * form.clock_hz / step))):
        places = order[stop - wanted : stop]
        if (steps[stop - wanted : stop - 1] == step).all():
            samples = decode(speaker.codec, [heard.payloads[place] for place in places.tolist()])
            if samples.size >= form.rate_hz:
                yield samples[-form.rate_hz :]


def levels_of(second: Samples, frequencies: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the peak level of each frequency in one second of audio of any rate."""
    window = np.hanning(second.size + 1)[:-1]
    levels: NDArray[np.float64] = np.abs(np.fft.rfft(second * window)[frequencies]) * 2 / window.sum()
    return levels


def skirt_of(second: Samples, tones: NDArray[np.int64], others: NDArray[np.int64]) -> float:
    """Return the highest level that a second of audio has beside the tones of those who talk.

    A whole tone is a line of three bins. One that is broken off or jumps somewhere has skirts, which get
    lower with the distance. A bin that is of somebody else, or beside it, is not looked at: where tones lie
    so close that none is left, nothing is known of skirts, and the answer is zero.

    Args:
        second: what was heard.
        tones: frequencies of those who talk.
        others: of everybody.
    """
    around = (tones[:, None] + SKIRT_HZ).ravel()
    free = around[np.abs(around[:, None] - others).min(axis=1, initial=_LINE_HZ + 1) > _LINE_HZ]
    return float(levels_of(second, free).max(initial=0.0))


def check_hearing(
    heard: Sequence[Heard], speakers: Sequence[Speaker], rooms: NDArray[np.int64], amplitude: float
) -> ToneCheck:
    """Compare what each listener heard in its unbroken seconds with who talks in its room.

    Who is in which room does not change. A stranger in any second is a fault, unless it may be a part of the
    skirts of a mate's tone: a second with seams has a bit of all frequencies, but not more than beside the
    tone. Beside that, one second that is right is enough.

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
        mates = talks & (rooms == rooms[number])
        mates[number] = False
        fault, weak, loud = f"listener {number}, {speaker.codec}: no unbroken second of audio", np.inf, 0.0
        for second in unbroken_seconds(heard[number], speaker):
            levels = levels_of(second, frequencies) / amplitude
            missing = np.flatnonzero(mates & (levels < HEARD))
            extra = np.flatnonzero(~mates & (levels > LEAKED))
            skirt = skirt_of(second, frequencies[mates], frequencies) / amplitude if extra.size else 0.0
            torn = skirt > TORN and bool(levels[extra].max() <= TELLING * skirt)
            stranger = bool(extra.size) and not torn
            if fault or stranger:
                weak, loud = levels[mates].min(initial=np.inf), levels[~mates].max(initial=0.0)
                fault = f"listener {number}: misses {missing[:5].tolist()}, hears {extra[:5].tolist()}"
                if torn:
                    fault = f"listener {number}, {speaker.codec}: no second of audio without a seam is right"
            if stranger:
                break
            if not missing.size and not extra.size:
                fault = ""
        if fault:
            wrong.append(fault)
        weakest, loudest = min(weakest, float(weak)), max(loudest, float(loud))
    return ToneCheck(tuple(wrong), weakest, loudest)
