"""Who speaks, on the columns alone and through a whole plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixer.support import Phone, ToneSource, World
from vb.mixer.speaking import START_FRAMES, STOP_FRAMES, Speaking

WIDTH = 160


class Ticks:
    """One or more watched legs that are fed letters: v voiced, s silent, - nothing arrived."""

    def __init__(self, legs: int = 1) -> None:
        self.told: list[tuple[int, int, bool]] = []
        self.tick = 0
        self.state = Speaking(legs + 2, lambda slot, on: self.told.append((self.tick, slot, on)))
        self.slots = np.arange(legs) + 1
        for slot in self.slots.tolist():
            self.state.watch(slot, True)

    def feed(self, *legs: str) -> list[tuple[int, int, bool]]:
        for letters in zip(*legs, strict=True):
            self.tick += 1
            levels = np.array([{"v": 300, "s": 299, "-": 5000}[letter] for letter in letters], np.int16)
            arrived = np.array([letter != "-" for letter in letters])
            self.state.hear(self.slots, np.repeat(levels[:, None], WIDTH, axis=1), arrived)
            self.state.tell_changes()
        return self.told


def test_three_voiced_frames_are_speech() -> None:
    assert Ticks().feed("vv" + "vvv") == [(3, 1, True)]


def test_a_silent_frame_starts_the_count_anew() -> None:
    assert Ticks().feed("vvsvvsvv") == []


def test_a_tick_without_audio_does_not_break_off_the_beginning() -> None:
    assert Ticks().feed("v-v-v") == [(5, 1, True)]


def test_audio_made_up_to_cover_a_gap_is_not_voiced() -> None:
    assert Ticks().feed("vv-----") == []


def test_a_beginning_is_forgotten_after_300_ms_without_audio() -> None:
    assert Ticks().feed("vv" + "-" * 14 + "v") == [(17, 1, True)]
    assert Ticks().feed("vv" + "-" * 15 + "v") == []


def test_fifteen_silent_frames_end_speech() -> None:
    assert Ticks().feed("vvv" + "s" * 14 + "v" + "s" * 16) == [(3, 1, True), (33, 1, False)]


def test_ticks_without_audio_end_speech_as_silence_does() -> None:
    assert Ticks().feed("vvv" + "-s" * 7 + "-") == [(3, 1, True), (18, 1, False)]


def test_silence_from_the_start_tells_nothing() -> None:
    assert Ticks().feed("s" * 600) == []


def test_legs_do_not_mix() -> None:
    assert Ticks(3).feed("vvvs", "svsv", "--vv") == [(3, 1, True)]


def test_a_leg_that_is_no_longer_watched_stops_at_once() -> None:
    ticks = Ticks()
    ticks.feed("vvvv")
    ticks.state.watch(1, False)
    assert ticks.told == [(3, 1, True), (4, 1, False)]
    assert not ticks.state.active
    ticks.state.watch(1, False)
    assert len(ticks.feed("vvvvv")) == 2


def test_a_leg_that_is_watched_again_starts_from_nothing() -> None:
    ticks = Ticks()
    ticks.feed("vv")
    ticks.state.watch(1, False)
    ticks.state.watch(1, True)
    assert ticks.feed("vv") == []
    assert ticks.feed("v") == [(5, 1, True)]


def test_a_change_that_a_listener_undoes_is_not_told() -> None:
    told: list[tuple[int, bool]] = []

    def tell(slot: int, on: bool) -> None:
        told.append((slot, on))
        state.watch(1, False)

    state = Speaking(2, tell)
    state.watch(0, True)
    state.watch(1, True)
    for _ in range(START_FRAMES):
        state.hear(np.array([0, 1]), np.full((2, WIDTH), 999, np.int16), np.array([True, True]))
    state.tell_changes()
    assert told == [(0, True), (1, False)]


def model(letters: str) -> list[tuple[int, bool]]:
    """The rule for one leg, in words of one syllable."""
    told = []
    speaking, voiced, silent = False, 0, 0
    for tick, letter in enumerate(letters, 1):
        if letter == "v":
            voiced, silent = voiced + 1, 0
        else:
            silent += 1
            if letter == "s" or silent >= STOP_FRAMES:
                voiced = 0
        if speaking and silent >= STOP_FRAMES:
            speaking = False
            told.append((tick, False))
        elif not speaking and voiced >= START_FRAMES:
            speaking = True
            told.append((tick, True))
    return told


RUNS = st.lists(st.tuples(st.sampled_from("vs-"), st.integers(1, 20)), min_size=1, max_size=40)


@settings(deadline=None)
@given(RUNS)
def test_columns_do_what_the_rule_says(runs: list[tuple[str, int]]) -> None:
    letters = "".join(letter * count for letter, count in runs)
    assert [(tick, on) for tick, _, on in Ticks().feed(letters)] == model(letters)


class Listener:
    """Notes what a phone's port tells, with the tick."""

    def __init__(self, world: World, phone: Phone) -> None:
        self.told: list[bool] = []
        phone.port.on_speaking = self.told.append
        phone.port.detect_speaking = True
        self.world = world


