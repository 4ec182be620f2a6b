"""Who hears whom: rooms, mute, deaf, hold, playback, taps, routing and comfort noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixer.support import (
    G722,
    PCMU,
    TONES,
    Broken,
    ListSink,
    ListSource,
    Phone,
    ToneSource,
    World,
    agreed,
    heard_tones,
    level,
    strength,
    talkers,
    tone,
)
from vb.mixer.port import Port


class TestMembership:
    def test_a_move_is_never_heard_in_both_rooms(self) -> None:
        world = World()
        one, two, three = talkers(world, 3)
        world.room(one, two, room_id="a", rate_hz=8000)
        world.room(three, room_id="b", rate_hz=8000)
        world.run(20)
        # The new room hears of the move first; the old one's plan still names the leg.
        world.room(three, one, room_id="b", rate_hz=8000)
        world.run(1)
        assert level(two.pcm(1)) == 0
        assert heard_tones(three, 1) == {400}
        world.room(two, room_id="a", rate_hz=8000)
        world.run(5)
        assert heard_tones(three, 4) == {400}
        assert heard_tones(one, 4) == {900}

    def test_leaving_and_coming_back_works(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        world.room(one, two, rate_hz=8000)
        world.run(10)
        world.room(two, rate_hz=8000)
        world.run(10)
        assert level(two.pcm(5)) == 0
        world.room(two, one, rate_hz=8000)
        world.run(10)
        assert heard_tones(two, 5) == {400}

    def test_a_withdrawn_room_leaves_its_members_alone(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        world.room(one, two)
        world.run(10)
        world.plane.withdraw("r")
        world.plane.withdraw("r")
        world.run(10)
        assert level(two.pcm(5)) == 0
        assert len(two.heard) == 20

    def test_a_closed_port_is_gone_at_once_and_its_slot_is_used_again(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        world.room(one, two, rate_hz=8000)
        world.run(10)
        slot = one.port.slot
        one.port.close()
        one.port.close()
        world.run(5)
        assert level(two.pcm(2)) == 0
        newcomer = world.phone(900)
        assert newcomer.port.slot == slot
        world.run(10)
        assert level(two.pcm(5)) == 0
        statistics = newcomer.port.statistics()
        assert statistics.reception is not None
        assert statistics.reception.received == 10

    def test_mixed_rates_meet_in_one_room(self) -> None:
        world = World()
        one, two, three = talkers(world, 3)
        for phone in (two, three):
            phone.port.configure(agreed(phone.source[1], codec=G722, receive={0: PCMU, 9: G722}))
        world.room(one, two, three, rate_hz=16000)
        world.run(40)
        assert heard_tones(one) == {600, 900}
        assert {packet.payload_type for packet in two.heard[-10:]} == {9}

    def test_every_mix_rate_passes_a_tone_without_seams(self) -> None:
        for rate_hz in (8000, 16000, 48000):
            world = World()
            one, two = talkers(world, 2)
            world.room(one, two, world.phone(), rate_hz=rate_hz)
            world.run(60)
            pcm = two.pcm(40).astype(float)
            assert strength(pcm, 400) == pytest.approx(8000, rel=0.05)
            time = np.arange(pcm.size) / 8000
            basis = np.stack([np.cos(2 * np.pi * 400 * time), np.sin(2 * np.pi * 400 * time)])
            residue = pcm - (basis @ pcm * 2 / pcm.size) @ basis
            assert level(residue) < 80


class TestStreamPorts:
    def test_a_participant_without_rtp_talks_and_hears_the_rest(self) -> None:
        world = World()
        phone = world.phone(400)
        sink = ListSink()
        stream = world.plane.open_stream(ToneSource(900), sink)
        world.room(phone, stream, rate_hz=16000)
        world.run(30)
        assert heard_tones(phone) == {900}
        assert strength(sink.pcm(), 400, 16000) > 7000
        assert strength(sink.pcm(), 900, 16000) < 100

    def test_mute_and_deaf_hold_for_it_too(self) -> None:
        world = World()
        phone = world.phone(400)
        sink = ListSink()
        stream = world.plane.open_stream(ToneSource(900), sink)
        stream.muted = True
        stream.deaf = True
        world.room(phone, stream)
        world.run(20)
        assert level(phone.pcm(10)) == 0
        assert sink.frames == []

    def test_closing_it_frees_its_place(self) -> None:
        world = World()
        stream = world.plane.open_stream(None, None)
        assert world.plane.ports == 1
        stream.close()
        world.run(1)
        assert world.plane.ports == 0


class TestFaults:
    def faults(self, world: World) -> list[Port]:
        failed: list[Port] = []
        world.plane.set_fault_handlers(lambda port, _: failed.append(port))
        return failed

    def test_a_failing_private_source_ends_its_leg_only(self) -> None:
        world = World()
        phones = talkers(world, 3)
        failed = self.faults(world)
        phones[0].port.add_private(Broken())
        world.room(*phones)
        world.run(20)
        assert failed == [phones[0].port]
        assert heard_tones(phones[1], 10) == {900}
        assert len(phones[1].heard) == 20

    def test_a_failing_source_of_a_leg_without_a_codec_ends_its_leg_once(self) -> None:
        world = World()
        ringing, other = world.phone(configured=False), world.phone(configured=False)
        failed = self.faults(world)
        ringing.port.add_private(Broken())
        source = ListSource([tone(400, 160)] * 3)
        other.port.add_private(source)
        world.run(3)
        assert failed == [ringing.port]
        assert source.finished

    def test_a_failing_tap_is_taken_out_and_its_leg_goes_on(self) -> None:
        world = World()
        phones = talkers(world, 2)
        failed = self.faults(world)
        phones[0].port.add_tap_in(Broken())
        phones[0].port.add_tap_out(Broken())
        world.room(*phones)
        world.run(20)
        assert failed == []
        assert phones[0].port.tap_in == phones[0].port.tap_out == ()
        assert heard_tones(phones[1], 10) == {400}

    def test_failing_room_parts_are_taken_out_and_reported_once(self) -> None:
        world = World()
        phones = talkers(world, 2)
        reports: list[str] = []
        world.plane.set_fault_handlers(lambda *_: None, lambda room_id, _: reports.append(room_id))
        world.room(*phones, sources=(Broken(),), taps=(Broken(),))
        world.run(20)
        assert reports == ["r", "r"]
        assert heard_tones(phones[1], 10) == {400}

    def test_a_source_with_frames_of_the_wrong_length_fails(self) -> None:
        world = World()
        phone = world.phone()
        failed = self.faults(world)
        phone.port.add_private(ListSource([tone(400, 7)]))
        world.run(2)
        assert failed == [phone.port]

    def test_a_failing_stream_participant_ends_alone(self) -> None:
        world = World()
        phone = world.phone(400)
        failed = self.faults(world)
        streams = [world.plane.open_stream(Broken(), None), world.plane.open_stream(None, Broken())]
        world.room(phone, *streams)
        world.run(10)
        assert failed == streams
        assert len(phone.heard) == 10


@settings(max_examples=25, deadline=None)
@given(
    rooms=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    rates=st.lists(st.sampled_from([8000, 16000]), min_size=5, max_size=5),
    muted=st.sets(st.integers(0, 24)),
    deaf=st.sets(st.integers(0, 24)),
    through=st.booleans(),
)
def test_any_set_of_rooms_mixes_like_the_definition(
    rooms: list[int], rates: list[int], muted: set[int], deaf: set[int], through: bool
) -> None:
    world = World(pass_through=through)
    phones: list[Phone] = []
    expected: list[set[int]] = []
    for number, size in enumerate(rooms):
        members = talkers(world, size)
        first = len(phones)
        for i, phone in enumerate(members):
            phone.port.muted = first + i in muted
            phone.port.deaf = first + i in deaf
        world.room(*members, room_id=str(number), rate_hz=rates[number])
        for i in range(size):
            audible = {TONES[j] for j in range(size) if j != i and first + j not in muted}
            expected.append(set() if first + i in deaf else audible)
        phones += members
    world.run(15)
    assert [heard_tones(phone, 10) for phone in phones] == expected
