"""What is done to packets next to the socket: a toy cipher stands for SRTP."""

from __future__ import annotations

import struct

import pytest

from tests.mixer.support import OPUS, PCMU, Phone, World, agreed, heard_tones, parse
from vb.codecs.base import Codec
from vb.mixer.transform import PacketTransform

KEY, TAG = 0x5A, b"seal"
REPORT = struct.pack("!BBHI", 0x80, 201, 1, 77)


class Toy:
    """Flips the bits behind the header and appends a tag; refuses what has none."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def protect(self, packet: memoryview, length: int) -> int:
        return self._seal(packet, length, 12, "protect")

    def unprotect(self, packet: memoryview, length: int) -> int:
        return self._open(packet, length, 12, "unprotect")

    def protect_rtcp(self, packet: memoryview, length: int) -> int:
        return self._seal(packet, length, 8, "protect_rtcp")

    def unprotect_rtcp(self, packet: memoryview, length: int) -> int:
        return self._open(packet, length, 8, "unprotect_rtcp")

    def _seal(self, packet: memoryview, length: int, head: int, name: str) -> int:
        self.calls.append(name)
        packet[head:length] = flipped(bytes(packet[head:length]))
        packet[length : length + len(TAG)] = TAG
        return length + len(TAG)

    def _open(self, packet: memoryview, length: int, head: int, name: str) -> int:
        self.calls.append(name)
        end = length - len(TAG)
        if end < head or bytes(packet[end:length]) != TAG:
            return -1
        packet[head:end] = flipped(bytes(packet[head:end]))
        return end


class Failing(Toy):
    def protect(self, packet: memoryview, length: int) -> int:
        raise RuntimeError("no key")


class Refusing(Toy):
    def protect(self, packet: memoryview, length: int) -> int:
        return -1

    def protect_rtcp(self, packet: memoryview, length: int) -> int:
        return -1


def flipped(data: bytes) -> bytes:
    return bytes(byte ^ KEY for byte in data)


def sealed(data: bytes, head: int = 12) -> bytes:
    return data[:head] + flipped(data[head:]) + TAG


class SealedPhone(Phone):
    """A phone that speaks and understands what the toy makes."""

    def packet(self) -> bytes:
        return sealed(super().packet())

    def listen(self) -> None:
        sent = self.io.sent[self.port.slot]
        while sent:
            data = sent.popleft()
            assert data[-4:] == TAG
            self.heard.append(parse(data[:12] + flipped(data[12:-4])))


def sealed_phone(world: World, hz: float | None = None, *, codec: Codec = PCMU, ptime_ms: int = 20) -> Phone:
    plain = world.phone(hz)
    world.phones.remove(plain)
    phone = SealedPhone(world.io, plain.port, plain.source, hz, ssrc=plain.ssrc)
    receive = {0: PCMU, codec.payload_type: codec}
    phone.port.configure(agreed(phone.source[1], codec=codec, receive=receive, ptime_ms=ptime_ms, events=101))
    phone.port.transform = Toy()
    world.phones.append(phone)
    return phone


def test_a_leg_with_a_transform_is_heard_and_hears_beside_one_without() -> None:
    world = World()
    one, two, three = sealed_phone(world, 400), world.phone(600), sealed_phone(world, 900)
    world.room(one, two, three)
    world.run(40)
    assert [heard_tones(phone) for phone in (one, two, three)] == [{600, 900}, {400, 900}, {400, 600}]
    assert world.plane.statistics.dropped.total() == 0


@pytest.mark.parametrize(("codec", "ptime_ms"), [(PCMU, 20), (PCMU, 10), (OPUS, 20)])
def test_listeners_who_share_a_payload_each_get_it_through_their_own(codec: Codec, ptime_ms: int) -> None:
    world = World()
    talker = world.phone(400)
    phones = [sealed_phone(world, codec=codec, ptime_ms=ptime_ms) for _ in range(3)]
    bare = world.phone()
    bare.port.configure(agreed(bare.source[1], codec=codec, ptime_ms=ptime_ms))
    world.room(talker, *phones, bare)
    world.run(60)
    assert len({phone.heard[-1].payload for phone in (*phones, bare)}) == 1
    for phone in phones:
        transform = phone.port.transform
        assert isinstance(transform, Toy)
        assert transform.calls.count("protect") == len(phone.heard)


def test_digits_and_keep_alives_go_through_it_too() -> None:
    world = World()
    phone = sealed_phone(world)
    world.run(5)
    assert phone.port.send_digits("5")
    world.run(20)
    assert any(packet.payload_type == 101 for packet in phone.heard)
    keep_alive = phone.port.keep_alive()
    assert keep_alive is not None
    assert keep_alive[-4:] == TAG


def test_what_it_refuses_is_dropped_and_counted() -> None:
    world = World()
    phone = sealed_phone(world, 400)
    world.run(10)
    before = phone.port.reception()
    for number in range(3):
        bad = Phone.packet(phone)
        world.io.arrive(phone.port.slot, bad, phone.source, world.tick_at + 0.001 + number / 1000)
    phone.sending = False
    world.run(5)
    after = phone.port.reception()
    assert before is not None
    assert after is not None
    assert world.plane.statistics.dropped["transform_in"] == 3
    assert after.received - before.received <= 1


def test_a_packet_that_it_cannot_protect_is_not_sent_bare() -> None:
    world = World()
    phone, other = world.phone(), world.phone()
    phone.port.transform = Refusing()
    world.run(5)
    assert phone.heard == []
    assert len(other.heard) == 5
    assert world.plane.statistics.dropped["transform_out"] == 5
    assert phone.port.seal_rtcp(REPORT) is None


def test_one_that_fails_ends_its_leg_only() -> None:
    world = World()
    phone, other = world.phone(), world.phone()
    phone.port.transform = Failing()
    world.run(5)
    assert phone.port.faulted
    assert phone.heard == []
    assert len(other.heard) == 5


def test_rtcp_is_restored_on_either_port_and_prepared_for_the_way_out() -> None:
    world = World()
    phone = sealed_phone(world)
    world.run(3)
    world.io.arrive(phone.port.slot, sealed(REPORT, 8), phone.source, world.tick_at + 0.001)
    world.io.rtcp.append((phone.port.slot, sealed(REPORT, 8), (phone.source[0], 4001), 0))
    world.io.rtcp.append((phone.port.slot, REPORT, (phone.source[0], 4001), 0))
    world.run(2)
    assert [datagram.data for datagram in phone.port.rtcp] == [REPORT, REPORT]
    assert world.plane.statistics.dropped["transform_in"] == 1
    assert phone.port.seal_rtcp(REPORT) == sealed(REPORT, 8)


def test_stun_and_dtls_pass_it_by() -> None:
    world = World()
    phone = sealed_phone(world)
    phone.port.packets.listen(lambda: None)
    for data in (b"\x00\x01stun", b"\x16\xfe\xfddtls"):
        world.io.arrive(phone.port.slot, data, phone.source, world.tick_at + 0.001)
    world.run(2)
    assert [packet.data for packet in phone.port.packets.take()] == [b"\x00\x01stun", b"\x16\xfe\xfddtls"]


def test_it_goes_with_its_port() -> None:
    world = World()
    phone = sealed_phone(world)
    transform: PacketTransform | None = phone.port.transform
    assert transform is not None
    phone.port.close()
    assert phone.port.transform is None
    assert not world.plane._core.transforms
    phone.port.transform = transform
    assert not world.plane._core.transforms


def test_an_authentic_source_may_move_at_once_and_nothing_ties_the_socket() -> None:
    world = World()
    phone, mate = sealed_phone(world, 400), world.phone(600)
    port = phone.port
    port.authenticated = True
    port.configure(agreed(4242, events=101))
    world.room(phone, mate)
    world.run(20)
    assert world.io.locked[port.slot] is None
    phone.source = ("203.0.113.77", 5000)
    mate.heard.clear()
    world.run(20)
    assert heard_tones(mate) == {400}
    assert world.io.locked[port.slot] is None
    assert world.io.targets[port.slot] == ("192.0.2.1", 4242)
