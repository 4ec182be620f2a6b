"""Objects in groups of any length, in any order, and which frame each of them is."""

from __future__ import annotations

import random

import pytest

from vb.moqleg.numbering import FRAME_S, KEPT_GROUPS, Numbering


def numbered(arrivals: list[tuple[int, int, float]], ends: dict[int, int] | None = None) -> list[int | None]:
    """Return the frames of objects that come as (group, number, time); groups end after their last number."""
    numbering, found = Numbering(), []
    for group, number, now in arrivals:
        found.append(numbering.place(group, number, 100 + now))
        if ends is not None and ends.get(group) == number:
            numbering.over(group)
    return found


@pytest.mark.parametrize("length", [1, 2, 10, 50, 1000])
@pytest.mark.parametrize("first", [0, 7, 2**40])
def test_frames_are_counted_through_groups_of_any_length(length: int, first: int) -> None:
    objects = [(first + frame // length, frame % length, frame * FRAME_S) for frame in range(400)]
    ends = {first + group: length - 1 for group in range(400)}
    assert numbered(objects, ends) == list(range(400))


def test_who_begins_in_the_middle_counts_from_there() -> None:
    assert numbered([(3, 20, 0), (3, 21, 0.02), (4, 0, 0.04)], {3: 21}) == [0, 1, 2]


def test_lost_groups_leave_a_gap_as_long_as_they_were() -> None:
    kept = [group for group in range(100) if not 20 <= group < 30]
    objects = [(group, 0, group * FRAME_S) for group in kept]
    assert numbered(objects, dict.fromkeys(range(100), 0)) == kept


def test_groups_in_any_order_have_their_places() -> None:
    order = list(range(200))
    dice = random.Random(1)
    for place in range(0, 198, 3):
        if dice.random() < 0.5:
            order[place], order[place + 2] = order[place + 2], order[place]
    objects = [(group, 0, place * FRAME_S) for place, group in enumerate(order)]
    shift = order[0]
    assert numbered(objects, dict.fromkeys(range(200), 0)) == [group - shift for group in order]


def test_datagrams_keep_their_distance_whatever_is_lost_of_groups() -> None:
    dice = random.Random(3)
    kept = [frame for frame in range(2000) if frame < 100 or (frame % 50 and dice.random() < 0.8)]
    assert len({149, 199, 249, 299} & set(kept)) < 4
    assert numbered([(frame // 50, frame % 50, frame * FRAME_S) for frame in kept]) == kept


def test_datagrams_in_any_order_keep_their_distance_too() -> None:
    order = list(range(400))
    for end in range(199, 399, 50):
        order[end], order[end + 1] = order[end + 1], order[end]
    # What is overtaken comes late; nothing comes before it was sent.
    objects = [(frame // 50, frame % 50, max(place, frame) * FRAME_S) for place, frame in enumerate(order)]
    assert numbered(objects) == order


def test_a_length_is_learnt_from_what_comes_late() -> None:
    order = [*range(49), 50, 49, *range(51, 99), *range(100, 150)]
    objects = [(frame // 50, frame % 50, frame * FRAME_S) for frame in order]
    assert numbered(objects)[-50:] == list(range(99, 149))


def test_datagrams_of_groups_of_changing_length_follow_each_other() -> None:
    objects, ends = [], [0]
    for group in range(100):
        ends.append(ends[-1] + (46, 47, 47)[group % 3])
        objects += [(group, frame - ends[-2], frame * FRAME_S) for frame in range(ends[-2], ends[-1])]
    assert numbered(objects) == list(range(ends[-1]))


def test_the_size_of_a_group_that_was_told_counts_what_was_lost_at_its_end() -> None:
    numbering = Numbering()
    assert [numbering.place(5, number, 100 + number * FRAME_S) for number in range(4)] == [0, 1, 2, 3]
    numbering.over(5, 6)
    assert numbering.place(6, 0, 100 + 6 * FRAME_S) == 6
    numbering.over(6, 2**61)
    assert numbering.place(7, 0, 100 + 7 * FRAME_S) == 7


def test_a_group_that_begins_before_the_one_before_it_is_whole_keeps_its_distance() -> None:
    objects = [(0, number, number * FRAME_S) for number in range(50)]
    objects += [(1, number, (50 + number) * FRAME_S) for number in range(48)]
    objects += [(2, 0, 100 * FRAME_S), (1, 48, 100 * FRAME_S), (1, 49, 100 * FRAME_S), (2, 1, 101 * FRAME_S)]
    assert numbered(objects, {0: 49, 1: 49})[-4:] == [100, 98, 99, 101]


def test_a_group_that_was_given_up_leaves_no_longer_a_gap_than_there_was_time_for() -> None:
    objects = [(0, number, number * FRAME_S) for number in range(50)]
    objects += [(1, number, (50 + number) * FRAME_S) for number in range(3)]
    objects += [(2, 0, 53 * FRAME_S), (2, 1, 54 * FRAME_S)]
    frames = numbered(objects, {0: 49})
    assert frames[-2:] == [53, 54]
    objects[-2:] = [(2, 0, 80 * FRAME_S), (2, 1, 81 * FRAME_S)]
    frames = numbered(objects, {0: 49})
    assert 78 <= (frames[-2] or 0) <= 82


def test_groups_that_are_numbered_by_a_clock_follow_each_other() -> None:
    objects = [(1_700_000_000_000 + 20 * frame, 0, frame * FRAME_S) for frame in range(100)]
    assert numbered(objects, {group: 0 for group, _, _ in objects}) == list(range(100))


def test_objects_that_are_numbered_by_a_clock_follow_each_other() -> None:
    objects = [(0, 960 * frame, frame * FRAME_S) for frame in range(100)]
    assert numbered(objects) == list(range(100))


def test_a_pause_of_the_publisher_is_no_gap_in_its_numbers() -> None:
    objects = [(0, 0, 0.0), (0, 1, 0.02), (0, 2, 5.0), (0, 3, 5.02)]
    assert numbered(objects) == [0, 1, 2, 3]


def test_what_is_very_old_is_not_placed_and_nothing_grows() -> None:
    numbering = Numbering()
    for group in range(1000):
        numbering.place(group, 0, group * FRAME_S)
    assert numbering.place(1000 - KEPT_GROUPS - 2, 0, 20.0) is None
    assert len(numbering._groups) == KEPT_GROUPS


def test_numbers_of_any_kind_give_frames_and_no_fault() -> None:
    dice, numbering, now = random.Random(2), Numbering(), 0.0
    for _ in range(5000):
        now += dice.random() * 0.05
        group, number = dice.choice([0, 1, 2**61, dice.randrange(2**62)]), dice.choice([0, 1, 2**61])
        frame = numbering.place(group, number, now)
        assert frame is None or abs(frame) < 2**62
        assert len(numbering._groups) <= KEPT_GROUPS
        if dice.random() < 0.3:
            numbering.over(group)


@pytest.mark.parametrize(
    "lengths", [[5] * 9 + [4], [5] * 9 + [4] + [5] * 9 + [6], [50] * 9 + [49], [47] * 7 + [46]]
)
@pytest.mark.parametrize("jitter_s", [0.0, 0.01])
def test_a_shorter_group_now_and_then_is_no_loss(lengths: list[int], jitter_s: float) -> None:
    dice, arrivals, frame = random.Random(3), list[tuple[int, int, float]](), 0
    for group in range(2_000 * 5 // lengths[0]):
        for number in range(lengths[group % len(lengths)]):
            arrivals.append((group, number, frame * FRAME_S + dice.random() * jitter_s))
            frame += 1
    assert numbered(arrivals)[-1] == frame - 1


@pytest.mark.parametrize("step", [2, 3, 4, 5, 6])
def test_groups_of_one_frame_may_be_numbered_in_steps(step: int) -> None:
    arrivals = [(frame * step, 0, frame * FRAME_S) for frame in range(1_200)]
    assert numbered(arrivals)[-1] == 1_199
