import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codecs.signals import tone, tone_to_rest_db
from vb.codecs.g722 import DELAY_SAMPLES, G722Decoder, G722Encoder
from vb.codecs.pcm import CodecError


def test_20_ms_become_160_bytes() -> None:
    assert len(G722Encoder().encode(np.zeros(320, np.int16))) == 160


@pytest.mark.parametrize("samples", [80, 160, 480, 960])
def test_other_packet_times_continue_the_same_stream(samples: int) -> None:
    encoder, decoder = G722Encoder(), G722Decoder()
    sent = tone(3000, 16000, 0.96)
    heard = np.concatenate([decoder.decode(encoder.encode(frame)) for frame in sent.reshape(-1, samples)])
    assert tone_to_rest_db(heard[6400:], 3000, 16000) > 20


def test_upper_band_is_carried() -> None:
    encoder, decoder = G722Encoder(), G722Decoder()
    heard = decoder.decode(encoder.encode(tone(6000, 16000)))
    assert tone_to_rest_db(heard[8000:], 6000, 16000) > 15


def test_delay_is_the_documented_one() -> None:
    encoder, decoder = G722Encoder(), G722Decoder()
    noise = np.random.default_rng(7).normal(0, 3000, 8000)
    sent = np.convolve(noise, np.ones(8) / 8, "same").astype(np.int16)
    heard = decoder.decode(encoder.encode(sent)).astype(float)
    match = [np.dot(heard[delay:], sent[: sent.size - delay]) for delay in range(100)]
    assert np.argmax(match) == DELAY_SAMPLES


def test_odd_number_of_samples_is_an_error() -> None:
    with pytest.raises(CodecError):
        G722Encoder().encode(np.zeros(321, np.int16))


def test_directions_do_not_share_state() -> None:
    first, second = G722Encoder(), G722Encoder()
    frame = tone(1000, 16000, 0.02)
    first.encode(tone(300, 16000, 0.02))
    assert second.encode(frame) == G722Encoder().encode(frame)


@given(st.binary(max_size=400))
def test_every_payload_decodes_to_two_samples_a_byte(payload: bytes) -> None:
    assert G722Decoder().decode(payload).size == 2 * len(payload)
