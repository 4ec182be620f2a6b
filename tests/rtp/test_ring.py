import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.ring import HOLE, PcmRings


def frames(*values: int, width: int) -> np.ndarray:
    return np.array([[value] * width for value in values], np.int16)


def test_the_length_is_a_power_of_two() -> None:
    assert PcmRings(1, 4096).size == 4096
    assert PcmRings(1, 4097).size == 8192


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-500, 5000), st.integers(1, 60)), min_size=1, max_size=40
    )
)
def test_what_is_written_is_read_where_it_was_written(writes: list[tuple[int, int, int]]) -> None:
    rings = PcmRings(4, 64)
    model: dict[tuple[int, int], int] = {}
    for number, (row, position, width) in enumerate(writes):
        rings.write(np.array([row]), np.array([position]), frames(number + 1, width=width))
        for at in range(position, position + width):
            model[row, at % 64] = number + 1
    for (row, at), value in model.items():
        assert rings.read(np.array([row]), np.array([at]), 1)[0, 0] == value
        assert rings.pick(np.array([row]), np.array([[at]]))[0, 0] == value


def test_rows_that_wrap_and_rows_that_do_not_go_together() -> None:
    rings = PcmRings(3, 64)
    rows, positions = np.array([0, 1, 2]), np.array([0, 60, 124])
    rings.write(rows, positions, frames(1, 2, 3, width=10))
    assert (rings.read(rows, positions, 10) == frames(1, 2, 3, width=10)).all()


@given(st.integers(-200, 200), st.integers(0, 200))
def test_punching_marks_exactly_the_hole(start: int, length: int) -> None:
    rings = PcmRings(2, 64)
    rings.write(np.array([0, 1]), np.array([0, 0]), frames(7, 7, width=64))
    rings.punch(0, start, start + length)
    ring = rings.read(np.array([0]), np.array([0]), 64)[0]
    holes = {at % 64 for at in range(start, start + length)}
    assert {int(at) for at in np.flatnonzero(ring == HOLE)} == holes
    assert (rings.read(np.array([1]), np.array([0]), 64) == 7).all()


def test_silence_is_written_until_the_whole_row_is_silent_and_again_after_anything_else() -> None:
    rings = PcmRings(3, 1000)
    rows = np.array([0, 2])
    rings.write(rows, np.array([0, 0]), np.full((2, rings.size), 7, np.int16))
    for frame in range(200):
        positions = np.array([frame * 320, 40 + frame * 320])
        rings.write_silence(rows, positions, 320)
        assert not rings.read(rows, positions, 320).any()
        if frame == 100:
            rings.punch(0, frame * 320 + 320, frame * 320 + 640)
            rings.write(np.array([2]), positions[1:] + 400, np.full((1, 50), 9, np.int16))


def test_silence_out_of_its_order_covers_what_was_there() -> None:
    rings = PcmRings(1, 1000)
    row = np.array([0])
    for frame in range(20):
        rings.write_silence(row, np.array([frame * 320]), 320)
    rings.write(row, np.array([7000]), np.full((1, 320), 5, np.int16))
    for position in (6720, 7040):
        rings.write_silence(row, np.array([position]), 320)
    assert not rings.read(row, np.array([6720]), 640).any()
