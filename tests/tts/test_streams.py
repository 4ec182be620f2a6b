"""Sessions that take text while it is written, over real WebSockets to services that fail at every step."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from conformance.peers.voice_services import KEY, VOICE
from conformance.peers.voice_streams import Plan, VoiceStreams, open_voice_streams
from conformance.peers.voice_talk import spoken
from tests.media.support import inline
from tests.support.web import local_web
from tests.tts.codecs import voice as voice_of
from tests.tts.stage import config_for
from vb.codecs.pcm import Pcm
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Mark, Provider, Session
from vb.tts.elevenlabs_stream import ElevenLabsStream
from vb.tts.tasks.catalog import asked_providers

NAMES = ("elevenlabs", "deepgram")


@asynccontextmanager
async def services(*plans: Plan) -> AsyncIterator[tuple[VoiceStreams, dict[str, Provider]]]:
    async with open_voice_streams() as streams:
        streams.plans = list(plans)
        web = local_web(["127.0.0.1/32"])
        yield streams, asked_providers(config_for(streams.url), web, inline, lambda: 0.5)
        await web.aclose()


@asynccontextmanager
async def session_of(name: str, *plans: Plan, key: str = KEY) -> AsyncIterator[tuple[VoiceStreams, Session]]:
    failure: ProviderFailed | None = None
    async with services(*plans) as (streams, providers):
        voice = providers[name].check(voice_of(VOICE, api_key=key))
        try:
            async with providers[name].open(voice, streamed=True) as session:
                yield streams, session
        except ProviderFailed as failed:
            failure = failed
    if failure is not None:
        raise failure


async def heard(session: Session) -> tuple[Pcm, list[Mark]]:
    """Return the audio up to the next `Done`, and the marks in it."""
    pieces: list[Pcm] = [np.zeros(0, np.int16)]
    marks: list[Mark] = []
    with trio.fail_after(10):
        while not isinstance(item := await session.receive(), Done):
            if isinstance(item, Mark):
                marks.append(item)
            else:
                assert item.rate_hz == 16_000
                pieces.append(item.pcm)
    return np.concatenate(pieces), marks


def sound(text: str) -> Pcm:
    return np.frombuffer(spoken(text, 16_000), "<i2")


@pytest.mark.parametrize("name", NAMES)
async def test_text_is_spoken_while_it_is_written(name: str) -> None:
    async with session_of(name) as (_, session):
        await session.feed("Good morning. ")
        first = await session.receive()
        while isinstance(first, Mark):
            first = await session.receive()
        assert isinstance(first, Audio)
        await session.feed("How are")
        await session.feed(" you")
        await session.finalize()
        pcm, _ = await heard(session)
        whole = np.concatenate([first.pcm, pcm])
        assert np.array_equal(whole, sound("Good morning. How are you"))


@pytest.mark.parametrize("name", NAMES)
async def test_one_connection_speaks_many_utterances_in_order(name: str) -> None:
    words = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
    texts = [f"{word} it is." for word in words]
    async with session_of(name) as (streams, session):
        for text in texts:
            await session.feed(text)
            await session.finalize()
        for text in texts:
            pcm, _ = await heard(session)
            assert np.array_equal(pcm, sound(text))
        assert len(streams.connections) == 1


async def test_words_have_their_times() -> None:
    async with session_of("elevenlabs") as (_, session):
        await session.feed("alpha bravo ")
        await session.feed("charlie.\n")
        await session.finalize()
        _, marks = await heard(session)
    assert [(mark.text, mark.start_ms) for mark in marks] == [("alpha", 0), ("bravo", 100), ("charlie.", 200)]
    assert all(mark.start_ms < mark.end_ms <= mark.start_ms + 100 for mark in marks)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", range(4))
async def test_nothing_of_what_was_cleared_comes_out(name: str, steps: int) -> None:
    """Before it is fed, while it is fed, when it is complete, and when some of it was heard."""
    async with session_of(name) as (streams, session):
        for _ in range(3):
            if steps > 0:
                await session.feed("old words that nobody hears. ")
            if steps > 1:
                await session.finalize()
            if steps > 2:
                await session.receive()
            await session.clear()
            await session.feed("zulu")
            await session.finalize()
            pcm, _ = await heard(session)
            assert np.array_equal(pcm, sound("zulu"))
        talk = streams.connections[0].talk
        assert talk is not None
        if steps == 1:
            assert talk.cleared == 3


@pytest.mark.parametrize("name", NAMES)
async def test_what_comes_late_after_a_clear_is_dropped(name: str) -> None:
    plan = Plan(fault="late", at=1, late_s=0.05)
    async with session_of(name, plan) as (_, session):
        await session.feed("old words. ")
        await session.feed("more. ")
        await session.clear()
        await session.feed("zulu")
        await session.finalize()
        pcm, marks = await heard(session)
    assert np.array_equal(pcm, sound("zulu"))
    assert all(mark.text == "zulu" for mark in marks)


@pytest.mark.parametrize("name", NAMES)
async def test_who_waits_goes_on_waiting_when_it_is_cleared(name: str) -> None:
    async with session_of(name) as (_, session), trio.open_nursery() as nursery:
        got: list[Pcm] = []
        over = trio.Event()

        async def wait() -> None:
            got.append((await heard(session))[0])
            over.set()

        nursery.start_soon(wait)
        await session.clear()
        await wait_all_tasks_blocked(0.01)
        await session.feed("zulu")
        await session.finalize()
        with trio.fail_after(5):
            await over.wait()
        assert np.array_equal(got[0], sound("zulu"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("plan", "category"),
    [
        (Plan(status=401), "permanent_auth"),
        (Plan(status=403), "permanent_auth"),
        (Plan(status=429), "rate_limited"),
        (Plan(status=500), "service_unavailable"),
        (Plan(status=503), "service_unavailable"),
        (Plan(status=302), "unknown"),
        (Plan(fault="close", at=1), "retryable"),
        (Plan(fault="close", at=1, after=1), "retryable"),
        (Plan(fault="close", at=1, code=1008), "permanent_input"),
        (Plan(fault="abort", at=0), "retryable"),
        (Plan(fault="abort", at=1, after=1), "retryable"),
        (Plan(fault="garbage", at=1, after=1), "retryable"),
        (Plan(fault="close", at=1, say=("[]",)), "retryable"),
        (Plan(fault="close", at=1, say=('{"type": 7, "audio": 7}',)), "retryable"),
    ],
)
async def test_each_failure_has_its_category(name: str, plan: Plan, category: str) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await _speak(name, plan)
    assert failed.value.category == category
    assert KEY not in str(failed.value)


@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_key_is_refused_and_not_told(name: str) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await _speak(name, Plan(), key="wrong-key")
    assert failed.value.category == "permanent_auth"
    assert "wrong-key" not in str(failed.value)


@pytest.mark.parametrize(
    ("name", "said", "category"),
    [
        ("elevenlabs", {"message": "no", "error": "quota_exceeded", "code": 1008}, "rate_limited"),
        ("elevenlabs", {"message": "no", "error": "invalid_api_key", "code": 1008}, "permanent_auth"),
        ("elevenlabs", {"message": "no", "error": f"{KEY}", "code": 1008}, "permanent_input"),
        ("elevenlabs", {"message": "no", "error": "odd: Good morning.", "code": 1008}, "permanent_input"),
        ("deepgram", {"type": "Error", "description": "x", "code": "NET-0000"}, "retryable"),
        ("deepgram", {"type": "Warning", "description": "Too many Flush", "code": "W"}, "rate_limited"),
    ],
)
async def test_what_a_provider_says_of_its_failure_is_understood(
    name: str, said: dict[str, object], category: str
) -> None:
    with pytest.raises(ProviderFailed) as failed:
        await _speak(name, Plan(fault="mute", at=1, say=(json.dumps(said),)))
    assert failed.value.category == category
    assert KEY not in str(failed.value)
    assert "Good morning" not in str(failed.value)


def test_an_utterance_that_the_provider_gives_up_is_a_failure() -> None:
    codec = ElevenLabsStream("elevenlabs", "https://api.example", VOICE, voice_of(VOICE))
    codec.feed("Good morning.")
    with pytest.raises(ProviderFailed) as failed:
        codec.receive(json.dumps({"isFinal": True, "contextId": "u0"}))
    assert failed.value.category == "retryable"


async def _speak(name: str, plan: Plan, key: str = KEY) -> None:
    if name == "deepgram":  # which has no message that opens an utterance
        plan = replace(plan, at=max(0, plan.at - 1))
    async with session_of(name, plan, key=key) as (_, session):
        await session.feed("Good morning. How are you?")
        await session.finalize()
        await heard(session)


@pytest.mark.parametrize("name", NAMES)
async def test_what_came_before_a_break_is_heard(name: str) -> None:
    pieces: list[Pcm] = []

    async def take() -> None:
        at = 0 if name == "deepgram" else 1
        async with session_of(name, Plan(fault="abort", at=at, after=1)) as (_, session):
            await session.feed("Good morning. ")
            await session.finalize()
            with trio.fail_after(5):
                while True:
                    item = await session.receive()
                    if isinstance(item, Audio):
                        pieces.append(item.pcm)

    with pytest.raises(ProviderFailed):
        await take()
    got = np.concatenate(pieces)
    assert got.size
    assert np.array_equal(got, sound("Good morning.")[: got.size])


@pytest.mark.parametrize("name", NAMES)
async def test_a_provider_that_is_half_open_holds_nobody_up(name: str) -> None:
    async with session_of(name, Plan(fault="freeze", at=0)) as (_, session):
        await session.feed("Good morning.")
        await session.finalize()
        with trio.move_on_after(0.05) as waited:
            await heard(session)
        assert waited.cancelled_caught
        begun = trio.current_time()
    assert trio.current_time() - begun < 1.0


@pytest.mark.parametrize("name", NAMES)
async def test_the_provider_is_told_that_it_is_over(name: str) -> None:
    async with services() as (streams, providers):
        provider = providers[name]
        async with provider.open(provider.check(voice_of(VOICE, api_key=KEY)), streamed=True) as session:
            await session.feed("Good")
        with trio.fail_after(5):
            await streams.connections[0].closed.wait()
        talk = streams.connections[0].talk
        assert talk is not None
        assert talk.over


@pytest.mark.parametrize("name", NAMES)
async def test_too_much_text_is_refused(name: str) -> None:
    async with session_of(name) as (_, session):
        await session.feed("word " * 4_000)
        with pytest.raises(ProviderFailed) as failed:
            await session.feed("a")
        assert failed.value.category == "permanent_input"


async def test_a_voice_is_found_by_its_name_before_the_socket_is_opened() -> None:
    async with services() as (streams, providers):
        provider = providers["elevenlabs"]
        voice = provider.check(voice_of("a/b c", api_key=KEY, model_id="m-1", language="de-AT"))
        async with provider.open(voice, streamed=True):
            pass
        asked = streams.connections[-1]
    assert asked.path == "/v1/text-to-speech/a%2Fb%20c/multi-stream-input"
    assert asked.query["model_id"] == "m-1"
    assert asked.query["language_code"] == "de"
