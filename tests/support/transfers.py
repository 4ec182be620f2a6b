"""What transfer tests share: a server with one call up, and where to transfer it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tests.support.phone import Phone, open_phone
from tests.support.world import Events, call_in
from vb.config import Config
from vb.server import Server, open_server
from vb.sip.tasks.endpoint import SipCall

CAROL = "sip:carol@127.0.0.1:5099"


@dataclass
class World:
    """A server, a phone that has called it, and its leg."""

    server: Server
    phone: Phone
    events: Events
    leg_id: str

    @property
    def call(self) -> SipCall:
        return self.phone.calls[0]


@asynccontextmanager
async def connected(config: Config, room: str | None = None) -> AsyncIterator[World]:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events, room)
            events.drain()
            yield World(server, phone, events, leg_id)


def with_sip(config: Config, **values: object) -> Config:
    return config.model_copy(update={"sip": config.sip.model_copy(update=values)})


def kinds(events: list[dict[str, object]]) -> list[object]:
    return [event["type"] for event in events]


async def arrival(phone: Phone) -> None:
    with trio.fail_after(5):
        await phone.arrived.wait()
