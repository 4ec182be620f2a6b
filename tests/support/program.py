"""A program on a WebSocket for integration tests: it plays a tone and keeps what it hears."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import trio
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
    wrap_client_stream,
)

Frame = dict[str, Any]


def tone(hertz: float, rate_hz: int, seconds: float, level: float = 8000.0) -> bytes:
    """Some audio, s16le."""
    steps = np.arange(round(rate_hz * seconds))
    return (level * np.sin(2 * math.pi * hertz * steps / rate_hz)).astype("<i2").tobytes()


class Program:
    """One client."""

    def __init__(
        self, socket: WebSocketConnection, rate_hz: int = 16000, *, json_audio: bool = False
    ) -> None:
        self.socket = socket
        self.rate_hz = rate_hz
        self.json_audio = json_audio
        self.frames: list[Frame] = []
        self.sizes: list[int] = []
        self.heard = b""
        self.close_code: int | None = None
        self.closed = trio.Event()
        self._moved = trio.Event()

    async def read(self) -> None:
        """Keep what comes until the end."""
        try:
            while True:
                message = await self.socket.get_message()
                self._take(message)
                self._moved.set()
                self._moved = trio.Event()
        except ConnectionClosed as end:
            self.close_code = end.reason.code if end.reason is not None else None
            self.closed.set()

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.heard += message
            self.sizes.append(len(message))
            return
        frame = json.loads(message)
        if "audio" in frame:
            assert set(frame) == {"audio"}
            pcm = base64.b64decode(frame["audio"], validate=True)
            self.heard += pcm
            self.sizes.append(len(pcm))
        else:
            self.frames.append(frame)

    async def frame(self, kind: str) -> Frame:
        """The next frame of a type; others before it are skipped."""
        with trio.fail_after(5):
            while True:
                for number, frame in enumerate(self.frames):
                    if frame.get("type") == kind:
                        del self.frames[: number + 1]
                        return frame
                await self._moved.wait()

    async def send(self, message: Frame | str | bytes) -> None:
        """Send an object as JSON, anything else as it is."""
        await self.socket.send_message(json.dumps(message) if isinstance(message, dict) else message)

    async def say(self, pcm: bytes) -> None:
        """Send audio in one message."""
        if self.json_audio:
            await self.send({"type": "audio", "audio": base64.b64encode(pcm).decode()})
        else:
            await self.send(pcm)

    async def talk(self, hertz: float, seconds: float) -> None:
        """Play a tone in real time, in frames of 20 ms."""
        pcm, size = tone(hertz, self.rate_hz, seconds), self.rate_hz // 50 * 2
        begun = trio.current_time()
        for number, start in enumerate(range(0, len(pcm), size)):
            await trio.sleep_until(begun + number * 0.02)
            await self.say(pcm[start : start + size])

    def level(self, hertz: float, last_s: float = 0.2) -> float:
        """How loud a frequency was in what came last, of full scale."""
        count = round(self.rate_hz * last_s)
        samples = np.frombuffer(self.heard[-2 * count :], "<i2").astype(np.float64)
        if samples.size < count:
            return 0.0
        steps = np.arange(count) / self.rate_hz
        return float(2 * abs(np.mean(samples * np.exp(-2j * math.pi * hertz * steps))) / 32768)


@asynccontextmanager
async def open_program(
    url: str, *, rate_hz: int = 16000, json_audio: bool = False, headers: dict[str, str] | None = None
) -> AsyncIterator[Program]:
    """A client of a path of a server, with `http` in its URL."""
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    parts = urlsplit(url)
    resource = parts.path + (f"?{parts.query}" if parts.query else "")
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    async with stream, trio.open_nursery() as nursery:
        socket = await wrap_client_stream(
            nursery, stream, parts.netloc, resource, message_queue_size=1000, extra_headers=extra
        )
        program = Program(socket, rate_hz, json_audio=json_audio)
        nursery.start_soon(program.read)
        try:
            yield program
        finally:
            with trio.move_on_after(2, shield=True):
                await socket.aclose()
            nursery.cancel_scope.cancel()


class Host:
    """Programs that are called."""

    def __init__(self) -> None:
        self.port = 0
        self.reject: int | None = None
        self.answer_after_s = 0.0
        self.headers: dict[str, str] = {}
        self.path = ""
        self.programs: list[Program] = []
        self.came = trio.Event()

    async def handle(self, request: WebSocketRequest) -> None:
        self.path = request.path
        self.headers = {name.decode(): value.decode() for name, value in request.headers}
        await trio.sleep(self.answer_after_s)
        if self.reject is not None:
            await request.reject(self.reject)
            return
        program = Program(await request.accept())
        self.programs.append(program)
        self.came.set()
        await program.read()

    async def program(self) -> Program:
        with trio.fail_after(5):
            await self.came.wait()
        return self.programs[-1]

    def url(self, path: str = "/agent") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def open_host() -> AsyncIterator[Host]:
    host = Host()
    async with trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[object]) -> None:
            await serve_websocket(host.handle, "127.0.0.1", 0, ssl_context=None, task_status=task_status)

        server = await nursery.start(serve)
        host.port = server.port
        yield host
        nursery.cancel_scope.cancel()
