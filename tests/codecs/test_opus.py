import ctypes.util
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codecs.signals import tone, tone_to_rest_db
from vb.codecs import libopus
from vb.codecs.complexity import LEAN
from vb.codecs.opus import RATES_HZ, OpusDecoder, OpusEncoder, opus_available
from vb.codecs.pcm import CodecError, Pcm


def speech_like(seconds: float, rate_hz: int = 48000) -> Pcm:
    """A gliding, pulsing sum of harmonics: more work for a concealer than a steady tone."""
    time = np.arange(round(rate_hz * seconds)) / rate_hz
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 1.5 * time)) / rate_hz
    voice = sum(np.sin(n * phase) / n for n in range(1, 12))
    return np.asarray(4000 * voice * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)), np.int16)


def signal_to_error_db(wanted: Pcm, got: Pcm) -> float:
    error = got.astype(float) - wanted
    return float(10 * np.log10(np.sum(np.square(wanted.astype(float))) / np.sum(np.square(error))))


def test_library_is_there() -> None:
    assert opus_available()


def test_missing_library_is_reported_not_raised(tmp_path: Path) -> None:
    assert not opus_available(str(tmp_path / "libopus.so"))


def test_library_that_is_not_libopus_is_refused() -> None:
    assert libopus.load("libc.so.6") is None


def test_codec_without_library_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="not found"):
        OpusEncoder(library_path=str(tmp_path / "none.so"))


