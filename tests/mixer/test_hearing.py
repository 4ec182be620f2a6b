"""Legs that say nothing, and legs that are sent nothing, cost little and change nothing for others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.mixer.support import (
    TONES,
    ListSink,
    ListSource,
    Phone,
    World,
    from_ulaw,
    heard_tones,
    level,
    strength,
    tone,
)
from vb.codecs.resample import Kernel


def turned(phone: Phone, direction: Any) -> None:
    """Agree on another direction, as an answer to a re-INVITE does."""
    assert phone.port.agreed is not None
    phone.port.configure(replace(phone.port.agreed, direction=direction))


def quiet_phones(world: World, count: int, direction: Any = "inactive") -> list[Phone]:
    """Phones that send nothing and are sent nothing."""
    phones = [world.phone(sending=False) for _ in range(count)]
    for phone in phones:
        turned(phone, direction)
    return phones


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many streams each conversion has had."""
    counts: list[int] = []
    convert = Kernel._convert

    def counted(kernel: Kernel, frames: Any, *others: Any) -> None:
        counts.append(len(frames))
        convert(kernel, frames, *others)

    monkeypatch.setattr(Kernel, "_convert", counted)
    return counts


@pytest.mark.parametrize("others", [1, 30])
@pytest.mark.parametrize("routed", [False, True])
def test_whoever_is_silent_and_sent_nothing_changes_nothing_for_the_others(others: int, routed: bool) -> None:
    heard = []
    for extra in (0, others):
        world = World()
        quiet = quiet_phones(world, extra)
        phones = [world.phone(hz) for hz in TONES[:3]]
        room = [*quiet[: extra // 2], phones[0], phones[1], *quiet[extra // 2 :], phones[2]]
        hears = np.ones((len(room), len(room)), np.bool_) if routed else None
        world.room(*room, hears=hears)
        world.run(60)
        heard.append([phone.pcm(40) for phone in phones])
        assert heard_tones(phones[0]) == {TONES[1], TONES[2]}
        assert not any(phone.heard for phone in quiet)
    for without, beside in zip(*heard, strict=True):
        np.testing.assert_array_equal(without, beside)


def test_pairs_with_a_silent_half_hear_what_the_other_half_says() -> None:
    world = World()
    pairs = [(world.phone(hz), quiet_phones(world, 1)[0]) for hz in TONES[:3]]
    whole = [world.phone(hz) for hz in TONES[3:5]]
    for number, pair in enumerate((*pairs, whole)):
        world.room(*pair, room_id=f"r{number}")
    sinks = [ListSink() for _ in pairs]
    for (_, quiet), sink in zip(pairs, sinks, strict=True):
        quiet.port.add_tap_out(sink)
    world.run(60)
    for (talker, quiet), sink, hz in zip(pairs, sinks, TONES, strict=False):
        assert strength(sink.pcm(), hz, 16000) > 7000
        assert level(talker.pcm(20)) == 0
        assert not quiet.heard
    assert [heard_tones(phone) for phone in whole] == [{TONES[4]}, {TONES[3]}]


def test_whoever_is_sent_nothing_is_played_to_all_the_same() -> None:
    world = World()
    (quiet,) = quiet_phones(world, 1)
    source = ListSource([tone(400, 320)] * 10)
    quiet.port.add_private(source)
    world.room(quiet, world.phone(), world.phone())
    world.run(6)
    assert len(source.frames) == 4


@pytest.mark.parametrize("members", [2, 3])
def test_whoever_is_sent_audio_again_hears_nothing_of_before(members: int) -> None:
    world = World()
    talker, listener = world.phone(TONES[0]), world.phone()
    world.room(talker, listener, *[world.phone() for _ in range(members - 2)])
    world.run(40)
    assert heard_tones(listener) == {TONES[0]}
    turned(listener, "recvonly")
    world.run(5)
    talker.hz = None
    world.run(40)
    told = len(listener.heard)
    turned(listener, "sendrecv")
    world.run(2)
    first = from_ulaw(listener.heard[told].payload)
    assert np.abs(first.astype(int)).max() <= 8
    talker.hz = TONES[1]
    world.run(30)
    assert heard_tones(listener) == {TONES[1]}


def test_a_voice_that_ends_in_a_silent_room_is_not_heard_again() -> None:
    world = World()
    talker, listener = world.phone(TONES[0]), world.phone(sending=False)
    world.room(talker, listener, *quiet_phones(world, 20))
    world.run(30)
    assert heard_tones(listener) == {TONES[0]}
    talker.sending = False
    world.run(20)
    assert level(listener.pcm(10)) == 0
    talker.sending = True
    world.run(30)
    assert heard_tones(listener) == {TONES[0]}


def test_silence_is_not_converted_and_nothing_is_converted_for_nobody(converted: list[int]) -> None:
    world = World()
    talkers = [world.phone(hz) for hz in TONES[:2]]
    world.room(*talkers, *quiet_phones(world, 30))
    for number in range(5):
        world.room(*quiet_phones(world, 2), room_id=f"pair-{number}")
    world.run(10)
    converted.clear()
    world.run(10)
    assert sum(converted) == 10 * 2 * 2


def test_whoever_listens_only_is_not_converted_once_he_is_silent(converted: list[int]) -> None:
    world = World()
    world.room(*quiet_phones(world, 6, "recvonly"))
    world.run(10)
    converted.clear()
    world.run(10)
    assert not converted