def test_a_phone_that_talks_and_stops_is_told() -> None:
    world = World()
    phone = world.phone(400)
    listener = Listener(world, phone)
    world.run(20)
    assert listener.told == [True]
    phone.hz = None
    world.run(20)
    assert listener.told == [True, False]


def test_a_phone_that_sends_no_more_packets_has_stopped() -> None:
    world = World()
    phone = world.phone(400)
    listener = Listener(world, phone)
    world.run(20)
    phone.sending = False
    world.run(14)
    assert listener.told == [True]
    world.run(6)
    assert listener.told == [True, False]


def test_a_lost_packet_does_not_hide_a_word() -> None:
    world = World()
    phone = world.phone(None)
    listener = Listener(world, phone)
    world.run(10)
    phone.hz = 400
    for sending in (True, False, True, True):
        phone.sending = sending
        world.run(1)
    phone.hz = None
    world.run(5)
    assert listener.told == [True]


def test_nobody_is_told_unless_asked() -> None:
    world = World()
    phone = world.phone(400)
    told: list[bool] = []
    phone.port.on_speaking = told.append
    world.run(20)
    assert told == []


def test_mute_stops_speech_at_once_and_keeps_it_from_starting() -> None:
    world = World()
    phone = world.phone(400)
    listener = Listener(world, phone)
    world.run(20)
    phone.port.muted = True
    assert listener.told == [True, False]
    world.run(20)
    assert listener.told == [True, False]
    phone.port.muted = False
    world.run(3)
    assert listener.told == [True, False, True]


@pytest.mark.parametrize("flag", ["local_hold", "remote_hold", "deaf"])
def test_other_flags_do_not_matter(flag: str) -> None:
    world = World()
    phone = world.phone(400)
    listener = Listener(world, phone)
    setattr(phone.port, flag, True)
    world.run(20)
    assert listener.told == [True]


def test_a_move_between_rooms_is_not_noticed() -> None:
    world = World()
    phone, other = world.phone(400), world.phone()
    listener = Listener(world, phone)
    world.room(phone, other, room_id="a")
    world.run(20)
    world.room(phone, room_id="b", rate_hz=48000)
    world.run(20)
    assert listener.told == [True]


def test_closing_ends_speech_and_frees_the_slot_clean() -> None:
    world = World()
    phone = world.phone(400)
    listener = Listener(world, phone)
    world.run(20)
    phone.port.close()
    assert listener.told == [True, False]
    again = world.phone(400)
    assert again.port.slot == phone.port.slot
    world.run(20)
    assert listener.told == [True, False]
    assert not again.port.detect_speaking


def test_a_listener_that_fails_takes_its_leg_out_and_nothing_else() -> None:
    world = World()
    broken, sound = world.phone(400), world.phone(600)
    faults: list[object] = []
    world.plane.set_fault_handlers(lambda port, error: faults.append(port))

    def fail(speaking: bool) -> None:
        raise RuntimeError("listener")

    broken.port.on_speaking = fail
    broken.port.detect_speaking = True
    listener = Listener(world, sound)
    world.run(20)
    assert faults == [broken.port]
    assert listener.told == [True]


def test_a_participant_without_rtp_is_listened_to_as_well() -> None:
    world = World()
    told: list[bool] = []
    source = ToneSource(900)
    stream = world.plane.open_stream(source, None)
    stream.on_speaking = told.append
    world.run(5)
    assert told == []
    stream.detect_speaking = True
    world.room(world.phone(400), stream, rate_hz=48000)
    world.run(5)
    assert told == [True]
    source.amplitude = 10
    world.run(STOP_FRAMES + 1)
    assert told == [True, False]
    source.amplitude = 8000
    stream.muted = True
    world.run(10)
    assert told == [True, False]
