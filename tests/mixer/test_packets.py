"""STUN and DTLS on a media port go to whoever listens, in their order and no more than there is room for."""

from __future__ import annotations

import pytest

from tests.mixer.support import World, heard_tones, talkers
from vb.mixer.packets import MAX_PACKETS, PortPacket, PortPackets
from vb.rtp.packet import PacketKind

STUN, DTLS = b"\x00\x01\x00\x00stun", b"\x16\xfe\xfd dtls"


def test_both_come_with_their_source_and_time_while_audio_goes_on() -> None:
    world = World()
    one, two = talkers(world, 2)
    world.room(one, two)
    world.run(20)
    woken: list[int] = []
    one.port.packets.listen(lambda: woken.append(1))
    at = world.tick_at + 0.001
    world.io.arrive(one.port.slot, STUN, one.source, at)
    world.io.arrive(one.port.slot, DTLS, one.source, at + 0.001)
    world.run(20)
    first, second = one.port.packets.take()
    assert (first.kind, first.data, first.source) == (PacketKind.STUN, STUN, one.source)
    assert (second.kind, second.data) == (PacketKind.DTLS, DTLS)
    assert first.arrival_s == pytest.approx(at, abs=1e-6)
    assert len(woken) == 2
    assert len(one.port.packets) == 0
    assert heard_tones(two) == {400}
    assert world.plane.statistics.dropped.total() == 0


@pytest.mark.parametrize(
    ("first", "kept"), [(0, 1), (3, 1), (4, 0), (19, 0), (20, 1), (63, 1), (64, 0), (127, 0)]
)
def test_the_first_byte_tells(first: int, kept: int) -> None:
    world = World()
    phone = world.phone()
    phone.port.packets.listen(lambda: None)
    world.io.arrive(phone.port.slot, bytes([first, 1, 2, 3]), phone.source, world.tick_at + 0.001)
    world.run(2)
    assert len(phone.port.packets.take()) == kept


def test_they_come_before_anything_is_agreed_and_from_anybody() -> None:
    world = World()
    phone = world.phone(configured=False)
    phone.port.packets.listen(lambda: None)
    world.io.arrive(phone.port.slot, STUN, ("198.51.100.7", 9), world.tick_at + 0.001)
    world.run(2)
    (packet,) = phone.port.packets.take()
    assert packet.source == ("198.51.100.7", 9)


def test_what_does_not_fit_is_dropped_and_counted_and_the_rest_keeps_its_order() -> None:
    world = World()
    phone = world.phone()
    phone.port.packets.listen(lambda: None)
    for number in range(MAX_PACKETS + 5):
        world.io.arrive(phone.port.slot, STUN + bytes([number]), phone.source, world.tick_at + 0.001)
    world.run(20)
    taken = phone.port.packets.take()
    assert [packet.data[-1] for packet in taken] == list(range(MAX_PACKETS))
    assert phone.port.packets.dropped == 5
    assert world.plane.statistics.dropped["packets_full"] == 5


def test_nobody_who_listens_is_told_of_after_the_end() -> None:
    packets = PortPackets()
    woken: list[int] = []
    packet = PortPacket(PacketKind.STUN, STUN, ("192.0.2.1", 1), 0.0)
    assert not packets.put(packet)
    packets.listen(lambda: woken.append(1))
    assert packets.put(packet)
    packets.close()
    assert not packets.put(packet)
    assert packets.take() == []
    assert len(woken) == 1
