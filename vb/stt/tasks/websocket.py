"""Providers over a WebSocket: the driver between a codec and the guarded way out."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from vb.codecs.pcm import Pcm
from vb.errors import Unavailable
from vb.providers.failure import ProviderFailed
from vb.stt.backlog import KEPT_MS, is_audible
from vb.stt.base import RATE_HZ, Capabilities, Codec, Failed, Heard, Options, Service, Session, Stamps
from vb.web.errors import WebError, WebSocketClosed
from vb.web.failures import lost_connection, provider_failure
from vb.web.message import NORMAL, Message
from vb.web.policy import WEBSOCKET, parse_url
from vb.web.tasks.client import WebClient
from vb.web.tasks.websocket import Pace, WebSocket, connect_websocket
from vb.web.websocket import Opening

PACE: Final = Pace(open_s=10.0, send_s=5.0, ping_s=2.0, pong_s=3.0, close_s=0.1, unsent_bytes=32_768)
"""A dead connection is noticed while all that was said since its last sign is still kept."""
IDLE_S: Final = 60.0
"""A provider that says nothing for so long, although somebody may be speaking, counts as gone."""
_MAX_MESSAGE_BYTES: Final = 262_144
_KEPT_SAMPLES: Final = KEPT_MS * RATE_HZ // 1000


class WebSocketProvider:
    """A provider that is reached over a WebSocket.

    Args:
        service: what its module says of it.
        web: the way out.
        stamps: what codecs put on messages.
    """

    def __init__(self, service: Service, web: WebClient, stamps: Stamps) -> None:
        self._service = service
        self._web = web
        self._stamps = stamps

    @property
    def name(self) -> str:
        """Return its name in requests."""
        return self._service.name

    @property
    def capabilities(self) -> Capabilities:
        """Return what it can do."""
        return self._service.capabilities

    def check_ready(self, options: Options) -> None:
        """Refuse to listen without a key.

        Raises:
            Unavailable: there is none.
        """
        if not self._key(options):
            raise Unavailable(f"no {self.name} API key provided")

    def check(self, options: Options) -> None:
        """Refuse what capabilities cannot say.

        Raises:
            BadRequest: the provider can never listen like that.
        """
        self._service.check(options)

    def _key(self, options: Options) -> str:
        return options.api_key.get_secret_value() or self._service.key.get_secret_value()

    @asynccontextmanager
    async def open(self, options: Options) -> AsyncIterator[Session]:
        """Open a session that is ready for audio.

        Raises:
            ProviderFailed: there is no way to the provider.
        """
        codec = self._service.codec(options, self._key(options), self._stamps)
        failure: ProviderFailed | None = None
        async with trio.open_nursery() as nursery:
            try:
                websocket = await self._connect(nursery, codec)
            except WebError as exc:
                failure = provider_failure(self.name, exc)
            else:
                session = WebSocketSession(self.name, codec, websocket)
                try:
                    failure = await session.begin()
                    if failure is None:
                        yield session
                finally:
                    await websocket.aclose()
                    nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _connect(self, nursery: trio.Nursery, codec: Codec) -> WebSocket:
        dial = codec.dial()
        opening = Opening(
            parse_url(dial.url, schemes=WEBSOCKET),
            headers=dial.headers,
            max_message_bytes=_MAX_MESSAGE_BYTES,
        )
        return await connect_websocket(nursery, self._web, opening, trusted=True, pace=PACE)


class WebSocketSession:
    """A session over an open WebSocket.

    Args:
        provider: its name.
        codec: of this connection.
        websocket: owned by whoever opened it.
    """

    def __init__(self, provider: str, codec: Codec, websocket: WebSocket) -> None:
        self._provider = provider
        self._codec = codec
        self._websocket = websocket
        self._read: deque[Heard] = deque()
        self._failure: ProviderFailed | None = None
        self._finishing = False
        self._spoken = False
        self._sent: deque[tuple[float, int, int]] = deque()
        self._sent_samples = 0

    @property
    def unheard_samples(self) -> int:
        """Return how much cannot have been heard.

        That is what never went out, and all since the last sign of a peer that fell silent. One that broke
        the connection has heard what went out.
        """
        websocket = self._websocket
        silent = websocket.lost in ("silent", "slow")
        unwritten, samples = websocket.unwritten_bytes, 0
        for sent_at, size, written in reversed(self._sent):
            if unwritten <= 0 and not (silent and sent_at >= websocket.heard_at):
                break
            unwritten -= written
            samples += size
        return samples

    async def begin(self) -> ProviderFailed | None:
        """Say what comes first, and wait until audio may be sent; returns what failed."""
        try:
            with trio.move_on_after(PACE.open_s) as patience:
                await self._put(self._codec.begin())
                while not self._codec.ready:
                    self._take(await self._websocket.receive())
                    if self._failure is not None:
                        return self._failure
        except WebSocketClosed as exc:
            return self._ended(exc)
        except ProviderFailed as exc:
            return exc
        if patience.cancelled_caught:
            return ProviderFailed("retryable", f"{self._provider}: not ready within {PACE.open_s:g} s")
        return None

    @property
    def ready(self) -> bool:
        """Return whether what is put goes out before anything else."""
        return self._websocket.is_clear

    def put(self, pcm: Pcm) -> None:
        """Send audio at once."""
        self._websocket.put(*self._written(pcm))

    async def send(self, pcm: Pcm) -> None:
        """Send audio; waits while the provider is slow.

        Raises:
            ProviderFailed: the connection is gone.
        """
        await self._put(self._written(pcm))

    def _written(self, pcm: Pcm) -> list[Message]:
        """Return the messages of a block, and take note of it."""
        messages = self._codec.audio(pcm)
        self._spoken = self._spoken or is_audible(pcm)
        self._sent.append((trio.current_time(), pcm.size, sum(map(_framed_bytes, messages))))
        self._sent_samples += pcm.size
        while self._sent_samples - self._sent[0][1] > _KEPT_SAMPLES:
            self._sent_samples -= self._sent.popleft()[1]
        return messages

    async def finalize(self) -> None:
        """Ask for what was heard as final.

        Raises:
            ProviderFailed: the connection is gone.
        """
        await self._put(self._codec.finalize())

    async def keep_alive(self) -> None:
        """Say that audio will come again.

        Raises:
            ProviderFailed: the connection is gone.
        """
        await self._put(self._codec.keep_alive())

    async def finish(self) -> None:
        """Say that no audio will come.

        Raises:
            ProviderFailed: the connection is gone.
        """
        self._finishing = True
        await self._put(self._codec.finish())

    async def receive(self) -> Sequence[Heard] | None:
        """Wait for what was heard; None when nothing comes any more after `finish`.

        Raises:
            ProviderFailed: the session has failed.
        """
        while not self._read:
            if self._failure is not None:
                raise self._failure
            if self._codec.over:
                return None
            try:
                await self._listen()
            except WebSocketClosed as exc:
                if self._finishing:
                    return None
                raise self._ended(exc) from None
        heard = list(self._read)
        self._read.clear()
        return heard

    async def _listen(self) -> None:
        """Wait for messages; one who hears speech and says nothing is not waited for any longer."""
        with trio.move_on_after(IDLE_S):
            self._take(await self._websocket.receive())
            self._spoken = False
            return
        if self._spoken:
            self._failure = ProviderFailed("retryable", f"{self._provider}: silent for {IDLE_S:g} s")

    def _take(self, messages: Sequence[Message]) -> None:
        """Read messages up to the first that is a failure; what came before it is still given out."""
        for message in messages:
            for read in self._codec.receive(message):
                if isinstance(read, Failed):
                    self._failure = ProviderFailed(read.category, read.text)
                    return
                self._read.append(read)

    async def _put(self, messages: Sequence[Message]) -> None:
        if not messages:
            await trio.lowlevel.checkpoint()
            return
        if self._websocket.put(*messages):
            return  # as nearly always: there is room, and no other task has to run in between
        try:
            await self._websocket.send(*messages)
        except WebSocketClosed as exc:
            raise self._ended(exc) from None

    def _ended(self, end: WebSocketClosed) -> ProviderFailed:
        """Return why the connection is over: what the peer said of it, or how it went."""
        websocket = self._websocket
        lost = lost_connection(self._provider, websocket.lost, broke_protocol=websocket.broke_protocol)
        if lost is not None:
            return lost
        found = self._codec.closed(end.code if end.code else NORMAL, end.reason)
        return ProviderFailed(found.category, found.text)


def _framed_bytes(message: Message) -> int:
    """Return how long a message is on the wire; text of ours is ASCII where audio is in it."""
    size = len(message)
    return size + (6 if size < 126 else 8 if size < 65_536 else 14)
