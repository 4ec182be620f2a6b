"""Services that transcribe, as their documents describe them: Deepgram, Flux, ElevenLabs and Azure.

One server speaks all four protocols, told apart by path. Words are tones, see `stt_words`. Each connection
can be given a fault.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from conformance.peers.stt_talk import TALKS, Message, Talk

KEY = "secret-speech-key"

Fault = Literal["close", "abort", "garbage", "freeze", "mute", "slow"]


@dataclass(frozen=True)
class Plan:
    """How one connection goes.

    Attributes:
        status: a status other than 101 refuses the handshake.
        hang_up: the connection is cut before anything is answered.
        late_s: how long the handshake takes.
        fault: what goes wrong once `after_ms` of audio was heard: the socket is closed with `code`, cut, or
            gets garbage; from then on nothing is read any more (`freeze`: half open), nothing is said
            (`mute`), or little is read at a time (`slow`).
        after_ms: when; -1 for never.
        code: of the close frame.
        say: sent as it is at the same moment.
    """

    status: int = 101
    hang_up: bool = False
    late_s: float = 0.0
    fault: Fault | None = None
    after_ms: int = -1
    code: int = 1011
    say: tuple[Message, ...] = ()


@dataclass
class Heard:
    """One connection, as the service saw it."""

    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    texts: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    sizes: list[int] = field(default_factory=list)
    closed: trio.Event = field(default_factory=trio.Event)

    def values(self, name: str) -> list[str]:
        """The values of a query parameter."""
        return [value for key, value in self.query if key == name]

    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects that came."""
        return [json.loads(text) for text in self.texts if text.startswith("{")]


class SttService:
    """A server for transcripts.

    Attributes:
        plans: of the next connections, in order; the last one stays for those that follow.
        connections: those that were asked for, refused ones included.
        open: how many are open now.
    """

    def __init__(self) -> None:
        self.port = 0
        self.plans: list[Plan] = []
        self.connections: list[Heard] = []
        self.open = 0
        self.pause_ms = 200
        self._number = 0
        self._come = trio.Event()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def heard_bytes(self) -> int:
        """How much audio all connections together were sent."""
        return sum(len(each.audio) for each in self.connections)

    async def connection(self, number: int, within_s: float = 5.0) -> Heard:
        """Waits for a connection and returns it."""
        with trio.fail_after(within_s):
            while len(self.connections) <= number:
                await self._come.wait()
        return self.connections[number]

    async def until_open(self, count: int, within_s: float = 5.0) -> None:
        """Waits until so many connections are open."""
        with trio.fail_after(within_s):
            while self.open != count:
                await self._come.wait()

    def _note(self, heard: Heard) -> None:
        self.connections.append(heard)
        self._tell()

    def _tell(self) -> None:
        self._come.set()
        self._come = trio.Event()

    def _plan(self) -> Plan:
        number, self._number = self._number, self._number + 1
        return self.plans[min(number, len(self.plans) - 1)] if self.plans else Plan()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serves one connection."""
        plan = self._plan()
        if plan.hang_up:
            self._note(Heard("", [], {}))
            await trio.aclose_forcefully(stream)
            return
        try:
            async with trio.open_nursery() as nursery:
                try:
                    request = await wrap_server_stream(nursery, stream)
                    await self._answer(request, stream, plan)
                finally:
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, HandshakeError):
            pass  # a client that goes away, or was cut off, is no fault of this server
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: WebSocketRequest, stream: trio.SocketStream, plan: Plan) -> None:
        parts = urlsplit(request.path)
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        heard = Heard(parts.path, parse_qsl(parts.query), headers)
        self._note(heard)
        await trio.sleep(plan.late_s)
        talk_type = TALKS.get(parts.path)
        status = plan.status
        if status == 101 and talk_type is None:
            status = 404
        elif status == 101 and talk_type is not None and not talk_type.knows(headers, KEY):
            status = 401
        if status != 101 or talk_type is None:
            await request.reject(status, body=b'{"error":"no"}')
            heard.closed.set()
            return
        socket = await request.accept()
        self.open += 1
        self._tell()
        try:
            await _Line(heard, socket, stream, talk_type(dict(heard.query), self.pause_ms), plan).run()
        finally:
            self.open -= 1
            heard.closed.set()
            self._tell()


class _Line:
    """One open socket."""

    def __init__(
        self, heard: Heard, socket: WebSocketConnection, stream: trio.SocketStream, talk: Talk, plan: Plan
    ) -> None:
        self._heard = heard
        self._socket = socket
        self._stream = stream
        self._talk = talk
        self._plan = plan
        self._mute = False

    async def run(self) -> None:
        await self._say(self._talk.greet())
        while True:
            message = await self._socket.get_message()
            if isinstance(message, str):
                self._heard.texts.append(message)
            audio, answers = self._talk.take(message)
            if audio:
                self._heard.audio += audio
                self._heard.sizes.append(len(audio))
            await self._say(answers)
            if self._talk.over:
                await self._socket.aclose(1000)
                return
            heard_ms = len(self._heard.audio) // 32
            if 0 <= self._plan.after_ms <= heard_ms and (self._plan.fault or self._plan.say):
                await self._fail()
            if self._plan.fault == "slow":
                await trio.sleep(0.2)

    async def _fail(self) -> None:
        plan = self._plan
        for message in plan.say:
            await self._socket.send_message(message)
        if plan.fault == "close":
            await self._socket.aclose(plan.code)
        elif plan.fault == "abort":
            await trio.aclose_forcefully(self._stream)
        elif plan.fault == "garbage":
            await self._socket.send_message('{"type":["no"],"message_type":')
        elif plan.fault == "freeze":
            await trio.sleep_forever()
        elif plan.fault == "mute":
            self._mute = True
        if plan.say:
            self._plan = Plan(fault=plan.fault if plan.fault == "slow" else None)

    async def _say(self, messages: list[str]) -> None:
        for message in messages:
            if not self._mute:
                self._heard.sent.append(message)
                await self._socket.send_message(message)


@asynccontextmanager
async def open_stt_service() -> AsyncIterator[SttService]:
    """A service on loopback inside the block."""
    service = SttService()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        service.port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, service.serve, [listener])
        yield service
        nursery.cancel_scope.cancel()
