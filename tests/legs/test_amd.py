"""An analysis in the slot of a leg, fed by hand in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.mixer.support import MemoryEndpoint, World, tone
from tests.support.leg_host import RecordingHost, make_leg
from vb.codecs.pcm import Pcm
from vb.errors import Conflict
from vb.events.speech import AmdBeep, AmdResult
from vb.legs.amd import AMD_SLOT, WAITING_FRAMES, replace_amd, start_amd
from vb.legs.leg import Leg
from vb.mixer.port import RtpPort
from vb.slots import SlotTaken
from vb.speech.amd_parameters import AmdParameters

LIMITS = AmdParameters()
BEEPING = AmdParameters(beep_timeout_ms=3000)


class Call:
    """A leg that hears what a test says."""

    def __init__(self) -> None:
        self.host = RecordingHost()
        self.leg: Leg = make_leg(self.host)
        self.port: RtpPort = World().plane.open_port(MemoryEndpoint())
        self.leg.adopt_port(self.port)

    @property
    def results(self) -> list[str]:
        return [event.result for event in self.host.published if isinstance(event, AmdResult)]

    async def say(self, make: Callable[[int, int], Pcm], ms: int, rate_hz: int = 8000) -> None:
        """Let frames come at their own pace."""
        for index in range(ms // 20):
            await trio.sleep(0.02)
            frame = make(index, rate_hz)
            for tap in self.port.tap_in:
                tap.push(frame, rate_hz)
            frame[:] = 0  # it was only lent


def silence(index: int, rate_hz: int) -> Pcm:
    return np.zeros(rate_hz // 50, np.int16)


def voice(index: int, rate_hz: int) -> Pcm:
    width = rate_hz // 50
    return tone(400, width, start=index * width, rate_hz=rate_hz)


def beep(index: int, rate_hz: int) -> Pcm:
    width = rate_hz // 50
    return tone(1000, width, start=index * width, rate_hz=rate_hz)


@asynccontextmanager
async def on_a_leg() -> AsyncIterator[Call]:
    call = Call()
    async with call.leg.slots.open():
        yield call


async def test_a_person_is_told_once_and_the_tap_is_gone(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        await call.say(silence, 200)
        await call.say(voice, 400)
        await call.say(silence, 3000)
        assert call.port.tap_in == ()
        assert call.leg.slots.get(AMD_SLOT) is None
    assert len(call.host.published) == 1
    (event,) = call.host.published
    assert isinstance(event, AmdResult)
    assert (event.leg_id, event.app_id, event.result) == ("leg-1", "shop", "human")
    assert event.initial_silence_ms == pytest.approx(220, abs=20)
    assert event.greeting_duration_ms == pytest.approx(440, abs=40)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
async def test_any_rate_gives_the_verdict(autojump_clock: MockClock, rate_hz: int) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        await call.say(voice, 2000, rate_hz)
    assert call.results == ["machine"]


async def test_a_move_to_a_room_of_another_rate_does_not_stop_it(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        for rate_hz in (8000, 48000, 16000, 8000):
            await call.say(voice, 400, rate_hz)
    (event,) = call.host.published
    assert isinstance(event, AmdResult)
    assert (event.result, event.total_analysis_ms) == ("machine", 1520)


async def test_mute_and_hold_do_not_matter(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        call.port.muted = call.port.local_hold = True
        await call.say(voice, 2000)
    assert call.results == ["machine"]


async def test_a_beep_comes_after_the_result(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, BEEPING)
        await trio.testing.wait_all_tasks_blocked()
        await call.say(voice, 1600)
        await call.say(silence, 400)
        await call.say(beep, 400)
        await call.say(silence, 200)
        assert call.port.tap_in == ()
    assert [type(event) for event in call.host.published] == [AmdResult, AmdBeep]


async def test_no_beep_is_told_after_the_time_for_it(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, BEEPING)
        await trio.testing.wait_all_tasks_blocked()
        await call.say(voice, 1600)
        await call.say(silence, 3000)
        await call.say(beep, 400)
    assert call.results == ["machine"]
    assert len(call.host.published) == 1


async def test_without_audio_the_clock_ends_it(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, BEEPING)
        await trio.sleep(8.05)
        assert call.results == []
        await trio.sleep(0.1)
        assert call.results == ["no_speech"]
        assert call.port.tap_in == ()


async def test_audio_that_waits_is_heard_before_the_clock_ends_it(autojump_clock: MockClock) -> None:
    """A verdict that the deadline finds in the queue is not lost."""
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        (tap,) = call.port.tap_in
        for index in range(80):
            tap.push(voice(index, 8000), 8000)
        autojump_clock.jump(60)
        await trio.testing.wait_all_tasks_blocked()
        assert call.leg.slots.get(AMD_SLOT) is None
    assert call.results == ["machine"]


async def test_a_second_start_silences_the_first(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, AmdParameters(initial_silence_timeout_ms=400))
        await trio.testing.wait_all_tasks_blocked()
        await call.say(silence, 300)
        await replace_amd(call.leg, AmdParameters(initial_silence_timeout_ms=1000))
        await trio.testing.wait_all_tasks_blocked()
        assert len(call.port.tap_in) == 1
        await call.say(silence, 2000)
    (event,) = call.host.published
    assert isinstance(event, AmdResult)
    assert event.total_analysis_ms == 1000


async def test_a_result_on_its_way_is_not_told_once_replaced(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, AmdParameters(initial_silence_timeout_ms=20))
        await trio.testing.wait_all_tasks_blocked()
        (tap,) = call.port.tap_in
        tap.push(silence(0, 8000), 8000)  # wakes the analysis, whose verdict this frame is
        await replace_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        assert call.results == []


async def test_many_starts_at_once_leave_one_analysis(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(replace_amd, call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        assert len(call.port.tap_in) == 1
        await call.say(voice, 2000)
    assert call.results == ["machine"]


async def test_a_plain_start_does_not_replace(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        with pytest.raises(SlotTaken):
            start_amd(call.leg, LIMITS)


async def test_the_end_of_the_leg_says_nothing_and_leaves_no_tap(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, AmdParameters(initial_silence_timeout_ms=20))
        await trio.testing.wait_all_tasks_blocked()
        (tap,) = call.port.tap_in
        tap.push(silence(0, 8000), 8000)
    assert call.host.published == []
    assert call.port.tap_in == ()
    with pytest.raises(Conflict):
        start_amd(call.leg, LIMITS)


async def test_an_analysis_that_is_not_served_loses_the_oldest_audio(autojump_clock: MockClock) -> None:
    async with on_a_leg() as call:
        start_amd(call.leg, LIMITS)
        await trio.testing.wait_all_tasks_blocked()
        (tap,) = call.port.tap_in
        for _ in range(4000 // 20):
            tap.push(silence(0, 8000), 8000)
        await trio.sleep(6)
    (event,) = call.host.published
    assert isinstance(event, AmdResult)
    assert event.total_analysis_ms == WAITING_FRAMES * 20
