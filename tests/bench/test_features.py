from __future__ import annotations

import pytest

from bench.cases import FeaturesCase
from bench.features import recorded_legs, wall_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-02T00:00:00.000000001Z", 86_400_000_000_001),
    ],
)
def test_a_time_stamp_is_read_to_the_nanosecond(text: str, expected: int) -> None:
    assert wall_ns(text) == expected


def test_every_tenth_leg_is_recorded_and_both_places_of_a_room() -> None:
    legs = recorded_legs(FeaturesCase())
    assert len(set(legs)) == 50
    assert legs[:4] == [0, 11, 20, 31]
    assert sum(leg % 2 for leg in legs) == 25
