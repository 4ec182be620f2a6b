"""Between an offer of ours and its answer: what it lists is taken, and nobody gets anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.mixer.support import (
    G722,
    OPUS,
    PCMA,
    PCMU,
    MemoryEndpoint,
    Phone,
    World,
    agreed,
    heard_tones,
    rtp,
    strength,
    to_ulaw,
    tone,
)
from vb.codecs.base import Codec, make_encoder
from vb.sdp import Receivable

OFFERED = Receivable({111: OPUS, 0: PCMU}, {101: 8000})


def offering(world: World, offered: Receivable = OFFERED) -> Phone:
    phone = world.phone(600, configured=False)
    phone.port.expect(offered)
    return phone


@pytest.mark.parametrize("codecs", [{111: OPUS, 0: PCMU}, {0: PCMU, 111: OPUS}, {9: G722, 0: PCMU}])
def test_audio_in_any_format_of_the_offer_is_heard(codecs: dict[int, Codec]) -> None:
    world = World()
    phone, listener = offering(world, Receivable(codecs, {})), world.phone()
    world.room(phone, listener)
    world.run(40)
    assert heard_tones(listener, 20) == {600}


def test_nobody_gets_anything() -> None:
    world = World()
    phone = offering(world)
    phone.port.sending = True
    world.run(20)
    assert phone.heard == []
    assert not phone.port.transmitting
    assert not phone.port.peer_may_send  # its silence is no fault


def test_digits_are_handed_on() -> None:
    world = World()
    phone = offering(world)
    world.run(6)
    phone.sending = False
    event = rtp(phone.sequence, 9000, bytes((5, 0x80, 0, 160)), payload_type=101, ssrc=phone.ssrc)
    world.io.arrive(phone.port.slot, event, phone.source, world.tick_at + 0.001)
    world.run(1)
    assert [packet.payload[0] for packet in phone.port.events] == [5]


def test_the_answer_decides_whom_to_listen_to() -> None:
    world = World()
    phone = offering(world)
    world.run(10)
    stranger = phone.source
    phone.source = ("192.0.2.9", 5000)
    phone.port.configure(agreed(5000, host="192.0.2.9"))
    phone.port.sending = True
    data = rtp(1, 1, to_ulaw(tone(900, 160)), ssrc=5)
    world.io.arrive(phone.port.slot, data, stranger, world.tick_at + 0.001)
    world.run(20)
    assert world.io.locked[phone.port.slot] == phone.source
    assert len(phone.heard) == 20


def test_a_further_format_is_taken_beside_what_is_agreed() -> None:
    world = World()
    phone, listener = world.phone(600), world.phone()
    world.room(phone, listener)
    world.run(20)
    phone.port.expect(Receivable({0: PCMU, 8: PCMA, 111: OPUS}, {101: 8000}))
    world.run(20)
    assert heard_tones(listener, 15) == {600}
    assert phone.port.statistics().concealed == 0


def test_a_port_that_is_closed_expects_nothing() -> None:
    world = World()
    phone = world.phone(configured=False)
    phone.port.close()
    phone.port.expect(OFFERED)
    world.run(2)
    assert phone.port.rate_hz == 0


def opus_packet(phone: Phone) -> bytes:
    payload = make_encoder(OPUS).encode(np.random.default_rng(3).integers(-9000, 9000, 960).astype(np.int16))
    phone.sequence += 1
    return rtp(phone.sequence - 1, phone.timestamp, payload, payload_type=111, ssrc=phone.ssrc)


@pytest.mark.parametrize("when", ["expected", "agreed"])
def test_one_packet_of_another_clock_spoils_nothing_that_follows(when: str) -> None:
    world = World()
    phone, listener = world.phone(600), world.phone()
    if when == "agreed":
        phone.port.configure(agreed(phone.source[1], receive={0: PCMU, 111: OPUS}))
    world.room(phone, listener)
    world.run(30)
    if when == "expected":
        phone.port.expect(OFFERED)
    usual = strength(listener.pcm(15), 600)
    world.io.arrive(phone.port.slot, opus_packet(phone), phone.source, world.tick_at + 0.001)
    world.run(150)
    assert strength(listener.pcm(50), 600) == pytest.approx(usual, rel=0.02)
    late = phone.port.statistics().late
    world.run(50)
    assert phone.port.statistics().late == late


def test_reports_of_nobody_are_not_taken() -> None:
    world = World()
    phone = offering(world)
    report = bytes((0x80, 201, 0, 1, 0, 0, 0, 9))
    world.io.arrive(phone.port.slot, report, ("203.0.113.66", 6666), world.tick_at + 0.001)
    world.run(2)
    assert list(phone.port.rtcp) == []
    phone.port.configure(agreed(phone.source[1]))
    world.io.arrive(phone.port.slot, report, phone.source, world.tick_at + 0.001)
    world.run(2)
    assert len(phone.port.rtcp) == 1


def test_what_came_before_the_answer_does_not_count_after_it() -> None:
    world = World()
    phone = offering(world)
    world.run(50)
    phone.sending = False
    phone.port.configure(agreed(5000, host="192.0.2.9"))
    world.run(20)
    assert phone.port.statistics().reception is None


def test_a_port_begins_anew_at_the_place_of_one_that_was_heard() -> None:
    world = World(capacity=1)
    unused = world.plane.open_port(MemoryEndpoint())
    fresh = replace(unused.statistics(), ssrc=0, last_arrival_s=0.0)
    unused.close()
    phone = world.phone(440)
    world.run(20)
    assert phone.port.statistics().received_octets
    phone.port.close()
    again = world.plane.open_port(MemoryEndpoint())
    assert replace(again.statistics(), ssrc=0, last_arrival_s=0.0, sent=fresh.sent) == fresh
    again.configure(agreed())
    world.run(5)
    assert again.reception() is None
