import numpy as np
import pytest

from tests.codecs.signals import tone, tone_to_rest_db
from vb.choices import KNOWN_CODECS
from vb.codecs.base import (
    CODECS,
    Codec,
    CodecError,
    find_codec,
    make_decoder,
    make_encoder,
)


@pytest.mark.parametrize("name", ["PCMU", "pcmu", "g722", "OPUS", "Pcma"])
def test_codec_is_found_in_any_letter_case(name: str) -> None:
    codec = find_codec(name)
    assert codec is not None
    assert codec.name.lower() == name.lower()


def test_unknown_codec_is_none() -> None:
    assert find_codec("speex") is None


def test_every_codec_can_be_chosen_and_every_choice_is_a_codec() -> None:
    assert sorted(KNOWN_CODECS) == sorted(CODECS)


def test_payload_types_and_clocks_are_those_of_the_profile() -> None:
    numbers = {c.name: (c.payload_type, c.clock_rate_hz, c.pcm_rate_hz, c.channels) for c in CODECS.values()}
    assert numbers == {
        "PCMU": (0, 8000, 8000, 1),
        "PCMA": (8, 8000, 8000, 1),
        "G722": (9, 8000, 16000, 1),
        "opus": (111, 48000, 48000, 2),
    }


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_tone_survives_20_ms_frames_of_every_codec(codec: Codec) -> None:
    encoder, decoder = make_encoder(codec), make_decoder(codec)
    sent = tone(1000, codec.pcm_rate_hz)
    frames = [decoder.decode(encoder.encode(frame)) for frame in sent.reshape(50, -1)]
    assert {frame.size for frame in frames} == {codec.pcm_rate_hz // 50}
    assert {frame.dtype for frame in frames} == {np.dtype(np.int16)}
    heard = np.concatenate(frames)[codec.pcm_rate_hz // 2 :]
    assert tone_to_rest_db(heard, 1000, codec.pcm_rate_hz) > 20
    assert 0.8 < np.sqrt(np.mean(np.square(heard.astype(float)))) / (8000 / np.sqrt(2)) < 1.2


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_lost_frame_is_concealed_by_every_codec(codec: Codec) -> None:
    encoder, decoder = make_encoder(codec), make_decoder(codec)
    for frame in tone(400, codec.pcm_rate_hz, 0.4).reshape(20, -1):
        decoder.decode(encoder.encode(frame))
    samples = codec.pcm_rate_hz // 50
    gap = np.concatenate([decoder.conceal(samples) for _ in range(5)]).astype(float)
    assert gap.size == 5 * samples
    assert np.abs(gap[:samples]).max() > 4000
    assert not gap[3 * samples :].any()


def test_foreign_codec_is_refused() -> None:
    foreign = Codec("GSM", 3, 8000, 8000)
    with pytest.raises(CodecError, match="GSM"):
        make_encoder(foreign)
    with pytest.raises(CodecError, match="GSM"):
        make_decoder(foreign)