def test_copy_inside_pyav_is_found_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    libopus.load.cache_clear()
    try:
        library = libopus.load()
        assert library is not None
        assert Path(library.path).parent.name in ("av.libs", ".dylibs")
    finally:
        libopus.load.cache_clear()


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_tone_survives_at_every_rate(rate_hz: int) -> None:
    encoder, decoder = OpusEncoder(rate_hz), OpusDecoder(rate_hz)
    sent = tone(1000, rate_hz)
    heard = np.concatenate([decoder.decode(encoder.encode(f)) for f in sent.reshape(50, -1)])
    assert heard.size == sent.size
    assert tone_to_rest_db(heard[rate_hz // 2 :], 1000, rate_hz) > 20


def test_other_rate_is_an_error() -> None:
    with pytest.raises(CodecError, match="44100"):
        OpusDecoder(44100)


@pytest.mark.parametrize("milliseconds", [5, 10, 20, 40, 60])
def test_packet_times_of_the_format_are_encoded(milliseconds: int) -> None:
    samples = 48 * milliseconds
    payload = OpusEncoder().encode(tone(500, 48000)[:samples])
    assert OpusDecoder().decode(payload).size == samples


def test_frame_of_another_length_is_an_error() -> None:
    with pytest.raises(CodecError, match="encoding"):
        OpusEncoder().encode(np.zeros(961, np.int16))


def test_bit_rate_changes_at_once() -> None:
    encoder = OpusEncoder(bit_rate=32_000)
    frames = speech_like(1.0).reshape(50, -1)
    rich = sum(len(encoder.encode(frame)) for frame in frames)
    encoder.set_bit_rate(12_000)
    poor = sum(len(encoder.encode(frame)) for frame in frames)
    assert poor < 0.6 * rich


def test_bit_rate_is_kept() -> None:
    encoder = OpusEncoder(bit_rate=24_000)
    frames = speech_like(2.0).reshape(100, -1)
    assert sum(len(encoder.encode(frame)) for frame in frames) * 8 / 2 < 30_000


@pytest.mark.parametrize("percent", [-1, 101])
def test_impossible_loss_is_an_error(percent: int) -> None:
    with pytest.raises(CodecError):
        OpusEncoder().set_expected_loss(percent)


def test_stereo_packet_decodes_to_mono() -> None:
    codec = av.CodecContext.create("libopus", "w")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate, codec.layout, codec.format = 48000, "stereo", "s16"
    left, right = tone(1000, 48000), np.zeros(48000, np.int16)
    decoder = OpusDecoder()
    heard: list[Pcm] = []
    for start in range(0, 48000, 960):
        pair = np.stack((left[start : start + 960], right[start : start + 960]), axis=1).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pair, format="s16", layout="stereo")
        frame.sample_rate = 48000
        heard.extend(decoder.decode(bytes(packet)) for packet in codec.encode(frame))
    mono = np.concatenate(heard)
    assert {pcm.size for pcm in heard} == {960}
    assert tone_to_rest_db(mono[24000:], 1000, 48000) > 20


def test_error_correction_restores_a_lost_packet_better_than_concealment() -> None:
    sent = speech_like(3.0)
    encoder = OpusEncoder()
    encoder.set_expected_loss(20)
    payloads = [encoder.encode(frame) for frame in sent.reshape(-1, 960)]
    lossless, corrected, concealed = OpusDecoder(), OpusDecoder(), OpusDecoder()
    wanted, with_fec, with_plc = [], [], []
    for index, payload in enumerate(payloads):
        wanted.append(lossless.decode(payload))
        if index % 10 == 5:
            with_fec.append(corrected.decode_fec(payloads[index + 1], 960))
            with_plc.append(concealed.conceal(960))
        else:
            with_fec.append(corrected.decode(payload))
            with_plc.append(concealed.decode(payload))
    whole = np.concatenate(wanted)
    fec_db = signal_to_error_db(whole, np.concatenate(with_fec))
    plc_db = signal_to_error_db(whole, np.concatenate(with_plc))
    assert fec_db > plc_db + 3


def test_concealment_of_a_span_that_is_no_step_of_the_library_has_its_exact_length() -> None:
    decoder = OpusDecoder(16000)
    decoder.decode(OpusEncoder(16000).encode(tone(300, 16000, 0.02)))
    assert decoder.conceal(333).size == 333


def test_decoder_goes_on_after_a_damaged_packet() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    frames = tone(1000, 48000).reshape(50, -1)
    heard = []
    for index, frame in enumerate(frames):
        payload = encoder.encode(frame)
        if index == 10:
            with pytest.raises(CodecError, match="decoding"):
                decoder.decode(b"\xff" + payload[1:])
        heard.append(decoder.decode(payload))
    assert tone_to_rest_db(np.concatenate(heard)[24000:], 1000, 48000) > 20


@pytest.mark.parametrize("decode", ["decode", "fec"])
def test_empty_packet_is_an_error(decode: str) -> None:
    decoder = OpusDecoder()
    with pytest.raises(CodecError, match="empty"):
        decoder.decode(b"") if decode == "decode" else decoder.decode_fec(b"", 960)


def test_correction_of_more_than_a_packet_is_an_error() -> None:
    payload = OpusEncoder().encode(np.zeros(960, np.int16))
    with pytest.raises(CodecError, match="more than one packet"):
        OpusDecoder().decode_fec(payload, 48000)


def test_decoded_audio_is_not_overwritten_by_the_next_packet() -> None:
    encoder, decoder = OpusEncoder(), OpusDecoder()
    frames = tone(1000, 48000, 0.1).reshape(5, -1)
    first = decoder.decode(encoder.encode(frames[0]))
    kept = first.copy()
    decoder.decode(encoder.encode(frames[1]))
    np.testing.assert_array_equal(first, kept)


@given(st.binary(max_size=1500))
def test_any_bytes_decode_to_at_most_120_ms_or_are_an_error(payload: bytes) -> None:
    decoder = OpusDecoder()
    try:
        pcm = decoder.decode(payload)
    except CodecError:
        return
    assert 0 < pcm.size <= 5760


def is_speech_coded(payload: bytes) -> bool:
    """Whether a packet has SILK in it, alone or below the transform (RFC 6716 §3.1)."""
    return payload[0] >> 3 < 16


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
def test_a_lean_encoder_uses_the_transform_alone_and_goes_back_to_speech_coding(rate_hz: int) -> None:
    encoder = OpusEncoder(rate_hz)
    frames = speech_like(1.0, rate_hz).reshape(50, -1)
    spoken = [encoder.encode(frame) for frame in frames]
    encoder.set_complexity(LEAN)
    lean = [encoder.encode(frame) for frame in frames]
    encoder.set_complexity(0)
    again = [encoder.encode(frame) for frame in frames]
    assert all(map(is_speech_coded, spoken))
    assert not any(map(is_speech_coded, lean[2:]))  # the first one still leads over
    assert all(map(is_speech_coded, again[2:]))


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize(
    ("bit_rate", "leaves_speech", "begins_lean"),
    [(20_000, False, False), (24_000, False, True), (28_000, True, True)],
)
def test_an_encoder_is_lean_where_its_bit_rate_allows(
    rate_hz: int, bit_rate: int, leaves_speech: bool, begins_lean: bool
) -> None:
    frames = speech_like(1.0, rate_hz).reshape(50, -1)
    for speaks_first, is_lean in ((True, leaves_speech), (False, begins_lean)):
        encoder = OpusEncoder(rate_hz, bit_rate=bit_rate)
        for frame in frames[:25] if speaks_first else ():
            encoder.encode(frame)
        encoder.set_complexity(LEAN)
        coded = [encoder.encode(frame) for frame in frames]
        assert {is_speech_coded(payload) for payload in coded[2:]} == {not is_lean}


def test_a_lean_encoder_follows_a_voice_no_worse_than_the_lowest_level() -> None:
    sent = speech_like(3.0, 16000)
    errors = {}
    for level in (0, LEAN):
        encoder, decoder = OpusEncoder(16000), OpusDecoder(16000)
        encoder.set_complexity(level)
        heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in sent.reshape(-1, 320)])
        errors[level] = max(signal_to_error_db(sent[: -delay or None], heard[delay:]) for delay in range(160))
    assert errors[LEAN] > errors[0]


@pytest.mark.parametrize("hz", [440, 1203, 2510])
def test_changes_between_lean_and_speech_coding_are_not_heard(hz: int) -> None:
    sent = tone(hz, 16000, 8.0)
    encoder, decoder = OpusEncoder(16000), OpusDecoder(16000)
    frames = []
    for place, frame in enumerate(sent.reshape(-1, 320)):
        if place % 50 == 0:
            encoder.set_complexity((0, LEAN)[place // 50 % 2])
        frames.append(decoder.decode(encoder.encode(frame)))
    purity = np.array(
        [tone_to_rest_db(np.concatenate(frames[at : at + 3]), hz, 16000) for at in range(50, 397)]
    )
    changes = np.isin(np.arange(50, 397) % 50, (48, 49, 0, 1))
    assert purity[changes].min() > max(25.0, purity[~changes].min() - 4)


def test_a_lean_encoder_is_gone_on_from_by_another() -> None:
    first, second, decoder = OpusEncoder(16000), OpusEncoder(16000), OpusDecoder(16000)
    frames = speech_like(1.0, 16000).reshape(50, -1)
    first.set_complexity(LEAN)
    for frame in frames[:25]:
        decoder.decode(first.encode(frame))
    second.copy_from(first)
    assert second.complexity == LEAN
    assert [second.encode(frame) for frame in frames[25:]] == [first.encode(frame) for frame in frames[25:]]
