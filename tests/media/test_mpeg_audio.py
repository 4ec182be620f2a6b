import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.media.errors import DecodeError
from vb.media.mpeg_audio import Frame, FrameSplitter, parse_header

# MPEG-1 layer III, 64 kbit/s, 44.1 kHz, mono: 208 bytes a frame.
HEADER = bytes.fromhex("fffb50c4")
OTHER_RATE = bytes.fromhex("fffb54c4")


def frame(fill: int, header: bytes = HEADER) -> bytes:
    found = parse_header(header)
    assert found is not None
    return header + bytes([fill]) * (found.size_bytes - 4)


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
    ("header", "layer", "rate_hz", "mono", "size_bytes", "samples"),
    [
        ("fffb9000", 3, 44_100, False, 417, 1152),
        ("fffb9200", 3, 44_100, False, 418, 1152),
        ("fffbe4c0", 3, 48_000, True, 960, 1152),
        ("fff340c0", 3, 22_050, True, 104, 576),
        ("ffe318c0", 3, 8_000, True, 72, 576),
        ("fffd8400", 2, 48_000, False, 384, 1152),
        ("fff584c0", 2, 24_000, True, 384, 1152),
        ("ffff2800", 1, 32_000, False, 96, 384),
    ],
)
def test_a_header_tells_size_and_length(
    header: str, layer: int, rate_hz: int, mono: bool, size_bytes: int, samples: int
) -> None:
    found = parse_header(bytes.fromhex(header))
    assert found is not None
    assert (found.layer, found.rate_hz, found.mono) == (layer, rate_hz, mono)
    assert (found.size_bytes, found.samples) == (size_bytes, samples)


@pytest.mark.parametrize(
    "header",
    ["", "fffb90", "00000000", "ffeb9000", "fff99000", "fffb0000", "fffbf000", "fffb9c00", "7ffb9000"],
)
def test_what_is_no_header_is_none(header: str) -> None:
    assert parse_header(bytes.fromhex(header)) is None


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
    header = parse_header(HEADER)
    assert header is not None
    found = Frame(header, bytes(info))
    assert (found.is_info, found.delay_samples) == (True, 0x240 + 529)
    audio = Frame(header, frame(0))
    assert (audio.is_info, audio.delay_samples) == (False, 0)


@given(st.binary(max_size=2000), st.integers(1, 700))
def test_nothing_but_a_decode_error_comes_of_any_bytes(data: bytes, portion: int) -> None:
    for start in (b"", FRAMES, HEADER):
        try:
            split(start + data, portion)
        except DecodeError:
            pass
