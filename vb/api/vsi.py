"""VSI: commands and events over one WebSocket.

Events wait in a feed for each client, from which a client whose connection takes bytes misses nothing; what
does not fit is dropped and counted, and the client is told. They go out many frames to a write, between which
replies and pings find their way. Commands of one connection run in their order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog
import trio
from pydantic import BaseModel

from vb.api.edge import CommandRunner, EdgeEngine
from vb.api.encoding import INVALID_JSON, parse_object, to_bytes
from vb.api.frames import FRAMES, text_frames
from vb.api.patterns import Pattern
from vb.channels import PATIENCE_S, Feed
from vb.commands.registry import REGISTRY, Command, parse_params
from vb.errors import BadRequest, VbError
from vb.events.base import Published

log = structlog.get_logger(__name__)

PING_INTERVAL_S: Final = 30.0
FLUSH_TIMEOUT_S: Final = 2.0
CLOSE_NORMAL: Final = 1000
CLOSE_GOING_AWAY: Final = 1001
BATCH_BYTES: Final = 65_536
_ECHO_CHARS: Final = 100

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class VsiSession:
    """One VSI client from the upgrade to the close.

    Args:
        engine: publishes the events and runs the commands.
        runner: runs the commands.
        app_filter: which app_ids the client wants events of; None for all.
        receive: gives the next ASGI message of the client.
        send: takes an ASGI message for the client, also one of type FRAMES, which it writes whole even when
            it is cancelled.
        refused_for: for how many seconds the connection has taken nothing.
        protocol: the subprotocol that is chosen; None for none.
    """

    def __init__(
        self,
        engine: EdgeEngine,
        runner: CommandRunner,
        app_filter: Pattern | None,
        receive: Receive,
        send: Send,
        refused_for: Callable[[], float],
        protocol: str | None = None,
    ) -> None:
        self._engine = engine
        self._runner = runner
        self._filter = app_filter
        self._receive = receive
        self._send = send
        self._protocol = protocol
        self._events: Feed[bytes] = Feed(
            engine.config.http.vsi_event_buffer_size,
            max_bytes=engine.config.http.vsi_buffer_bytes,
            size=len,
            stalled=lambda: refused_for() >= PATIENCE_S,
            name="vsi events",
        )
        self._dropped = 0
        self._close_code: int | None = None
        self._ended = trio.Event()

    def close(self, code: int | None) -> None:
        """End the session: events that wait are sent, then the close frame. None means the client is gone."""
        if not self._ended.is_set():
            self._close_code = code
            self._ended.set()

    async def run(self) -> None:
        """Serve the client until it leaves or the session is closed."""
        unsubscribe = self._engine.bus.subscribe(self._offer)
        try:
            await self._send({"type": "websocket.accept", "subprotocol": self._protocol, "headers": []})
            await self._write({"type": "connected"})
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ping)
                nursery.start_soon(self._deliver)
                nursery.start_soon(self._listen)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
            if self._close_code is not None:
                await self._say_goodbye(self._close_code)
        finally:
            unsubscribe()
            self._events.close()

    # -- events --------------------------------------------------------------------------------------------

    def _offer(self, published: Published) -> None:
        if self._filter is not None and not self._filter.search(published.event.app_id or ""):
            return
        try:
            fits = self._events.put(published.body)
        except ValueError:  # it cannot be written as JSON
            fits = False
        if not fits:
            self._dropped += 1
            self._engine.metrics.vsi_events_dropped.inc()

    async def _deliver(self) -> None:
        while True:
            await self._write_events(await self._events.get_batch(BATCH_BYTES))

    async def _write_events(self, batch: list[bytes]) -> None:
        """Write events behind the number of those that had no room before them."""
        if self._dropped:
            count, self._dropped = self._dropped, 0
            batch.insert(0, to_bytes({"type": "events_dropped", "count": count}))
        await self._write_texts(batch)

    async def _ping(self) -> None:
        number = 0
        while True:
            await trio.sleep(PING_INTERVAL_S)
            number += 1
            await self._write({"type": "ping", "seq": number, "event_id": number})

    async def _say_goodbye(self, code: int) -> None:
        with trio.move_on_after(FLUSH_TIMEOUT_S, shield=True):
            while self._events:
                await self._write_events(await self._events.get_batch(BATCH_BYTES))
            await self._send({"type": "websocket.close", "code": code, "reason": ""})

    # -- commands ------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while not self._ended.is_set():
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.close(None)
            elif message["type"] == "websocket.receive" and message.get("text") is not None:
                await self._handle(message["text"])

    async def _handle(self, text: str) -> None:
        try:
            name, request_id, frame = _read_frame(text)
        except BadRequest as error:
            await self._write({"type": "error", "data": _describe(error)})
            return
        if name == "stop":
            self.close(CLOSE_NORMAL)
        elif name != "pong":
            await self._write(await self._answer(name, request_id, frame.get("payload")))

    async def _answer(self, name: str, request_id: str, payload: object) -> dict[str, Any]:
        """Run a command and return the frame that answers it."""
        echo = {"request_id": request_id} if request_id else {}
        try:
            data = await self._runner.run(*_command(name, payload))
        except VbError as error:
            return {"type": "error", **echo, "data": _describe(error)}
        return {"type": f"{name}.result", **echo, "data": data}

    async def _write(self, frame: dict[str, Any]) -> None:
        await self._write_texts([to_bytes(frame)])

    async def _write_texts(self, texts: list[bytes]) -> None:
        await self._send({"type": FRAMES, "bytes": text_frames(texts)})


def _describe(error: VbError) -> dict[str, Any]:
    return {"code": error.status, "message": error.message}


def _read_frame(text: str) -> tuple[str, str, dict[str, Any]]:
    """Return the type, request id and whole of a frame; null counts as absent."""
    frame = parse_object(text)
    name, request_id = frame.get("type"), frame.get("request_id")
    name = "" if name is None else name
    request_id = "" if request_id is None else request_id
    if not isinstance(name, str) or not isinstance(request_id, str):
        raise BadRequest(INVALID_JSON)
    return name, request_id, frame


def _command(name: str, payload: object) -> tuple[Command, BaseModel]:
    """Return a command and its parameters.

    A missing identifier counts as the empty one, which names nothing: the answer is then 404 as for any other
    unknown identifier.

    Raises:
        BadRequest: there is no such command, or the payload does not fit it.
        NotAvailable: the payload sets a field of a feature that this server does not have.
    """
    command: Command | None = REGISTRY.get(name)
    if command is None or not command.vsi:
        raise BadRequest(f"unknown command: {name[:_ECHO_CHARS]}")
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise BadRequest("invalid payload: must be an object")
    identifiers = dict.fromkeys(command.route.path_fields.values(), "")
    values = {**identifiers, **{key: value for key, value in payload.items() if value is not None}}
    try:
        return command, parse_params(command.params, values)
    except BadRequest as error:
        raise BadRequest(f"invalid payload: {error.message}") from None
