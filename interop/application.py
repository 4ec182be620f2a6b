"""The application behind the server: a VSI client that treats calls by rules and remembers every event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

Event = Mapping[str, object]
Rule = Callable[["Application", str], Awaitable[None]]
COMMAND_S = 10.0
ANSWER_S = 0.3


class CommandFailed(Exception):
    """The server answered a command with an error."""


class Application:
    """One VSI connection.

    Calls are told apart by the user part that was dialled: for each incoming call, `rules[user]` runs in a
    task of its own with the leg's id.
    """

    def __init__(
        self, connection: WebSocketConnection, nursery: trio.Nursery, rules: Mapping[str, Rule]
    ) -> None:
        self._connection = connection
        self._nursery = nursery
        self._rules = rules
        self._replies: dict[str, trio.MemorySendChannel[Event]] = {}
        self._requests = 0
        self._news = trio.Event()
        self.events: list[Event] = []
        self._by_leg: dict[str, list[Event]] = {}
        self.dialled: dict[str, str] = {}
        self.failures: list[str] = []

    async def command(self, name: str, **payload: object) -> object:
        """Send one command and return the `data` of its result.

        Raises:
            CommandFailed: the reply was an error, or did not come in time.
        """
        self._requests += 1
        request_id = f"interop-{self._requests}"
        send, receive = trio.open_memory_channel[Event](1)
        self._replies[request_id] = send
        frame = {"type": name, "request_id": request_id, "payload": payload}
        with trio.move_on_after(COMMAND_S):
            await self._connection.send_message(json.dumps(frame))
            reply = await receive.receive()
            if reply["type"] == f"{name}.result":
                return reply.get("data")
            raise CommandFailed(f"{name}: {reply.get('data')}")
        raise CommandFailed(f"{name}: no reply within {COMMAND_S:g} s")

    async def dial(self, to: str, user: str | None = None, /, **options: object) -> str:
        """Let the server call somebody, and return the leg's id.

        Args:
            to: a SIP URI.
            user: what the leg's events are kept under; None for nothing.
            **options: further fields of create_leg.

        Raises:
            CommandFailed: the call is not placed.
        """
        leg = await self.command("create_leg", type="sip", to=to, **options)
        assert isinstance(leg, dict)
        leg_id = str(leg["id"])
        if user is not None:
            self.dialled[leg_id] = user
        return leg_id

    def of(self, user: str, kind: str | None = None) -> list[Event]:
        """The events so far of the calls to (or dialled as) one user, of one type if given."""
        return [
            event
            for event in self.events
            if self.dialled.get(str(event.get("leg_id"))) == user and (kind is None or event["type"] == kind)
        ]

    def ends(self, user: str) -> dict[str, int]:
        """How often the calls to one user ended for each reason."""
        reasons: Counter[str] = Counter()
        for event in self.of(user, "leg.disconnected"):
            cdr = event.get("cdr")
            reasons[str(cdr.get("reason")) if isinstance(cdr, Mapping) else "no cdr"] += 1
        return dict(reasons)

    async def wait(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Wait until a condition over the events holds; False when it did not in time."""
        with trio.move_on_after(within_s):
            while not holds():
                await self._news.wait()
            return True
        return holds()

    async def wait_for(self, leg_id: str, kind: str, within_s: float = 10.0) -> Event | None:
        """The first event of a type for one leg, or None."""

        def found() -> Event | None:
            return next((event for event in self._by_leg.get(leg_id, ()) if event["type"] == kind), None)

        await self.wait(lambda: found() is not None, within_s)
        return found()

    def _take(self, frame: Event) -> None:
        request_id = frame.get("request_id")
        if isinstance(request_id, str):
            waiting = self._replies.pop(request_id, None)
            if waiting is not None:
                waiting.send_nowait(frame)
            return
        if frame["type"] in ("connected", "ping"):
            return
        self.events.append(frame)
        self._by_leg.setdefault(str(frame.get("leg_id")), []).append(frame)
        if frame["type"] == "events_dropped":
            self.failures.append(f"the server dropped {frame.get('count')} events")
        if frame["type"] == "leg.ringing":
            self._ringing(frame)
        news, self._news = self._news, trio.Event()
        news.set()

    def _ringing(self, frame: Event) -> None:
        leg_id, user = str(frame["leg_id"]), str(frame.get("to", ""))
        self.dialled.setdefault(leg_id, user)
        if frame.get("leg_type") == "sip_inbound" and user in self._rules:
            self._nursery.start_soon(self._treat, user, leg_id)

    async def _treat(self, user: str, leg_id: str) -> None:
        try:
            await self._rules[user](self, leg_id)
        except CommandFailed as exc:
            self.failures.append(f"{user}: {exc}")

    async def listen(self) -> None:
        """Read frames until the connection closes."""
        try:
            while True:
                frame = json.loads(await self._connection.get_message())
                if frame["type"] == "ping":
                    await self._connection.send_message('{"type":"pong"}')
                self._take(frame)
        except ConnectionClosed:
            return


