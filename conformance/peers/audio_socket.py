"""A program on a WebSocket that carries audio: it opens one, or waits for the server to open one."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)

from conformance.expect import Difference, check, require
from conformance.peers.mailbox import Mailbox
from conformance.peers.measure import Pcm, level_db, tones_of
from conformance.peers.websocket import open_websocket

Frame = dict[str, object]
Headers = tuple[tuple[str, str], ...]
FRAMES_PER_S = 50


def tone(hertz: float, rate_hz: int, seconds: float, level: float = -18.0) -> bytes:
    """Audio of ``level`` dBFS RMS, 16-bit little-endian."""
    amplitude = 32768 * 10 ** (level / 20) * math.sqrt(2)
    steps = np.arange(round(rate_hz * seconds))
    return (amplitude * np.sin(2 * math.pi * hertz * steps / rate_hz)).astype("<i2").tobytes()


class AudioSocket:
    """One open WebSocket."""

    def __init__(self, socket: WebSocketConnection, name: str, rate_hz: int, *, in_json: bool) -> None:
        self.name = name
        self.rate_hz = rate_hz
        self.in_json = in_json
        self.frames: Mailbox[Frame] = Mailbox()
        self.closed = trio.Event()
        self.sounded = trio.Event()
        self.close_code: int | None = None
        self.audio: list[tuple[float, bytes, str]] = []
        self._socket = socket

    async def read(self) -> None:
        """Collects what comes until the connection ends."""
        try:
            while True:
                self._take(await self._socket.get_message())
        except ConnectionClosed as closed:
            self.close_code = closed.reason.code if closed.reason is not None else None
            self.closed.set()

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._heard(message, "binary")
            return
        try:
            frame = json.loads(message)
            if set(frame) == {"audio"}:
                pcm = base64.b64decode(frame["audio"], validate=True)
                self._heard(pcm, "json")
                return
        except (ValueError, TypeError, binascii.Error):
            frame = {"type": "(unreadable)", "raw": repr(message)}
        self.frames.put(frame if isinstance(frame, dict) else {"type": "(not an object)", "raw": frame})

    def _heard(self, pcm: bytes, framing: str) -> None:
        self.audio.append((trio.current_time(), pcm, framing))
        self.sounded.set()

    async def send(self, message: Frame | str | bytes) -> None:
        """Sends an object as JSON, or text and bytes as they are; nothing once it is over."""
        try:
            await self._socket.send_message(json.dumps(message) if isinstance(message, dict) else message)
        except ConnectionClosed:
            return

    async def say(self, pcm: bytes) -> None:
        """Sends audio as one message."""
        if self.in_json:
            await self.send({"audio": base64.b64encode(pcm).decode()})
        else:
            await self.send(pcm)

    async def talk(self, hertz: float, *, speed: float = 1.0) -> None:
        """Plays a tone in frames of 20 ms until cancelled, ``speed`` times as fast as it is heard."""
        second = tone(hertz, self.rate_hz, 1.0)
        size = len(second) // FRAMES_PER_S
        begun, number = trio.current_time(), 0
        while not self.closed.is_set():
            place = number % FRAMES_PER_S * size
            await self.say(second[place : place + size])
            number += 1
            await trio.sleep_until(begun + number / (FRAMES_PER_S * speed))

    async def frame(self, kind: str, within_s: float = 2.0) -> Frame:
        """The next control frame of a type.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.frames.take(lambda f: f.get("type") == kind, within_s)
        if found is None:
            seen = [f.get("type") for f in self.frames.unread()[-8:]]
            raise Difference(f"ws {self.name}", f"a {kind} frame", f"none within {within_s} s; unread {seen}")
        return found

    async def hears(
        self, tones: list[int], *, for_ms: int = 400, framing: str | None = None, level: float = -18.0
    ) -> None:
        """Listens for a while and checks frames a second, their size and framing, level and tones.

        Raises:
            Difference: when something differs.
        """
        await trio.sleep(0.15)
        begun = trio.current_time()
        await trio.sleep(for_ms / 1000)
        heard = [item for item in self.audio if item[0] >= begun]
        where = f"ws {self.name}"
        rate = len(heard) / (for_ms / 1000)
        require(40 <= rate <= 60, f"{where}: frames a second", "about 50", rate)
        sizes = {len(pcm) for _, pcm, _ in heard}
        check(f"{where}: bytes of a frame", sizes, {self.rate_hz // FRAMES_PER_S * 2})
        kinds = {kind for _, _, kind in heard}
        check(f"{where}: framing", kinds, {framing or ("json" if self.in_json else "binary")})
        pcm: Pcm = np.frombuffer(b"".join(part for _, part, _ in heard), "<i2")
        found = tones_of(pcm, self.rate_hz)
        require(
            len(found) == len(tones) and all(abs(a - b) <= 10 for a, b in zip(found, tones, strict=True)),
            f"{where}: tones",
            tones,
            found,
        )
        if tones and level:
            expected = level + 10 * math.log10(len(tones))
            require(abs(level_db(pcm) - expected) < 3, f"{where}: level", expected, level_db(pcm))

    async def hears_nothing(self, for_ms: int = 300) -> None:
        """Checks that no audio comes for a while."""
        count = len(self.audio)
        await trio.sleep(for_ms / 1000)
        check(f"ws {self.name}: frames", len(self.audio) - count, 0)

    async def wait_closed(self, within_s: float = 3.0) -> int | None:
        """Waits for the server to close and returns the close code.

        Raises:
            Difference: when it stays open.
        """
        with trio.move_on_after(within_s):
            await self.closed.wait()
        if not self.closed.is_set():
            raise Difference(f"ws {self.name}", "closed", "still open")
        return self.close_code

    async def leave(self, code: int = 1000) -> None:
        """Closes it with a close frame."""
        await self._socket.aclose(code)


@asynccontextmanager
async def open_audio(
    url: str, name: str, *, rate_hz: int = 16000, in_json: bool = False, headers: Headers = ()
) -> AsyncIterator[AudioSocket]:
    """A program that has called in; its first frame is still to be read.

    Raises:
        Difference: when the connection is refused.
    """
    async with open_websocket(url, f"ws {name}", headers, most_waiting=5000) as (socket, nursery):
        client = AudioSocket(socket, name, rate_hz, in_json=in_json)
        nursery.start_soon(client.read)
        yield client


class AudioHost:
    """A place that the server may call."""

    def __init__(self) -> None:
        self.port = 0
        self.refuse_with: int | None = None
        self.requests: Mailbox[WebSocketRequest] = Mailbox()
        self.sockets: Mailbox[AudioSocket] = Mailbox()

    def url(self, path: str = "/agent") -> str:
        """The address of a path."""
        return f"ws://127.0.0.1:{self.port}{path}"

    async def handle(self, request: WebSocketRequest) -> None:
        """Takes or refuses one call."""
        self.requests.put(request)
        if self.refuse_with is not None:
            await request.reject(self.refuse_with)
            return
        socket = AudioSocket(await request.accept(), "called", 16000, in_json=False)
        self.sockets.put(socket)
        await socket.read()

    async def called(self, within_s: float = 3.0) -> AudioSocket:
        """The next WebSocket that the server has opened.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.sockets.take(lambda _: True, within_s)
        if found is None:
            raise Difference("ws host", "a call", f"none within {within_s} s")
        return found

    async def request(self) -> tuple[str, dict[str, str]]:
        """Path and headers of the next request, names in lower case.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.requests.take(lambda _: True, 3.0)
        if found is None:
            raise Difference("ws host", "a request", "none")
        return found.path, {name.decode().lower(): value.decode() for name, value in found.headers}


@asynccontextmanager
async def open_host() -> AsyncIterator[AudioHost]:
    """A place that the server may call, on the loopback address."""
    host = AudioHost()
    async with trio.open_nursery() as nursery:
        serve: Callable[..., Awaitable[object]] = serve_websocket
        server = await nursery.start(_serve, serve, host)
        host.port = server.port
        yield host
        nursery.cancel_scope.cancel()


async def _serve(
    serve: Callable[..., Awaitable[object]], host: AudioHost, *, task_status: trio.TaskStatus[object]
) -> None:
    await serve(host.handle, "127.0.0.1", 0, None, task_status=task_status)
