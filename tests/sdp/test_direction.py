"""Directions as flags."""

import pytest

from vb.sdp.direction import DIRECTIONS, Direction, direction_of, intersect, mirror, receives, sends


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ],
)
def test_mirror_swaps_sending_and_receiving(mine: Direction, theirs: Direction) -> None:
    assert mirror(mine) == theirs


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_flags_make_the_direction_again(direction: Direction) -> None:
    assert direction_of(send=sends(direction), receive=receives(direction)) == direction


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_intersection_takes_nothing_that_one_side_lacks(direction: Direction) -> None:
    assert intersect(direction, "sendrecv") == direction
    assert intersect(direction, "inactive") == "inactive"
    assert intersect("sendonly", "recvonly") == "inactive"