@asynccontextmanager
async def application(vsi_url: str, rules: Mapping[str, Rule], token: str = "") -> AsyncIterator[Application]:
    """An application connected for the time of the block."""
    headers = [(b"Authorization", b"Bearer " + token.encode())] if token else []
    async with (
        open_websocket_url(vsi_url, extra_headers=headers) as connection,
        trio.open_nursery() as nursery,
    ):
        app = Application(connection, nursery, rules)
        nursery.start_soon(app.listen)
        yield app
        nursery.cancel_scope.cancel()


async def answer(app: Application, leg_id: str) -> None:
    """Answer, and leave the hang-up to the caller."""
    await app.command("answer_leg", id=leg_id)


def answer_after(wait_s: float) -> Rule:
    """Let the call wait that long, then answer it."""

    async def rule(app: Application, leg_id: str) -> None:
        await trio.sleep(wait_s)
        await app.command("answer_leg", id=leg_id)

    return rule


async def ring(app: Application, leg_id: str) -> None:
    """Ring and never answer."""
    await app.command("leg_ring", id=leg_id)


async def refuse_busy(app: Application, leg_id: str) -> None:
    """Refuse with the reason busy."""
    await app.command("delete_leg", id=leg_id, reason="busy")


def answer_then_hang_up(after_s: float) -> Rule:
    """Answer, and hang up so long after the leg was connected."""

    async def rule(app: Application, leg_id: str) -> None:
        await app.command("answer_leg", id=leg_id)
        if await app.wait_for(leg_id, "leg.connected") is not None:
            await trio.sleep(after_s)
            await app.command("delete_leg", id=leg_id)

    return rule


def transfer(target: str) -> Rule:
    """Answer, and transfer the call once it is connected."""

    async def rule(app: Application, leg_id: str) -> None:
        await app.command("answer_leg", id=leg_id)
        if await app.wait_for(leg_id, "leg.connected") is not None:
            await app.command("leg_transfer", id=leg_id, target=target)

    return rule


async def carry_out_transfer(app: Application, leg_id: str) -> None:
    """Answer, accept the transfer that the caller asks for, and say that it has succeeded."""
    await app.command("answer_leg", id=leg_id)
    if await app.wait_for(leg_id, "leg.transfer_requested") is not None:
        await app.command("accept_transfer", id=leg_id)
        await app.command("complete_transfer", id=leg_id, success=True)


def answer_into_room(room_id: str) -> Rule:
    """Answer, and put the leg into a room once it is connected.

    Not at once: baresip's binding misses the answer when it comes before `dial` has returned to its caller.
    """

    async def rule(app: Application, leg_id: str) -> None:
        await trio.sleep(ANSWER_S)
        await app.command("answer_leg", id=leg_id)
        if await app.wait_for(leg_id, "leg.connected") is not None:
            await app.command("add_leg_to_room", room_id=room_id, leg_id=leg_id)

    return rule
