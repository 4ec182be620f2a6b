"""Senders whose timestamps are not those of their audio: heard whole, and nothing learnt outlives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.mixer.odd_stamps import CODECS, Talker, right, shaken, times
from tests.mixer.support import (
    G722,
    OPUS,
    PCMA,
    PCMU,
    World,
    agreed,
    level,
    rtp,
    strength,
    to_ulaw,
    tone,
)
from vb.codecs.base import Codec
from vb.rtp.playout import PlayoutSettings


class TestWhatWasLearntOfASource:
    def learnt(self, codec: Codec = G722, receive: Sequence[Codec] = ()) -> Talker:
        talker = Talker(World(), codec, receive=receive)
        talker.say(60, times(2)(codec))
        assert self.by_sequence(talker)
        return talker

    @staticmethod
    def by_sequence(talker: Talker) -> bool:
        places = talker.world.plane._core.arrivals._places
        return bool(places.by_sequence[talker.phone.port.slot])

    def test_ends_with_its_ssrc(self) -> None:
        talker = self.learnt()
        talker.ssrc, talker.sequence = 4242, 9
        assert talker.whole(talker.say(100, right(G722)))
        assert not self.by_sequence(talker)

    def test_ends_with_its_address_after_a_reinvite(self) -> None:
        talker = self.learnt()
        talker.phone.port.configure(agreed(7000, codec=G722))
        talker.source = ("192.0.2.1", 7000)
        talker.say(1, right(G722))
        assert not self.by_sequence(talker)
        assert talker.whole(talker.say(100, lambda number: right(G722)(number + 1)))

    def test_ends_with_its_address_though_the_numbers_go_back(self) -> None:
        talker = Talker(World(), G722)
        stamps = right(G722)
        talker.say(60, stamps)
        talker.phone.port.configure(agreed(7000, codec=G722))
        talker.source = ("192.0.2.1", 7000)
        talker.sequence -= 50
        assert talker.whole(talker.say(40, lambda number: stamps(number + 10)))

    def test_ends_when_another_address_takes_over(self) -> None:
        talker = self.learnt()
        talker.world.run(320)
        talker.source = ("203.0.113.9", 9)
        talker.sequence -= 30
        talker.say(12, right(G722))
        assert not self.by_sequence(talker)
        assert talker.whole(talker.say(60, lambda number: right(G722)(number + 12)))

    def test_ends_with_its_codec(self) -> None:
        talker = self.learnt()
        talker.phone.port.configure(agreed(talker.source[1], codec=PCMA))
        assert not self.by_sequence(talker)
        talker.change(PCMA)
        assert talker.whole(talker.say(100, right(PCMA)))

    def test_is_unlearnt_when_its_timestamps_become_right(self) -> None:
        talker = self.learnt()
        last = times(2)(G722)(60)
        assert talker.whole(talker.say(100, lambda number: last + 160 * number))
        assert not self.by_sequence(talker)

    def test_comes_back_when_they_become_wrong_again(self) -> None:
        talker = self.learnt()
        last = times(2)(G722)(60)
        talker.say(30, lambda number: last + 160 * number)
        assert not self.by_sequence(talker)
        last += 160 * 30
        assert talker.whole(talker.say(100, lambda number: last + 320 * number))
        assert self.by_sequence(talker)

    def test_a_bit_rate_asked_for_beside_other_codecs_leaves_the_source_alone(self) -> None:
        talker = Talker(World(), OPUS)
        stamps, asked = right(OPUS), replace(OPUS, bit_rate=20_000)
        talker.phone.port.configure(agreed(talker.source[1], codec=asked, receive={111: OPUS}))
        talker.say(30, stamps)
        talker.phone.port.configure(agreed(talker.source[1], codec=asked, receive={0: PCMU, 111: OPUS}))
        reception = talker.phone.port.reception()
        assert reception is not None
        assert reception.clock_rate_hz == 48_000
        assert talker.whole(talker.say(30, lambda number: stamps(number + 30)))

    def test_the_same_address_again_keeps_the_counts(self) -> None:
        talker = Talker(World(), G722)
        stamps = right(G722)
        talker.say(30, stamps)
        talker.phone.port.configure(agreed(7000, codec=G722))
        talker.phone.port.configure(agreed(talker.source[1], codec=G722))
        assert talker.whole(talker.say(30, lambda number: stamps(number + 30)))
        reception = talker.phone.port.reception()
        assert reception is not None
        assert reception.received == 60


class TestOtherPacketsAmongAudio:
    def test_digits_under_an_ssrc_of_their_own_leave_the_audio_alone(self) -> None:
        talker = Talker(World(), PCMU, events=101)
        stamps = right(PCMU)
        talker.say(30, stamps)
        for number in range(20):
            event = rtp(900 + number, 77, bytes((5, 10, 0, 160)), ssrc=5, payload_type=101)
            talker.world.io.arrive(talker.phone.port.slot, event, talker.source, talker.world.tick_at + 0.005)
            talker.say(1, lambda _, number=number: stamps(number + 30))  # type: ignore[misc]  # bound now
        assert talker.whole(np.concatenate(talker.sink.frames[10:]))
        assert [packet.ssrc for packet in talker.phone.port.events] == [5] * 20
        reception = talker.phone.port.reception()
        assert reception is not None
        assert (reception.ssrc, reception.received) == (77, 50)

    def test_digits_with_timestamps_of_their_own_leave_the_audio_alone(self) -> None:
        talker = Talker(World(), PCMU, events=101)
        stamps = right(PCMU)
        talker.say(30, stamps)
        for number in range(20):
            event = rtp(
                talker.sequence, 77_000_000, bytes((5, 10, 0, 160)), ssrc=talker.ssrc, payload_type=101
            )
            talker.sequence += 1
            talker.world.io.arrive(talker.phone.port.slot, event, talker.source, talker.world.tick_at + 0.005)
            talker.say(1, lambda _, number=number: stamps(number + 30))  # type: ignore[misc]  # bound now
        assert talker.whole(np.concatenate(talker.sink.frames[10:]))
        assert len(talker.phone.port.events) == 20
        assert talker.phone.port.statistics().strays == 0

    def test_packets_of_unknown_types_are_counted_and_change_nothing(self) -> None:
        talker = Talker(World(), PCMU)
        stamps = right(PCMU)
        talker.say(30, stamps)
        for number in range(20):
            other = rtp(3 * number, 1 << 30, bytes(160), ssrc=5, payload_type=96)
            talker.world.io.arrive(talker.phone.port.slot, other, talker.source, talker.world.tick_at + 0.005)
            talker.say(1, lambda _, number=number: stamps(number + 30))  # type: ignore[misc]  # bound now
        assert talker.whole(np.concatenate(talker.sink.frames[10:]))
        assert talker.world.plane.statistics.dropped == {"unknown_payload_type": 20}


class TestSourcesThatOverlap:
    def test_the_newest_is_heard_while_the_one_before_goes_on(self) -> None:
        world = World()
        talker = Talker(world, PCMU)
        stamps = right(PCMU)
        talker.say(30, stamps)
        talker.ssrc, talker.sequence = 4242, 7
        for number in range(60):
            old = rtp(130 + number, 5000 + 160 * (30 + number), to_ulaw(tone(1300, 160)), ssrc=77)
            world.io.arrive(talker.phone.port.slot, old, talker.source, world.tick_at + 0.005)
            talker.say(1, lambda _, number=number: 900_000 + 160 * number)  # type: ignore[misc]  # bound now
        assert talker.whole(np.concatenate(talker.sink.frames[-50:]))
        statistics = talker.phone.port.statistics()
        assert statistics.reception is not None
        assert (statistics.reception.ssrc, statistics.reception.received) == (4242, 60)
        assert statistics.strays == 59

    def test_packets_of_another_ssrc_that_keep_a_way_open_end_nothing(self) -> None:
        world = World()
        talker = Talker(world, PCMU)
        talker.ssrc = 0
        talker.say(3, right(PCMU))
        talker.ssrc = 77
        stamps = right(PCMU)
        talker.say(30, stamps)
        for number in range(10):
            idle = rtp(3 + number, 7, bytes([255]) * 160, ssrc=0)
            world.io.arrive(talker.phone.port.slot, idle, talker.source, world.tick_at + 0.005)
            talker.say(3, lambda n, number=number: stamps(30 + 3 * number + n))  # type: ignore[misc]
        assert talker.whole(np.concatenate(talker.sink.frames[-40:]))

    def test_the_one_before_is_heard_again_when_the_newer_one_ceases(self) -> None:
        talker = Talker(World(), PCMU)
        stamps = right(PCMU)
        talker.say(30, stamps)
        talker.ssrc = 4242
        talker.say(1, stamps)
        talker.ssrc = 77
        talker.say(3, lambda number: stamps(number + 31))
        assert talker.whole(talker.say(60, lambda number: stamps(number + 34)))

    def test_the_one_before_is_heard_at_once_after_half_a_second(self) -> None:
        talker = Talker(World(), PCMU)
        stamps = right(PCMU)
        talker.say(30, stamps)
        talker.ssrc = 4242
        talker.say(30, stamps)
        talker.world.run(25)
        talker.ssrc = 77
        assert level(talker.say(3, stamps)[-160:]) > 5000
        assert talker.phone.port.statistics().strays == 0


@pytest.mark.parametrize("jump", [-3_000_000, -23_680, -4000, 4000, 23_680, 3_000_000])
def test_no_audio_is_lost_where_timestamps_jump_and_the_numbers_go_on(jump: int) -> None:
    talker = Talker(World(), PCMU)
    stamps = right(PCMU)
    begun = talker.say(30, lambda number: stamps(number + 50_000))
    rest = talker.say(60, lambda number: stamps(number + 50_030) + jump)
    assert talker.whole(np.concatenate((begun, rest)))
    assert talker.phone.port.statistics().strays == 0
    assert talker.phone.port.statistics().concealed == 0


@pytest.mark.parametrize("back", [5, 20, 40, 60])
@pytest.mark.parametrize("stamps_too", [True, False])
def test_a_sender_whose_numbers_go_back_a_little_is_heard_within_200_ms(back: int, stamps_too: bool) -> None:
    talker = Talker(World(), PCMU)
    stamps = right(PCMU)
    talker.say(80, stamps)
    talker.sequence -= back
    moved = back if stamps_too else 0
    talker.say(10, lambda number: stamps(number + 80 - moved))
    assert talker.whole(talker.say(60, lambda number: stamps(number + 90 - moved)))
    reception = talker.phone.port.reception()
    assert reception is not None
    assert -10 <= reception.lost <= 0


def test_packets_that_all_come_twice_are_heard_once() -> None:
    talker = Talker(World(), PCMU)
    stamps = right(PCMU)
    for number in range(100):
        again = talker.sequence - 6
        talker.say(1, lambda _, number=number: stamps(number))  # type: ignore[misc]  # bound now
        if number >= 6:
            data = rtp(again, stamps(number - 6), bytes(160), ssrc=77)
            talker.world.io.arrive(talker.phone.port.slot, data, talker.source, talker.world.tick_at + 0.001)
    assert talker.whole(np.concatenate(talker.sink.frames))
    assert talker.phone.port.statistics().duplicates >= 90


def test_shaken_timestamps_of_packets_that_change_places_leave_no_seam() -> None:
    world = World(playout=PlayoutSettings(target_ms=60))
    talker = Talker(world, PCMU)
    stamps = shaken(PCMU)
    packets = [rtp(number, stamps(number), talker.payload()) for number in range(300)]
    for number, packet in enumerate(packets):
        at = world.tick_at + 0.03 + 0.02 * (number // 2 * 2) + 0.004 * (number % 2 == 0)
        world.io.arrive(talker.phone.port.slot, packet, talker.source, at)
    world.run(300)
    assert talker.whole(np.concatenate(talker.sink.frames[15:290]))


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_comfort_noise_with_timestamps_of_its_own_leaves_the_audio_alone(codec: Codec) -> None:
    talker = Talker(World(), codec)
    stamps = right(codec)
    talker.say(50, stamps)
    for number in range(5):
        noise = rtp(talker.sequence, 77_000_000 * number, b"\x40", ssrc=talker.ssrc, payload_type=13)
        talker.sequence += 1
        talker.world.io.arrive(talker.phone.port.slot, noise, talker.source, talker.world.tick_at + 0.01)
        talker.world.run(5)
    talker.sample += 25 * codec.pcm_rate_hz // 50
    assert talker.whole(talker.say(50, lambda number: stamps(number + 75)))
    statistics = talker.phone.port.statistics()
    assert (statistics.underruns, statistics.strays) == (0, 0)


def test_audio_goes_to_the_locked_source_when_the_sdp_gives_no_address() -> None:
    world = World()
    one, other = world.phone(400, configured=False), world.phone(900)
    one.port.configure(agreed(has_address=False))
    one.port.sending = True
    one.source = ("203.0.113.9", 9999)
    world.room(one, other)
    world.run(3)
    assert not one.heard
    world.run(40)
    assert world.io.targets[one.port.slot] == ("203.0.113.9", 9999)
    assert strength(one.pcm(20), 900) > 7000


def test_no_audio_goes_to_the_locked_source_of_a_peer_that_holds_us() -> None:
    world = World()
    one, other = world.phone(400, configured=False), world.phone(900)
    one.port.configure(agreed(has_address=False, direction="recvonly", remote_held=True))
    one.port.sending = True
    world.room(one, other)
    world.run(40)
    assert not one.heard
