"""The server: an onion of nurseries whose layout is the order in which things stop.

From the outside in: the history of calls; event delivery and transports; rooms; legs; the HTTP edge. A
graceful stop refuses new calls, hangs up the rest, delivers what is queued, and then leaves the onion from
the inside.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import trio
from pydantic import BaseModel

from vb.api.access import WrongTokens, access_of
from vb.api.app import Application, create_app
from vb.api.moq import SessionGuard
from vb.api.serve import serve_http
from vb.api.spool import Spool
from vb.api.webhooks import WebhookDispatcher
from vb.build import build_bus, build_engine, build_web
from vb.channels import Channel
from vb.commands import catalog as commands
from vb.config import Config
from vb.durable.queue import CLOSE_S
from vb.engine import Engine
from vb.errors import ConfigError, leaves_of
from vb.events.base import Event, Published
from vb.events.bus import EventBus
from vb.events.feeds import Feeds
from vb.figures import add_figures
from vb.history.settings import history_settings
from vb.history.tasks import History, open_history
from vb.layers import open_layer
from vb.log import log_as_a_library
from vb.mixer.tasks import SocketIo, run_plane
from vb.moqleg.kind import MoqLegs
from vb.tracing.tasks import Tracing
from vb.turns import spread

CLEANUP_SHARE: Final = 0.6
"""Which part of the stop time-out legs and recordings may take to end."""
CLEANUP_TIME_S: Final = 5.0
"""How much of it at most; webhooks have the rest."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server listens.

    Attributes:
        http: base URL, None without the HTTP edge.
        sip: `transport:host:port` of every SIP socket.
        moq: `host:port` of the WebTransport listener, None without one.
    """

    http: str | None
    sip: tuple[str, ...]
    moq: str | None = None


class Server:
    """A running server; see `open_server`."""

    def __init__(self, engine: Engine, addresses: Addresses, feeds: Feeds) -> None:
        self.engine = engine
        self.addresses = addresses
        self._feeds = feeds

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
            VbError: the command was refused or failed; `Unavailable` once the block of the server is left.
        """
        self.engine.life.check_up()
        values = {name.removesuffix("_"): value for name, value in params.items()}
        return await commands.call(self.engine, command, values)

    def events(self, *kinds: type[Event], buffer: int = 1000) -> AbstractContextManager[Channel[Published]]:
        """Subscribe to events inside the block.

        What is read with `async for` ends when the server has ended and its last event is taken, and `get`
        raises `ChannelClosed` then.

        Args:
            *kinds: event classes; all when none is given.
            buffer: how many events wait for a reader that has not come for any for a second. What goes beyond
                it then, or beyond 8 MiB at any time, is dropped and counted in `dropped`.

        Raises:
            TypeError: a kind is no class of events.
            ValueError: the buffer has no room for one event.
        """
        return self._feeds.subscribe(kinds, buffer)


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
        ConfigError: settings that cannot be used together, or a bucket or spool folder that cannot be used.
        OSError: an address cannot be bound.
        BaseException: what the block raises comes out as it is. Only when several things fail is it a group.
        RuntimeError: it is called outside of Trio.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError("vb runs on Trio only; from asyncio, run it in a guest run of Trio")
    log_as_a_library()
    raised: BaseException | None = None
    alone: BaseException | None = None
    try:
        async with _run_server(config or Config(), http=http) as server:
            try:
                yield server
            except BaseException as exc:
                raised = exc
                raise
    except BaseExceptionGroup as group:
        alone = _without_nurseries(group, raised)
        if alone is None:
            raise
    if alone is not None:
        raise alone  # here, where the groups are not its context


def _without_nurseries(
    group: BaseExceptionGroup[BaseException], raised: BaseException | None
) -> BaseException | None:
    """Return the error that nurseries have put into groups: what the block raised, or the one fault.

    None when there are several.
    """
    leaves = leaves_of(group)
    if raised is not None and [id(leaf) for leaf in leaves] == [id(leaf) for leaf in leaves_of(raised)]:
        return raised  # itself: nurseries build groups anew
    return leaves[0] if len(leaves) == 1 else None


@asynccontextmanager
async def _run_server(config: Config, *, http: bool) -> AsyncIterator[Server]:
    """Run a server inside the block; what goes wrong comes out in the groups of its nurseries."""
    bus = build_bus(config)
    with closing(Feeds(bus)) as feeds, closing(SocketIo()) as sockets:
        async with _run_engine(config, bus, sockets, http=http) as (engine, addresses):
            yield Server(engine, addresses, feeds)


