import numpy as np
import pytest

from tests.media.support import peaks_hz, sine
from vb.media.conversion import RateConverter


@pytest.mark.parametrize("portion", [7, 441, 44_100])
def test_the_length_is_exact_whatever_the_portions(portion: int) -> None:
    pcm = sine(1000, 44_100, 1.5)
    converter = RateConverter(44_100, 48_000)
    pieces = [
        piece
        for start in range(0, pcm.size, portion)
        for piece in converter.feed(pcm[start : start + portion])
    ]
    converted = np.concatenate([*pieces, *converter.finish()])
    assert converted.size == 72_000
    assert peaks_hz(converted[12_000:60_000], 48_000, above=100) == {1000}


def test_a_single_sample_has_a_length_too() -> None:
    converter = RateConverter(44_100, 48_000)
    pieces = [*converter.feed(np.array([7], np.int16)), *converter.finish()]
    assert sum(piece.size for piece in pieces) == 1


def test_nothing_becomes_nothing() -> None:
    converter = RateConverter(44_100, 48_000)
    pieces = [*converter.feed(np.zeros(0, np.int16)), *converter.finish()]
    assert sum(piece.size for piece in pieces) == 0
