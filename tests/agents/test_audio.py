import numpy as np
import pytest

from vb.agents.audio import LEAD_FRAMES, MAX_SPEECH_MS, PATIENCE_TICKS, AudioFormat, Ears, Mouth
from vb.codecs.pcm import Pcm
from vb.codecs.resample import StreamResampler


def tone(value: int, milliseconds: int, rate_hz: int = 16000) -> bytes:
    return np.full(rate_hz * milliseconds // 1000, value, "<i2").tobytes()


def heard(mouth: Mouth, ticks: int, rate_hz: int = 16000) -> list[Pcm | None]:
    return [mouth.take(rate_hz) for _ in range(ticks)]


def test_speech_is_heard_in_frames_in_the_order_of_its_turns() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 40), 1)
    mouth.put(tone(2, 20), 2)
    frames = heard(mouth, 4)
    assert [None if frame is None else int(frame[0]) for frame in frames] == [1, 1, 2, None]
    assert (mouth.turn, mouth.played_ms) == (2, 20)


def test_audio_between_turns_has_no_gap() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 30), 1)
    mouth.put(tone(2, 30), 2)
    _, second, third = heard(mouth, 3)
    assert second is not None
    assert set(second[:160].tolist()) == {1}
    assert set(second[160:].tolist()) == {2}
    assert third is not None


def test_speech_begins_once_its_lead_is_there() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 20), 1)
    assert mouth.take(16000) is None
    mouth.put(tone(1, 20 * (LEAD_FRAMES - 1)), 1)
    assert mouth.take(16000) is not None


def test_a_word_shorter_than_the_lead_is_heard_after_a_moment() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 10), 1)
    frames = heard(mouth, PATIENCE_TICKS + 2)
    assert [frame is not None for frame in frames] == [False] * PATIENCE_TICKS + [True, False]
    last = frames[PATIENCE_TICKS]
    assert last is not None
    assert (set(last[:160].tolist()), set(last[160:].tolist())) == ({1}, {0})


def test_nothing_of_an_interrupted_turn_is_heard_even_if_it_comes_later() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 100), 1)
    mouth.put(tone(2, 100), 2)
    assert mouth.take(16000) is not None
    assert mouth.interrupt(1)
    assert not mouth.put(tone(1, 100), 1)
    frame = mouth.take(16000)
    assert frame is not None
    assert int(frame[0]) == 2
    assert not mouth.interrupt(1)


def test_half_a_sample_of_an_interrupted_turn_does_not_shift_what_follows() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 100), 1)
    mouth.interrupt(1)
    assert not mouth.put(tone(1, 20)[:-1], 1)
    mouth.put(tone(2, 40), 2)
    frame = mouth.take(16000)
    assert frame is not None
    assert set(frame.tolist()) == {2}


def test_an_agent_that_is_too_far_ahead_loses_what_has_no_room() -> None:
    mouth = Mouth(AudioFormat(8000))
    assert mouth.put(tone(1, MAX_SPEECH_MS, 8000), 1)
    assert not mouth.put(tone(1, 20, 8000), 1)
    assert mouth.dropped_ms == 20


def test_half_a_sample_waits_for_its_other_half() -> None:
    mouth = Mouth(AudioFormat())
    data = tone(0x0102, 60)
    for start in range(0, len(data), 7):
        mouth.put(data[start : start + 7], 1)
    frames = heard(mouth, 3)
    assert all(frame is not None and set(frame.tolist()) == {0x0102} for frame in frames)


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 24_000, 48_000])
def test_what_waits_is_heard_before_speech_in_another_format(rate_hz: int) -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1000, 200), 0)
    mouth.take(16000)
    mouth.reformat(AudioFormat(rate_hz))
    mouth.put(tone(2000, 200, rate_hz), 0)
    frames = heard(mouth, 24)
    levels = [None if frame is None else round(int(frame[160]), -2) for frame in frames]
    assert levels[:8] == [1000] * 8
    assert levels[10:17] == [2000] * 7
    assert levels[21:] == [None] * 3
    assert 390 <= mouth.played_ms <= 400
    mouth.put(tone(3000, 60, rate_hz), 0)
    frames = heard(mouth, 3)
    assert frames[1] is not None
    assert abs(int(frames[1][160]) - 3000) < 100
    assert 430 <= mouth.played_ms <= 460


