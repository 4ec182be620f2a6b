"""The server: an onion of nurseries whose layout is the order in which things stop.

From the outside in: event delivery and transports; rooms; legs; the HTTP edge. A graceful stop refuses new
calls, hangs up the rest, delivers what is queued, and then leaves the onion from the inside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio
from pydantic import BaseModel

from vb.api.serve import serve_http
from vb.api.spool import Spool
from vb.api.webhooks import WebhookDispatcher
from vb.build import build_engine
from vb.channels import Channel
from vb.commands import catalog as commands
from vb.config import Config
from vb.engine import Engine
from vb.events.base import Event, Published
from vb.figures import add_figures
from vb.ids import SystemIds
from vb.layers import open_layer
from vb.media.tasks.fetch import new_http_client
from vb.mixer.tasks import run_plane


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens.

    Attributes:
        http: base URL, None without the HTTP edge.
        sip: `transport:host:port` of every SIP socket.
    """

    http: str | None
    sip: tuple[str, ...]


class Server:
    """A running server; see `open_server`."""

    def __init__(self, engine: Engine, addresses: Addresses) -> None:
        self.engine = engine
        self.addresses = addresses

    @property
    def url(self) -> str | None:
        """Base URL of REST and VSI; None when opened without HTTP."""
        return self.addresses.http

    async def call(self, command: str, **params: Any) -> BaseModel | list[BaseModel]:
        """Run a command by name, as REST and VSI do.

        Args:
            command: for example create_leg.
            **params: its fields; a trailing underscore is dropped, so `from_` names the field `from`.

        Raises:
            VbError: the command was refused or failed.
        """
        values = {name.removesuffix("_"): value for name, value in params.items()}
        return await commands.call(self.engine, command, values)

    @contextmanager
    def events(self, *kinds: type[Event], buffer: int = 1000) -> Iterator[Channel[Published]]:
        """Subscribe to events inside the block.

        Args:
            *kinds: event classes; all when none is given.
            buffer: how many events wait; when full the newest is dropped and counted in `dropped`.
        """
        channel: Channel[Published] = Channel(buffer, overflow="drop_newest", name="library events")

        def receive(published: Published) -> None:
            if not kinds or isinstance(published.event, kinds):
                channel.put(published)

        unsubscribe = self.engine.bus.subscribe(receive)
        try:
            yield channel
        finally:
            unsubscribe()
            channel.close()


@asynccontextmanager
async def open_server(config: Config | None = None, *, http: bool = True) -> AsyncIterator[Server]:
    """Run a server inside the block.

    Leaving the block stops it gracefully: new calls are refused, every leg is hung up with the reason
    `server_shutdown`, recordings are finished and webhooks delivered, all within the stop time-out.

    Args:
        config: settings; the defaults when None.
        http: whether to serve REST, VSI and metrics.

    Cancellation: stops at once; legs still get their BYE and recordings their end.

    Raises:
        ConfigError: settings that cannot be used together, or a bucket that does not exist.
        OSError: an address cannot be bound.
    """
    config = config or Config()
    client = await trio.to_thread.run_sync(new_http_client, config.sip.host)
    spool = _open_spool(config)
    async with (
        client,
        open_layer() as transports,
        open_layer() as rooms,
        trio.open_nursery() as legs,
        open_layer() as edge,
    ):
        engine = build_engine(config, client, rooms, legs)
        await engine.recorders.storage.check_server_bucket()
        transports.start_soon(engine.recorders.recover, name="recovery of recordings")
        webhooks = WebhookDispatcher(engine, spool=spool)
        transports.start_soon(webhooks.run, name="webhooks")
        grid = await transports.start(partial(run_plane, engine.plane), name="media plane")
        add_figures(engine, grid)
        bound = await transports.start(engine.sip.run, name="SIP")
        serve = partial(serve_http, engine, stop=trio.Event())
        url = await edge.start(serve, name="HTTP") if http else None
        engine.ready = True
        try:
            yield Server(engine, Addresses(url, tuple(_shown(*address) for address in bound)))
            await _stop(engine, webhooks)
        finally:
            engine.ready, engine.stopping = False, True
            legs.cancel_scope.cancel()


def _open_spool(config: Config) -> Spool | None:
    directory = config.webhook.spool_dir
    return Spool(directory, token=SystemIds().token(8)) if directory else None


async def _stop(engine: Engine, webhooks: WebhookDispatcher) -> None:
    """Refuse new calls, end all others, and deliver what is queued, within the stop time-out."""
    engine.stopping = True
    with trio.move_on_after(engine.config.server.drain_timeout_s):
        await engine.wait_idle()
    deadline = engine.stop_deadline = trio.current_time() + engine.config.server.stop_timeout_s
    with trio.move_on_at(deadline):
        for leg in engine.legs:
            leg.hangup("server_shutdown")
        await engine.wait_idle()
        for room in engine.rooms:
            await room.stop_features()
    await webhooks.drain(deadline)


def _shown(transport: str, host: str, port: int) -> str:
    return f"{transport}:[{host}]:{port}" if ":" in host else f"{transport}:{host}:{port}"
