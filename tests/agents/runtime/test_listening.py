from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.agents.runtime.engines import ScriptEars
from vb.agents.tasks.listening import Listening
from vb.providers.failure import ProviderFailed
from vb.stt.base import FinalText, Heard, Options, PartialText


async def test_words_that_were_only_guessed_are_not_lost_with_their_session(
    autojump_clock: MockClock,
) -> None:
    ears = ScriptEars()
    heard: list[Heard] = []
    failures: list[ProviderFailed] = []
    listening = Listening(ears, Options(), heard.append, failures.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.run)
        await trio.sleep(0.1)
        ears.says("I want to cancel", final=False)
        await trio.sleep(0.1)
        for session in ears._sessions:
            session.give(None)
        await trio.sleep(1.0)
        ears.says("my order")
        await trio.sleep(0.1)
        for session in ears._sessions:
            session.give(None)  # nothing is guessed any more
        await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    assert heard == [PartialText("I want to cancel"), FinalText("I want to cancel"), FinalText("my order")]
    assert len(failures) == 2