@asynccontextmanager
async def _run_engine(
    config: Config, bus: EventBus, sockets: SocketIo, *, http: bool
) -> AsyncIterator[tuple[Engine, Addresses]]:
    """Run all parts of a server inside the block."""
    async with (
        _open_history(config, bus) as history,
        aclosing(build_web(config)) as web,
        _open_spool(config) as spool,
        open_layer() as transports,
        open_layer() as rooms,
        trio.open_nursery() as legs,
        open_layer() as edge,
    ):
        await web.prepare()
        transports.start_soon(web.tend, name="kept connections")
        engine = build_engine(config, web, rooms, legs, bus=bus, history=history, sockets=sockets)
        await engine.recorders.storage.check_server_bucket()
        await transports.start(engine.recorders.storage.uploads.run, name="uploads")
        transports.start_soon(engine.recorders.recover, name="recovery of recordings")
        await transports.start(engine.agents.farewells.run, name="goodbyes to agents")
        tracing = Tracing(config.tracing, bus, engine.ids, web)
        engine.metrics.add_source(tracing.readings)
        transports.start_soon(tracing.run, name="traces")
        transports.start_soon(engine.agents.watching.run, name="detector of speech")
        transports.start_soon(engine.local_speech.run, name="local speech")
        webhooks = WebhookDispatcher(engine, spool=spool)
        transports.start_soon(webhooks.run, name="webhooks")
        if spool is not None:
            transports.start_soon(spool.run, name="webhook spool")
        app = create_app(engine) if http else None  # it takes several ticks, so none runs yet
        if app is not None and spool is not None:
            app.runner.settle = spool.written
        grid = await transports.start(partial(run_plane, engine.plane), name="media plane")
        add_figures(engine, grid)
        _guard_sessions(engine, app)
        listening = {kind.name: await transports.start(kind.run, name=kind.name) for kind in engine.kinds}
        stop_by = math.inf
        serve = partial(serve_http, engine, stop=trio.Event(), app=app, deadline=lambda: stop_by)
        url = await edge.start(serve, name="HTTP") if http else None
        engine.life.ready = True
        try:
            moq = next(iter(listening[MoqLegs.name]), None)
            yield engine, Addresses(url, tuple(listening["sip"]), moq)
            stop_by = await _stop(engine, webhooks)
        finally:
            engine.life.ready, engine.life.stopping, engine.life.over = False, True, True
            legs.cancel_scope.cancel()


def _guard_sessions(engine: Engine, app: Application | None) -> None:
    """Let the rules of the API hold for MoQ legs, too, whether REST is served or not."""
    guard = (
        SessionGuard(access_of(engine.config.http), WrongTokens(engine.metrics))
        if app is None
        else app.guard()
    )
    kind = cast("MoqLegs", engine.kinds.get(MoqLegs.name))
    kind.guard = guard
    if app is not None:
        app.moq_listener = lambda: kind.listener


@asynccontextmanager
async def _open_history(config: Config, bus: EventBus) -> AsyncIterator[History | None]:
    """Keep the history of calls inside the block, unless the settings say that there is none.

    Raises:
        ConfigError: its database cannot be used, or needs a folder.
    """
    settings = history_settings(config)
    if settings is None:
        yield None
        return
    async with open_history(settings, bus) as history:
        yield history


@asynccontextmanager
async def _open_spool(config: Config) -> AsyncIterator[Spool | None]:
    """Keep the webhook spool open inside the block, if there is one.

    Raises:
        ConfigError: its folder cannot be used.
    """
    directory = config.webhook.spool_dir
    if not directory:
        yield None
        return
    try:
        spool = await Spool.open(directory)
    except OSError as exc:
        raise ConfigError(f"VB_SPOOL_DIR: {directory} cannot be used: {exc.strerror}") from None
    try:
        yield spool
    finally:
        with trio.move_on_after(2 * CLOSE_S, shield=True):  # it gives up by itself before that
            await spool.close()


async def _stop(engine: Engine, webhooks: WebhookDispatcher) -> float:
    """Refuse new calls, end all others, and deliver what is queued; returns the end of the stop time-out.

    Calls and recordings have to end before webhooks have to, so that their last words are delivered too.
    """
    engine.life.stopping = True
    with trio.move_on_after(engine.config.server.drain_timeout_s):
        await engine.legs.wait_idle()
    now, time_s = trio.current_time(), engine.config.server.stop_timeout_s
    engine.life.stop_deadline = now + min(CLEANUP_TIME_S, CLEANUP_SHARE * time_s)
    with trio.move_on_at(now + time_s):
        await _end_everything(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.recorders.storage.uploads.drain, now + time_s)
        if engine.history is not None:  # what it has to tell is delivered, too
            await engine.history.drain(now + time_s)
        await webhooks.drain(now + time_s)
    return now + time_s


async def _end_everything(engine: Engine) -> None:
    """End the legs, and then what is left in rooms."""
    await spread(leg.hangup("server_shutdown") for leg in engine.legs)
    await engine.legs.wait_idle()
    for room in engine.rooms:
        await room.stop_features()
