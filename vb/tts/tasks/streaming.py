"""Sessions over a WebSocket that takes text while it is being written.

A task reads what the provider says as fast as it comes, up to a limit; whoever receives takes it in the pace
of the call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from vb.blocking import Bell
from vb.providers.failure import ProviderFailed
from vb.tts.base import MAX_TEXT, Audio, Done, Session, Spoken, Voice
from vb.tts.stream import StreamCodec, StreamedVoices
from vb.tts.tasks.asking import AskedProvider
from vb.tts.tasks.outside import SystemOutside
from vb.web.errors import WebError, WebSocketClosed
from vb.web.failures import lost_connection, provider_failure
from vb.web.message import NORMAL
from vb.web.policy import WEBSOCKET, parse_url
from vb.web.tasks.client import WebClient
from vb.web.tasks.websocket import Pace, WebSocket, connect_websocket
from vb.web.websocket import Opening

AHEAD_S: Final = 120.0
"""So much audio is read ahead of who receives it; then the provider has to wait."""
KEEP_ALIVE_S: Final = 10.0
_MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024


class StreamedProvider(AskedProvider):
    """A provider by HTTP that takes text over a WebSocket too, if that is what is wanted.

    Args:
        codec: computes requests, reads answers and gives codecs of connections.
        web: the way out.
        outside: what else the codec may need.
        draw: gives numbers from 0 to 1 at random.
    """

    def __init__(
        self, codec: StreamedVoices, web: WebClient, outside: SystemOutside, draw: Callable[[], float]
    ) -> None:
        super().__init__(codec, web, outside, draw)
        self._streams = codec

    @asynccontextmanager
    async def open(self, voice: Voice, *, streamed: bool = False) -> AsyncIterator[Session]:
        """Open a session; one for text that is still being written has its socket open."""
        if not streamed:
            async with super().open(voice) as asked:
                yield asked
            return
        failure: ProviderFailed | None = None
        async with trio.open_nursery() as nursery:
            try:
                codec = await self._streams.stream(voice, self.outside)
                websocket = await self._connect(nursery, codec)
                session = _StreamedSession(self.name, codec, websocket)
                nursery.start_soon(session.run)
                try:
                    yield session
                finally:
                    session.say_goodbye()
                    await websocket.aclose()
            except ProviderFailed as failed:  # a nursery would wrap it up
                failure = failed
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _connect(self, nursery: trio.Nursery, codec: StreamCodec) -> WebSocket:
        dial = codec.dial()
        pace = Pace(open_s=self.capabilities.patience_s, send_s=5.0, ping_s=5.0, pong_s=5.0, close_s=0.1)
        try:
            opening = Opening(
                parse_url(dial.url, schemes=WEBSOCKET),
                headers=dial.headers,
                max_message_bytes=_MAX_MESSAGE_BYTES,
            )
            return await connect_websocket(nursery, self.web, opening, trusted=True, pace=pace)
        except WebError as error:
            raise provider_failure(self.name, error) from None


class _StreamedSession:
    """What is fed goes out at once; what comes is read ahead."""

    def __init__(self, provider: str, codec: StreamCodec, websocket: WebSocket) -> None:
        self._provider = provider
        self._codec = codec
        self._websocket = websocket
        self._ready: deque[Spoken] = deque()
        self._ahead_s = 0.0
        self._bell = Bell()
        self._room = Bell()
        self._failure: ProviderFailed | None = None
        self._reading = trio.CancelScope()
        self._fed: deque[int] = deque([0])
        """How many characters each utterance has whose end was not received; the last one is being fed."""
        self._heard = False

    @property
    def is_over(self) -> bool:
        """Whether the connection is gone, or this end has said goodbye."""
        return self._failure is not None or self._reading.cancel_called

    async def feed(self, text: str) -> None:
        """Give the next portion of text."""
        self._fed[-1] += len(text)
        if sum(self._fed) > MAX_TEXT:
            raise ProviderFailed("permanent_input", f"{self._provider}: more than {MAX_TEXT} characters")
        self._codec.feed(text)
        await self._send()

    async def finalize(self) -> None:
        """Say that the utterance is complete."""
        self._fed.append(0)
        self._codec.finalize()
        await self._send()

    async def clear(self) -> None:
        """Drop everything that was fed and not received."""
        self._fed, self._heard = deque([0]), False
        self._ready.clear()
        self._ahead_s = 0.0
        self._room.ring()
        self._codec.clear()
        await self._send()

    async def _send(self) -> None:
        if self._failure is not None:  # `receive` tells of it, behind what had come by then
            await trio.lowlevel.checkpoint()
            return
        messages = self._codec.take()
        if not messages:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._websocket.send(*messages)
        except WebSocketClosed as end:
            raise self._ended(end) from None

    def say_goodbye(self) -> None:
        """Tell the provider that this is the end, as far as it takes that at once, and read no more."""
        self._reading.cancel()
        self._codec.close()
        self._websocket.put(*self._codec.take())

    async def receive(self) -> Spoken:
        """Return what comes next, in order."""
        await trio.lowlevel.checkpoint()
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            await self._bell.wait()
        spoken = self._ready.popleft()
        if isinstance(spoken, Audio):
            self._heard = True
            self._ahead_s -= spoken.pcm.size / spoken.rate_hz
            self._room.ring()
        elif isinstance(spoken, Done):
            if not self._heard:
                raise ProviderFailed("unknown", f"{self._provider}: answered without audio")
            self._heard = False
            self._fed.popleft()
        return spoken

    async def run(self) -> None:
        """Read until the session is closed or the provider fails."""
        try:
            with self._reading:
                while True:
                    while self._ahead_s > AHEAD_S:
                        await self._room.wait()
                    await self._listen()
        except WebSocketClosed as end:
            self._failure = self._ended(end)
        except ProviderFailed as failed:
            self._failure = failed
        self._bell.ring()

    async def _listen(self) -> None:
        with trio.move_on_after(KEEP_ALIVE_S) as quiet:
            for message in await self._websocket.receive():
                for spoken in self._codec.receive(message):
                    self._ready.append(spoken)
                    if isinstance(spoken, Audio):
                        self._ahead_s += spoken.pcm.size / spoken.rate_hz
                    self._bell.ring()
        if quiet.cancelled_caught:
            self._codec.keep_alive()
        await self._send()

    def _ended(self, end: WebSocketClosed) -> ProviderFailed:
        """Return why the connection is over: what the provider said of it, or how it went."""
        websocket = self._websocket
        lost = lost_connection(self._provider, websocket.lost, broke_protocol=websocket.broke_protocol)
        return lost or self._codec.closed(end.code if end.code else NORMAL, end.reason)
