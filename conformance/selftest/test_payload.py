import numpy as np
import pytest

from conformance.peers.measure import level_db, lost_in, steps_of, tones_of
from conformance.peers.media_server import tone
from conformance.peers.payload import make_codec


def test_ulaw_has_its_textbook_values() -> None:
    codec = make_codec("PCMU")
    assert list(codec.decode(bytes([0x00, 0x80, 0xFF, 0x7F, 0x1F]))) == [-32124, 32124, 0, 0, -8316]
    assert codec.encode(np.array([32124, -32124], np.int16)) == b"\x80\x00"
    assert not codec.decode(codec.encode(np.zeros(160, np.int16))).any()


def test_alaw_has_its_textbook_values() -> None:
    codec = make_codec("PCMA")
    assert list(codec.decode(bytes([0xD5, 0x55, 0xAA, 0x2A]))) == [8, -8, 32256, -32256]
    assert codec.encode(np.array([8, -8, 32256], np.int16)) == bytes([0xD5, 0x55, 0xAA])


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "opus"])
def test_a_tone_survives_the_codec(name: str) -> None:
    sender, receiver = make_codec(name), make_codec(name)
    size = sender.pcm_rate_hz // 50
    pcm = tone(1000, 600, sender.pcm_rate_hz)
    parts = [receiver.decode(sender.encode(pcm[i : i + size])) for i in range(0, len(pcm), size)]
    back = np.concatenate(parts)[size * 3 :]
    assert len(back) == len(pcm) - size * 3
    assert abs(tones_of(back, sender.pcm_rate_hz)[0] - 1000) < 5
    assert level_db(back) == pytest.approx(-18, abs=1)


def test_two_tones_are_told_apart_and_noise_below_the_floor_is_not_a_tone() -> None:
    pair = tone(350, 300, 8000) + tone(440, 300, 8000)
    assert [round(t, -1) for t in tones_of(pair, 8000)] == [350, 440]
    assert tones_of(tone(440, 300, 8000, level=-70), 8000) == []
    assert level_db(np.zeros(160, np.int16)) == -99


def test_steps_and_losses_survive_the_wrap_of_the_sequence_number() -> None:
    assert steps_of([0xFFFFFFB0, 80, 240], [65534, 65535, 0]) == [160]
    assert lost_in([65534, 65535, 1]) == 1
    assert lost_in([5, 6, 7]) == 0
