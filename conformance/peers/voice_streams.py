"""Services that speak text while it is being written, over WebSockets: ElevenLabs and Deepgram."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from conformance.peers.voice_services import KEY
from conformance.peers.voice_talk import Message, VoiceTalk, talk_for

Fault = Literal["close", "abort", "garbage", "mute", "freeze", "late"]


@dataclass(frozen=True)
class Plan:
    """How one connection goes.

    Attributes:
        status: a status other than 101 refuses the handshake.
        fault: what goes wrong at a message of the client: the socket is closed with `code`, cut, or gets
            garbage; nothing is said from then on (`mute`), nothing is read either (`freeze`: half open), or
            everything is said after `late_s`.
        at: at which message, counted from 0.
        after: how many of the answers to it are still said.
        code: of the close frame.
        reason: of the close frame.
        late_s: how late.
        say: sent as it is before the fault.
    """

    status: int = 101
    fault: Fault | None = None
    at: int = 0
    after: int = 0
    code: int = 1011
    reason: str = ""
    late_s: float = 0.0
    say: tuple[Message, ...] = ()


@dataclass
class Connection:
    """One connection, as the service saw it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    talk: VoiceTalk | None = None
    sent: list[Message] = field(default_factory=list)
    got: list[Message] = field(default_factory=list)
    closed: trio.Event = field(default_factory=trio.Event)


class VoiceStreams:
    """The services, all at one address.

    Attributes:
        plans: of the next connections, in order; the last one stays.
        connections: those that were asked for, refused ones included.
    """

    def __init__(self) -> None:
        self.port = 0
        self.plans: list[Plan] = []
        self.connections: list[Connection] = []

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def _plan(self) -> Plan:
        number = len(self.connections)
        return self.plans[min(number, len(self.plans) - 1)] if self.plans else Plan()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serves one connection."""
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await self._answer(await wrap_server_stream(nursery, stream), stream)
                finally:
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, HandshakeError):
            pass  # a client that goes away, or was cut off, is no fault of this server
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: WebSocketRequest, stream: trio.SocketStream) -> None:
        plan, parts = self._plan(), urlsplit(request.path)
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        connection = Connection(parts.path, dict(parse_qsl(parts.query)), headers)
        self.connections.append(connection)
        kind = talk_for(parts.path)
        status = plan.status
        if status == 101:
            status = 404 if kind is None else 101 if kind.knows(headers, KEY) else 401
        if kind is None or status != 101:
            await request.reject(status, body=b'{"error":"no"}')
            connection.closed.set()
            return
        connection.talk = kind(connection.query)
        try:
            await _converse(connection, connection.talk, await request.accept(), stream, plan)
        finally:
            connection.closed.set()


async def _converse(
    connection: Connection,
    talk: VoiceTalk,
    socket: WebSocketConnection,
    stream: trio.SocketStream,
    plan: Plan,
) -> None:
    async def say(messages: list[Message]) -> None:
        for message in messages:
            connection.sent.append(message)
            await socket.send_message(message)

    await say(talk.greet())
    number = 0
    mute = False
    while True:
        message = await socket.get_message()
        connection.got.append(message)
        answers = talk.take(message)
        if plan.fault is not None and number == plan.at:
            await say([*plan.say, *answers[: plan.after]])
            match plan.fault:
                case "close":
                    await socket.aclose(plan.code, plan.reason)
                    return
                case "abort":
                    await trio.aclose_forcefully(stream)
                    return
                case "garbage":
                    await say(['{"audio": "no base64!", "type": ["no"]'])
                case "freeze":
                    await trio.sleep_forever()
                case "mute":
                    mute = True
                case "late":
                    await trio.sleep(plan.late_s)
                    await say(answers[plan.after :])
        elif not mute:
            await say(answers)
        if talk.over:
            await socket.aclose(1000)
            return
        number += 1


@asynccontextmanager
async def open_voice_streams() -> AsyncIterator[VoiceStreams]:
    """The services on a free port of the loopback address."""
    services = VoiceStreams()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        services.port = listener.socket.getsockname()[1]
        await nursery.start(trio.serve_listeners, services.serve, [listener])
        yield services
        nursery.cancel_scope.cancel()
