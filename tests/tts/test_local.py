"""`local` speaks, with engines for which every word is a tone."""

from __future__ import annotations

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.local_speech.fakes import FakeHelper, open_speech, read_tones
from vb.errors import InvalidField, Unavailable
from vb.local_speech.engines.base import Ability
from vb.local_speech.tasks.speech import Limits, LocalSpeech
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Mark, Session, Voice
from vb.tts.local import LocalVoices

VOICE = Voice("tones")


async def utterance(session: Session) -> tuple[str, list[Mark]]:
    parts, marks = [np.zeros(0, np.int16)], []
    while not isinstance(spoken := await session.receive(), Done):
        if isinstance(spoken, Audio):
            assert spoken.rate_hz == 16_000
            parts.append(spoken.pcm)
        else:
            marks.append(spoken)
    return read_tones(np.concatenate(parts)), marks


async def test_a_text_comes_out_with_a_mark_for_each_sentence(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech, LocalVoices(speech).open(VOICE) as session:
        await session.feed("One two. Three.")
        await session.finalize()
        heard, marks = await utterance(session)
        assert heard == "one two three"
        assert marks == [Mark("One two.", 0, 200), Mark("Three.", 200, 300)]


async def test_utterances_of_a_session_come_in_order(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech, LocalVoices(speech).open(VOICE) as session:
        for text in ("one two", "three", "four five"):
            await session.feed(text)
            await session.finalize()
        assert [(await utterance(session))[0] for _ in range(3)] == ["one two", "three", "four five"]


async def test_a_sentence_is_spoken_while_the_next_is_written(autojump_clock: MockClock) -> None:
    async with (
        open_speech(FakeHelper()) as speech,
        LocalVoices(speech).open(VOICE, streamed=True) as session,
    ):
        await session.feed("One two. Thr")
        first = await session.receive()
        assert isinstance(first, Audio)
        assert read_tones(first.pcm) == "one two"
        await session.feed("ee four.")
        await session.finalize()
        assert (await utterance(session))[0] == "three four"


async def test_after_clear_nothing_of_the_old_comes_and_a_waiting_reader_gets_the_new(
    autojump_clock: MockClock,
) -> None:
    heard: list[str] = []

    async with open_speech(FakeHelper(speak_s=0.5)) as speech, LocalVoices(speech).open(VOICE) as session:
        await session.feed("One two. Three four. Five.")
        await session.finalize()
        await session.receive()

        async def read() -> None:
            heard.append((await utterance(session))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(0.2)
            await session.clear()
            await trio.sleep(5)
            await session.feed("yes no")
            await session.finalize()
        assert heard == ["yes no"]
        assert speech.count("utterance") == 0


async def test_a_fault_of_the_engine_is_the_sessions_failure(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech, LocalVoices(speech).open(VOICE) as session:
        await session.feed("fault")
        await session.finalize()
        with pytest.raises(ProviderFailed, match="local: the local engine failed"):
            await session.receive()


async def test_leaving_a_session_gives_its_place_back(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(), limits=Limits(utterances=1)) as speech:
        provider = LocalVoices(speech)
        async with provider.open(VOICE) as session:
            await session.feed("One. Two. Three.")
            with pytest.raises(Unavailable, match="busy"):
                provider.check(VOICE)
            async with provider.open(VOICE) as other:
                with pytest.raises(ProviderFailed) as failed:
                    await other.feed("one")
                assert failed.value.category == "service_unavailable"
        provider.check(VOICE)


async def test_the_best_voice_that_knows_the_language_speaks(autojump_clock: MockClock) -> None:
    voices = (Ability("heart"), Ability("espeak", ()))
    provider = LocalVoices(LocalSpeech(FakeHelper().launch, voices, ()))
    assert provider.check(Voice("default")).voice == "heart"
    assert provider.check(Voice("default", language="en-GB")).voice == "heart"
    assert provider.check(Voice("default", language="fr-FR")).voice == "espeak"
    with pytest.raises(InvalidField, match=r"language: local knows en only: install espeakng-loader"):
        provider.check(Voice("heart", language="fr"))
    with pytest.raises(InvalidField, match="voice: local knows heart, espeak"):
        provider.check(Voice("Rachel"))
    with pytest.raises(InvalidField, match="model_id"):
        provider.check(Voice("heart", "turbo"))


async def test_without_engines_it_says_what_to_install(autojump_clock: MockClock) -> None:
    with pytest.raises(Unavailable, match=r"pip install 'vb\[speech\]'"):
        LocalVoices(LocalSpeech(FakeHelper().launch, (), ())).check(VOICE)
