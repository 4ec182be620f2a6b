"""A provider of agents: REST and WebSockets on one port, speaking as each of the services does."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

from conformance.expect import Difference

RATE_HZ = 16000
WITHIN_S = 4.0


@dataclass(frozen=True)
class Asked:
    """One REST request."""

    line: str
    headers: Mapping[str, str]
    body: Any


class Talk:
    """One conversation, from its handshake on."""

    def __init__(self, target: str, headers: Mapping[str, str]) -> None:
        self.target = target
        self.headers = headers
        self.texts: list[dict[str, Any]] = []
        self.binaries: list[bytes] = []
        self.over = trio.Event()
        self._protocol: WSConnection | None = None
        self._stream: trio.SocketStream | None = None
        self._moved = trio.Event()

    async def serve(self, stream: trio.SocketStream, protocol: WSConnection) -> None:
        """Takes what comes until the end."""
        self._stream, self._protocol = stream, protocol
        try:
            while not self.over.is_set():
                data = bytes(await stream.receive_some(65536))
                protocol.receive_data(data or None)
                for event in protocol.events():
                    await self._take(event)
                self._moved.set()
                self._moved = trio.Event()
                if not data:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            self.over.set()

    async def _take(self, event: Event) -> None:
        assert self._protocol is not None
        if isinstance(event, TextMessage):
            self.texts.append(json.loads(event.data))
        elif isinstance(event, BytesMessage):
            self.binaries.append(bytes(event.data))
        elif isinstance(event, Ping):
            await self._send(event.response())
        elif isinstance(event, CloseConnection):
            if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                await self._send(event.response())
            self.over.set()

    async def _send(self, event: Event) -> None:
        assert self._protocol is not None
        assert self._stream is not None
        await self._stream.send_all(self._protocol.send(event))

    async def say(self, message: dict[str, Any] | bytes) -> None:
        """Sends an object as JSON, or bytes."""
        if isinstance(message, bytes):
            await self._send(BytesMessage(message))
        else:
            await self._send(TextMessage(json.dumps(message)))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the conversation."""
        await self._send(CloseConnection(code, reason))

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until something holds.

        Raises:
            Difference: it does not come true.
        """
        with trio.move_on_after(WITHIN_S):
            while not holds():
                await self._moved.wait()
            return
        raise Difference(what, "in time", f"not within {WITHIN_S:g} s: {self.texts[-3:]}")

    async def text(self, kind: str, key: str = "type") -> dict[str, Any]:
        """The next text message of a kind."""
        await self.until(lambda: any(text.get(key) == kind for text in self.texts), f"message {kind}")
        at = next(number for number, text in enumerate(self.texts) if text.get(key) == kind)
        found = self.texts[at]
        del self.texts[: at + 1]
        return found

    async def hears(self, hertz: float, milliseconds: int = 400) -> float:
        """How loud a tone is in what comes from now on in binary messages, of full scale."""
        self.binaries.clear()
        wanted = RATE_HZ * milliseconds // 1000 * 2
        await self.until(lambda: sum(map(len, self.binaries)) >= wanted, "audio to the provider")
        return loudness(np.frombuffer(b"".join(self.binaries), "<i2"), hertz)


def speech(hertz: float, milliseconds: int, rate_hz: int = RATE_HZ) -> bytes:
    """What an agent says: a tone, s16le."""
    steps = np.arange(rate_hz * milliseconds // 1000)
    return (8000 * np.sin(2 * math.pi * hertz * steps / rate_hz)).astype("<i2").tobytes()


def loudness(pcm: np.ndarray, hertz: float, rate_hz: int = RATE_HZ) -> float:
    """How loud a tone is, of full scale."""
    steps = np.arange(pcm.size) / rate_hz
    return float(2 * abs(np.mean(pcm * np.exp(-2j * math.pi * hertz * steps))) / 32768)


def eleven_audio(pcm: bytes, number: int) -> dict[str, Any]:
    """Audio as ElevenLabs sends it."""
    return {
        "type": "audio",
        "audio_event": {"audio_base_64": base64.b64encode(pcm).decode(), "event_id": number},
    }


@dataclass
class AgentService:
    """The provider.

    Attributes:
        port: on 127.0.0.1.
        answers: method and path without query → status and JSON; `{ws}` and `{http}` in it are our bases.
        refuse: status of the answer to WebSocket handshakes; 0 opens them.
        asked: REST requests so far.
        talks: conversations that nobody has taken yet.
    """

    port: int = 0
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    refuse: int = 0
    asked: list[Asked] = field(default_factory=list)
    talks: list[Talk] = field(default_factory=list)
    _moved: trio.Event = field(default_factory=trio.Event)

    @property
    def http(self) -> str:
        """Base URL of REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Base URL of WebSockets."""
        return f"ws://127.0.0.1:{self.port}"

    async def talk(self) -> Talk:
        """The next conversation.

        Raises:
            Difference: none is opened in time.
        """
        with trio.move_on_after(WITHIN_S):
            while not self.talks:
                await self._moved.wait()
            return self.talks.pop(0)
        raise Difference("a WebSocket to the provider", "opened", "not in time")

    async def request(self, start: str) -> Asked:
        """The next REST request whose line begins so.

        Raises:
            Difference: none comes in time.
        """
        with trio.move_on_after(WITHIN_S):
            while True:
                for number, found in enumerate(self.asked):
                    if found.line.startswith(start):
                        return self.asked.pop(number)
                await self._moved.wait()
        raise Difference(f"request {start}", "made", [asked.line for asked in self.asked])

    def _tell(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serves one connection."""
        async with stream:
            try:
                await self._serve(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, ValueError):
                return

    async def _serve(self, stream: trio.SocketStream) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = bytes(await stream.receive_some(65536))
                if not more:
                    return
                data += more
            head, _, rest = data.partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (text.partition(":") for text in fields)
            }
            if headers.get("upgrade", "").lower() == "websocket":
                await self._open(stream, data, line.split(" ")[1], headers)
                return
            length = int(headers.get("content-length", "0"))
            while len(rest) < length:
                rest += bytes(await stream.receive_some(65536))
            body, data = rest[:length], rest[length:]
            self.asked.append(Asked(line, headers, json.loads(body) if body else None))
            method, target, _ = line.split(" ")
            await stream.send_all(self._answer(f"{method} {target.partition('?')[0]}"))
            self._tell()

    def _answer(self, operation: str) -> bytes:
        status, answer = self.answers.get(operation, (404, {"detail": "not found"}))
        text = json.dumps(answer).replace("{ws}", self.ws).replace("{http}", self.http)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        return (head + text).encode()

    async def _open(
        self, stream: trio.SocketStream, data: bytes, target: str, headers: Mapping[str, str]
    ) -> None:
        protocol = WSConnection(ConnectionType.SERVER)
        protocol.receive_data(data)
        assert any(isinstance(event, Request) for event in protocol.events())
        if self.refuse:
            await stream.send_all(protocol.send(RejectConnection(status_code=self.refuse)))
            return
        await stream.send_all(protocol.send(AcceptConnection()))
        talk = Talk(target, headers)
        self.talks.append(talk)
        self._tell()
        await talk.serve(stream, protocol)


@asynccontextmanager
async def agent_service() -> AsyncIterator[AgentService]:
    """A provider for the time of the block."""
    service = AgentService()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        service.port = int(listener.socket.getsockname()[1])
        await nursery.start(trio.serve_listeners, service.serve, [listener])
        yield service
        nursery.cancel_scope.cancel()
