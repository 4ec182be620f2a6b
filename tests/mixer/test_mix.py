"""Who hears whom: rooms, mute, deaf, hold, playback, taps, routing and comfort noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixer.support import (
    G722,
    PCMA,
    PCMU,
    Broken,
    ListSink,
    ListSource,
    Phone,
    ToneSource,
    World,
    agreed,
    from_alaw,
    level,
    strength,
    tone,
)
from vb.mixer.port import Port

TONES = (400, 600, 900, 1300, 1700, 2200)


def talkers(world: World, count: int) -> list[Phone]:
    return [world.phone(TONES[i]) for i in range(count)]


def heard_tones(phone: Phone, last: int = 20) -> set[int]:
    pcm = phone.pcm(last)
    return {hz for hz in TONES if strength(pcm, hz) > 3000}


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_everybody_hears_everybody_else_and_never_itself(rate_hz: int, count: int) -> None:
    world = World()
    phones = talkers(world, count)
    world.room(*phones, rate_hz=rate_hz)
    world.run(40)
    for i, phone in enumerate(phones):
        assert heard_tones(phone) == {hz for j, hz in enumerate(TONES[:count]) if j != i}


def test_rooms_do_not_hear_each_other() -> None:
    world = World()
    phones = talkers(world, 6)
    world.room(*phones[:2], room_id="a")
    world.room(*phones[2:5], room_id="b", rate_hz=8000)
    world.run(40)
    assert heard_tones(phones[0]) == {600}
    assert heard_tones(phones[2]) == {1300, 1700}
    assert heard_tones(phones[5]) == set()


def test_legs_alone_are_sent_silence() -> None:
    world = World()
    phone = world.phone(400)
    world.run(20)
    assert len(phone.heard) == 20
    assert level(phone.pcm()) == 0


def test_loud_sums_saturate_instead_of_wrapping() -> None:
    world = World()
    phones = [world.phone() for _ in range(4)]
    world.room(*phones, sources=(ToneSource(400, 32000), ToneSource(400, 32000)), rate_hz=8000)
    world.run(20)
    pcm = phones[0].pcm(5).astype(int)
    assert pcm.max() > 31000
    assert pcm.min() < -31000
    assert np.abs(np.diff(pcm)).max() < 40000


class TestMuteDeafHold:
    def test_a_muted_member_is_not_heard_but_hears_and_its_tap_hears_it(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        sink = ListSink()
        one.port.add_tap_in(sink)
        one.port.muted = True
        world.room(one, two)
        world.run(30)
        assert heard_tones(two) == set()
        assert heard_tones(one) == {600}
        assert strength(sink.pcm(), 400, 16000) > 7000

    def test_mute_before_joining_leaves_no_audible_tick(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        world.run(20)
        one.port.muted = True
        world.room(one, two)
        world.run(20)
        assert level(two.pcm()) == 0

    def test_a_deaf_member_hears_nothing_not_even_its_own_playback(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        sink = ListSink()
        one.port.add_tap_out(sink)
        one.port.add_private(ToneSource(900))
        one.port.deaf = True
        world.room(one, two, comfort_noise=True)
        world.run(30)
        assert level(one.pcm()) == 0
        assert len(one.heard) == 30
        assert sink.frames == []
        assert heard_tones(two) == {400}

    @pytest.mark.parametrize("flag", ["local_hold", "remote_hold"])
    def test_a_held_member_neither_contributes_nor_hears(self, flag: str) -> None:
        world = World()
        phones = talkers(world, 3)
        setattr(phones[0].port, flag, True)
        world.room(*phones)
        world.run(30)
        assert heard_tones(phones[1]) == {900}
        assert len(phones[0].heard) == (30 if flag == "local_hold" else 0)
        assert not phones[0].pcm().any()

    def test_flags_work_within_one_tick_both_ways(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        world.room(one, two, rate_hz=8000)
        world.run(20)
        one.port.muted = True
        world.run(1)
        assert level(two.pcm(1)) == 0
        one.port.muted = False
        world.run(1)
        assert level(two.pcm(1)) > 5000


class TestPlayback:
    def test_room_playback_is_heard_by_all_and_taken_once(self) -> None:
        world = World()
        phones = talkers(world, 3)
        source = ToneSource(1700)
        world.room(*phones, sources=(source,))
        world.run(30)
        assert all(1700 in heard_tones(phone) for phone in phones)
        assert source.taken == 30

    def test_room_playback_reaches_a_pair_and_a_single_leg(self) -> None:
        world = World()
        phones = talkers(world, 3)
        world.room(*phones[:2], room_id="a", sources=(ToneSource(1700),))
        world.room(phones[2], room_id="b", sources=(ToneSource(2200),))
        world.run(30)
        assert heard_tones(phones[0]) == {600, 1700}
        assert heard_tones(phones[2]) == {2200}

    def test_private_playback_is_heard_by_one_only_and_several_are_summed(self) -> None:
        world = World()
        phones = talkers(world, 2)
        phones[0].port.add_private(ToneSource(1700))
        phones[0].port.add_private(ToneSource(2200))
        world.room(*phones)
        world.run(30)
        assert heard_tones(phones[0]) == {600, 1700, 2200}
        assert heard_tones(phones[1]) == {400}

    def test_private_playback_is_asked_at_the_rate_of_where_the_leg_is(self) -> None:
        world = World()
        phone = world.phone()
        source = ListSource([tone(400, 160), tone(400, 160), tone(400, 320, rate_hz=16000)])
        phone.port.add_private(source)
        world.run(2)
        world.room(phone)
        world.run(2)
        assert source.rates == [8000, 8000, 16000, 16000]

    def test_a_removed_source_is_silent_at_the_next_tick(self) -> None:
        world = World()
        phone = world.phone()
        source = ToneSource(400)
        phone.port.add_private(source)
        world.run(3)
        assert level(phone.pcm(1)) > 5000
        phone.port.remove_private(source)
        world.run(1)
        assert level(phone.pcm(1)) == 0


class TestTaps:
    def test_the_room_tap_gets_unmuted_members_and_playback(self) -> None:
        world = World()
        phones = talkers(world, 3)
        phones[0].port.muted = True
        tap = ListSink()
        world.room(*phones, sources=(ToneSource(1700),), taps=(tap,))
        world.run(30)
        heard = {hz for hz in TONES if strength(tap.pcm(), hz, 16000) > 3000}
        assert heard == {600, 900, 1700}
        assert len(tap.frames) == 30

    def test_the_out_tap_gets_what_the_leg_hears_with_its_playback(self) -> None:
        world = World()
        phones = talkers(world, 2)
        tap = ListSink()
        phones[0].port.add_tap_out(tap)
        phones[0].port.add_private(ToneSource(1700))
        world.room(*phones, rate_hz=48000)
        world.run(30)
        heard = {hz for hz in TONES if strength(tap.pcm(), hz, 48000) > 3000}
        assert heard == {600, 1700}
        assert set(tap.rates) == {48000}

    def test_taps_of_a_leg_alone_run_at_its_own_rate(self) -> None:
        world = World()
        phone = world.phone(400)
        tap = ListSink()
        phone.port.add_tap_in(tap)
        world.run(20)
        assert set(tap.rates) == {8000}
        assert strength(tap.pcm(), 400) > 7500

    def test_several_taps_of_one_leg_each_get_everything(self) -> None:
        world = World()
        phone = world.phone(400)
        taps = [ListSink(), ListSink()]
        for tap in taps:
            phone.port.add_tap_in(tap)
        world.run(5)
        phone.port.remove_tap(taps[0])
        world.run(5)
        assert [len(tap.frames) for tap in taps] == [5, 10]


class TestRouting:
    def test_a_hears_matrix_decides_who_is_heard(self) -> None:
        world = World()
        phones = talkers(world, 3)
        # A customer, an agent and a supervisor whom the customer never hears.
        hears = np.array([[0, 1, 0], [1, 0, 1], [1, 1, 0]], np.bool_)
        world.room(*phones, hears=hears)
        world.run(30)
        assert [heard_tones(phone) for phone in phones] == [{600}, {400, 900}, {400, 600}]

    def test_playback_bypasses_routing_and_mute_beats_it(self) -> None:
        world = World()
        phones = talkers(world, 3)
        phones[1].port.muted = True
        world.room(
            *phones, hears=np.zeros((3, 3), np.bool_) | [False, True, True], sources=(ToneSource(2200),)
        )
        world.run(30)
        assert heard_tones(phones[0]) == {900, 2200}

    def test_nobody_hears_itself_whatever_the_matrix_says(self) -> None:
        world = World()
        phones = talkers(world, 2)
        world.room(*phones, hears=np.ones((2, 2), np.bool_))
        world.run(30)
        assert heard_tones(phones[0]) == {600}

    def test_a_matrix_of_another_size_is_refused(self) -> None:
        world = World()
        with pytest.raises(ValueError, match="hears"):
            world.room(world.phone(), hears=np.ones((2, 2), np.bool_))


class TestComfortNoise:
    @pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
    @pytest.mark.parametrize("law", ["PCMU", "PCMA"])
    def test_it_lies_near_minus_65_dbfs_after_g711(self, rate_hz: int, law: str) -> None:
        world = World()
        phone = world.phone()
        if law == "PCMA":
            phone.port.configure(agreed(phone.source[1], codec=PCMA))
        world.room(phone, rate_hz=rate_hz, comfort_noise=True)
        world.run(150)
        payload = b"".join(packet.payload for packet in phone.heard[20:])
        pcm = phone.pcm(130) if law == "PCMU" else from_alaw(payload)
        assert 20 * np.log10(level(pcm) / 32768) == pytest.approx(-65, abs=1.5)

    def test_it_is_on_the_room_tap_too(self) -> None:
        world = World()
        tap = ListSink()
        world.room(world.phone(), taps=(tap,), comfort_noise=True)
        world.run(10)
        assert 5 < level(tap.pcm()) < 40

    def test_it_gives_way_to_any_sound(self) -> None:
        world = World()
        one, two = talkers(world, 2)
        world.room(one, two, rate_hz=8000, comfort_noise=True)
        world.run(30)
        residue = two.pcm(10).astype(float)
        assert level(residue) == pytest.approx(8000 / np.sqrt(2), rel=0.02)

    def test_it_can_be_switched_off(self) -> None:
        world = World()
        phone = world.phone()
        world.room(phone, comfort_noise=False)
        world.run(10)
        assert level(phone.pcm()) == 0


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


class TestLevel:
    def test_level_of_a_tone_and_of_silence(self) -> None:
        world = World()
        loud, silent = world.phone(400), world.phone()
        world.run(20)
        assert world.plane.level_dbov(loud.port) == pytest.approx(20 * np.log10(8000 / 32768), abs=0.2)
        assert world.plane.level_dbov(silent.port) == -127


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
