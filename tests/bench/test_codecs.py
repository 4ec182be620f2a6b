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


def test_who_is_asked_for_nothing_above_8_khz_sends_nothing_above_it() -> None:
    wide = payloads_of(Speaker("opus", wide_band=True), TONE_HZ, 4000.0)
    full = payloads_of(Speaker("opus"), TONE_HZ, 4000.0)
    bands = [{payload[0] >> 3 for payload in found if payload is not None} for found in (wide, full)]
    assert bands[0] <= {8, 9, 10, 11, 20, 21, 22, 23}
    assert not bands[0] & bands[1]
