"""Frames of changing rates at one rate."""

from __future__ import annotations

import numpy as np
import pytest

from tests.media.support import sine
from vb.codecs.pcm import Pcm
from vb.codecs.resample import StreamResampler
from vb.media.one_rate import OneRate

TO_HZ = 16_000


def frames(rate_hz: int, hertz: int = 400) -> list[Pcm]:
    return list(sine(hertz, rate_hz, 0.1).reshape(5, -1))


def converted(rates: OneRate, rate_hz: int) -> Pcm:
    return np.concatenate([rates.convert(frame, rate_hz) for frame in frames(rate_hz)])


def afresh(rate_hz: int) -> Pcm:
    resampler = StreamResampler(rate_hz, TO_HZ)
    return np.concatenate([resampler.process(frame) for frame in frames(rate_hz)])


def test_what_has_the_rate_comes_out_as_it_is() -> None:
    frame = frames(TO_HZ)[0]
    assert OneRate(TO_HZ).convert(frame, TO_HZ) is frame


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_a_stream_is_converted_without_a_seam(rate_hz: int) -> None:
    np.testing.assert_array_equal(converted(OneRate(TO_HZ), rate_hz), afresh(rate_hz))


@pytest.mark.parametrize("between_hz", [TO_HZ, 48_000])
def test_after_another_rate_a_stream_begins_afresh(between_hz: int) -> None:
    rates = OneRate(TO_HZ)
    converted(rates, 8_000)
    converted(rates, between_hz)
    np.testing.assert_array_equal(converted(rates, 8_000), afresh(8_000))
