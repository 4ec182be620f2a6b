import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.support import chunk, wav_bytes
from vb.codecs.g711 import ALAW_TO_PCM, ULAW_TO_PCM
from vb.media.errors import DecodeError
from vb.media.wav import RawDecoder, WavDecoder, WavReader, build_header

RAMP = np.arange(-400, 400, dtype="<i2")


def read(data: bytes | bytearray) -> list[int]:
    return [int(sample) for sample in WavReader(io.BytesIO(data)).read(1_000_000)]


def test_pcm_comes_back_as_it_was_written() -> None:
    assert read(wav_bytes(RAMP.tobytes())) == RAMP.tolist()


def test_a_written_header_is_read_back() -> None:
    data = build_header(channels=2, rate_hz=16000, data_bytes=8) + struct.pack("<4h", 10, 20, -5, 5)
    reader = WavReader(io.BytesIO(data))
    assert reader.rate_hz == 16000
    assert reader.format.channels == 2
    assert reader.read(10).tolist() == [15, 0]
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8


@pytest.mark.parametrize(("tag", "table"), [(6, ALAW_TO_PCM), (7, ULAW_TO_PCM)])
def test_g711_is_expanded(tag: int, table: np.ndarray) -> None:
    data = bytes(range(256))
    assert read(wav_bytes(data, tag=tag, bits=8)) == table.tolist()


def test_stereo_is_averaged_without_overflow() -> None:
    data = np.array([30000, 32000, -30000, -32000, 1, 2], "<i2").tobytes()
    assert read(wav_bytes(data, channels=2)) == [31000, -31000, 1]


def test_extra_chunks_are_skipped_odd_lengths_included() -> None:
    data = wav_bytes(
        RAMP.tobytes(), before_format=chunk(b"LIST", b"abc"), before_data=chunk(b"fact", b"12345")
    )
    assert read(data) == RAMP.tolist()


def test_what_follows_the_audio_is_not_played() -> None:
    data = wav_bytes(RAMP.tobytes()) + chunk(b"LIST", b"\x7f" * 100)
    assert read(data) == RAMP.tolist()


@pytest.mark.parametrize("size", [2_000_000, 0xFFFF_FFFF, 0xFFFF_FFFE])
def test_a_size_that_promises_too_much_gives_what_there_is(size: int) -> None:
    assert read(wav_bytes(RAMP.tobytes(), data_size=size)) == RAMP.tolist()


@pytest.mark.parametrize("riff_size", [0, 36, None, 0xFFFF_FFFF])
@pytest.mark.parametrize("data_size", [0, 0xFFFF_FFFF])
def test_a_file_whose_writer_did_not_know_its_length_is_read_to_its_end(
    riff_size: int | None, data_size: int
) -> None:
    assert read(wav_bytes(RAMP.tobytes(), data_size=data_size, riff_size=riff_size)) == RAMP.tolist()


@pytest.mark.parametrize("samples", [0, 1, 3, 4, 5])
@pytest.mark.parametrize("portion", [1, 7, 1000])
def test_a_file_of_unknown_length_may_be_very_short(samples: int, portion: int) -> None:
    decoder, heard = WavDecoder(), []
    data = wav_bytes(RAMP[:samples].tobytes(), data_size=0)
    for start in range(0, len(data), portion):
        heard += decoder.feed(data[start : start + portion])
    heard += decoder.finish()
    assert np.concatenate([np.zeros(0, np.int16), *heard]).tolist() == RAMP[:samples].tolist()
    assert (decoder.rate_hz, decoder.ended) == (8000, True)


@pytest.mark.parametrize("name", [b"LIST", b"id3 ", b"fact"])
def test_a_chunk_behind_empty_audio_is_not_played(name: bytes) -> None:
    assert read(wav_bytes(b"") + chunk(name, b"\x7f" * 100)) == []


def test_audio_behind_an_empty_chunk_of_audio_is_played() -> None:
    assert read(wav_bytes(RAMP.tobytes(), before_data=chunk(b"data", b""))) == RAMP.tolist()


@pytest.mark.parametrize("portion", [1, 5, 1000])
@pytest.mark.parametrize("place", ["before_format", "before_data"])
@pytest.mark.parametrize("pad", [b"", b"\0", b"x"])
def test_a_chunk_of_odd_length_is_passed_over_padded_or_not(place: str, pad: bytes, portion: int) -> None:
    odd = struct.pack("<4sI", b"LIST", 5) + b"INFOx" + pad
    data = wav_bytes(RAMP.tobytes(), **{place: odd})  # type: ignore[arg-type]  # a field of bytes
    decoder, heard = WavDecoder(), []
    for start in range(0, len(data), portion):
        heard += decoder.feed(data[start : start + portion])
    assert np.concatenate(heard).tolist() == RAMP.tolist()


