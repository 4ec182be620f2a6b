import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vb.codecs.g711 import (
    ALAW_TO_PCM,
    PCM_TO_ALAW,
    PCM_TO_ULAW,
    ULAW_TO_PCM,
    TableDecoder,
    TableEncoder,
)

EVERY_SAMPLE = np.arange(65536, dtype=np.uint16).view(np.int16)
MAGNITUDE_ULAW = np.where(EVERY_SAMPLE < 0, ~EVERY_SAMPLE, EVERY_SAMPLE).astype(np.int64) >> 2
MAGNITUDE_ALAW = np.where(EVERY_SAMPLE < 0, ~EVERY_SAMPLE, EVERY_SAMPLE).astype(np.int64) >> 4


def decision_values(first: list[int], segments: int, first_step: int) -> NDArray[np.int64]:
    """The decision values of a law: 16 steps a segment, each segment twice as wide as the one before."""
    values = list(first)
    for segment in range(segments):
        start = values[-1]
        values.extend(start + (first_step << segment) * (n + 1) for n in range(16))
    return np.array(values, np.int64)


def test_every_ulaw_code_lies_between_the_decision_values_of_its_sample() -> None:
    # Table 2: 0, 1, 3, 5 ... 31, then 35, 39 ... 95, and so on up to 8159.
    decisions = decision_values([0, *range(1, 32, 2)], 7, 4)
    assert decisions[-1] == 8159
    interval = np.minimum(np.searchsorted(decisions, MAGNITUDE_ULAW, side="right") - 1, 127)
    expected = np.where(EVERY_SAMPLE < 0, 0x7F - interval, 0xFF - interval)
    np.testing.assert_array_equal(PCM_TO_ULAW, expected)


def test_every_alaw_code_lies_between_the_decision_values_of_its_sample() -> None:
    # Table 1 in 12-bit units: 0, 1, 2 ... 32, then 34, 36 ... 64, and so on up to 2048.
    decisions = decision_values(list(range(33)), 6, 2)
    assert decisions[-1] == 2048
    interval = np.searchsorted(decisions, MAGNITUDE_ALAW, side="right") - 1
    expected = np.where(EVERY_SAMPLE < 0, interval, 0x80 | interval) ^ 0x55
    np.testing.assert_array_equal(PCM_TO_ALAW, expected)


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xFF, 0), (0x7F, 0), (0x80, 32124), (0x00, -32124), (0xFE, 8), (0x7E, -8), (0xEF, 132), (0x8F, 16764)],
)
def test_ulaw_code_has_the_value_of_the_recommendation(code: int, sample: int) -> None:
    assert ULAW_TO_PCM[code] == sample


@pytest.mark.parametrize(
    ("code", "sample"), [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xD4, 24), (0xC5, 264)]
)
def test_alaw_code_has_the_value_of_the_recommendation(code: int, sample: int) -> None:
    assert ALAW_TO_PCM[code] == sample


@pytest.mark.parametrize(
    ("name", "table"), [("pcm_mulaw", ULAW_TO_PCM), ("pcm_alaw", ALAW_TO_PCM)], ids=["ulaw", "alaw"]
)
def test_every_byte_decodes_as_ffmpeg_decodes_it(name: str, table: NDArray[np.int16]) -> None:
    codec = av.CodecContext.create(name, "r")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate = 8000
    codec.layout = "mono"
    frames = codec.decode(av.Packet(bytes(range(256))))
    np.testing.assert_array_equal(np.concatenate([frame.to_ndarray()[0] for frame in frames]), table)


@pytest.mark.parametrize(
    ("decode", "encode"), [(ULAW_TO_PCM, PCM_TO_ULAW), (ALAW_TO_PCM, PCM_TO_ALAW)], ids=["ulaw", "alaw"]
)
def test_every_byte_survives_decoding_and_encoding(
    decode: NDArray[np.int16], encode: NDArray[np.uint8]
) -> None:
    codes = np.arange(256)
    again = encode[decode.view(np.uint16)]
    # µ-law has a negative zero, which becomes the positive one.
    survives = (again == codes) | ((codes == 0x7F) & (again == 0xFF))
    assert survives.all()


@pytest.mark.parametrize(
    ("decode", "encode", "top"),
    [(ULAW_TO_PCM, PCM_TO_ULAW, 32635), (ALAW_TO_PCM, PCM_TO_ALAW, 32767)],
    ids=["ulaw", "alaw"],
)
def test_no_sample_below_overload_is_off_by_more_than_half_a_step(
    decode: NDArray[np.int16], encode: NDArray[np.uint8], top: int
) -> None:
    samples = EVERY_SAMPLE.astype(np.int64)
    error = np.abs(decode[encode].astype(np.int64) - samples)
    step = np.maximum((np.abs(samples) + 132) // 16, 16)
    assert (error[np.abs(samples) <= top] <= step[np.abs(samples) <= top] // 2 + 4).all()


def test_overload_stays_at_the_last_step() -> None:
    assert PCM_TO_ULAW[32767] == 0x80
    assert PCM_TO_ULAW[32768] == 0x00
    assert PCM_TO_ALAW[32767] == 0xAA
    assert PCM_TO_ALAW[32768] == 0x2A


def test_silence_bytes_are_the_codes_of_zero() -> None:
    assert PCM_TO_ULAW[0] == 0xFF
    assert PCM_TO_ALAW[0] == 0xD5


def test_tables_are_read_only() -> None:
    with pytest.raises(ValueError):
        ULAW_TO_PCM[0] = 1


def test_stream_encoder_takes_a_strided_frame() -> None:
    stereo = np.arange(640, dtype=np.int16) * 40
    frame = stereo[::2]
    assert TableEncoder(PCM_TO_ULAW).encode(frame) == TableEncoder(PCM_TO_ULAW).encode(frame.copy())


def test_stream_decoder_turns_bytes_into_samples() -> None:
    np.testing.assert_array_equal(TableDecoder(ALAW_TO_PCM).decode(b"\xd5\x55"), [8, -8])
