import itertools

import numpy as np
import pytest

from tests.codecs.signals import spectrum_db, tone
from vb.codecs.pcm import Pcm
from vb.codecs.resample import RATES_HZ, Resampler, StreamResampler, group_delay_s, kernel

PAIRS = list(itertools.permutations(RATES_HZ, 2))
DOWN = [pair for pair in PAIRS if pair[0] > pair[1]]
UP = [pair for pair in PAIRS if pair[0] < pair[1]]


def resample(pcm: Pcm, from_hz: int, to_hz: int, frame_ms: int = 20) -> Pcm:
    """Through a stream in frames, as the mixer does it."""
    stream = StreamResampler(from_hz, to_hz)
    return np.concatenate([stream.process(f) for f in pcm.reshape(-1, from_hz * frame_ms // 1000)])


def settled(pcm: Pcm, rate_hz: int) -> Pcm:
    """Half a second from the middle of one second: bins are 2 Hz apart."""
    return pcm[rate_hz // 4 : rate_hz // 4 + rate_hz // 2]


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_frame_becomes_a_frame_of_the_same_time(from_hz: int, to_hz: int) -> None:
    stream = StreamResampler(from_hz, to_hz)
    sizes = {stream.process(np.zeros(from_hz // 50, np.int16)).size for _ in range(5)}
    assert sizes == {to_hz // 50}


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_pass_band_is_flat_to_four_tenths_of_the_lower_rate(from_hz: int, to_hz: int) -> None:
    lower = min(from_hz, to_hz)
    for frequency in (100, 300, lower // 8, lower // 4, lower * 4 // 10):
        heard = settled(resample(tone(frequency, from_hz), from_hz, to_hz), to_hz)
        assert abs(spectrum_db(heard)[frequency // 2]) < 0.5, frequency


@pytest.mark.parametrize(("from_hz", "to_hz"), DOWN)
def test_what_the_lower_rate_cannot_carry_is_removed_not_folded(from_hz: int, to_hz: int) -> None:
    for frequency in np.linspace(to_hz / 2, from_hz / 2 - 50, 25).round(-1):
        heard = settled(resample(tone(frequency, from_hz), from_hz, to_hz), to_hz)
        assert spectrum_db(heard).max() < -45, frequency


@pytest.mark.parametrize(("from_hz", "to_hz"), UP)
def test_images_of_a_tone_are_45_db_below_it(from_hz: int, to_hz: int) -> None:
    for frequency in (300, 1000, from_hz * 4 // 10):
        level = spectrum_db(settled(resample(tone(frequency, from_hz), from_hz, to_hz), to_hz))
        level[frequency // 2 - 4 : frequency // 2 + 5] = -200
        assert level.max() < -45, frequency


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("frame_ms", [10, 30, 1000])
def test_frame_length_does_not_change_the_audio(from_hz: int, to_hz: int, frame_ms: int) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, from_hz * 3, np.int16)
    in_20_ms = resample(noise, from_hz, to_hz).astype(int)
    np.testing.assert_allclose(resample(noise, from_hz, to_hz, frame_ms), in_20_ms, atol=1)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_group_delay_is_the_documented_one(from_hz: int, to_hz: int) -> None:
    pulse = np.zeros(from_hz, np.int16)
    pulse[from_hz // 2] = 20_000
    heard = resample(pulse, from_hz, to_hz).astype(float)
    centre = np.sum(np.arange(heard.size) * np.square(heard)) / np.sum(np.square(heard))
    assert centre / to_hz - 0.5 == pytest.approx(group_delay_s(from_hz, to_hz), abs=0.6 / to_hz)
    assert group_delay_s(from_hz, to_hz) <= 0.004


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_full_scale_saturates_and_never_wraps(from_hz: int, to_hz: int) -> None:
    # A square wave overshoots its own height when its upper harmonics are cut off.
    square = np.where(np.arange(from_hz) // (from_hz // 400) % 2, 32767, -32768).astype(np.int16)
    heard = resample(square, from_hz, to_hz).astype(int)
    assert heard.max() == 32767
    assert heard.min() == -32768
    middle = heard[to_hz // 4 : -to_hz // 4]
    assert np.count_nonzero(np.diff(middle >= 0)) == pytest.approx(200, abs=2)
    assert np.median(np.abs(middle)) > 28_000


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_constant_signal_stays_constant(from_hz: int, to_hz: int) -> None:
    heard = resample(np.full(from_hz, 12_345, np.int16), from_hz, to_hz)
    assert set(heard[to_hz // 4 :].tolist()) == {12_345}


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (16000, 8000), (48000, 8000), (16000, 24000)])
def test_streams_of_a_batch_do_not_touch_each_other(from_hz: int, to_hz: int) -> None:
    noise = np.random.default_rng(2).integers(-9000, 9000, (150, 5, from_hz // 50), np.int16)
    batch = Resampler(from_hz, to_hz, capacity=200)
    rows = np.random.default_rng(3).permutation(200)[:150]
    together = np.stack([batch.process(noise[:, tick], rows) for tick in range(5)], axis=1)
    for stream in (0, 63, 64, 149):
        alone = StreamResampler(from_hz, to_hz)
        expected = np.stack([alone.process(frame) for frame in noise[stream]])
        np.testing.assert_allclose(together[stream], expected, atol=1)


def test_reset_row_starts_from_silence() -> None:
    batch = Resampler(8000, 16000, capacity=3)
    loud = np.full((3, 160), 20_000, np.int16)
    batch.process(loud, slice(0, 3))
    batch.reset(np.array([1]))
    after = batch.process(np.zeros((3, 160), np.int16), slice(0, 3))
    assert [bool(row.any()) for row in after] == [True, False, True]


def test_reset_stream_starts_from_silence() -> None:
    stream = StreamResampler(16000, 8000)
    stream.process(np.full(320, 20_000, np.int16))
    stream.reset()
    assert not stream.process(np.zeros(320, np.int16)).any()


def test_given_history_is_not_changed() -> None:
    up = kernel(8000, 16000)
    history = up.new_history(1)
    _, after = up.process(np.full((1, 160), 9000, np.int16), history)
    assert not history.any()
    assert (after == 9000).all()


def test_float_audio_beyond_the_scale_saturates_only_as_pcm() -> None:
    up = kernel(8000, 16000)
    loud = np.full((1, 160), 50_000, np.float32)
    pcm, _ = up.process(loud, up.new_history(1))
    samples, _ = up.process_float(loud, up.new_history(1))
    assert pcm.max() == 32767
    assert samples[0, -1] == pytest.approx(50_000, rel=1e-5)


def test_equal_rates_pass_audio_through() -> None:
    same = kernel(16000, 16000)
    frames = np.arange(640, dtype=np.int16).reshape(2, 320)
    converted, _ = same.process(frames, same.new_history(2))
    np.testing.assert_array_equal(converted, frames)
    assert group_delay_s(16000, 16000) == 0


def test_equal_rates_still_saturate_float_audio() -> None:
    same = kernel(16000, 16000)
    loud = np.array([[40_000, -40_000, 1.4]], np.float32)
    converted, _ = same.process(loud, same.new_history(1))
    assert converted.tolist() == [[32767, -32768, 1]]
    assert loud.tolist()[0][0] == 40_000


def test_no_streams_are_no_work() -> None:
    none, history = kernel(8000, 16000).process(
        np.zeros((0, 160), np.int16), kernel(8000, 16000).new_history(0)
    )
    assert none.shape == (0, 320)
    assert history.shape[0] == 0


def test_empty_frame_stays_empty() -> None:
    stream = StreamResampler(16000, 8000)
    assert stream.process(np.zeros(0, np.int16)).size == 0


def test_part_of_an_output_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="321"):
        StreamResampler(16000, 8000).process(np.zeros(321, np.int16))


@pytest.mark.parametrize("pair", [(44100, 8000), (8000, 11025), (0, 0)])
def test_other_rates_are_refused(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no live conversion"):
        kernel(*pair)