def test_a_size_that_promises_too_little_is_kept() -> None:
    assert read(wav_bytes(RAMP.tobytes(), data_size=20)) == RAMP[:10].tolist()


def test_an_empty_file_has_no_samples() -> None:
    assert read(wav_bytes(b"")) == []


def test_a_sample_cut_in_half_is_dropped() -> None:
    assert read(wav_bytes(RAMP.tobytes())[:-1]) == RAMP[:-1].tolist()


def test_pieces_continue_where_the_last_one_ended() -> None:
    reader = WavReader(io.BytesIO(wav_bytes(RAMP.tobytes())))
    pieces = [reader.read(300).tolist() for _ in range(4)]
    assert [*pieces[0], *pieces[1], *pieces[2]] == RAMP.tolist()
    assert pieces[3] == []


@pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 192000])
def test_rates_from_8_to_192_khz_are_taken(rate_hz: int) -> None:
    assert WavReader(io.BytesIO(wav_bytes(b"\0\0", rate_hz=rate_hz))).rate_hz == rate_hz


@pytest.mark.parametrize("rate_hz", [0, 7999, 192001, 0xFFFF_FFFF])
def test_other_rates_are_refused(rate_hz: int) -> None:
    data = bytearray(wav_bytes(b"\0\0"))
    data[24:28] = struct.pack("<I", rate_hz)
    with pytest.raises(DecodeError, match="sample rate"):
        read(data)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ((0xFFFE, 1, 16), "extensible"),
        ((3, 1, 32), "format tag 3"),
        ((17, 1, 4), "format tag 17"),
        ((1, 1, 8), "8 bits"),
        ((1, 1, 24), "24 bits"),
        ((7, 1, 16), "16 bits"),
        ((1, 0, 16), "0 channels"),
        ((1, 3, 16), "3 channels"),
    ],
)
def test_other_formats_are_refused(fields: tuple[int, int, int], text: str) -> None:
    tag, channels, bits = fields
    with pytest.raises(DecodeError, match=text):
        read(wav_bytes(b"\0" * 12, tag=tag, channels=channels, bits=bits))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"<html>not audio at all</html>",
        b"RIFF\0\0\0\0AVI " + b"\0" * 50,
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVE" + chunk(b"data", b"\0\0"),
        b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", b"\1\0\1\0"),
        b"RIFF\0\0\0\0WAVE" + struct.pack("<4sI", b"LIST", 0xFFFF_FFF0) + b"\0" * 50,
        b"RIFF\0\0\0\0WAVE" + chunk(b"junk", b"") * 2000 + wav_bytes(b"\0\0")[12:],
    ],
)
def test_what_is_not_wav_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read(data)


@given(st.binary(max_size=120))
def test_reading_never_fails_with_anything_else(tail: bytes) -> None:
    for data in (tail, b"RIFF\0\0\0\0WAVE" + tail, wav_bytes(b"\0\0", before_data=tail)):
        try:
            read(data)
        except DecodeError:
            pass


def test_raw_audio_drops_half_a_sample() -> None:
    decoder = RawDecoder(16000)
    samples = [pcm.tolist() for pcm in (*decoder.feed(RAMP.tobytes() + b"\x01"), *decoder.finish())]
    assert samples == [RAMP.tolist()]


@pytest.mark.parametrize("portion", [1, 3, 7, 50])
def test_any_portions_give_the_same_audio(portion: int) -> None:
    stereo = np.repeat(RAMP, 2).tobytes()
    data = wav_bytes(stereo, channels=2, before_format=chunk(b"LIST", b"abc")) + chunk(b"LIST", b"\x7f" * 9)
    decoder, samples = WavDecoder(), []
    for start in range(0, len(data), portion):
        for pcm in decoder.feed(data[start : start + portion]):
            samples += pcm.tolist()
    assert samples == RAMP.tolist()
    assert decoder.ended


def test_the_audio_is_over_where_its_size_says_so() -> None:
    decoder = WavDecoder()
    decoder.feed(wav_bytes(RAMP.tobytes(), data_size=100)[:143])
    assert (decoder.rate_hz, decoder.ended) == (8000, False)
    decoder.feed(b"\0" * 50)
    assert decoder.ended


def test_a_large_chunk_is_passed_over_in_large_steps() -> None:
    decoder = WavDecoder()
    assert decoder.bytes_for(0) == 1024
    decoder.feed(b"RIFF\0\0\0\0WAVE" + struct.pack("<4sI", b"junk", 1_000_000))
    assert decoder.bytes_for(0) > 60_000
