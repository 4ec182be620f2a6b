"""Timers on the beat of the media."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.beat import BEAT_S, after_beat, at_leisure, beat_from


@given(st.floats(0, 1e7))
def test_a_beat_comes_at_most_one_beat_later_and_never_before(moment: float) -> None:
    beat = beat_from(moment)
    assert moment <= beat <= moment + 1.001 * BEAT_S
    assert beat / BEAT_S == pytest.approx(round(beat / BEAT_S), abs=1e-4)
    assert beat < after_beat(moment) < beat + BEAT_S / 4


def test_only_what_is_not_due_soon_waits_for_the_beat() -> None:
    assert at_leisure(100.011, 100.0) == 100.011
    assert at_leisure(99.0, 100.0) == 99.0
    assert at_leisure(105.011, 100.0) == after_beat(105.011) > 105.011
    assert at_leisure(inf, 100.0) == after_beat(inf) == inf
