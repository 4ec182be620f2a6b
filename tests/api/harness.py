"""A small engine and a few commands of its own, so that the edge is tested without calls or media."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from pydantic import Field

from tests.support.ids import SequentialIds
from tests.support.web import local_web
from vb.api.app import Application
from vb.api.serve import serve_http
from vb.commands import registry
from vb.commands.params import LegRef, NoParams
from vb.commands.registry import Route, describe
from vb.commands.views import Status, View
from vb.config import Config, HttpConfig
from vb.errors import NotAvailable, NotFound, Unavailable
from vb.events.bus import EventBus
from vb.events.hooks import HookTable
from vb.history.tasks import History
from vb.metrics import Metrics
from vb.parameters import Params, unbuilt
from vb.web.tasks.client import WebClient

if TYPE_CHECKING:
    from vb.engine import Engine


class Paint(LegRef):
    """How to paint a leg."""

    colour: str = Field(description="name of a colour")
    coats: int = Field(default=1, description="how many")
    from_: str | None = Field(default=None, alias="from", description="who asks")
    glitter: bool | None = unbuilt("shiny")


class Painted(View):
    """What it looks like now."""

    id: str
    colour: str
    coats: int
    from_: str | None = Field(default=None, alias="from")


class PaintRoom(Params):
    """A wall of a room."""

    room_id: str
    wall: str = "north"


async def list_colours(engine: Engine, p: NoParams) -> list[Painted]:
    """List every colour."""
    return [Painted(id="a", colour="red", coats=1)]


async def paint_leg(engine: Engine, p: Paint) -> Painted:
    """Paint a leg.

    The paint dries at once.
    """
    if not p.id:
        raise NotFound("leg not found")
    if p.id == "busy":
        raise Unavailable("no painter", retry_after_s=7)
    if p.id == "broken":
        raise ZeroDivisionError("secret detail")
    return Painted(id=p.id, colour=p.colour, coats=p.coats, from_=p.from_)


async def unpaint_leg(engine: Engine, p: LegRef) -> Status:
    """Take the paint off."""
    if not p.id:
        raise NotFound("leg not found")
    return Status(status="clean")


async def paint_room(engine: Engine, p: PaintRoom) -> Status:
    """Paint a wall."""
    return Status(status=f"{p.room_id}:{p.wall}")


COMMANDS: dict[str, tuple[Callable[..., Any], Route, tuple[int, ...]]] = {
    "list_colours": (list_colours, Route("GET", "/v1/colours"), ()),
    "paint_leg": (
        paint_leg,
        Route("POST", "/v1/legs/{id}/paint", status=201, body=True),
        (400, 404, 503),
    ),
    "unpaint_leg": (unpaint_leg, Route("DELETE", "/v1/legs/{id}/paint", status=202), (404,)),
    "paint_room": (
        paint_room,
        Route("GET", "/v1/rooms/{id}/paint", names={"id": "room_id"}),
        (),
    ),
}


def register(
    monkeypatch: pytest.MonkeyPatch, name: str, func: Any, route: Route, errors: tuple[int, ...]
) -> None:
    """Register a command for one test."""
    monkeypatch.setitem(registry.REGISTRY, name, describe(name, func, route, errors))


def register_held(monkeypatch: pytest.MonkeyPatch) -> tuple[trio.Event, trio.Event]:
    """Register `GET /v1/slow` for one test; returns what says that it has begun, and what it waits for."""
    begun, go_on = trio.Event(), trio.Event()

    async def slow(engine: Engine, p: NoParams) -> Status:
        """Wait for a word."""
        begun.set()
        await go_on.wait()
        return Status(status="done")

    register(monkeypatch, "slow", slow, Route("GET", "/v1/slow"), ())
    return begun, go_on


def use_small_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the commands of this module exist during one test."""
    for name in list(registry.REGISTRY):
        monkeypatch.delitem(registry.REGISTRY, name)
    for name, (func, route, errors) in COMMANDS.items():
        register(monkeypatch, name, func, route, errors)


@dataclass
class SmallEngine:
    """As much of an engine as the edge looks at."""

    config: Config = field(default_factory=lambda: Config(http=HttpConfig(addr="127.0.0.1:0")))
    instance_id: str = "inst-1"
    bus: EventBus = field(default_factory=lambda: EventBus("inst-1", SequentialIds(), lambda: 0))
    hooks: HookTable = field(default_factory=HookTable)
    metrics: Metrics = field(default_factory=Metrics)
    web: WebClient = field(default_factory=local_web)
    stopping: bool = False
    ready: bool = True
    problems: list[str] = field(default_factory=list)

    def stored(self) -> History:
        raise NotAvailable("not available: call history")


@dataclass(frozen=True)
class Reply:
    """A response as the application gave it."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


async def ask(
    app: Application,
    method: str,
    target: str,
    body: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Reply:
    """Send one request straight into an application."""
    path, _, query = target.partition("?")
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await trio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-length", b"%d" % len(body)), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
        "extensions": {},
    }
    application: Any = app
    await application(scope, receive, send)
    answer = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], answer, tuple(item.get("body", b"") for item in sent[1:]))


@asynccontextmanager
async def serving(engine: SmallEngine) -> AsyncIterator[str]:
    """Serve on a free loopback port; gives the base URL."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        url: str = await nursery.start(partial(serve_http, engine, stop=stop))
        yield url
        stop.set()
