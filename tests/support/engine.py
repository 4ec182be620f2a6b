"""A whole engine without sockets and without the clock of its media plane."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import trio

from tests.api.harness import ask
from vb.api.app import create_app
from vb.build import build_engine, build_web
from vb.commands import catalog
from vb.commands.registry import call, dump
from vb.config import Config
from vb.engine import Engine
from vb.events.base import Published
from vb.layers import open_layer
from vb.legs.leg import Leg
from vb.legs.state import LegState
from vb.sip.tasks.endpoint import SipEndpoint
from vb.sipleg.kind import SipLegs

assert catalog.COMMAND_MODULES, "every command is registered"


def sip_of(engine: Engine) -> SipEndpoint:
    """Return the SIP endpoint of an engine."""
    return cast("SipLegs", engine.kinds.get("sip")).endpoint


class Observed:
    """An engine, and the events that it has published."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._published: list[Published] = []
        engine.bus.subscribe(self._published.append)

    def leg(self, leg_id: str) -> Leg:
        """Enter a connected leg without media in the table."""
        leg = Leg(
            self.engine.legs, leg_id=leg_id, leg_type="sip_inbound", app_id="shop", now=trio.current_time()
        )
        leg.advance(LegState.CONNECTED)
        self.engine.legs.admit(leg)
        return leg

    def events(self) -> list[Published]:
        """Return the events since the last call."""
        found = list(self._published)
        self._published.clear()
        return found

    def told(self, *names: str) -> list[tuple[object, ...]]:
        """Return the type and some fields of each event since the last call."""
        frames = [published.as_dict() for published in self.events()]
        return [(frame["type"], *(frame.get(name) for name in names)) for frame in frames]


class Client:
    """Sends REST requests to the engine, and commands as VSI and the library do."""

    def __init__(self, observed: Observed) -> None:
        self.engine = observed.engine
        self._app = create_app(observed.engine)

    async def rest(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return the status and the answer, without the instance, of a path below /v1/."""
        sent = b"" if body is None else json.dumps(body).encode()
        reply = await ask(self._app, method, f"/v1/{path}", sent)
        answer = json.loads(reply.body)
        if isinstance(answer, dict):
            del answer["instance_id"]
        return reply.status, answer

    async def command(self, name: str, **values: object) -> Any:
        """Run a command and return its answer as JSON data."""
        return dump(await call(self.engine, name, values))


@asynccontextmanager
async def open_engine(config: Config | None = None) -> AsyncIterator[Observed]:
    """An engine for as long as the block lasts; its rooms run."""
    config = config or Config()
    async with (
        aclosing(build_web(config)) as web,
        open_layer() as rooms,
        trio.open_nursery() as legs,
    ):
        yield Observed(build_engine(config, web, rooms, legs))
        legs.cancel_scope.cancel()
