"""One test and more for each rule of docs/discussion/media.md."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from tests.mixer.support import (
    START,
    TICK_S,
    Phone,
    World,
    agreed,
    from_ulaw,
    level,
    rtp,
    strength,
    to_ulaw,
    tone,
)


def pair(world: World, **talker: Any) -> tuple[Phone, Phone]:
    """Return a talker with a 400 Hz tone and a silent listener in a room of two."""
    one, other = world.phone(400, **talker), world.phone()
    world.room(one, other)
    return one, other


class TestRule1PlayOutByTimestamp:
    @pytest.mark.parametrize("samples", [80, 160, 240, 320, 480])
    def test_any_packet_time_is_heard_whole(self, samples: int) -> None:
        world = World()
        _, listener = pair(world, samples=samples)
        world.run(100)
        heard = listener.pcm(50)
        assert strength(heard, 400) > 7500
        assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 5000

    def test_odd_packet_lengths_leave_no_seam(self) -> None:
        world = World()
        talker, listener = pair(world, sending=False)
        sample, sequence = 0, 0
        for _ in range(100):
            world.run(1)
            for length in (37, 123):
                packet = rtp(sequence, sample, to_ulaw(tone(400, length, start=sample)))
                world.io.arrive(talker.port.slot, packet, talker.source, world.io.now + 0.010)
                sample, sequence = sample + length, sequence + 1
        heard = listener.pcm(50)
        assert strength(heard, 400) > 7500

    def test_timestamp_wrap_is_not_heard(self) -> None:
        world = World()
        _, listener = pair(world, timestamp=2**32 - 160 * 40, sequence=2**16 - 30)
        world.run(100)
        heard = listener.pcm(90)[3200:]
        assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 5000

    def test_reordered_packets_are_played_in_order(self) -> None:
        world = World()
        talker, listener = pair(world, sending=False)
        for k in range(0, 100, 2):
            for place, number in enumerate((k + 1, k)):
                packet = rtp(number, number * 160, to_ulaw(tone(400, 160, start=number * 160)))
                at = world.tick_at + TICK_S * (1 + place) - 0.010
                world.io.arrive(talker.port.slot, packet, talker.source, at)
            world.run(2)
        heard = listener.pcm(60)
        assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 5000
        reception = talker.port.statistics().reception
        assert reception is not None
        assert reception.lost <= 0


class TestRule2SeveralPacketsInOneDrain:
    def test_ten_ms_packets_in_pairs_are_all_heard(self) -> None:
        world = World()
        talker, listener = pair(world, sending=False)
        for k in range(0, 200, 2):
            for number in (k, k + 1):
                packet = rtp(number, number * 80, to_ulaw(tone(400, 80, start=number * 80)))
                world.io.arrive(talker.port.slot, packet, talker.source, world.tick_at + 0.010)
            world.run(1)
        heard = listener.pcm(50)
        assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 5000
        assert talker.port.statistics().late == 0

    def test_more_than_eight_waiting_packets_wait_for_the_next_tick(self) -> None:
        world = World()
        talker, _ = pair(world, sending=False)
        for number in range(12):
            packet = rtp(number, number * 160, to_ulaw(tone(400, 160)))
            world.io.arrive(talker.port.slot, packet, talker.source, world.tick_at + 0.001)
        world.run(1)
        reception = talker.port.statistics().reception
        assert reception is not None
        assert reception.received == 8
        world.run(1)
        assert talker.port.statistics().reception.received == 12  # type: ignore[union-attr]  # it was there


class TestRule3OddPackets:
    def deliver(self, data: bytes) -> World:
        world = World()
        talker, _ = pair(world, sending=False)
        world.io.arrive(talker.port.slot, data, talker.source, world.tick_at)
        world.run(1)
        return world

    def test_contributors_extension_and_padding_are_removed(self) -> None:
        world = World()
        talker, listener = pair(world, sending=False)
        for k in range(30):
            payload = to_ulaw(tone(400, 160, start=k * 160))
            head = struct.pack("!BBHII", 0x80 | 0x30 | 2, 0, k, k * 160, 77) + struct.pack("!II", 1, 2)
            head += struct.pack("!HHI", 0xBEDE, 1, 0)
            world.io.arrive(
                talker.port.slot, head + payload + b"\x00\x00\x00\x04", talker.source, world.tick_at + 0.010
            )
            world.run(1)
        assert strength(listener.pcm(20), 400) > 7500

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x80",
            b"\x80\x00\x00",
            b"\x8f" + bytes(11),
            b"\x90" + bytes(11),
            b"\x90" + bytes(13) + b"\xff\xff",
            b"\xa0" + bytes(10) + b"\xff",
            b"\xa0" + bytes(11),
        ],
    )
    def test_lengths_that_do_not_add_up_are_counted(self, data: bytes) -> None:
        world = self.deliver(data)
        assert sum(world.plane.statistics.dropped.values()) == 1
        assert world.phones[0].port.statistics().reception is None

    @pytest.mark.parametrize(("first", "reason"), [(0, "stun"), (22, "dtls"), (70, "unknown")])
    def test_other_protocols_are_told_apart_by_the_first_byte(self, first: int, reason: str) -> None:
        world = self.deliver(bytes([first]) + bytes(30))
        assert world.plane.statistics.dropped == {reason: 1}

    @pytest.mark.parametrize("second", [192, 200, 223])
    def test_second_bytes_of_rtcp_go_to_the_legs_task(self, second: int) -> None:
        world = self.deliver(bytes([0x80, second]) + bytes(30))
        assert [len(datagram.data) for datagram in world.phones[0].port.rtcp] == [32]

    def test_an_empty_rtp_packet_counts_but_holds_no_audio(self) -> None:
        world = self.deliver(rtp(1, 2, b""))
        reception = world.phones[0].port.statistics().reception
        assert reception is not None
        assert reception.received == 1


class TestRules4And5Latching:
    def test_the_source_of_the_sdp_is_locked_at_once(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(2)
        assert world.io.locked[talker.port.slot] == talker.source

    def test_another_source_is_locked_after_four_packets_in_sequence(self) -> None:
        world = World()
        talker, _ = pair(world)
        talker.source = ("203.0.113.9", 9999)
        world.run(3)
        assert world.io.locked[talker.port.slot] is None
        world.run(2)
        assert world.io.locked[talker.port.slot] == ("203.0.113.9", 9999)
        assert world.io.targets[talker.port.slot] == ("203.0.113.9", 9999)

    def test_until_locked_audio_goes_to_the_address_of_the_sdp(self) -> None:
        world = World()
        talker, _ = pair(world)
        expected = talker.source
        talker.source = ("203.0.113.9", 9999)
        world.run(2)
        assert world.io.targets[talker.port.slot] == expected

    def test_a_third_address_is_dropped_before_the_lock_settles(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(1)
        world.io.locked[talker.port.slot] = None  # what waited in the socket before it was connected
        stranger = rtp(1, 1, to_ulaw(tone(1000, 160)), ssrc=5)
        world.io.arrive(talker.port.slot, stranger, ("203.0.113.9", 9), world.tick_at + 0.015)
        world.run(1)
        assert world.plane.statistics.dropped["foreign_source"] == 1
        assert talker.port.statistics().refused == 1
        world.run(20)
        assert strength(listener.pcm(10), 1000) < 100

    def test_no_redirect_while_the_locked_source_sends(self) -> None:
        world = World()
        talker, _ = pair(world)
        for k in range(200):
            data = rtp(k, k * 160, to_ulaw(tone(1000, 160)), ssrc=5)
            world.io.arrive(talker.port.slot, data, ("203.0.113.9", 9), world.tick_at + 0.001)
            world.run(1)
        assert world.io.targets[talker.port.slot] == talker.source

    def test_a_silent_source_is_replaced_after_two_seconds_by_one_with_eight_packets(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(300)
        talker.sending = False
        world.run(220)
        for k in range(10):
            data = rtp(k, k * 160, to_ulaw(tone(1000, 160)), ssrc=5)
            world.io.arrive(talker.port.slot, data, ("203.0.113.9", 9), world.tick_at + 0.001)
            world.run(1)
            if k == 6:
                assert world.io.targets[talker.port.slot] == talker.source
        assert world.io.targets[talker.port.slot] == ("203.0.113.9", 9)

    def test_relearning_can_be_turned_off(self) -> None:
        world = World(relearn=False)
        talker, _ = pair(world)
        world.run(300)
        talker.sending = False
        world.run(300)
        assert world.io.locked[talker.port.slot] == talker.source

    def test_the_locked_source_locks_again_when_it_comes_back(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(300)
        talker.sending = False
        world.run(300)
        assert world.io.locked[talker.port.slot] is None
        talker.sending = True
        world.run(2)
        assert world.io.locked[talker.port.slot] == talker.source

    def test_new_sdp_learns_again(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(20)
        talker.port.configure(agreed(7000))
        assert world.io.locked[talker.port.slot] is None
        assert world.io.targets[talker.port.slot] == ("192.0.2.1", 7000)
        talker.source = ("192.0.2.1", 7000)
        world.run(1)
        assert world.io.locked[talker.port.slot] == ("192.0.2.1", 7000)

    def test_the_same_sdp_again_keeps_the_lock(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(20)
        talker.port.configure(agreed(talker.source[1]))
        assert world.io.locked[talker.port.slot] == talker.source


class TestRule6Resync:
    def test_a_new_ssrc_is_heard_within_200_ms_and_resets_the_counts(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        talker.ssrc, talker.sequence, talker.timestamp = 4242, 9, 123456789
        world.run(10)
        assert strength(listener.pcm(5), 400) > 7500
        reception = talker.port.statistics().reception
        assert reception is not None
        assert (reception.ssrc, reception.received) == (4242, 10)

    @pytest.mark.parametrize(("sequence", "timestamp"), [(10_000, 0), (0, 800_000), (20_000, -500_000)])
    def test_a_jump_is_accepted_when_two_packets_agree(self, sequence: int, timestamp: int) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        talker.sequence += sequence
        talker.timestamp += timestamp
        world.run(10)
        assert strength(listener.pcm(5), 400) > 7500
        assert talker.port.statistics().concealed <= 1
        reception = talker.port.statistics().reception
        assert reception is not None
        assert reception.lost == 0

    def test_a_single_stray_packet_changes_nothing(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        stray = rtp(talker.sequence + 20_000, 77, to_ulaw(tone(1000, 160)), ssrc=talker.ssrc)
        world.io.arrive(talker.port.slot, stray, talker.source, world.tick_at + 0.001)
        world.run(20)
        heard = listener.pcm(18)
        assert strength(heard, 1000) < 100
        assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 5000
        assert talker.port.statistics().strays == 1

    def test_a_long_pause_with_running_timestamps_is_no_jump(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        talker.sending = False
        world.run(200)
        talker.sending = True
        world.run(3)
        assert talker.port.statistics().strays == 0
        assert strength(listener.pcm(2), 400) > 7000


class TestRule7Gaps:
    def test_lost_audio_is_covered_for_60_ms_and_then_silent(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        talker.sending = False
        world.run(6)
        frames = [level(from_ulaw(packet.payload)) for packet in listener.heard[-6:]]
        assert frames[0] > frames[1] > frames[2] > 0
        assert frames[4] == 0
        assert 3 <= talker.port.statistics().concealed <= 4

    def test_one_lost_packet_of_a_tone_is_hardly_heard(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        talker.sending = False
        world.run(1)
        talker.sending = True
        world.run(10)
        heard = listener.pcm(11)
        assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 3500
        reception = talker.port.statistics().reception
        assert reception is not None
        assert reception.lost == 0

    def test_after_comfort_noise_there_is_quiet_noise(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(50)
        talker.sending = False
        noise = rtp(talker.sequence, talker.timestamp, b"\x40", ssrc=talker.ssrc, payload_type=13)
        world.io.arrive(talker.port.slot, noise, talker.source, world.tick_at + 0.001)
        world.run(20)
        assert 5 < level(listener.pcm(10)) < 60

    def test_during_a_telephone_event_there_is_silence(self) -> None:
        world = World()
        talker, listener = world.phone(400), world.phone()
        talker.port.configure(agreed(talker.source[1], events=101))
        world.room(talker, listener)
        world.run(50)
        talker.sending = False
        for k in range(5):
            event = rtp(
                talker.sequence + k,
                talker.timestamp,
                bytes((5, 10, 0, k)),
                ssrc=talker.ssrc,
                payload_type=101,
            )
            world.io.arrive(talker.port.slot, event, talker.source, world.tick_at + 0.001)
            world.run(1)
        assert level(listener.pcm(3)) == 0
        assert talker.port.statistics().concealed == 0
        assert len(talker.port.events) == 5


class TestRule8ClockDrift:
    @pytest.mark.timeout(240)  # half a million packets, one at a time
    @pytest.mark.parametrize("ppm", [300, -300])
    def test_ten_minutes_of_drift_without_underrun_and_with_bounded_delay(self, ppm: float) -> None:
        world = World()
        talker, listener = pair(world, ppm=ppm)
        world.run(500)
        before = talker.port.statistics()
        worst = 0.0
        for _ in range(29):
            world.run(1000)
            listener.heard.clear()
            worst = max(worst, talker.port.statistics().delay_ms)
        after = talker.port.statistics()
        assert after.underruns == before.underruns
        assert after.late == before.late == 0
        assert after.concealed == before.concealed
        assert worst <= 60
        assert 5 <= after.shifts <= 20

    def test_jitter_raises_the_delay_at_once_and_it_falls_slowly(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(100)
        calm = talker.port.statistics().delay_ms
        assert talker.next_at is not None
        talker.next_at += 0.060
        world.run(5)
        raised = talker.port.statistics().delay_ms
        assert raised >= calm
        assert talker.port.statistics().underruns == 1
        talker.next_at -= 0.060
        world.run(3)
        assert talker.port.statistics().delay_ms >= calm + 40
        world.run(250 * 9)
        assert talker.port.statistics().delay_ms <= calm + 20
        assert talker.port.statistics().underruns == 1

    def test_nothing_received_is_lost_when_jitter_grows(self) -> None:
        world = World()
        talker, _ = pair(world)
        rng = np.random.default_rng(1)
        world.run(10)
        talker.sending = False
        for k in range(500):
            data = rtp(
                talker.sequence + k, talker.timestamp + 160 * k, to_ulaw(tone(400, 160)), ssrc=talker.ssrc
            )
            at = START + (k + 12) * TICK_S + rng.uniform(0, 0.08)
            world.io.arrive(talker.port.slot, data, talker.source, at)
        world.run(510)
        statistics = talker.port.statistics()
        assert statistics.late == 0
        assert statistics.discarded == 0
        assert statistics.underruns < 12
