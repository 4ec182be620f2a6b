"""The server's end of local speech, with a helper that has no process, on a virtual clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.local_speech.fakes import NUMBERS, Asked, FakeHelper, ask, open_speech, read_tones, say
from vb.errors import Unavailable
from vb.local_speech.frames import Frame, Kind, samples_of, sound_of, with_audio, with_fields, with_number
from vb.local_speech.tasks.speech import Limits, LocalSpeech
from vb.providers.failure import ProviderFailed


def begin(exchange: Asked, text: str, *, ahead: int = 10**6) -> None:
    exchange.send(with_fields(Kind.VOICE, exchange.id, voice="tones", language="en", ahead=ahead))
    exchange.send(Frame(Kind.TEXT, exchange.id, text.encode()))
    exchange.send(Frame(Kind.END, exchange.id))


async def collect(exchange: Asked) -> np.ndarray:
    parts = [np.zeros(0, np.int16)]
    while (frame := await exchange.receive()).kind is not Kind.DONE:
        if frame.kind is Kind.SOUND:
            parts.append(sound_of(frame)[1])
    return np.concatenate(parts)


async def speak(speech: LocalSpeech, text: str) -> str:
    with ask(speech, "utterance") as exchange:
        begin(exchange, text)
        return read_tones(await collect(exchange))


def gauge(speech: LocalSpeech, name: str, **labels: str) -> float:
    return next(
        value
        for found, _, value, given in speech.readings()
        if (found, given) == (f"local_speech_{name}", labels)
    )


async def test_the_helper_is_started_by_the_first_request_and_only_once(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_speech(helper) as speech:
        await trio.sleep(10)
        assert helper.starts == 0
        assert await speak(speech, "One two three. Four five.") == "one two three four five"
        assert await speak(speech, "yes") == "yes"
        assert (helper.starts, gauge(speech, "starts"), gauge(speech, "running")) == (1, 1, 1)
    assert helper.ends == 1


async def test_a_hundred_utterances_at_once_are_all_spoken_right(autojump_clock: MockClock) -> None:
    helper = FakeHelper(speak_s=0.01)
    texts = [f"{NUMBERS[index % 5]} {NUMBERS[5 + index % 3]}" for index in range(100)]
    heard: dict[int, str] = {}

    async def one(index: int) -> None:
        heard[index] = await speak(speech, texts[index])

    async with open_speech(helper, limits=Limits(utterances=100)) as speech:
        async with trio.open_nursery() as nursery:
            for index in range(100):
                nursery.start_soon(one, index)
        assert [heard[index] for index in range(100)] == texts
        assert gauge(speech, "utterances") == 0


async def test_what_goes_beyond_the_limit_is_refused_and_counted(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(), limits=Limits(utterances=2)) as speech:
        with ask(speech, "utterance") as first, ask(speech, "utterance") as second:
            begin(first, "one")
            begin(second, "two")
            with pytest.raises(Unavailable, match="busy"):
                speech.check_room("utterance")
            with pytest.raises(ProviderFailed) as refused, ask(speech, "utterance"):
                pass
            assert refused.value.category == "service_unavailable"
            speech.check_room("transcript")
            assert gauge(speech, "refused", what="utterance") == 2
            assert read_tones(await collect(first)) == "one"
        speech.check_room("utterance")


async def test_a_short_utterance_does_not_wait_for_the_end_of_a_long_one(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(speak_s=1.0)) as speech:
        with ask(speech, "utterance") as long, ask(speech, "utterance") as short:
            begin(long, "One. " * 20)
            await trio.sleep(0.5)
            begin(short, "two.")
            started = trio.current_time()
            assert read_tones(await collect(short)) == "two"
            assert trio.current_time() - started < 2.5


async def test_a_cancel_in_mid_sentence_ends_the_audio_at_once_and_nothing_else(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper(speak_s=0.5)
    async with open_speech(helper) as speech:
        with ask(speech, "utterance") as other:
            begin(other, "Yes. No.")
            with ask(speech, "utterance") as exchange:
                begin(exchange, "One two. Three four. Five six.")
                while (await exchange.receive()).kind is not Kind.SOUND:
                    pass
            assert read_tones(await collect(other)) == "yes no"
        await trio.sleep(5)
        assert "Five six." not in helper.engines.voice_engine.spoken
        assert gauge(speech, "utterances") == 0


async def test_audio_that_is_not_taken_is_not_made(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_speech(helper) as speech:
        with ask(speech, "utterance") as exchange:
            begin(exchange, "One. Two. Three. Four.", ahead=1600)
            await trio.sleep(5)
            assert helper.engines.voice_engine.spoken == ["One."]
            exchange.send(with_number(Kind.MORE, exchange.id, 1600))
            await trio.sleep(5)
            assert helper.engines.voice_engine.spoken == ["One.", "Two."]


async def test_text_may_come_while_it_is_spoken(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        with ask(speech, "utterance") as exchange:
            exchange.send(with_fields(Kind.VOICE, exchange.id, voice="tones", language="en", ahead=10**6))
            exchange.send(Frame(Kind.TEXT, exchange.id, b"One two. Thr"))
            frame = await exchange.receive()
            assert read_tones(sound_of(frame)[1]) == "one two"
            exchange.send(Frame(Kind.TEXT, exchange.id, b"ee four."))
            exchange.send(Frame(Kind.END, exchange.id))
            assert (await exchange.receive()).fields == {
                "text": "One two.",
                "start_ms": 0,
                "end_ms": 200,
            }
            assert read_tones(await collect(exchange)) == "three four"


@pytest.mark.parametrize(
    ("word", "category", "text"),
    [("refuse", "permanent_input", "nobody can say that"), ("fault", "unknown", "the local engine failed")],
)
async def test_a_fault_of_the_engine_ends_its_utterance_only(
    autojump_clock: MockClock, word: str, category: str, text: str
) -> None:
    helper = FakeHelper(speak_s=0.1)
    async with open_speech(helper) as speech:
        with ask(speech, "utterance") as other:
            begin(other, "One. Two. Three.")
            with pytest.raises(ProviderFailed) as failed:
                await speak(speech, f"Four. {word.title()}. Five.")
            assert (failed.value.category, str(failed.value)) == (category, f"local: {text}")
            assert read_tones(await collect(other)) == "one two three"
    assert (helper.starts, "Five." in helper.engines.voice_engine.spoken) == (1, False)


async def test_a_crash_fails_what_ran_and_the_next_utterance_is_spoken(autojump_clock: MockClock) -> None:
    helper = FakeHelper(crash_on="bye")
    async with open_speech(helper) as speech:
        with pytest.raises(ProviderFailed) as failed:
            await speak(speech, "good bye")
        assert (failed.value.category, str(failed.value)) == ("retryable", "local: the engines have stopped")
        assert await speak(speech, "hello") == "hello"
        assert (helper.starts, gauge(speech, "faults")) == (2, 1)


async def test_a_helper_that_always_crashes_is_restarted_ever_less_often_and_refused_meanwhile(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper(crash_on="bye")
    async with open_speech(helper) as speech:
        for _ in range(6):
            with pytest.raises(ProviderFailed):
                await speak(speech, "bye")
        assert helper.starts <= 4
        with pytest.raises(Unavailable, match="does not work"):
            speech.check_room("utterance")
        before = helper.starts
        await trio.sleep(600)
        assert helper.starts == before, "nobody asks, so nothing is started"
        helper.crash_on = ""
        assert await speak(speech, "hello") == "hello"


async def test_a_helper_that_cannot_be_started_is_one_clear_failure(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(refuses=True)) as speech:
        with pytest.raises(ProviderFailed) as failed:
            await speak(speech, "one")
        assert failed.value.category == "retryable"


@pytest.mark.parametrize(
    ("helper", "within_s"),
    [
        (FakeHelper(mute=True), 0.1),
        (FakeHelper(garbage=b"GET / HTTP/1.1\r\n\r\n"), 0.1),
        (FakeHelper(garbage=Frame(Kind.SOUND, 1, b"\0\0\x3e\x80x").encode()), 0.1),
        (FakeHelper(garbage=Frame(Kind.SOUND, 999, b"\0\0\x3e\x80xx").encode()), 0.1),
        (FakeHelper(garbage=Frame(Kind.PONG, 0, b"[]").encode()), 0.1),
        (FakeHelper(deaf=True, speak_s=1000), 20),
        (FakeHelper(busy_s=50, speak_s=1000), 5),
        (FakeHelper(rss_kb=3_000_000, speak_s=1000), 5),
    ],
    ids=["ends", "no frames", "half a sample", "unknown id", "bad pong", "deaf", "hangs", "too large"],
)
async def test_a_sick_helper_is_ended_and_replaced(
    autojump_clock: MockClock, helper: FakeHelper, within_s: float
) -> None:
    async with open_speech(helper) as speech:
        started = trio.current_time()
        with pytest.raises(ProviderFailed) as failed:
            await speak(speech, "one")
        assert failed.value.category == "retryable"
        assert trio.current_time() - started <= within_s
        helper.mute = helper.deaf = False
        helper.garbage, helper.busy_s, helper.rss_kb, helper.speak_s = b"", 0.0, 100_000, 0.1
        assert await speak(speech, "two") == "two"
        assert (helper.starts, helper.ends) == (2, 1)


async def test_a_helper_that_never_becomes_ready_is_ended(autojump_clock: MockClock) -> None:
    helper = FakeHelper()

    async def never(frames: list[Frame]) -> None:
        await trio.sleep_forever()

    helper._send = never  # type: ignore[method-assign]  # it says nothing
    async with open_speech(helper) as speech:
        with pytest.raises(ProviderFailed):
            await speak(speech, "one")
        assert trio.current_time() < 70


async def test_a_helper_that_has_grown_is_replaced_when_nobody_needs_it(autojump_clock: MockClock) -> None:
    helper = FakeHelper(rss_kb=1_500_000)
    async with open_speech(helper, limits=Limits(memory_mb=1024)) as speech:
        with ask(speech, "utterance") as exchange:
            begin(exchange, "one")
            assert read_tones(await collect(exchange)) == "one"
            await trio.sleep(30)
            assert (helper.starts, helper.ends) == (1, 0), "somebody still holds it"
        await trio.sleep(30)
        assert (helper.starts, helper.ends, gauge(speech, "faults")) == (1, 1, 0)
        helper.rss_kb = 100_000
        assert await speak(speech, "two") == "two"
        assert helper.starts == 2


async def test_what_is_said_is_written_down_with_partials_before_the_final(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        with ask(speech, "transcript") as exchange:
            exchange.send(with_fields(Kind.STREAM, exchange.id, model="ears", language="en", partials=True))
            text = "one two three four five six seven eight nine ten"
            sound = np.concatenate([np.zeros(8000, np.int16), say(text), np.zeros(16_000, np.int16)])
            for start in range(0, len(sound), 640):
                for frame in with_audio(exchange.id, sound[start : start + 640]):
                    exchange.send(frame)
                await trio.sleep(0.04)
            heard: list[dict[str, Any]] = []
            while not heard or heard[-1]["what"] != "final":
                heard.append((await exchange.receive()).fields)
            assert heard[0]["what"] == "began"
            assert heard[-1]["text"] == text
            partials = [each["text"] for each in heard if each["what"] == "partial"]
            assert partials
            assert all(text.startswith(part.rpartition(" ")[0]) for part in partials)
            assert abs(heard[-1]["start_ms"] - 500) < 400
            assert abs(heard[-1]["end_ms"] - 1500) <= 64


async def test_a_transcript_that_is_closed_tells_its_last_words_and_ends(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        with ask(speech, "transcript") as exchange:
            exchange.send(with_fields(Kind.STREAM, exchange.id, model="ears", language="en"))
            for frame in with_audio(exchange.id, say("yes no yes")):
                exchange.send(frame)
            exchange.send(Frame(Kind.CLOSE, exchange.id))
            texts = []
            while (frame := await exchange.receive()).kind is not Kind.DONE:
                texts.append(frame.fields.get("text"))
            assert texts == [None, "yes no yes"]


async def test_flushing_where_nobody_spoke_is_answered_by_an_empty_final(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        with ask(speech, "transcript") as exchange:
            exchange.send(with_fields(Kind.STREAM, exchange.id, model="ears", language="en"))
            exchange.send(Frame(Kind.FLUSH, exchange.id))
            frame = await exchange.receive()
            assert (frame.fields["what"], frame.fields["text"]) == ("final", "")


async def test_a_slow_ear_loses_the_oldest_and_says_how_much(autojump_clock: MockClock) -> None:
    helper = FakeHelper(listen_s=30.0)
    async with open_speech(helper) as speech:
        with ask(speech, "transcript") as exchange:
            exchange.send(with_fields(Kind.STREAM, exchange.id, model="ears", language="en"))
            for _ in range(12):
                for frame in with_audio(
                    exchange.id, np.concatenate([say("one two"), np.zeros(16_000, np.int16)])
                ):
                    exchange.send(frame)
                await trio.sleep(1.2)
            finals = []
            with trio.move_on_after(300):
                while True:
                    fields = (await exchange.receive()).fields
                    finals += [fields] if fields["what"] == "final" else []
            assert 4 <= len(finals) <= 6
            assert sum(final["lost_ms"] for final in finals) > 1000


async def test_when_the_server_stops_the_helper_is_ended_and_what_runs_is_told(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper(speak_s=100)
    failed: list[ProviderFailed] = []

    async def one(speech: LocalSpeech) -> None:
        try:
            await speak(speech, "one")
        except ProviderFailed as exc:
            failed.append(exc)

    async with trio.open_nursery() as outer, open_speech(helper) as speech:
        outer.start_soon(one, speech)
        await trio.sleep(1)
    assert [each.category for each in failed] == ["canceled"]
    assert helper.ends == 1


async def test_audio_that_the_helper_does_not_take_is_dropped_and_counted(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_speech(helper) as speech:
        helper.launch = trio.sleep_forever  # type: ignore[method-assign]  # it takes for ever to start
        speech._launch = helper.launch
        with ask(speech, "transcript") as exchange:
            for _ in range(200):
                for frame in with_audio(exchange.id, np.zeros(16_000, np.int16)):
                    exchange.send(frame)
            assert gauge(speech, "dropped") > 0
            with trio.move_on_after(1) as scope:
                await speech.not_slow()
            assert scope.cancelled_caught
    assert samples_of(b"\1\0").tolist() == [1]
