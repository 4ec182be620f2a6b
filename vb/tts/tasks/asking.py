"""Sessions with providers that are asked by HTTP: one request for each piece of text, one after the other.

A task reads an answer as fast as the provider sends it, up to a limit, and whoever receives decodes it in
the pace of the call. So a provider is neither held up by the length of what it says nor able to fill memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Final

import trio

from vb.blocking import Bell
from vb.providers.backoff import Backoff
from vb.providers.failure import WORTH_A_RETRY, ProviderFailed
from vb.tts.answer import AnswerAudio
from vb.tts.base import MAX_TEXT, Audio, Capabilities, Done, Session, Spoken, Voice
from vb.tts.http import RATE_HZ, HttpAnswer, HttpVoices
from vb.tts.tasks.outside import MAX_SHORT_BYTES, NO_REDIRECTS, SystemOutside
from vb.tts.text import split_text
from vb.web.errors import WebError
from vb.web.failures import provider_failure
from vb.web.tasks.client import WebClient, WebResponse, unwind

PORTION_BYTES: Final = 8_192
MAX_PORTIONS: Final = 512
"""What is read ahead of one answer: about two minutes of speech."""
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MANY_CHUNKS: Final = 1_000
CRUMB_BYTES: Final = 16
"""An answer of many chunks that are no longer than this on average costs more than it says."""
STALL_S: Final = 5.0
STALL_BYTES: Final = 4_096
"""How much audio has to come in each such time once an answer has begun; speech is far more."""


@dataclass(frozen=True, slots=True)
class _Head:
    """An answer with audio has begun."""

    content_type: str


@dataclass(frozen=True, slots=True)
class _Failed:
    error: ProviderFailed


class _PieceEnd:
    """The audio of one piece is complete."""


_Item = _Head | bytes | _PieceEnd | _Failed | Done


class AskedProvider:
    """A provider by HTTP: its codec, and what sends requests for it.

    Args:
        codec: computes requests and reads answers.
        web: the way out.
        outside: what else the codec may need.
        draw: gives numbers from 0 to 1 at random.
        backoff: how often and when a failed request is sent again.
    """

    def __init__(
        self,
        codec: HttpVoices,
        web: WebClient,
        outside: SystemOutside,
        draw: Callable[[], float],
        backoff: Backoff | None = None,
    ) -> None:
        self.codec = codec
        self.web = web
        self.outside = outside
        self.draw = draw
        self.backoff = backoff or Backoff()

    @property
    def name(self) -> str:
        """Its name in requests."""
        return self.codec.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.codec.capabilities

    def check(self, voice: Voice) -> Voice:
        """Fill in defaults; see `vb.tts.base.Provider.check`."""
        return self.codec.check(voice)

    @asynccontextmanager
    async def open(self, voice: Voice, *, streamed: bool = False) -> AsyncIterator[Session]:
        """Open a session, whose text is spoken at every `finalize`; it asks nobody before that."""
        session = _AskedSession(self, voice)
        failure: ProviderFailed | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            try:
                yield session
            except ProviderFailed as failed:  # a nursery would wrap it up
                failure = failed
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure


class _AskedSession:
    """Sends what is fed at each `finalize`, in pieces that the provider takes."""

    def __init__(self, provider: AskedProvider, voice: Voice) -> None:
        self._provider = provider
        self._codec = provider.codec
        self._voice = voice
        self._text = ""
        self._jobs: deque[str | Done] = deque()
        self._jobs_bell = Bell()
        self._asking: trio.CancelScope | None = None
        self._send, self._receive = trio.open_memory_channel[tuple[int, _Item]](MAX_PORTIONS)
        self._audio: AnswerAudio | None = None
        self._ready: deque[Audio] = deque()
        self._heard = False
        self._round = 0

    @property
    def is_over(self) -> bool:
        """Return False: nothing is held open between two utterances."""
        return False

    async def feed(self, text: str) -> None:
        """Add to the text of the utterance."""
        await trio.lowlevel.checkpoint()
        if len(self._text) + len(text) > MAX_TEXT:
            raise ProviderFailed("permanent_input", f"{self._codec.name}: more than {MAX_TEXT} characters")
        self._text += text

    async def finalize(self) -> None:
        """Have what was fed spoken."""
        await trio.lowlevel.checkpoint()
        text, self._text = self._text, ""
        capabilities = self._codec.capabilities
        self._jobs.extend(split_text(text, capabilities.max_text, capabilities.measure))
        self._jobs.append(Done())
        self._jobs_bell.ring()

    async def clear(self) -> None:
        """Drop text and audio; an answer on its way is hung up on."""
        await trio.lowlevel.checkpoint()
        self._round += 1
        self._text = ""
        self._jobs.clear()
        self._forget()
        if self._asking is not None:
            self._asking.cancel()

    def _forget(self) -> None:
        """Drop what was read and not received."""
        self._audio = None
        self._ready.clear()
        self._heard = False
        while True:
            try:
                self._receive.receive_nowait()
            except trio.WouldBlock:
                return

    async def receive(self) -> Spoken:
        """Return the next audio, or `Done`."""
        await trio.lowlevel.checkpoint()
        while not self._ready:
            number, item = await self._receive.receive()
            if number != self._round:
                continue  # what was on its way when it was cleared
            match item:
                case _Head(content_type):
                    self._audio = AnswerAudio(self._codec.name, content_type, RATE_HZ)
                case bytes(data) if self._audio is not None:
                    self._ready.extend(self._audio.feed(data))
                case _PieceEnd() if self._audio is not None:
                    self._ready.extend(self._audio.finish())
                    self._audio = None
                case Done() as done:
                    if not self._heard:
                        raise ProviderFailed("unknown", f"{self._codec.name}: answered without audio")
                    self._heard = False
                    return done
                case _Failed(error):
                    raise error
                case _:
                    pass
        self._heard = True
        return self._ready.popleft()

    async def run(self) -> None:
        """Ask for piece after piece until the session is closed or the provider fails."""
        while True:
            while not self._jobs:
                await self._jobs_bell.wait()
            job, current = self._jobs.popleft(), self._round
            try:
                with trio.CancelScope() as self._asking:
                    if isinstance(job, Done):
                        await self._put(job)
                    else:
                        await self._speak(job)
            except ProviderFailed as failed:
                if current == self._round:
                    await self._put(_Failed(failed))
                    return
            if current != self._round:
                self._forget()

    async def _put(self, item: _Item) -> None:
        """Hand something on to `receive`; waits while that is far behind."""
        await self._send.send((self._round, item))

    async def _speak(self, text: str) -> None:
        """Ask for one piece until it is answered, and hand the answer on.

        Raises:
            ProviderFailed: it is not to be had.
        """
        begun = trio.current_time()
        failures = 0
        while True:
            answer = _Answer(self._put, self._codec)
            try:
                await self._ask(text, answer)
            except ProviderFailed as failed:
                failures += 1
                elapsed_s = trio.current_time() - begun
                wait_s = self._provider.backoff.delay_s(failures, elapsed_s, self._provider.draw)
                if failed.category not in WORTH_A_RETRY or answer.begun or wait_s is None:
                    raise
            else:
                return
            await trio.sleep(wait_s)

    async def _ask(self, text: str, answer: _Answer) -> None:
        """Ask for one piece once.

        Raises:
            ProviderFailed: it fails, or takes too long.
        """
        patience_s = self._codec.capabilities.patience_s
        with trio.move_on_after(patience_s) as scope:
            request = await self._codec.request(text, self._voice, self._provider.outside)
            try:
                response = await self._provider.web.open(
                    request.method,
                    request.url,
                    headers=request.headers,
                    content=request.content,
                    trusted=True,
                    repeatable=True,
                    redirects=NO_REDIRECTS,
                )
                try:
                    await self._take(response, answer, scope)
                finally:
                    await response.aclose()
            except WebError as error:
                raise provider_failure(self._codec.name, error) from None
        if scope.cancelled_caught:
            what = f"no audio within {patience_s:g} s" if not answer.begun else "the answer stalls"
            raise ProviderFailed("retryable", f"{self._codec.name}: {what}")

    async def _take(self, response: WebResponse, answer: _Answer, patience: trio.CancelScope) -> None:
        """Read an answer to its end."""
        if not 200 <= response.status < 300:
            raise await self._refusal(response)
        chunks = response.chunks()
        progress = 0
        try:
            async for chunk in chunks:
                # A slow listener is not the provider's fault: his time does not count.
                left_s, patience.deadline = patience.deadline - trio.current_time(), inf
                first = not answer.begun
                progress += await answer.add(response.header("Content-Type"), chunk)
                if answer.begun and (first or progress >= STALL_BYTES):
                    left_s, progress = STALL_S, 0
                patience.deadline = trio.current_time() + left_s
        finally:
            with trio.move_on_after(0, shield=True):
                await unwind(chunks)
        patience.deadline = inf
        await answer.finish()

    async def _refusal(self, response: WebResponse) -> ProviderFailed:
        headers = {name: response.header(name) for name in ("x-amzn-errortype",)}
        try:
            body = await response.read(MAX_SHORT_BYTES)
        except WebError:
            body = b""
        return self._codec.failure(HttpAnswer(response.status, headers, body))


class _Answer:
    """Hands the audio of one answer on in portions.

    Attributes:
        begun: whether there was any; it cannot be asked for again then.
    """

    def __init__(self, put: Callable[[_Item], Awaitable[None]], codec: HttpVoices) -> None:
        self.begun = False
        self._put = put
        self._name = codec.name
        self._body = codec.body()
        self._size = 0
        self._chunks = 0

    async def add(self, content_type: str, chunk: bytes) -> int:
        """Take the next bytes of the body and return how many of audio are in them.

        Waits while the listener is far behind.
        """
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            raise ProviderFailed("unknown", f"{self._name}: the answer is too long")
        self._chunks += 1
        if self._chunks > MANY_CHUNKS and self._size < CRUMB_BYTES * self._chunks:
            raise ProviderFailed("unknown", f"{self._name}: the answer comes in crumbs")
        audio = self._body.feed(chunk)
        if not audio:
            return 0
        if not self.begun:
            self.begun = True
            await self._put(_Head(self._body.content_type(content_type)))
        for start in range(0, len(audio), PORTION_BYTES):
            await self._put(audio[start : start + PORTION_BYTES])
        return len(audio)

    async def finish(self) -> None:
        """Say that the body is complete."""
        self._body.finish()
        if self.begun:
            await self._put(_PieceEnd())
