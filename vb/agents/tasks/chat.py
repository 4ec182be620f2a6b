"""Asks a language model over HTTP, and reads its answer as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

import trio

from vb.agents.runtime.brain import Answer, Finished, Line, Tool
from vb.agents.runtime.chat import AnswerReader, ChatSettings, request_body
from vb.providers.failure import ProviderFailed, category_of_status
from vb.web.errors import WebError
from vb.web.failures import provider_failure
from vb.web.tasks.client import WebClient, unwind

CONNECT_S: Final = 10.0
END_S: Final = 0.02
"""How long the end of an answer's body is waited for, once the model has said that it is over."""


class ChatModel:
    """A language model behind a chat API.

    Args:
        web: the way out.
        settings: which one.
    """

    def __init__(self, web: WebClient, settings: ChatSettings) -> None:
        self._web = web
        self._settings = settings

    async def answer(self, lines: Sequence[Line], tools: Sequence[Tool]) -> AsyncGenerator[Answer, None]:
        """Return the answer to the last line, as it comes.

        Cancellation: the connection is closed.

        Raises:
            ProviderFailed: there is none.
        """
        settings = self._settings
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if settings.key.get_secret_value():
            headers["Authorization"] = f"Bearer {settings.key.get_secret_value()}"
        try:
            with trio.fail_after(CONNECT_S):
                response = await self._web.open(
                    "POST",
                    f"{settings.base_url.rstrip('/')}/chat/completions",
                    headers=headers,
                    content=request_body(settings.model, lines, tools),
                    trusted=settings.trusted,
                    repeatable=True,  # the server may close a kept connection just now
                    redirects=frozenset(),
                )
        except trio.TooSlowError:
            raise ProviderFailed("retryable", f"model: no answer within {CONNECT_S:g} s") from None
        except WebError as error:
            raise provider_failure("model", error) from None
        chunks = response.chunks()
        try:
            if response.status != 200:
                await _read_on(chunks)
                raise ProviderFailed(category_of_status(response.status), f"model: status {response.status}")
            reader = AnswerReader()
            try:
                async for chunk in chunks:
                    for part in reader.feed(chunk):
                        yield part
                    if reader.over:
                        break
            except WebError as error:
                raise provider_failure("model", error) from None
            if not reader.problem:
                yield Finished()
                await _read_on(chunks)
            for part in reader.finish():
                yield part
            if reader.problem:
                raise ProviderFailed("unknown", f"model: {reader.problem}")
        finally:
            with trio.move_on_after(0, shield=True):  # not a moment more for what was not read
                await unwind(chunks)
            await response.aclose()


async def _read_on(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read a body that is as good as over to its end: then its connection serves the next request."""
    with trio.move_on_after(END_S):
        await unwind(chunks)
