import numpy as np
import pytest

from vb.media.gain import Gain, gain_of


@pytest.mark.parametrize(("volume", "gain"), [(0, 1.0), (4, 3.981), (8, 15.849), (-8, 0.0631)])
def test_each_volume_step_is_3_db(volume: int, gain: float) -> None:
    assert gain_of(volume) == pytest.approx(gain, rel=1e-3)


@pytest.mark.parametrize("volume", [-9, 9])
def test_volume_outside_the_range_is_refused(volume: int) -> None:
    with pytest.raises(ValueError, match="between -8 and 8"):
        gain_of(volume)


def test_a_refused_volume_leaves_the_old_one() -> None:
    gain = Gain(2)
    with pytest.raises(ValueError):
        gain.volume = 12
    assert gain.volume == 2
    assert gain.apply(np.full(160, 1000, np.int16))[0] == 1995


def test_volume_zero_passes_the_frame_through() -> None:
    frame = np.arange(160, dtype=np.int16)
    assert Gain().apply(frame) is frame


def test_loud_samples_saturate_instead_of_wrapping() -> None:
    frame = np.array([30_000, -30_000], np.int16)
    assert Gain(8).apply(frame).tolist() == [32767, -32768]


def test_a_change_ramps_over_one_frame_and_then_holds() -> None:
    gain = Gain()
    frame = np.full(160, 1000, np.int16)
    gain.volume = 4
    ramp = gain.apply(frame)
    assert ramp[0] == 1000
    assert np.all(np.diff(ramp) >= 0)
    assert ramp[-1] == 3981
    assert np.all(gain.apply(frame) == 3981)
