"""SRTP as the plane's transform, both ways and for reports."""

from __future__ import annotations

import struct

from tests.mixer.support import OPUS, PCMU, TONES, Phone, World, agreed, heard_tones, parse
from tests.webrtc.test_srtp import keys, rtp
from vb.mixer.srtp_transform import SrtpTransform
from vb.mixer.transform import REFUSED
from vb.webrtc.dtls import PROFILES, SrtpProfile
from vb.webrtc.srtp import Srtp, SrtpCounts

GCM = SrtpProfile.AEAD_AES_128_GCM
REPORT = struct.pack("!BBHI", 0x80, 201, 1, 77)


def memory(data: bytes) -> memoryview:
    return memoryview(bytearray(data + bytes(64)))


def test_packets_and_reports_come_out_as_they_went_in() -> None:
    ours, theirs = SrtpTransform(Srtp(keys())), SrtpTransform(Srtp(keys(swapped=True)))
    packet = memory(rtp(1))
    size = ours.protect(packet, len(rtp(1)))
    assert size > len(rtp(1))
    assert bytes(packet[:12]) == rtp(1)[:12]
    assert theirs.unprotect(packet, size) == len(rtp(1))
    assert bytes(packet[: len(rtp(1))]) == rtp(1)
    report = memory(REPORT)
    size = ours.protect_rtcp(report, len(REPORT))
    assert theirs.unprotect_rtcp(report, size) == len(REPORT)
    assert bytes(report[: len(REPORT)]) == REPORT


def test_what_is_bare_or_foreign_is_refused() -> None:
    ours = SrtpTransform(Srtp(keys()))
    assert ours.unprotect(memory(rtp(1)), len(rtp(1))) == REFUSED
    assert ours.unprotect_rtcp(memory(REPORT * 4), len(REPORT) * 4) == REFUSED
    assert ours.protect_rtcp(memoryview(bytearray(REPORT)), len(REPORT)) == REFUSED
    assert ours.protect(memory(b"x"), 1) == REFUSED


class SecurePhone(Phone):
    """A phone that sends and understands SRTP only."""

    srtp: Srtp

    def packet(self) -> bytes:
        return worked(self.srtp, super().packet(), outgoing=True)

    def listen(self) -> None:
        sent = self.io.sent[self.port.slot]
        while sent:
            self.heard.append(parse(worked(self.srtp, sent.popleft(), outgoing=False)))


def worked(srtp: Srtp, data: bytes, *, outgoing: bool) -> bytes:
    room = memory(data)
    size = (srtp.protect if outgoing else srtp.unprotect)(room, len(data))
    assert size
    return bytes(room[:size])


def secure_phone(world: World, profile: SrtpProfile, hz: float) -> tuple[SecurePhone, Srtp]:
    plain = world.phone(hz)
    world.phones.remove(plain)
    phone = SecurePhone(world.io, plain.port, plain.source, hz, ssrc=plain.ssrc)
    ours, phone.srtp = (Srtp(keys(profile, swapped=side, seed=plain.port.slot)) for side in (False, True))
    phone.port.transform = SrtpTransform(ours)
    world.phones.append(phone)
    return phone, ours


def test_legs_of_all_profiles_and_a_bare_one_hear_each_other() -> None:
    world = World()
    secure = [secure_phone(world, profile, hz) for profile, hz in zip(PROFILES, TONES, strict=False)]
    phones: list[Phone] = [phone for phone, _ in secure]
    phones.insert(2, world.phone(TONES[5]))
    world.room(*phones)
    world.run(40)
    tones = {phone.hz for phone in phones}
    for phone in phones:
        assert heard_tones(phone) == tones - {phone.hz}
    assert world.plane.statistics.dropped.total() == 0
    assert all(ours.counts == SrtpCounts() for _, ours in secure)


def test_replayed_and_damaged_packets_among_good_ones_are_dropped_and_counted() -> None:
    world = World()
    secure = [secure_phone(world, GCM, hz) for hz in TONES[:3]]
    phones = [phone for phone, _ in secure]
    world.room(*phones)
    world.run(20)
    attacked = phones[1]
    packet = worked(attacked.srtp, Phone.packet(attacked), outgoing=True)
    damaged = bytes([*packet[:30], packet[30] ^ 1, *packet[31:]])
    for number, data in enumerate((damaged, packet, packet, packet[:15])):
        world.io.arrive(attacked.port.slot, data, attacked.source, world.tick_at + 0.001 * number)
    before = world.plane.statistics.packets_in
    world.run(20)
    assert [heard_tones(phone) for phone in phones] == [
        {TONES[1], TONES[2]}, {TONES[0], TONES[2]}, {TONES[0], TONES[1]},
    ]  # fmt: skip
    assert world.plane.statistics.packets_in > before
    assert secure[1][1].counts == SrtpCounts(malformed=1, unauthentic=1, replayed=1)
    assert world.plane.statistics.dropped["transform_in"] == 3
    assert secure[0][1].counts == secure[2][1].counts == SrtpCounts()


def test_what_cannot_be_protected_is_not_sent_and_the_others_are() -> None:
    world = World()
    secure = [secure_phone(world, SrtpProfile.AES128_CM_SHA1_80, hz) for hz in TONES[:3]]
    phones = [phone for phone, _ in secure]
    world.room(*phones)
    world.run(10)
    told = [len(phone.heard) for phone in phones]
    # A number that was used already is never used again.
    world.plane._core.columns.sequence[phones[0].port.slot] -= 1
    world.run(5)
    assert [len(phone.heard) - count for phone, count in zip(phones, told, strict=True)] == [4, 5, 5]
    assert secure[0][1].counts.unsent == 1
    assert world.plane.statistics.dropped["transform_out"] == 1


def test_packets_of_different_sizes_are_protected_in_one_go() -> None:
    world = World()
    talker = world.phone(TONES[0])
    secure = [secure_phone(world, GCM, hz)[0] for hz in TONES[1:3]]
    for phone in secure:
        phone.port.configure(agreed(phone.source[1], codec=OPUS, receive={0: PCMU, 111: OPUS}))
    world.room(talker, *secure)
    world.run(40)
    assert {packet.payload_type for phone in secure for packet in phone.heard[-20:]} == {111}
    sizes = [[len(packet.payload) for packet in phone.heard[-20:]] for phone in secure]
    assert sizes[0] != sizes[1]
    assert heard_tones(talker) == set(TONES[1:3])
    assert world.plane.statistics.dropped.total() == 0


def test_keys_that_change_are_those_of_the_next_packet_whoever_else_is_sent_to() -> None:
    world = World()
    (one, ours), (two, _) = (secure_phone(world, GCM, hz) for hz in TONES[:2])
    world.room(one, two)
    world.run(20)
    ours.rekey(keys(GCM, seed=77))
    one.srtp.rekey(keys(GCM, swapped=True, seed=77))
    one.heard.clear()
    world.run(20)
    assert len(one.heard) == 20
    theirs = Srtp(keys(GCM, swapped=True, seed=78))
    one.port.transform = SrtpTransform(Srtp(keys(GCM, seed=78)))
    one.srtp = theirs
    one.heard.clear()
    world.run(20)
    assert len(one.heard) == 20
    assert len(two.heard) == 60
