"""Sessions as whoever speaks bit by bit uses them: fed, finalized, cleared, used again."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from tests.media.support import sine
from tests.tts.listener import RATE_HZ
from tests.tts.mock import Fail, Speak, Stall
from tests.tts.stage import Stage, open_stage
from vb.codecs.pcm import Pcm
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Session, Voice

TONE = sine(400, RATE_HZ, 0.5)
OTHER = sine(900, RATE_HZ, 0.5)


def voice_of(stage: Stage) -> Voice:
    return stage.speech("x").voice


async def utterance(session: Session) -> Pcm:
    """Return the audio up to the next `Done`."""
    pieces = []
    with trio.fail_after(10):
        while not isinstance(spoken := await session.receive(), Done):
            assert isinstance(spoken, Audio)
            pieces.append(spoken.pcm)
    return np.concatenate(pieces)


async def test_one_session_speaks_several_utterances() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()), Speak(OTHER.tobytes()))
        async with stage.providers["elevenlabs"].open(voice_of(stage)) as session:
            await session.feed("one ")
            await session.feed("two")
            await session.finalize()
            assert np.array_equal(await utterance(session), TONE)
            await session.feed("three")
            await session.finalize()
            assert np.array_equal(await utterance(session), OTHER)
        assert [b"one two" in request.body for request in stage.mock.spoken] == [True, False]


async def test_nothing_is_asked_for_before_the_text_is_complete() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        async with stage.providers["elevenlabs"].open(voice_of(stage)) as session:
            await session.feed("one")
            await trio.testing.wait_all_tasks_blocked(0.02)
        assert stage.mock.requests == []


@pytest.mark.parametrize("heard", [0, 1])
async def test_what_is_cleared_is_not_heard_and_the_session_goes_on(heard: int) -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=9_600), Speak(OTHER.tobytes()))
        async with stage.providers["elevenlabs"].open(voice_of(stage)) as session:
            await session.feed("one")
            await session.finalize()
            for _ in range(heard):
                assert isinstance(await session.receive(), Audio)
            await stage.mock.asked.wait()
            await session.feed("never said")
            await session.clear()
            await session.feed("two")
            await session.finalize()
            assert np.array_equal(await utterance(session), OTHER)
        assert all(b"never" not in request.body for request in stage.mock.spoken)


async def test_who_waits_goes_on_waiting_when_it_is_cleared() -> None:
    async with open_stage() as stage, trio.open_nursery() as nursery:
        stage.mock.plan(Stall(), Speak(OTHER.tobytes()))
        got: list[Pcm] = []
        over = trio.Event()

        async def wait(session: Session) -> None:
            got.append(await utterance(session))
            over.set()

        async with stage.providers["elevenlabs"].open(voice_of(stage)) as session:
            nursery.start_soon(wait, session)
            await session.feed("one")
            await session.finalize()
            await stage.mock.asked.wait()
            await session.clear()
            await session.feed("two")
            await session.finalize()
            with trio.fail_after(10):
                await over.wait()
        assert np.array_equal(got[0], OTHER)


async def test_clearing_at_any_moment_leaves_only_the_new_text() -> None:
    async with open_stage() as stage, stage.providers["elevenlabs"].open(voice_of(stage)) as session:
        for pause_s in (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03):
            stage.mock.plan(Speak(TONE.tobytes(), piece_bytes=640, pace_s=0.0005))
            await session.feed("old")
            await session.finalize()
            await trio.sleep(pause_s)
            await session.clear()
            stage.mock.plan(Speak(OTHER.tobytes()))
            await session.feed("new")
            await session.finalize()
            assert np.array_equal(await utterance(session), OTHER)


async def test_a_failure_is_raised_where_audio_is_waited_for() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Fail(401))
        with pytest.raises(ProviderFailed) as failed:
            await _first(stage)
        assert failed.value.category == "permanent_auth"


async def test_too_much_text_is_refused() -> None:
    async with open_stage() as stage, stage.providers["elevenlabs"].open(voice_of(stage)) as session:
        await session.feed("a" * 20_000)
        with pytest.raises(ProviderFailed):
            await session.feed("a")


async def _first(stage: Stage) -> None:
    async with stage.providers["elevenlabs"].open(voice_of(stage)) as session:
        await session.feed("one")
        await session.finalize()
        await session.receive()
