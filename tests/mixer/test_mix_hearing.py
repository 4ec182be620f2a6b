"""Who hears whom: rooms, mute, deaf, hold, playback, taps, routing and comfort noise."""

from __future__ import annotations

import numpy as np
import pytest

from tests.mixer.support import (
    PCMA,
    TONES,
    ListSink,
    ListSource,
    ToneSource,
    World,
    agreed,
    from_alaw,
    from_ulaw,
    heard_tones,
    level,
    strength,
    talkers,
    tone,
)


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

    def test_private_playback_goes_on_in_real_time_while_a_leg_has_no_codec(self) -> None:
        world = World()
        phone = world.phone(configured=False)
        source = ListSource([tone(400, 160)] * 5)
        phone.port.add_private(source)
        world.run(4)
        assert len(source.frames) == 1
        world.run(1)
        assert source.finished
        assert phone.heard == []

    def test_a_leg_that_gets_a_codec_midway_hears_the_rest_at_once(self) -> None:
        world = World()
        phone = world.phone(configured=False)
        parts = [tone(hz, 160) for hz in (400, 600, 900, 1300)]
        phone.port.add_private(ListSource(parts))
        world.run(2)
        phone.port.configure(agreed(4000))
        phone.port.sending = True
        world.run(3)
        heard = [from_ulaw(packet.payload) for packet in phone.heard]
        assert strength(heard[0], 900) > 7000
        assert strength(heard[1], 1300) > 7000
        assert level(heard[2]) == 0

    def test_a_room_member_without_a_codec_has_its_playback_pass_unheard_too(self) -> None:
        world = World()
        ringing, phone = world.phone(configured=False), world.phone()
        source = ListSource([tone(400, 160)] * 3)
        ringing.port.add_private(source)
        world.room(ringing, phone)
        world.run(3)
        assert source.finished
        assert level(phone.pcm(3)) == 0

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
