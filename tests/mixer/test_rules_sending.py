"""One test and more for each rule of docs/discussion/media.md."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.mixer.support import (
    G722,
    PCMA,
    PCMU,
    TICK_S,
    ListSink,
    Phone,
    World,
    agreed,
    level,
    rtp,
    strength,
    to_alaw,
    to_ulaw,
    tone,
)
from vb.codecs.base import make_encoder
from vb.rtp.playout import PlayoutSettings


def pair(world: World, **talker: Any) -> tuple[Phone, Phone]:
    """Return a talker with a 400 Hz tone and a silent listener in a room of two."""
    one, other = world.phone(400, **talker), world.phone()
    world.room(one, other)
    return one, other


class TestRule9WhatWeSend:
    def test_sequence_and_timestamp_run_with_time(self) -> None:
        world = World()
        _, listener = pair(world)
        world.run(10)
        heard = listener.heard
        assert len(heard) == 10
        for before, after in itertools.pairwise(heard):
            assert (after.sequence - before.sequence) % 65536 == 1
            assert (after.timestamp - before.timestamp) % 2**32 == 160
        assert [packet.marker for packet in heard] == [True] + [False] * 9
        assert len({packet.ssrc for packet in heard}) == 1

    def test_the_timestamp_runs_on_while_nothing_may_be_sent(self) -> None:
        world = World()
        _, listener = pair(world)
        world.run(5)
        listener.port.configure(agreed(listener.source[1], direction="recvonly", remote_held=True))
        world.run(50)
        assert len(listener.heard) == 5
        listener.port.configure(agreed(listener.source[1]))
        world.run(1)
        last, first = listener.heard[4], listener.heard[5]
        assert (first.timestamp - last.timestamp) % 2**32 == 51 * 160
        assert (first.sequence - last.sequence) % 65536 == 1
        assert first.marker

    def test_skipped_ticks_advance_the_timestamp_and_set_the_marker(self) -> None:
        world = World()
        _, listener = pair(world)
        world.run(5)
        world.plane.skip(7)
        world.tick_at += 7 * TICK_S
        world.run(1)
        last, first = listener.heard[4], listener.heard[5]
        assert (first.timestamp - last.timestamp) % 2**32 == 8 * 160
        assert (first.sequence - last.sequence) % 65536 == 1
        assert first.marker

    @pytest.mark.parametrize("flag", ["muted", "deaf", "local_hold"])
    def test_mute_deaf_and_local_hold_keep_sending(self, flag: str) -> None:
        world = World()
        _, listener = pair(world)
        world.run(5)
        setattr(listener.port, flag, True)
        world.run(5)
        assert len(listener.heard) == 10
        assert not any(packet.marker for packet in listener.heard[1:])

    def test_the_ssrc_changes_only_with_the_clock(self) -> None:
        world = World()
        _, listener = pair(world)
        world.run(2)
        ssrc = listener.port.ssrc
        listener.port.configure(agreed(listener.source[1], codec=PCMA))
        listener.port.configure(agreed(listener.source[1], codec=G722))
        assert listener.port.ssrc == ssrc
        world.run(2)
        assert {packet.ssrc for packet in listener.heard} == {ssrc}

    def test_first_sequence_and_timestamp_differ_between_legs(self) -> None:
        world = World()
        one, other = pair(world)
        world.run(1)
        assert one.heard[0].sequence != other.heard[0].sequence
        assert one.heard[0].timestamp != other.heard[0].timestamp
        assert one.heard[0].ssrc != other.heard[0].ssrc


class TestRule10KernelTime:
    def test_jitter_is_measured_by_kernel_time_not_by_the_tick(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(200)
        assert talker.port.statistics().jitter_ms < 0.01

    def test_a_step_of_the_wall_clock_leaves_jitter_and_delay_alone(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(100)
        before = talker.port.statistics()
        for step in (3600.0, -7200.0):
            world.io.wall_offset_s += step
            world.run(20)
        after = talker.port.statistics()
        assert after.jitter_ms < 0.01
        assert after.delay_ms == before.delay_ms
        assert after.late == 0
        assert strength(listener.pcm(40), 400) > 7500

    def test_telephone_events_stay_out_of_the_jitter(self) -> None:
        world = World()
        talker, _ = pair(world)
        talker.port.configure(agreed(talker.source[1], events=101))
        world.run(50)
        talker.sending = False
        for _ in range(20):
            event = rtp(
                talker.sequence, talker.timestamp, bytes((5, 10, 0, 9)), ssrc=talker.ssrc, payload_type=101
            )
            talker.sequence += 1
            world.io.arrive(talker.port.slot, event, talker.source, world.tick_at + 0.013)
            world.run(1)
        talker.sending = True
        world.run(50)
        assert talker.port.statistics().jitter_ms < 0.01


class TestRule11PassThrough:
    def test_payloads_of_a_plain_pair_pass_unchanged(self) -> None:
        world = World(pass_through=True)
        talker, listener = pair(world, sending=False)
        rng = np.random.default_rng(2)
        payloads = [rng.integers(0, 127, 160, np.uint8).tobytes() for _ in range(30)]
        for k, payload in enumerate(payloads):
            data = rtp(k, k * 160, payload, ssrc=9)
            world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
            world.run(1)
        assert [packet.payload for packet in listener.heard[-20:]] == payloads[-20:]
        assert listener.heard[-1].ssrc == listener.port.ssrc

    def test_it_ends_at_once_when_a_third_joins(self) -> None:
        world = World(pass_through=True)
        one, two, three = world.phone(400), world.phone(600), world.phone(900)
        world.room(one, two)
        world.run(30)
        world.room(one, two, three)
        world.run(20)
        heard = two.pcm(10)
        assert strength(heard, 400) > 7500
        assert strength(heard, 900) > 7500

    @pytest.mark.parametrize("flag", ["muted", "local_hold"])
    def test_it_ends_at_once_on_mute_and_hold(self, flag: str) -> None:
        world = World(pass_through=True)
        talker, listener = pair(world)
        world.run(30)
        setattr(talker.port, flag, True)
        world.run(3)
        assert level(listener.pcm(2)) < 40

    def test_a_tap_ends_it_and_gets_the_rooms_rate(self) -> None:
        world = World(pass_through=True)
        talker, listener = pair(world)
        world.run(30)
        sink = ListSink()
        listener.port.add_tap_out(sink)
        world.run(20)
        assert set(sink.rates) == {16000}
        assert strength(sink.pcm(), 400, 16000) > 7500
        assert strength(listener.pcm(10), 400) > 7500
        assert talker.port.statistics().concealed == 0

    def test_pcma_pairs_pass_too(self) -> None:
        world = World(pass_through=True)
        talker, listener = pair(world, sending=False)
        for phone in (talker, listener):
            phone.port.configure(agreed(phone.source[1], codec=PCMA))
        payload = to_alaw(tone(400, 160))
        for k in range(20):
            data = rtp(k, k * 160, payload, payload_type=8)
            world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
            world.run(1)
        assert listener.heard[-1].payload == payload

    def test_different_laws_do_not_pass(self) -> None:
        world = World(pass_through=True)
        talker, listener = pair(world)
        listener.port.configure(agreed(listener.source[1], codec=PCMA))
        world.run(30)
        assert listener.heard[-1].payload_type == 8
        assert talker.port.statistics().late == 0


class TestRule12G722Clock:
    @pytest.mark.parametrize("step", [160, 320])
    def test_phones_that_stamp_16_khz_are_heard_too(self, step: int) -> None:
        world = World()
        talker, listener = world.phone(sending=False), world.phone()
        talker.port.configure(agreed(talker.source[1], codec=G722))
        sink = ListSink()
        talker.port.add_tap_in(sink)
        world.room(talker, listener)
        encoder = make_encoder(G722)
        for k in range(100):
            payload = encoder.encode(tone(400, 320, start=k * 320, rate_hz=16000))
            data = rtp(k, k * step, payload, payload_type=9)
            world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
            world.run(1)
        heard = sink.pcm(50)
        assert strength(heard, 400, 16000) > 7000
        assert min(level(heard[i : i + 320]) for i in range(0, heard.size, 320)) > 4500


class TestRule13StreamStart:
    def test_nothing_is_sent_before_the_address_is_known(self) -> None:
        world = World()
        phone = world.phone(configured=False)
        phone.port.sending = True
        world.run(5)
        assert phone.heard == []
        phone.port.configure(agreed(phone.source[1]))
        world.run(3)
        assert len(phone.heard) == 3
        assert phone.heard[0].marker
        assert {packet.ssrc for packet in phone.heard} == {phone.port.ssrc}

    def test_nothing_is_sent_to_a_peer_without_address(self) -> None:
        world = World()
        phone = world.phone()
        phone.port.configure(agreed(has_address=False, remote_held=True))
        world.run(5)
        assert phone.heard == []


class TestJitterBufferSetting:
    def delay(self, target_ms: int | None) -> float:
        world = World(playout=PlayoutSettings(target_ms))
        talker, _ = pair(world)
        world.run(50)
        return talker.port.statistics().delay_ms

    def test_zero_plays_each_packet_at_the_next_tick(self) -> None:
        assert self.delay(0) == 0

    def test_a_number_holds_that_much(self) -> None:
        assert self.delay(100) == 100

    def test_unset_adapts(self) -> None:
        assert self.delay(None) == 0

    def test_pass_through_never_holds_more_than_60_ms(self) -> None:
        world = World(playout=PlayoutSettings(0))
        talker, _ = pair(world)
        world.run(20)
        for k in range(8):
            data = rtp(
                talker.sequence + k, talker.timestamp + 160 * k, to_ulaw(tone(400, 160)), ssrc=talker.ssrc
            )
            world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.001)
        talker.sending = False
        world.run(1)
        assert talker.port.statistics().delay_ms <= 60
        assert talker.port.statistics().discarded > 0

    def test_ten_times_the_packet_rate_stays_bounded(self) -> None:
        world = World()
        talker, _ = pair(world, sending=False)
        number = 0
        for _ in range(100):
            for _ in range(10):
                data = rtp(number, number * 160, to_ulaw(tone(400, 160)))
                world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.001)
                number += 1
            world.run(1)
            assert talker.port.statistics().delay_ms <= 300


def test_pcmu_and_pcma_of_one_stream_are_told_apart_by_payload_type() -> None:
    world = World()
    talker, listener = pair(world, sending=False)
    talker.port.configure(agreed(talker.source[1], receive={0: PCMU, 8: PCMA}))
    for k in range(40):
        pcm = tone(400, 160, start=k * 160)
        payload, kind = (to_ulaw(pcm), 0) if k % 2 else (to_alaw(pcm), 8)
        data = rtp(k, k * 160, payload, payload_type=kind)
        world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
        world.run(1)
    assert strength(listener.pcm(20), 400) > 7500


class TestHoldUps:
    def test_a_stall_of_ours_leaves_the_delay_as_it_was(self) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(100)
        before = talker.port.statistics().delay_ms
        stall = 15
        for _ in range(stall):
            world.tick_at += TICK_S
            for phone in world.phones:
                phone.produce(world.tick_at)
        world.plane.skip(stall)
        world.run(20)
        after = talker.port.statistics()
        assert after.delay_ms == before
        assert after.shifts == 0
        assert strength(listener.pcm(10), 400) > 7500
        world.run(500)
        assert talker.port.statistics().delay_ms == before
        assert talker.port.statistics().shifts == 0

    @pytest.mark.parametrize("leap", [1600, 6400, -1600, -6400])
    def test_a_leap_of_timestamps_below_a_second_becomes_neither_delay_nor_silence(self, leap: int) -> None:
        world = World()
        talker, listener = pair(world)
        world.run(100)
        before = talker.port.statistics().delay_ms
        talker.timestamp += leap
        world.run(12)
        assert talker.port.statistics().delay_ms <= before + 20
        assert strength(listener.pcm(6), 400) > 7000

    def test_a_burst_after_a_stall_of_the_network_is_played_whole(self) -> None:
        world = World()
        talker, _ = pair(world)
        world.run(100)
        talker.sending = False
        held = []
        for _ in range(7):
            held.append(talker.packet())
            talker.timestamp -= 160
            talker.sample -= 160
            world.run(1)
        for data in held:
            world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.001)
        talker.sending = True
        world.run(20)
        statistics = talker.port.statistics()
        assert (statistics.late, statistics.discarded, statistics.underruns) == (0, 0, 1)


def test_sequences_wrap_in_every_way_of_sending() -> None:
    world = World()
    plain, slow = world.phone(), world.phone()
    slow.port.configure(agreed(slow.source[1], ptime_ms=40))
    for phone in (plain, slow):
        world.plane._core.columns.sequence[phone.port.slot] = 65533
    world.run(12)
    assert [packet.sequence for packet in plain.heard[:5]] == [65533, 65534, 65535, 0, 1]
    assert [packet.sequence for packet in slow.heard[:5]] == [65533, 65534, 65535, 0, 1]
