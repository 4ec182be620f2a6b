"""One leg that is listened to: blocks, silences, failures and endings, on a clock that tests turn."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.stt.scripted import CAN, ScriptedProvider, Stage, changed, settle, stage
from vb.errors import Conflict, NotAvailable
from vb.providers.failure import ProviderFailed
from vb.stt.base import FinalText, Options, PartialText, Turn, Word
from vb.stt.tasks import transcriber as module


async def test_audio_goes_out_in_blocks_of_the_provider_length(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.mouth.say(4)
        await settle()
        at.mouth.say(1)
        await settle()
        assert [part.size for part in at.provider.last.sent if not isinstance(part, str)] == [640, 640]
        at.mouth.say(1)
        await settle()
        assert at.provider.last.audio == [1, 2, 3, 4, 5, 6]


async def test_partial_text_is_told_only_where_it_is_wanted(autojump_clock: MockClock) -> None:
    for partial, told in ((True, [("stt.text", "he", False)]), (False, [])):
        async with stage(options=Options(partial=partial)) as at:
            at.provider.last.hear(PartialText("he"))
            await settle()
            assert at.texts() == told
            at.provider.last.hear(FinalText("hello"))
            await settle()
            assert at.texts() == [("stt.text", "hello", True)]


async def test_empty_text_is_told_to_nobody(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.hear(FinalText(""))
        await settle()
        assert at.texts() == []


async def test_a_turn_is_told_with_its_words(autojump_clock: MockClock) -> None:
    async with stage(room_id="r") as at:
        at.provider.last.hear(
            Turn(
                "end_of_turn", turn_index=0, text="hi", words=(Word("hi", 0.9, 100, 300),), languages=("en",)
            )
        )
        await settle()
        (event,) = at.observed.events()
        told = event.as_dict()
        for name in ("timestamp", "event_id", "instance_id"):
            del told[name]
        assert told == {
            "type": "stt.turn",
            "app_id": "shop",
            "leg_id": "leg-1",
            "room_id": "r",
            "event": "end_of_turn",
            "turn_index": 0,
            "text": "hi",
            "words": [{"word": "hi", "confidence": 0.9, "start_ms": 100, "end_ms": 300}],
            "languages": ["en"],
        }


async def test_a_provider_is_told_that_audio_will_come_again(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.mouth.say(2)
        await trio.sleep(CAN.keep_alive_s * 2.5)
        assert at.provider.last.words == ["keep_alive", "keep_alive"]


async def test_nothing_is_sent_while_the_leg_is_on_hold(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.leg.local_hold = True
        await at.mouth.talk(6)
        assert at.provider.last.audio == []
        assert at.provider.last.words == ["keep_alive"]
        at.leg.local_hold = False
        await at.mouth.talk(0.1)
        assert at.provider.last.audio[:2] == [301, 302]


async def test_what_was_said_before_a_hold_becomes_final(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.hear(PartialText("wait"))
        await settle()
        at.leg.local_hold = True
        await trio.sleep(CAN.keep_alive_s + 0.1)
        assert at.provider.last.words == ["finalize"]


# -- the end -----------------------------------------------------------------------------------------------


async def test_stopping_sends_what_is_left_and_waits_for_the_last_words(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.mouth.say(3)
        await settle()
        session = at.provider.last
        session.says_goodbye = False
        at.transcriber.stop()
        await settle()
        assert session.audio == [1, 2, 3]
        assert session.words == ["finish"]
        session.hear(FinalText("bye"))
        await settle()
        assert at.texts() == [("stt.text", "bye", True)]
        await at.done.wait()
        assert trio.current_time() - at.provider.opened_at[0] == pytest.approx(module.PATIENCE_S)
        assert session.closed
        assert at.mouth.taps == []


async def test_the_end_of_a_leg_shortens_the_wait_for_last_words(autojump_clock: MockClock) -> None:
    async with stage() as at:
        begun = trio.current_time()
        at.provider.last.says_goodbye = False
        at.transcriber.stop()
        await settle()
        at.scope.cancel()
        await at.done.wait()
        assert trio.current_time() - begun == pytest.approx(module.FAREWELL_S)


async def test_a_provider_that_says_goodbye_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with stage() as at:
        begun = trio.current_time()
        at.transcriber.stop()
        await at.done.wait()
        assert trio.current_time() == begun
        assert at.texts() == []


async def test_the_end_of_the_leg_is_a_stop(autojump_clock: MockClock) -> None:
    async with stage() as at:
        session = at.provider.last
        session.hear(PartialText("see you"))
        await settle()
        at.scope.cancel()
        await at.done.wait()
        assert session.words == ["finish"]
        assert at.texts() == [("stt.text", "see you", False), ("stt.text", "see you", True)]


async def test_a_stop_while_the_provider_is_being_reached_ends_at_once(autojump_clock: MockClock) -> None:
    async with stage(ScriptedProvider(open_s=10)) as at:
        begun = trio.current_time()
        at.transcriber.stop()
        await at.done.wait()
        assert trio.current_time() == begun
        assert at.provider.sessions == []


async def test_a_stop_while_waiting_for_another_try_ends_at_once(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider(failures=[ProviderFailed("retryable", "no")])
    async with stage(provider) as at:
        begun = trio.current_time()
        at.transcriber.stop()
        await at.done.wait()
        assert trio.current_time() == begun
        assert at.texts() == []


async def test_a_failure_during_the_farewell_is_no_news(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.says_goodbye = False
        at.transcriber.stop()
        await settle()
        at.provider.last.fail()
        await at.done.wait()
        assert at.texts() == []


# -- failures ----------------------------------------------------------------------------------------------


async def test_what_is_said_while_the_provider_is_away_is_sent_once(autojump_clock: MockClock) -> None:
    async with stage() as at:
        await at.mouth.talk(1.0)
        at.provider.last.hear(FinalText("one"))
        await settle()
        at.provider.failures = [ProviderFailed("service_unavailable", "503")] * 3
        at.provider.last.fail()
        await at.mouth.talk(4.0)
        await settle()
        assert len(at.provider.sessions) == 2
        first, second = (session.audio for session in at.provider.sessions)
        assert first + second == list(range(1, 251))[: len(first + second)]
        assert len(first + second) >= 249
        assert at.texts() == [("stt.text", "one", True)]
        assert at.figures.reconnects == 4


async def test_no_more_than_five_seconds_are_kept(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.hear(FinalText("one"))
        await settle()
        at.provider.open_s = 7.0
        at.provider.last.fail()
        await at.mouth.talk(8.0)
        await settle()
        audio = at.provider.last.audio
        assert at.provider.sessions[0].audio == []
        assert audio[0] == pytest.approx((7.25 - 5.0) * 50, abs=3)
        assert audio == list(range(audio[0], audio[0] + len(audio)))
        assert at.transcriber.dropped_frames == audio[0] - 1


async def test_text_that_was_not_final_becomes_final_when_the_connection_breaks(
    autojump_clock: MockClock,
) -> None:
    async with stage(options=Options(partial=False)) as at:
        at.provider.last.hear(PartialText("good mor", 100, 400))
        await settle()
        at.provider.last.fail()
        await settle()
        assert at.texts() == [("stt.text", "good mor", True)]
        await trio.sleep(0.3)
        at.provider.last.hear(FinalText("ning"))
        await settle()
        assert at.texts() == [("stt.text", "ning", True)]


async def test_what_a_session_cannot_have_heard_is_sent_to_the_next(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.mouth.say(10)
        await settle()
        at.provider.last.hear(FinalText("one"))
        at.provider.last.unheard_samples = 4 * 320
        at.provider.last.fail()
        await trio.sleep(1)
        at.mouth.say(2)
        await settle()
        assert at.provider.sessions[0].audio == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
        assert at.provider.sessions[1].audio == [7, 8, 9, 10, 11, 12]


async def test_times_go_on_across_connections(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.mouth.say(50)
        await settle()
        at.provider.last.hear(FinalText("one", None, 100, 200))
        await settle()
        at.provider.last.fail()
        await trio.sleep(0.5)
        at.mouth.say(2)
        await settle()
        at.provider.last.hear(FinalText("two", True, 10, 30))
        await settle()
        assert at.observed.told("text", "speech_final", "audio_start_ms", "audio_end_ms") == [
            ("stt.text", "one", None, 100, 200),
            ("stt.text", "two", True, 1010, 1030),
        ]


@pytest.mark.parametrize("category", ["permanent_auth", "permanent_input", "unknown"])
async def test_what_no_other_try_cures_is_told_at_once(autojump_clock: MockClock, category: str) -> None:
    provider = ScriptedProvider(failures=[ProviderFailed(category, "scripted: no")])  # type: ignore[arg-type]  # by name
    async with stage(provider, room_id="r") as at:
        await at.done.wait()
        assert at.observed.told("leg_id", "room_id", "app_id", "provider", "category", "error") == [
            ("stt.error", "leg-1", "r", "shop", "scripted", category, "scripted: no")
        ]
        assert at.figures.errors == {category: 1}
        assert at.figures.running == 0


async def test_a_provider_that_is_never_reached_is_told_once_and_soon(autojump_clock: MockClock) -> None:
    provider = ScriptedProvider(failures=[ProviderFailed("rate_limited", "429")] * 9)
    async with stage(provider) as at:
        begun = trio.current_time()
        await at.done.wait()
        assert at.observed.told("category") == [("stt.error", "rate_limited")]
        assert len(provider.opened_at) == module.FIRST.tries
        assert trio.current_time() - begun < module.FIRST.budget_s


async def test_a_provider_that_does_not_come_back_is_told_once(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.hear(FinalText("one"))
        await settle()
        at.texts()
        at.provider.failures = [ProviderFailed("service_unavailable", "503")] * 99
        begun = trio.current_time()
        at.provider.last.fail()
        await at.done.wait()
        assert at.observed.told("category") == [("stt.error", "service_unavailable")]
        assert 10 < trio.current_time() - begun <= module.AGAIN.budget_s


async def test_one_that_breaks_off_again_and_again_without_a_word_is_given_up(
    autojump_clock: MockClock,
) -> None:
    async with stage() as at:
        while not at.done.is_set():
            if at.provider.sessions and not at.provider.last.closed:
                at.provider.last.fail(text="broken")
            await trio.sleep(0.05)
        assert at.observed.told("error") == [("stt.error", "broken")]
        assert len(at.provider.sessions) == module.FIRST.tries


async def test_a_flood_of_words_lets_others_come_to_their_turn(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.hear(*[PartialText(str(number)) for number in range(1000)])
        turns = told = 0
        while told < 1000:
            await trio.lowlevel.checkpoint()
            turns, told = turns + 1, told + len(at.observed.events())
        assert turns > 1000 / (2 * module.TOLD_AT_ONCE)


async def test_one_that_breaks_off_each_minute_goes_on(autojump_clock: MockClock) -> None:
    async with stage() as at:
        for _ in range(20):
            await trio.sleep(60)
            at.provider.last.fail()
        await trio.sleep(1)
        assert len(at.provider.sessions) == 21
        assert at.texts() == []


async def test_a_slow_provider_costs_the_oldest_audio_and_nothing_else(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.provider.last.stuck = True
        await at.mouth.talk(10.0)
        assert at.transcriber.dropped_frames == pytest.approx(250, abs=4)
        assert len(at.provider.sessions) == 1


async def test_a_fault_of_ours_is_told_too(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module.Transcriber, "_tell", broken)

    async def fail() -> Stage:
        async with stage() as at:
            at.provider.last.hear(FinalText("one"))
            with trio.CancelScope(shield=True):
                await settle()
            found.append(at)
            return at

    found: list[Stage] = []
    with pytest.raises(ExceptionGroup):
        await fail()
    assert found[0].observed.told("category", "error") == [("stt.error", "unknown", "internal error")]


# -- finalize ----------------------------------------------------------------------------------------------


async def test_finalize_follows_all_audio_up_to_now(autojump_clock: MockClock) -> None:
    async with stage() as at:
        at.mouth.say(3)
        at.transcriber.finalize()
        await settle()
        assert at.provider.last.audio == [1, 2, 3]
        assert at.provider.last.words == ["finalize"]


async def test_finalize_needs_a_connection(autojump_clock: MockClock) -> None:
    async with stage(ScriptedProvider(open_s=5)) as at:
        with pytest.raises(Conflict):
            at.transcriber.finalize()


async def test_finalize_is_refused_where_the_provider_has_none(autojump_clock: MockClock) -> None:
    async with stage(ScriptedProvider(capabilities=changed(CAN, finalize=False))) as at:
        with pytest.raises(NotAvailable):
            at.transcriber.finalize()
