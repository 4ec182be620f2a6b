from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.children.framing import Garbage
from vb.local_speech import rows
from vb.local_speech.frames import (
    AUDIO_BODY_BYTES,
    MAX_BODY_BYTES,
    Frame,
    FrameReader,
    Kind,
    samples_of,
    sound_of,
    with_audio,
    with_fields,
    with_number,
    with_sound,
)

FRAMES = [
    with_fields(Kind.VOICE, 7, voice="heart", language="en"),
    Frame(Kind.TEXT, 7, "Grüße".encode()),
    with_number(Kind.MORE, 7, 24_000),
    Frame(Kind.DONE, 2**32 - 1),
]


@given(st.lists(st.integers(1, 40), max_size=60))
def test_frames_are_the_same_however_their_bytes_are_cut(cuts: list[int]) -> None:
    raw = b"".join(frame.encode() for frame in FRAMES)
    reader, found = FrameReader(), []
    for cut in [*cuts, len(raw)]:
        found += reader.feed(raw[:cut])
        raw = raw[cut:]
    assert found == FRAMES


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_garbage(data: bytes) -> None:
    try:
        for frame in FrameReader().feed(data):
            assert FrameReader().feed(frame.encode()) == [frame]
    except Garbage:
        pass


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\0\5\x63\0\0\0\0",  # no such kind
        b"\0\0\0\4\2\0\0\0\0",  # shorter than its head
        (MAX_BODY_BYTES + 6).to_bytes(4, "big") + b"\2\0\0\0\0",  # longer than allowed
    ],
)
def test_a_wrong_head_is_garbage_before_its_body_comes(raw: bytes) -> None:
    with pytest.raises(Garbage):
        FrameReader().feed(raw)


def test_long_audio_is_several_frames_and_the_same_audio() -> None:
    pcm = np.arange(-30_000, 30_000, dtype=np.int16)
    frames = list(with_audio(3, pcm))
    assert len(frames) == 4
    assert all(len(frame.body) <= AUDIO_BODY_BYTES for frame in frames)
    assert np.array_equal(np.concatenate([samples_of(frame.body) for frame in frames]), pcm)
    sounds = [sound_of(frame) for frame in with_sound(3, 24_000, pcm)]
    assert {rate for rate, _ in sounds} == {24_000}
    assert np.array_equal(np.concatenate([part for _, part in sounds]), pcm)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.SOUND, 1, b"\0\0\x3e"),
        Frame(Kind.SOUND, 1, b"\0\0\0\1\0\0"),
        Frame(Kind.SOUND, 1, b"\0\0\x3e\x80\0"),
    ],
)
def test_malformed_sound_is_garbage(frame: Frame) -> None:
    with pytest.raises(Garbage):
        sound_of(frame)


def test_malformed_fields_texts_and_numbers_are_garbage() -> None:
    for body in (b"", b"{", b"[]", b"\xff"):
        with pytest.raises(Garbage):
            _ = Frame(Kind.PONG, 0, body).fields
    with pytest.raises(Garbage):
        _ = Frame(Kind.TEXT, 0, b"\xff").text
    with pytest.raises(Garbage):
        _ = Frame(Kind.MORE, 0, b"\0").number


def test_a_batch_of_rows_is_read_as_it_was_written() -> None:
    frames = np.arange(3 * 512, dtype=np.int16).reshape(3, 512)
    read = rows.read(rows.write(5, [4, 9, 0], [9], frames).body, 10)
    assert (read.rows.tolist(), read.fresh.tolist()) == ([4, 9, 0], [9])
    assert np.array_equal(read.frames, frames)
    with pytest.raises(Garbage):
        rows.read(rows.write(5, [10], [], frames[:1]).body, 10)
    for body in (b"", b"\0\1\0\0", rows.write(5, [1], [], frames[:1]).body + b"\0"):
        with pytest.raises(Garbage):
            rows.read(body, 10)


def test_odds_are_none_for_a_batch_that_came_too_late_and_garbage_when_too_many() -> None:
    assert rows.odds_of(Frame(Kind.ODDS, 1), 2) is None
    odds = rows.odds_of(Frame(Kind.ODDS, 1, np.array([0.25, 1], "<f4").tobytes()), 2)
    assert odds is not None
    assert odds.tolist() == [0.25, 1.0]
    with pytest.raises(Garbage):
        rows.odds_of(Frame(Kind.ODDS, 1, b"\0" * 4), 2)
