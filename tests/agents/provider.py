"""A stand-in for any provider of agents: REST answers and WebSockets on one port, with faults on request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trio

from tests.support.program import tone
from tests.web.peers import BINARY, CLOSE, PING, TEXT, Frames, answer_to, close_frame, frame


class Conversation:
    """One WebSocket of the server under test."""

    def __init__(self, stream: trio.abc.Stream, head: str) -> None:
        self.stream = stream
        self.head = head
        self.texts: list[dict[str, Any]] = []
        self.binaries: list[bytes] = []
        self.heard = b""
        self.closed = trio.Event()
        self.close_code: int | None = None
        self._moved = trio.Event()

    async def read(self) -> None:
        """Keep what comes until the end."""
        frames = Frames(self.stream)
        try:
            while True:
                opcode, data = await frames.next()
                if opcode == TEXT:
                    found = json.loads(data)
                    self.texts.append(found)
                elif opcode == BINARY:
                    self.binaries.append(data)
                    self.heard += data
                elif opcode == CLOSE:
                    self.close_code = int.from_bytes(data[:2], "big") if data else 1005
                    await self.stream.send_all(close_frame(1000))
                self._moved.set()
                self._moved = trio.Event()
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.closed.set()

    async def text(self, **fields: object) -> dict[str, Any]:
        """The next text message with these fields."""
        with trio.fail_after(5):
            while True:
                for number, found in enumerate(self.texts):
                    if fields.items() <= found.items():
                        del self.texts[: number + 1]
                        return found
                await self._moved.wait()

    async def hear(self, seconds: float, rate_hz: int = 16000) -> np.ndarray:
        """What comes from now on, for so long."""
        self.heard = b""
        with trio.fail_after(5 + seconds):
            while len(self.heard) < seconds * rate_hz * 2:
                await self._moved.wait()
        return np.frombuffer(self.heard, "<i2")

    async def send(self, message: dict[str, Any] | bytes | str) -> None:
        """Send an object as JSON, text and bytes as they are."""
        if isinstance(message, bytes):
            await self.stream.send_all(frame(BINARY, message))
        else:
            text = message if isinstance(message, str) else json.dumps(message)
            await self.stream.send_all(frame(TEXT, text.encode()))

    async def ping(self) -> None:
        await self.stream.send_all(frame(PING, b"x"))

    async def close(self, code: int = 1000, reason: bytes = b"") -> None:
        await self.stream.send_all(close_frame(code, reason))


@dataclass
class Provider:
    """The whole of it.

    Attributes:
        port: on 127.0.0.1.
        answers: method and path (without query) → status and JSON; `{ws}` in a text is our WebSocket base.
        requests: what came by REST: request line, headers in one text, body.
        refuse: status for WebSocket handshakes instead of 101.
        stall: whether nothing is answered at all.
    """

    port: int = 0
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    refuse: int = 0
    stall: bool = False
    conversations: list[Conversation] = field(default_factory=list)
    _came: trio.Event = field(default_factory=trio.Event)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def next(self) -> Conversation:
        """The next conversation that was opened."""
        with trio.fail_after(5):
            while not self.conversations:
                await self._came.wait()
        return self.conversations.pop(0)

    async def request(self, start: str) -> tuple[str, str, Any]:
        """The next REST request whose line begins so."""
        with trio.fail_after(5):
            while True:
                for number, found in enumerate(self.requests):
                    if found[0].startswith(start):
                        return self.requests.pop(number)
                await trio.sleep(0.01)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        async with stream:
            try:
                while await self._serve_one(stream):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def _serve_one(self, stream: trio.SocketStream) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            more = bytes(await stream.receive_some(65536))
            if not more:
                return False
            data += more
        raw, body = data.split(b"\r\n\r\n", 1)
        head = raw.decode("latin-1")
        if self.stall:
            await trio.sleep_forever()
        line = head.split("\r\n", 1)[0]
        if "upgrade: websocket" in head.lower():
            if self.refuse:
                await stream.send_all(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.refuse)
                return False
            await stream.send_all(answer_to(head + "\r\n\r\n"))
            conversation = Conversation(stream, head)
            self.conversations.append(conversation)
            self._came.set()
            self._came = trio.Event()
            await conversation.read()
            return False
        length = next(
            (int(text[15:]) for text in head.lower().split("\r\n") if text.startswith("content-length:")), 0
        )
        while len(body) < length:
            body += bytes(await stream.receive_some(65536))
        self.requests.append((line, head, json.loads(body) if body else None))
        method, target, _ = line.split(" ")
        status, answer = self.answers.get(f"{method} {target.split('?')[0]}", (404, {"error": "not found"}))
        content = json.dumps(answer).replace("{ws}", self.ws_url).replace("{http}", self.http_url).encode()
        await stream.send_all(
            b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (status, len(content))
            + content
        )
        return True


@asynccontextmanager
async def open_provider() -> AsyncIterator[Provider]:
    """Serve on a free port inside the block."""
    provider = Provider()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        provider.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, provider.serve, [listener])
        yield provider
        nursery.cancel_scope.cancel()


def speech(hertz: float, seconds: float, rate_hz: int = 16000) -> bytes:
    """What an agent says: a tone."""
    return tone(hertz, rate_hz, seconds)


def loudness(pcm: np.ndarray, hertz: float, rate_hz: int = 16000) -> float:
    """How loud a frequency is, of full scale."""
    steps = np.arange(pcm.size) / rate_hz
    return float(2 * abs(np.mean(pcm * np.exp(-2j * np.pi * hertz * steps))) / 32768)
