"""Codecs that have several sample rates run at the one of their leg's room."""

from __future__ import annotations

import numpy as np
import pytest

from tests.mixer.support import OPUS, PCMU, Phone, World, agreed, rtp, strength, tone
from vb.codecs.base import CodecError, at_rate, make_decoder
from vb.codecs.opus import OpusDecoder, OpusEncoder
from vb.mixer.port import Port


class OpusPhone(Phone):
    """A phone that speaks Opus."""

    encoder: OpusEncoder

    def packet(self) -> bytes:
        assert self.hz is not None
        pcm = tone(self.hz, 960, start=self.sequence * 960, rate_hz=48000)
        data = rtp(self.sequence, self.timestamp, self.encoder.encode(pcm), ssrc=self.ssrc, payload_type=111)
        self.sequence += 1
        self.skip()
        return data

    def skip(self) -> None:
        self.timestamp += 960

    def spoken(self, last: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
        """Return what it heard at 48 kHz."""
        decoder = OpusDecoder(48000)
        return np.concatenate([decoder.decode(packet.payload) for packet in self.heard])[-last * 960 :]


def opus_phone(world: World, hz: float) -> OpusPhone:
    plain = world.phone(hz)
    world.phones.remove(plain)
    phone = OpusPhone(world.io, plain.port, plain.source, hz, ssrc=plain.ssrc)
    phone.encoder = OpusEncoder(48000)
    phone.port.configure(agreed(plain.source[1], codec=OPUS))
    world.phones.append(phone)
    return phone


def test_a_leg_runs_at_the_rate_of_its_room_and_keeps_it_when_it_leaves() -> None:
    world = World()
    phone, other = opus_phone(world, 1000), world.phone(600)
    assert phone.port.rate_hz == 48000
    world.room(phone, other)
    world.run(2)
    assert (phone.port.rate_hz, other.port.rate_hz) == (16000, 8000)
    world.plane.withdraw("r")
    world.run(2)
    assert phone.port.rate_hz == 16000
    world.room(phone, other, room_id="s", rate_hz=48000)
    world.run(2)
    assert phone.port.rate_hz == 48000


def test_a_leg_that_is_configured_in_its_room_begins_at_that_rate() -> None:
    world = World()
    phone = world.phone(configured=False)
    world.room(phone, world.phone(600))
    world.run(1)
    phone.port.configure(agreed(phone.source[1], codec=OPUS))
    assert phone.port.rate_hz == 16000
    phone.port.configure(agreed(phone.source[1], codec=PCMU))
    assert phone.port.rate_hz == 8000


def test_both_are_heard_at_any_rate_and_numbers_go_on() -> None:
    for rate_hz in (8000, 16000, 48000):
        world = World()
        phone, other = opus_phone(world, 1000), world.phone(600)
        world.room(phone, other, room_id="before", rate_hz=48000)
        world.run(20)
        world.plane.withdraw("before")
        world.room(phone, other, rate_hz=rate_hz)
        world.run(100)
        assert strength(phone.spoken(50), 600, 48000) > 7000
        assert strength(other.pcm(50), 1000) > 7000
        sequence = np.array([packet.sequence for packet in phone.heard], np.uint16)
        stamps = np.array([packet.timestamp for packet in phone.heard], np.uint32)
        assert (np.diff(sequence) == 1).all()
        assert (np.diff(stamps) == 960).all()
        assert len({packet.ssrc for packet in phone.heard}) == 1
        assert (reception := phone.port.reception()) is not None
        assert reception.received == 120


def test_a_crowd_changes_its_rate_some_in_each_tick_and_everybody_does() -> None:
    world = World()
    phones = [opus_phone(world, 400 + 100 * number) for number in range(20)]
    world.room(*phones)
    world.run(1)
    changed = sum(phone.port.rate_hz == 16000 for phone in phones)
    assert 0 < changed < 20
    world.run(3)
    assert {phone.port.rate_hz for phone in phones} == {16000}


def test_a_codec_that_cannot_follow_ends_its_leg_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    phone, other = opus_phone(world, 1000), world.phone(600)
    faults: list[Port] = []
    world.plane.set_fault_handlers(lambda port, error: faults.append(port))

    def missing() -> None:
        raise CodecError("libopus was not found")

    monkeypatch.setattr(phone.port, "follow_room", missing)
    world.room(phone, other)
    world.run(3)
    assert faults == [phone.port]


def test_only_codecs_with_several_rates_change() -> None:
    assert at_rate(PCMU, 16000) is PCMU
    assert isinstance(make_decoder(at_rate(OPUS, 16000)), OpusDecoder)
    assert at_rate(OPUS, 16000).clock_rate_hz == 48000