def test_speech_is_heard_at_the_rate_of_the_listener() -> None:
    mouth = Mouth(AudioFormat(24000))
    mouth.put(tone(1000, 100, 24000), 1)
    assert [frame.size for frame in heard(mouth, 5, 8000) if frame is not None] == [160] * 5
    mouth.put(tone(1000, 100, 24000), 1)
    assert [frame.size for frame in heard(mouth, 5, 48000) if frame is not None] == [960] * 5


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(24000, 8000), (24000, 16000), (16000, 48000), (16000, 16000)]
)
def test_what_is_converted_ahead_is_what_would_be_converted_frame_by_frame(from_hz: int, to_hz: int) -> None:
    said = (np.random.default_rng(1).standard_normal(from_hz * 3 // 2) * 6000).astype("<i2")
    mouth, levels = Mouth(AudioFormat(from_hz), lead_frames=1), list[float]()
    mouth.on_said = levels.append
    frames, at = list[Pcm](), 0
    for number in range(90):
        if number % 7 == 0:  # pieces that end anywhere
            mouth.put(said[at : at + 3001].tobytes(), 1 + number // 30)
            at += 3001
        if (frame := mouth.take(to_hz)) is not None:
            frames.append(frame)
    resampler = StreamResampler(from_hz, to_hz)
    size = from_hz // 50
    for number, frame in enumerate(frames[: said.size // size]):
        wanted = resampler.process(said[number * size : (number + 1) * size])
        assert np.abs(frame.astype(int) - wanted).max() <= 1
        assert levels[number] == pytest.approx(float(np.sqrt(np.mean(frame.astype(float) ** 2))), rel=1e-4)
    assert len(frames) >= said.size // size


def test_nothing_of_an_interrupted_turn_is_heard_though_it_was_converted_ahead() -> None:
    mouth = Mouth(AudioFormat(24000), lead_frames=1)
    mouth.put(tone(8000, 400, 24000), 1)
    assert mouth.take(8000) is not None
    mouth.interrupt(1)
    mouth.put(tone(0, 400, 24000), 2)
    frames = heard(mouth, 20, 8000)
    assert all(frame is not None and not frame.any() for frame in frames)


def test_what_is_converted_ahead_is_converted_anew_for_another_listener() -> None:
    mouth = Mouth(AudioFormat(24000), lead_frames=1)
    mouth.put(tone(1000, 200, 24000), 1)
    sizes = [
        frame.size for rate in (8000, 8000, 48000, 16000, 8000) if (frame := mouth.take(rate)) is not None
    ]
    assert sizes == [160, 160, 960, 320, 160]
    assert mouth.played_ms == 100


def test_a_shut_mouth_says_nothing() -> None:
    mouth = Mouth(AudioFormat())
    mouth.put(tone(1, 100), 1)
    mouth.shut()
    assert mouth.take(16000) is None
    assert mouth.finished
    assert not mouth.put(tone(1, 100), 2)


@pytest.mark.parametrize("encoding", ["ulaw", "alaw"])
def test_companded_audio_is_near_what_it_was(encoding: str) -> None:
    audio_format = AudioFormat(8000, encoding)  # type: ignore[arg-type]  # both are encodings
    pcm = (8000 * np.sin(np.arange(800) / 5)).astype(np.int16)
    back = audio_format.decode(audio_format.encode(pcm)).astype(np.float64)
    assert np.abs(back - pcm).max() < 300


def test_a_rate_that_nothing_converts_is_refused() -> None:
    with pytest.raises(ValueError, match="11025"):
        AudioFormat(11025)


def test_a_rate_without_whole_frames_is_converted_both_ways() -> None:
    steps = np.arange(44100)
    said = (8000 * np.sin(2 * np.pi * 441 * steps / 44100)).astype("<i2")
    mouth = Mouth(AudioFormat(44100))
    mouth.put(said.tobytes(), 1)
    frames = [frame for frame in heard(mouth, 60, 8000) if frame is not None]
    pcm = np.concatenate(frames)[800:6400]
    level = 2 * abs(np.mean(pcm * np.exp(-2j * np.pi * 441 * np.arange(pcm.size) / 8000)))
    assert level == pytest.approx(8000, rel=0.02)
    blocks: list[Pcm] = []
    ears = Ears(44100, 20, blocks.append)
    for start in range(0, 16000, 320):
        frame = 8000 * np.sin(2 * np.pi * 441 * np.arange(start, start + 320) / 16000)
        ears.push(frame.astype(np.int16), 16000)
    pcm = np.concatenate(blocks)
    assert abs(pcm.size - 44100) < 2000
    middle = pcm[10000:30000]
    level = 2 * abs(np.mean(middle * np.exp(-2j * np.pi * 441 * np.arange(middle.size) / 44100)))
    assert level == pytest.approx(8000, rel=0.02)


def test_ears_send_whole_blocks_at_the_rate_of_the_provider() -> None:
    blocks: list[Pcm] = []
    ears = Ears(8000, 60, blocks.append)
    frame = np.zeros(320, np.int16)
    for number in range(7):
        frame[:] = number
        ears.push(frame, 16000)
    assert [block.size for block in blocks] == [480, 480]


def test_ears_keep_nothing_that_was_only_lent() -> None:
    blocks: list[Pcm] = []
    ears = Ears(16000, 40, blocks.append)
    frame = np.full(320, 1, np.int16)
    ears.push(frame, 16000)
    frame[:] = 2
    ears.push(frame, 16000)
    assert blocks[0][:320].tolist() == [1] * 320
    assert blocks[0][320:].tolist() == [2] * 320
