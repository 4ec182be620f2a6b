from __future__ import annotations

import numpy as np
import pytest

from bench.codecs import ALAW_LEVELS, FORMATS, Speaker, decode, payloads_of
from bench.hearing import levels_of

SPEAKERS = [Speaker(name, ms) for name, form in FORMATS.items() for ms in form.packet_ms]
TONE_HZ = 1001
OTHERS = np.array([311, 611, 1511, 2711])


@pytest.mark.parametrize("speaker", SPEAKERS, ids=lambda s: f"{s.codec}-{s.ptime_ms}")
def test_payloads_that_repeat_are_an_unbroken_tone(speaker: Speaker) -> None:
    payloads = payloads_of(speaker, TONE_HZ, 4000.0)
    samples = decode(speaker.codec, [payload for payload in payloads * 2 if payload is not None])
    around = samples[samples.size // 2 - speaker.form.rate_hz // 2 :][: speaker.form.rate_hz]
    levels = levels_of(around, np.array([TONE_HZ, *OTHERS]))
    assert levels[0] == pytest.approx(4000, rel=0.02)
    assert levels[1:].max() < 40


def test_who_pauses_sends_a_word_now_and_then() -> None:
    payloads = payloads_of(Speaker("opus", sound="pause"), TONE_HZ, 4000.0)
    assert [payload is not None for payload in payloads].count(True) == 1
    assert len(payloads) == 10


def test_a_law_bytes_are_their_own_mirror() -> None:
    assert (ALAW_LEVELS[:128] == -ALAW_LEVELS[128:]).all()
    assert np.abs(ALAW_LEVELS.astype(int)).min() == 8
    assert ALAW_LEVELS.max() == 32256
