from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.leg_host import FarEnd, MediaLog, RecordingHost, make_leg
from vb.events.leg import LegConnected, LegDisconnected, LegMuted
from vb.legs.leg import CLEANUP_DEADLINE_S, Leg
from vb.legs.state import LegState


def disconnected(host: RecordingHost) -> LegDisconnected:
    events = [event for event in host.published if isinstance(event, LegDisconnected)]
    assert len(events) == 1
    assert host.published[-1] is events[0]
    return events[0]


class Setup:
    def __init__(self, *, stuck: bool = False, outlives: bool = True) -> None:
        self.outlives = outlives
        self.host = RecordingHost()
        self.leg = make_leg(self.host)
        self.far = FarEnd(stuck=stuck)
        self.media = MediaLog(self.leg)

    async def run(self, *, task_status: trio.TaskStatus[Leg] = trio.TASK_STATUS_IGNORED) -> None:
        def ready() -> None:
            self.host.admit(self.leg)
            task_status.started(self.leg)

        await self.leg.live(self.far, self.media.open, on_ready=ready, outlives=self.outlives)


async def test_an_api_hangup_tells_the_far_end_and_ends_the_leg(nursery: trio.Nursery) -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        assert leg.hangup("api_hangup")
    assert setup.far.reasons == ["api_hangup"]
    assert setup.media.notes == ["up", "down"]
    assert disconnected(setup.host).cdr.reason == "api_hangup"
    assert setup.host.table == {}
    assert setup.host.forgotten == ["leg-1"]


async def test_a_remote_bye_ends_the_leg_with_its_own_reason() -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        await setup.far.inbox_send.send(lambda: leg.hangup("remote_bye"))
    assert disconnected(setup.host).cdr.reason == "remote_bye"


