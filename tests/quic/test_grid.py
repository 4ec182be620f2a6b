"""Moments that many connections share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vb.quic.grid import GRID_S, grid_after, grid_from

MOMENTS = st.floats(0, 1e7)


@given(moment=MOMENTS)
def test_a_moment_of_the_grid_is_never_before_and_never_long_after(moment: float) -> None:
    assert moment <= grid_from(moment) <= moment + 1.001 * GRID_S
    assert moment <= grid_after(moment) <= moment + 1.001 * GRID_S
