from __future__ import annotations

import numpy as np

from bench.codecs import Speaker, payloads_of
from bench.generator import Heard
from bench.hearing import check_hearing
from bench.tones import tone_frequencies

TALKER, LISTENER = Speaker("G722", 40), Speaker("G722", 40, "silence")
STEP = TALKER.clock_step


def heard(frequency: int, amplitude: float, *, missing: int | None = None) -> Heard:
    payloads = [payload for payload in payloads_of(TALKER, frequency, amplitude) * 2 if payload is not None]
    stamps = (np.arange(len(payloads)) * STEP).astype(np.uint32)
    kept = [place for place in range(len(payloads)) if place != missing]
    return Heard(stamps[kept], [payloads[place] for place in kept])


def faults(*listeners: Heard) -> tuple[str, ...]:
    speakers = [TALKER, *[LISTENER] * (len(listeners) - 1)]
    return check_hearing(listeners, speakers, np.zeros(len(listeners), np.int64), 4000.0).wrong


def test_a_listener_that_hears_the_talker_is_right() -> None:
    tone = int(tone_frequencies(2)[0])
    assert faults(heard(0, 0.0), heard(tone, 4000.0)) == ()


def test_a_listener_that_hears_nobody_is_told_of() -> None:
    assert faults(heard(0, 0.0), heard(0, 0.0)) == ("listener 1: misses [0], hears []",)


def test_a_talker_that_hears_itself_is_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    assert faults(heard(tone, 4000.0), heard(tone, 4000.0)) == ("listener 0: misses [], hears [0]",)


def test_a_seam_in_the_last_second_is_no_fault_where_the_second_before_is_right() -> None:
    tone = int(tone_frequencies(2)[0])
    right, seam = heard(tone, 4000.0), heard(tone, 4000.0)
    late = (right.stamps[-1] + STEP + seam.stamps).astype(np.uint32)
    torn = [seam.payloads[(place * 7) % 25] for place in range(len(seam.payloads))]
    assert faults(heard(0, 0.0), Heard(late, torn))
    both = Heard(np.concatenate((right.stamps, late)), right.payloads + torn)
    assert faults(heard(0, 0.0), both) == ()
    gap = Heard(np.concatenate((right.stamps, late[3:])), right.payloads + torn[3:])
    assert faults(heard(0, 0.0), gap) == ()


def test_a_stranger_in_every_second_is_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    once = heard(tone, 4000.0)
    stamps = (np.arange(3 * len(once.stamps)) * STEP).astype(np.uint32)
    assert faults(Heard(stamps, once.payloads * 3), once) == ("listener 0: misses [], hears [0]",)


def test_packets_missing_everywhere_are_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    (fault,) = faults(heard(0, 0.0), heard(tone, 4000.0, missing=25))
    assert fault == "listener 1, G722: no unbroken second of audio"
