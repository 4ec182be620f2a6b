"""`local` listens, with engines that hear tones as words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from tests.local_speech.fakes import FakeHelper, open_speech, say
from vb.errors import InvalidField, NotAvailable, Unavailable
from vb.local_speech.tasks.speech import Limits, LocalSpeech
from vb.providers.failure import ProviderFailed
from vb.stt.base import FinalText, Heard, Options, PartialText, Session
from vb.stt.local import LocalTranscripts

SILENCE = np.zeros(16_000, np.int16)


async def talk(session: Session, text: str, *, pause: bool = True) -> None:
    sound = np.concatenate([say(text), SILENCE]) if pause else say(text)
    for start in range(0, len(sound), 640):
        await session.send(sound[start : start + 640])
        await trio.sleep(0.04)


async def rest(session: Session) -> list[Heard]:
    found: list[Heard] = []
    heard: Sequence[Heard] | None = []
    while heard is not None:
        found += heard
        heard = await session.receive()
    return found


async def test_what_is_said_is_final_after_each_pause(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech, LocalTranscripts(speech).open(Options()) as session:
        await talk(session, "one two")
        await talk(session, "three four")
        await session.finish()
        finals = [each for each in await rest(session) if isinstance(each, FinalText) and each.text]
        assert [each.text for each in finals] == ["one two", "three four"]
        assert all(each.speech_final for each in finals)
        assert [each.end_ms for each in finals] == pytest.approx([200, 1400], abs=64)


async def test_partials_come_only_where_they_are_wanted(autojump_clock: MockClock) -> None:
    text = "one two three four five six seven eight nine ten one two three"
    for wanted in (True, False):
        async with (
            open_speech(FakeHelper()) as speech,
            LocalTranscripts(speech).open(Options(partial=wanted)) as session,
        ):
            await talk(session, text)
            await session.finish()
            heard = await rest(session)
            assert any(isinstance(each, PartialText) for each in heard) == wanted


async def test_finalize_does_not_wait_for_a_pause(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech, LocalTranscripts(speech).open(Options()) as session:
        await talk(session, "one two three", pause=False)
        await session.finalize()
        with trio.fail_after(0.3):
            assert await session.receive() == [FinalText("one two three", True, 0, 320)]


async def test_endpointing_says_how_long_a_pause_is(autojump_clock: MockClock) -> None:
    waits_s = []
    for endpointing_ms in (128, 1500):
        options = Options(endpointing_ms=endpointing_ms)
        async with open_speech(FakeHelper()) as speech, LocalTranscripts(speech).open(options) as session:
            await talk(session, "one two three", pause=False)
            said_at = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def be_silent(session: Session = session) -> None:
                    while True:
                        await session.send(SILENCE[:640])
                        await trio.sleep(0.04)

                nursery.start_soon(be_silent)
                await session.receive()
                nursery.cancel_scope.cancel()
            waits_s.append(trio.current_time() - said_at)
    assert waits_s == pytest.approx([0.25, 1.6], abs=0.15)


async def test_a_crash_fails_the_session_and_names_what_was_not_written(autojump_clock: MockClock) -> None:
    helper = FakeHelper()
    async with open_speech(helper) as speech, LocalTranscripts(speech).open(Options()) as session:
        await talk(session, "one two")
        assert await session.receive() == [FinalText("one two", True, 0, 224)]
        helper._scope.cancel()
        await talk(session, "three four", pause=False)
        with pytest.raises(ProviderFailed) as failed:
            await session.receive()
        assert failed.value.category == "retryable"
        assert session.unheard_samples == pytest.approx(3200 + 16_000, abs=600)


async def test_words_that_were_told_early_are_not_heard_again_after_a_crash(
    autojump_clock: MockClock,
) -> None:
    helper = FakeHelper()
    async with (
        open_speech(helper) as speech,
        LocalTranscripts(speech).open(Options(partial=True)) as session,
    ):
        await talk(session, "one two three four five six seven", pause=False)
        (partial,) = await session.receive() or ()
        assert isinstance(partial, PartialText)
        assert partial.text.startswith("one two")
        assert partial.end_ms
        helper._scope.cancel()
        with pytest.raises(ProviderFailed):
            await rest(session)
        assert session.unheard_samples == 7 * 1600 - partial.end_ms * 16


async def test_a_language_that_no_model_knows_is_refused_with_advice(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper()) as speech:
        provider = LocalTranscripts(speech)
        provider.check(Options(language="en-GB"))
        provider.check(Options(language="de"))  # polyglot knows it
        with pytest.raises(InvalidField, match=r"language: local knows en only: .*VB_MODELS_DIR"):
            provider.check(Options(language="de", model="ears"))
        with pytest.raises(InvalidField, match=r"model: local knows ears, polyglot; `vb models list`"):
            provider.check(Options(model="../../etc"))


async def test_without_engines_it_says_what_to_install(autojump_clock: MockClock) -> None:
    speech = LocalSpeech(FakeHelper().launch, (), ())
    with pytest.raises(NotAvailable, match=r"pip install 'vb\[speech\]'"):
        LocalTranscripts(speech).check_ready(Options())


async def test_one_too_many_is_unavailable_and_a_place_is_free_again_later(autojump_clock: MockClock) -> None:
    async with open_speech(FakeHelper(), limits=Limits(transcripts=1)) as speech:
        provider = LocalTranscripts(speech)
        async with provider.open(Options()):
            with pytest.raises(Unavailable):
                provider.check_ready(Options())
        provider.check_ready(Options())
