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


def test_a_missing_packet_is_told_of() -> None:
    tone = int(tone_frequencies(2)[0])
    (fault,) = faults(heard(0, 0.0), heard(tone, 4000.0, missing=30))
    assert fault == "listener 1, G722: no unbroken second of audio"
