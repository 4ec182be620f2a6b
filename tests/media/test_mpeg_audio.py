import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.media.errors import DecodeError
from vb.media.mpeg_audio import FrameSplitter, kind_of

# MPEG-1 layer III, 64 kbit/s, 44.1 kHz, mono: 208 bytes a frame.
HEADER = bytes.fromhex("fffb50c4")
OTHER_RATE = bytes.fromhex("fffb54c4")
SIZES = {HEADER: 208, OTHER_RATE: 192}


def frame(fill: int, header: bytes = HEADER) -> bytes:
    return header + bytes([fill]) * (SIZES[header] - 4)


FRAMES = b"".join(frame(fill) for fill in range(1, 9))


def split(data: bytes, portion: int = 100_000) -> list[bytes]:
    splitter = FrameSplitter()
    frames = []
    for start in range(0, len(data), portion):
        frames += splitter.feed(data[start : start + portion])
    return [found.data for found in (*frames, *splitter.finish())]


def fills(data: bytes, portion: int = 100_000) -> list[int]:
    return [found[-1] for found in split(data, portion)]


@pytest.mark.parametrize(
    ("header", "rate_hz", "size_bytes", "samples"),
    [
        ("fffb9000", 44_100, 417, 1152),
        ("fffb9200", 44_100, 418, 1152),
        ("fffbe4c0", 48_000, 960, 1152),
        ("fff340c0", 22_050, 104, 576),
        ("ffe318c0", 8_000, 72, 576),
        ("fffd8400", 48_000, 384, 1152),
        ("fffde800", 32_000, 1728, 1152),
        ("fff584c0", 24_000, 384, 1152),
        ("ffff2800", 32_000, 96, 384),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_a_header_tells_size_and_length(
    header: str, rate_hz: int, size_bytes: int, samples: int, count: int
) -> None:
    data = (bytes.fromhex(header) + bytes(size_bytes - 4)) * count
    splitter = FrameSplitter()
    found = splitter.feed(data) + splitter.finish()
    assert [(len(frame.data), frame.rate_hz, bytes(frame.packet)) for frame in found] == [
        (size_bytes, rate_hz, data[:size_bytes])
    ] * count
    assert splitter._frame_s == samples / rate_hz


@pytest.mark.parametrize(
    "header",
    ["", "fffb90", "00000000", "ffeb9000", "fff99000", "fffb0000", "fffbf000", "fffb9c00", "7ffb9000"],
)
def test_what_is_no_header_is_none(header: str) -> None:
    assert kind_of(bytes.fromhex(header)) is None


@pytest.mark.parametrize("portion", [1, 13, 208, 500, 100_000])
def test_any_portions_give_the_same_frames(portion: int) -> None:
    assert split(FRAMES, portion) == [frame(fill) for fill in range(1, 9)]


def test_a_frame_is_given_as_soon_as_it_is_whole() -> None:
    splitter = FrameSplitter()
    assert len(splitter.feed(FRAMES[:624])) == 3
    assert len(splitter.feed(FRAMES[624:831])) == 0
    assert len(splitter.feed(FRAMES[831:832])) == 1


def test_a_frame_cut_short_at_the_end_is_left_out() -> None:
    assert fills(FRAMES[:-1]) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("end", [b"", b"TAG" + b"x" * 125])
def test_a_single_frame_is_believed_at_the_end(end: bytes) -> None:
    assert fills(frame(1) + end) == [1]


def test_junk_between_and_around_frames_is_passed_over() -> None:
    noise = np.random.default_rng(5).integers(0, 256, 3000, np.uint8).tobytes()
    data = noise + FRAMES[:832] + noise + FRAMES[832:] + noise
    assert fills(data) == list(range(1, 9))


@pytest.mark.parametrize("size", [0, 5, 127, 128, 300_000])
@pytest.mark.parametrize("footer", [False, True])
def test_tags_are_skipped_whatever_is_in_them(size: int, footer: bool) -> None:
    flags = 0x10 if footer else 0
    sizes = bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127])
    tag = (
        b"ID3\x04\0"
        + bytes([flags])
        + sizes
        + (FRAMES * (size // len(FRAMES) + 1))[:size]
        + flags // 16 * b"3DI4567890"
    )
    assert fills(tag + tag + FRAMES[:832] + tag + FRAMES[832:], 4096) == list(range(1, 9))


def test_a_recording_at_another_rate_may_follow() -> None:
    other = frame(9, OTHER_RATE) * 3
    assert fills(FRAMES + other) == [*range(1, 9), 9, 9, 9]


def test_a_false_start_within_junk_is_not_believed() -> None:
    assert fills(frame(77)[:100] + b"\0" * 500 + FRAMES) == list(range(1, 9))


@pytest.mark.parametrize("data", [b"", b"\xff\xfb", b"<html>" * 1000, b"\xff\xfb" * 20_000, bytes(70_000)])
def test_what_has_no_frames_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="not an MP3 file"):
        split(data)


def test_endless_junk_is_refused_before_it_ends_and_not_kept() -> None:
    splitter = FrameSplitter()
    for _ in range(16):
        assert splitter.feed(bytes(4096)) == []
    with pytest.raises(DecodeError, match="not an MP3 file"):
        splitter.feed(bytes(4096))


def test_ten_thousand_false_starts_are_refused() -> None:
    splitter = FrameSplitter()
    splitter.feed(FRAMES)
    with pytest.raises(DecodeError, match="damaged"):
        splitter.feed((HEADER + bytes(3)) * 20_000)


def test_what_to_wait_for_follows_the_size_of_the_frames() -> None:
    splitter = FrameSplitter()
    assert splitter.bytes_for(0.5) == 1024
    splitter.feed(FRAMES)
    assert splitter.bytes_for(0.5) == 20 * 208
    splitter.feed(FRAMES[:1000] + bytes(10))
    assert splitter.bytes_for(0.5) >= 1024
    splitter = FrameSplitter()
    splitter.feed(b"ID3\x04\0\0\x00\x7f\x7f\x7f")
    assert splitter.bytes_for(0.5) > 65_000


def test_a_frame_that_describes_the_file_tells_the_delay() -> None:
    info = bytearray(frame(0))
    info[21:29] = b"Info" + bytes([0, 0, 0, 15])
    at = 29 + 112 + 21
    info[at : at + 3] = bytes([0x24, 0x01, 0x23])
    splitter = FrameSplitter()
    found, audio = splitter.feed(bytes(info) + frame(0) * 2)[:2]
    assert (found.is_info, found.delay_samples) == (True, 0x240 + 529)
    assert (audio.is_info, audio.delay_samples) == (False, 0)


def test_what_lies_between_frames_is_not_gathered() -> None:
    splitter = FrameSplitter()
    splitter.feed(FRAMES)
    for _ in range(1000):
        splitter.feed(bytes(4096))
    assert len(splitter._held) < 10
    assert len(splitter.feed(FRAMES)) >= 7


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_nothing_but_a_decode_error_comes_of_any_bytes(data: bytes, portion: int) -> None:
    for start in (b"", FRAMES, HEADER):
        try:
            split(start + data, portion)
        except DecodeError:
            pass
