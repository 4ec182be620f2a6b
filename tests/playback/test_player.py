import numpy as np
import pytest

from tests.media.support import peaks_hz, sine
from vb.codecs.pcm import Pcm
from vb.media.tones import ToneSource, parse_tone
from vb.playback.player import BUFFER_FRAMES, REFILL_FRAMES, FrameBuffer, Playback, PlaybackRequest


def take_all(source: FrameBuffer | Playback, rate_hz: int) -> Pcm:
    frames = []
    while (frame := source.take(rate_hz)) is not None:
        frames.append(frame)
    return np.concatenate(frames)


def is_finished(source: FrameBuffer | Playback) -> bool:
    return source.finished


@pytest.mark.parametrize("fields", [{}, {"url": "http://x/", "tone": "dial"}])
def test_a_request_has_exactly_one_of_url_and_tone(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        PlaybackRequest(**fields)  # type: ignore[arg-type]  # only the text fields are given


@pytest.mark.parametrize(("repeat", "passes"), [(0, 1), (1, 1), (3, 3), (-1, None)])
def test_repeat_counts_passes(repeat: int, passes: int | None) -> None:
    assert PlaybackRequest(tone="dial", repeat=repeat).passes == passes


def test_a_repeat_below_minus_one_is_refused() -> None:
    with pytest.raises(ValueError, match="repeat"):
        PlaybackRequest(tone="dial", repeat=-2)


def test_the_buffer_gives_back_what_was_written_and_pads_the_last_frame() -> None:
    buffer = FrameBuffer(8000)
    pcm = np.arange(1, 401, dtype=np.int16)
    buffer.write(pcm[:70])
    buffer.write(pcm[70:333])
    buffer.write(pcm[333:])
    buffer.end()
    played = take_all(buffer, 8000)
    assert np.array_equal(played[:400], pcm)
    assert played.size == 480
    assert not played[400:].any()
    assert buffer.finished


def test_an_empty_buffer_is_not_finished_before_its_end() -> None:
    buffer = FrameBuffer(8000)
    assert buffer.take(8000) is None
    assert not is_finished(buffer)
    buffer.end()
    assert is_finished(buffer)


def test_the_producer_is_called_when_a_piece_fits_again() -> None:
    calls: list[int] = []
    buffer = FrameBuffer(8000, on_change=lambda: calls.append(1))
    buffer.write(np.zeros(160 * REFILL_FRAMES, np.int16))
    buffer.write(np.zeros(160 * REFILL_FRAMES, np.int16))
    taken = 0
    while not buffer.has_room:
        assert not calls
        buffer.take(8000)
        taken += 1
    assert taken == BUFFER_FRAMES - REFILL_FRAMES
    assert calls == [1]


@pytest.mark.parametrize("from_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("to_hz", [8000, 16000, 24000, 48000])
def test_frames_come_at_the_rate_they_are_taken_at(from_hz: int, to_hz: int) -> None:
    buffer = FrameBuffer(from_hz)
    buffer.write(sine(1000, from_hz, 1.2))
    buffer.end()
    played = take_all(buffer, to_hz)
    assert played.size == 1.2 * to_hz
    second = played[to_hz // 10 : to_hz // 10 + to_hz]
    assert peaks_hz(second, to_hz, above=50) == {1000}


def test_a_rate_change_keeps_the_pitch_and_does_not_click() -> None:
    buffer = FrameBuffer(8000)
    buffer.write(sine(500, 8000, 3.0))
    buffer.end()
    for _ in range(50):
        buffer.take(8000)
    at_16k = [buffer.take(16000) for _ in range(50)]
    assert all(frame is not None and frame.size == 320 for frame in at_16k)
    first = at_16k[0]
    assert first is not None
    # The tone's largest step is 10000 * 2 pi * 500 / 16000; a filter that starts cold has a larger one.
    assert np.abs(np.diff(first.astype(int))).max() < 2200
    second = np.concatenate([frame for frame in at_16k if frame is not None])
    assert peaks_hz(second, 16000, above=50) == {500}


def test_a_playback_is_silent_until_it_has_audio() -> None:
    playback = Playback(PlaybackRequest(tone="dial"))
    assert playback.take(8000) is None
    assert not playback.finished
    assert playback.underruns == 0
    playback.attach(ToneSource(parse_tone("dial")))
    assert playback.take(8000) is not None


def test_played_time_counts_frames_that_were_taken() -> None:
    playback = Playback(PlaybackRequest(url="http://x/"))
    buffer = FrameBuffer(16000)
    buffer.write(np.zeros(320 * 20, np.int16))
    playback.attach(buffer)
    for _ in range(7):
        playback.take(8000)
    assert playback.played_ms == 140


def test_waiting_for_the_decoder_is_an_underrun_and_not_an_end() -> None:
    playback = Playback(PlaybackRequest(url="http://x/"))
    buffer = FrameBuffer(8000)
    playback.attach(buffer)
    assert playback.take(8000) is None
    assert not playback.finished
    assert (playback.underruns, playback.played_ms) == (1, 0)


def test_the_last_frame_completes_the_playback() -> None:
    ends: list[str | None] = []
    playback = Playback(PlaybackRequest(url="http://x/"))
    playback.on_end = lambda: ends.append(playback.end_reason)
    buffer = FrameBuffer(8000)
    buffer.write(np.zeros(320, np.int16))
    buffer.end()
    playback.attach(buffer)
    assert playback.take(8000) is not None
    assert not is_finished(playback)
    assert playback.take(8000) is not None
    assert is_finished(playback)
    playback.stop()
    assert ends == ["completed"]


def test_stop_silences_at_once_and_only_the_first_counts() -> None:
    ends: list[str | None] = []
    playback = Playback(PlaybackRequest(tone="dial"))
    playback.on_end = lambda: ends.append(playback.end_reason)
    playback.attach(ToneSource(parse_tone("dial")))
    playback.take(8000)
    playback.stop()
    playback.stop()
    assert playback.take(8000) is None
    assert ends == ["stopped"]
    assert playback.played_ms == 20


def test_volume_is_heard_while_playing() -> None:
    playback = Playback(PlaybackRequest(tone="dial", volume=-4))
    playback.attach(ToneSource(parse_tone("de_dial")))
    quiet = np.concatenate([frame for _ in range(10) if (frame := playback.take(8000)) is not None])
    playback.volume = -8
    playback.take(8000)
    quieter = np.concatenate([frame for _ in range(10) if (frame := playback.take(8000)) is not None])
    assert np.abs(quiet).max() == pytest.approx(23_000 * 10 ** (0.15 * -4), rel=0.01)
    assert np.abs(quieter).max() == pytest.approx(23_000 * 10 ** (0.15 * -8), rel=0.01)


def test_a_volume_out_of_range_is_refused() -> None:
    playback = Playback(PlaybackRequest(tone="dial"))
    with pytest.raises(ValueError, match="between -8 and 8"):
        playback.volume = 9