async def test_a_tick_may_end_a_leg_whose_task_is_about_to_go_on(autojump_clock: MockClock) -> None:
    setup = Setup(outlives=False)

    class Tick(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            if task is owner:
                setup.leg.hangup("mixer_panic")

    owner: trio.lowlevel.Task | None = None
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        owner = leg._task
        trio.lowlevel.add_instrument(tick := Tick())
        await setup.far.inbox_send.send(lambda: None)
        await trio.sleep(CLEANUP_DEADLINE_S / 2)
        assert leg.ended
        assert leg._task is None
        trio.lowlevel.remove_instrument(tick)
    assert disconnected(setup.host).cdr.reason == "mixer_panic"


async def test_a_crash_of_signalling_ends_only_this_leg() -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        await tasks.start(setup.run)
        await setup.far.inbox_send.send(RuntimeError("broken"))
    assert disconnected(setup.host).cdr.reason == "internal_error"


async def test_a_crash_of_a_media_task_ends_only_this_leg_and_the_far_end_is_told() -> None:
    setup, other = Setup(), Setup()
    async with trio.open_nursery() as tasks:
        await tasks.start(setup.run)
        await tasks.start(other.run)
        setup.media.crash.set()
        await wait_all_tasks_blocked()
        assert setup.far.reasons == ["internal_error"]
        assert disconnected(setup.host).cdr.reason == "internal_error"
        assert not other.leg.ended
        assert (setup.host.faults, other.host.faults) == ([("legs", "task")], [])
        other.leg.hangup("api_hangup")


async def test_a_crash_of_a_feature_leaves_the_leg_alone() -> None:
    setup = Setup()

    async def crash() -> None:
        raise RuntimeError("broken")

    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        handle = leg.slots.start("playback", crash)
        await handle.join()
        assert handle.failed
        assert not leg.ended
        assert setup.host.faults == [("slots", "leg")]
        leg.hangup("api_hangup")
    assert disconnected(setup.host).cdr.reason == "api_hangup"


async def test_a_server_cancellation_still_sends_the_bye_and_the_last_event() -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        await tasks.start(setup.run)
        tasks.cancel_scope.cancel()
    assert setup.far.reasons == ["server_shutdown"]
    assert disconnected(setup.host).cdr.reason == "server_shutdown"


async def test_a_far_end_that_never_answers_the_bye_holds_the_leg_only_until_the_deadline(
    autojump_clock: MockClock,
) -> None:
    setup = Setup(stuck=True)
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        leg.hangup("api_hangup")
        await wait_all_tasks_blocked()
        assert disconnected(setup.host).cdr.reason == "api_hangup"
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(CLEANUP_DEADLINE_S)


async def test_a_feature_says_its_last_word_before_the_leg_does() -> None:
    setup = Setup()

    async def feature() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            setup.leg.publish(LegMuted(leg_id="leg-1"))

    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        leg.slots.start("recording", feature)
        await wait_all_tasks_blocked()
        leg.hangup("api_hangup")
    assert setup.host.types == ["leg.muted", "leg.disconnected"]


async def test_the_first_reason_wins() -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        assert leg.hangup("max_duration")
        assert not leg.hangup("api_hangup")
        assert not leg.hangup("remote_bye")
    assert setup.far.reasons == ["max_duration"]
    assert disconnected(setup.host).cdr.reason == "max_duration"


async def test_a_leg_is_out_of_the_table_as_soon_as_it_is_hung_up() -> None:
    setup = Setup(stuck=True)
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        leg.hangup("api_hangup")
        assert setup.host.table == {}
        tasks.cancel_scope.cancel()


async def test_an_unanswered_leg_has_no_answered_duration(autojump_clock: MockClock) -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        await trio.sleep(1.25)
        leg.hangup("caller_cancel")
    cdr = disconnected(setup.host).cdr
    assert cdr.duration_total == 1.25
    assert cdr.duration_answered == 0


async def test_the_answered_duration_counts_from_the_answer(autojump_clock: MockClock) -> None:
    setup = Setup()
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        await trio.sleep(2)
        leg.advance(LegState.CONNECTED)
        leg.clock.answered_at = trio.current_time()
        leg.publish(LegConnected(leg_id=leg.id))
        await trio.sleep(3)
        leg.hangup("remote_bye")
    cdr = disconnected(setup.host).cdr
    assert (cdr.duration_total, cdr.duration_answered) == (5, 3)


async def test_what_ends_slowly_is_not_charged(autojump_clock: MockClock) -> None:
    setup = Setup()

    async def feature() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(4, shield=True):
                await trio.sleep(2)

    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        leg.slots.start("recording", feature)
        leg.clock.answered_at = trio.current_time()
        await trio.sleep(3)
        leg.hangup("remote_bye")
    cdr = disconnected(setup.host).cdr
    assert (cdr.duration_total, cdr.duration_answered) == (3, 3)


async def test_mute_and_deaf_publish_only_on_a_change() -> None:
    host = RecordingHost()
    leg = make_leg(host)
    leg.set_muted(True)
    leg.set_muted(True)
    leg.set_deaf(True)
    leg.set_muted(False)
    leg.set_deaf(False)
    leg.set_deaf(False)
    assert host.types == ["leg.muted", "leg.deaf", "leg.unmuted", "leg.undeaf"]
    assert all(event.app_id == "shop" for event in host.published)


async def test_hold_is_told_on_transitions_of_a_connected_leg_only() -> None:
    host = RecordingHost()
    leg = make_leg(host)
    leg.set_holds(remote=True)
    assert host.types == []
    leg.advance(LegState.CONNECTED)
    assert str(leg.shown_state) == "held"
    leg.set_holds(remote=True)
    leg.set_holds(remote=False)
    leg.set_holds(remote=False)
    assert host.types == ["leg.unhold"]
    assert str(leg.shown_state) == "connected"


async def test_holds_that_begin_together_are_told_once_and_end_with_the_last_one() -> None:
    host = RecordingHost()
    leg = make_leg(host)
    leg.advance(LegState.CONNECTED)
    leg.set_holds(local=True, remote=True)
    assert host.types == ["leg.hold"]
    leg.set_holds(local=False)
    assert host.types == ["leg.hold"]
    leg.set_holds(remote=False)
    assert host.types == ["leg.hold", "leg.unhold"]


async def test_a_dialog_that_the_legs_own_task_serves_ends_the_leg_as_any_other() -> None:
    setup = Setup(outlives=False)
    async with trio.open_nursery() as tasks:
        leg: Leg = await tasks.start(setup.run)
        await setup.far.inbox_send.send(lambda: leg.hangup("remote_bye"))
    assert setup.media.notes == ["up", "down"]
    assert disconnected(setup.host).cdr.reason == "remote_bye"


async def test_a_crash_of_a_dialog_that_the_legs_own_task_serves_ends_only_this_leg() -> None:
    setup, other = Setup(outlives=False), Setup(outlives=False)
    async with trio.open_nursery() as tasks:
        await tasks.start(setup.run)
        await tasks.start(other.run)
        await setup.far.inbox_send.send(RuntimeError("broken"))
        await wait_all_tasks_blocked()
        assert setup.far.reasons == ["internal_error"]
        assert disconnected(setup.host).cdr.reason == "internal_error"
        assert not other.leg.ended
        other.leg.hangup("api_hangup")
