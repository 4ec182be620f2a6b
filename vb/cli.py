"""The command line: `vb serve`, `vb demo`, `vb calls` and `vb models`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog
import trio

from vb import early_stop
from vb.beat import BEAT_S, after_beat
from vb.config import Config, settings_table
from vb.errors import ConfigError, first_of
from vb.history.arguments import add_parser
from vb.local_speech.arguments import add_parser as add_models_parser
from vb.log import configure_logging
from vb.log_stream import LogStream
from vb.version import own_version

if TYPE_CHECKING:
    from vb.engine import Engine

log = structlog.get_logger(__name__)

HARD_STOP_S = 1.0
"""How long a second signal leaves the tasks to end before the process goes."""
COLLECT_S = 0.1
"""How often the garbage collector looks at what is new."""
COLLECT_IDLE_S = 1.0
"""… while nobody is there: that often it is seen whether somebody is."""


def _settings_text() -> str:
    rows = settings_table()
    width = max(len(row.name) for row in rows)
    lines = [f"  {row.name:<{width}}  {row.meaning} [{row.default}]" for row in rows]
    return "settings are read from the environment:\n" + "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="vb", description="A voice server on Trio.")
    parser.add_argument("--version", action="version", version=f"vb {own_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve | demo | calls | models")
    commands.add_parser(
        "serve",
        help="run the server",
        description="Run the server. It prints where it listens as one JSON line, and stops on SIGTERM, "
        "SIGINT or SIGHUP.",
        epilog=_settings_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo = commands.add_parser(
        "demo",
        help="place two calls into a room and check what each side heard",
        description="Start a server on free loopback ports, place two SIP calls with speech into a room, "
        "record it, and check that each side heard the other and not itself.",
    )
    demo.add_argument(
        "--keep", metavar="DIR", help="where to leave the recording (a temporary folder if not given)"
    )
    demo.add_argument(
        "--agent",
        action="store_true",
        help="let a caller talk with an agent of the server's own instead, without key or network (needs "
        "vb[speech]); a model answers where OPENAI_BASE_URL and VB_AGENT_MODEL are set",
    )
    demo.add_argument(
        "--phone",
        metavar="IP",
        nargs="?",
        const="127.0.0.1",
        help="the same with yourself as the caller: with a softphone, which calls this address (127.0.0.1 if "
        "not given), or on the page /phone in a browser on this machine",
    )
    add_parser(commands)
    add_models_parser(commands)
    return parser


def run(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        if args.command != "serve":
            early_stop.give_up()
        return _run(args, os.environ)  # noqa: TID251 -- the one place that reads the environment
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # as a shell has it


def _run(args: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if args.command == "demo":
        from vb.demo.run import run_demo  # keeps the terminal library out of `serve`

        return trio.run(run_demo, args.keep, args.agent or bool(args.phone), args.phone, environ)
    try:
        config = Config.from_env(environ)
    except ConfigError as exc:
        print(f"vb: {exc.message}", file=sys.stderr)
        return 1
    if args.command == "calls":
        from vb.history.console import run as run_calls  # keeps the database out of `--help`

        return run_calls(args, config)
    if args.command == "models":
        return _run_models(args, config)
    return _serve(config)


def _run_models(args: argparse.Namespace, config: Config) -> int:
    from vb.build import build_web
    from vb.local_speech.tasks.models import run as run_models

    try:
        web = build_web(config)
    except ConfigError as exc:
        print(f"vb: {exc.message}", file=sys.stderr)
        return 1
    return run_models(args, config, web)


def _serve(config: Config) -> int:
    from threadpoolctl import threadpool_limits

    from vb import server  # noqa: F401 -- loads numpy, whose threads can only be limited once it is there
    from vb.limits.open_files import raise_open_files

    lines = configure_logging(config.server.log_level)
    raise_open_files()
    sys.setswitchinterval(0.0005)  # a thread that decodes must not make the tick late
    _calm_collector()
    with threadpool_limits(limits=1, user_api="blas"):  # a second BLAS thread only spins beside the tick
        listening = trio.Event()
        try:
            return trio.run(_serve_until_signal, config, listening, lines)
        except BaseExceptionGroup as group:
            refused, rest = group.split((OSError, ConfigError, MemoryError))
            if refused is None or rest is not None or listening.is_set():
                raise
            problem = first_of(refused)
            memory = "not enough memory: " if isinstance(problem, MemoryError) else ""
            print(f"vb: cannot start: {memory}{problem}", file=sys.stderr)
            return 1


def _calm_collector() -> None:
    """Keep the garbage collector from walking what was loaded for good, and from long pauses.

    Calls leave no cycles behind, so that it finds next to nothing: often and a little is what disturbs least.
    All objects are looked at two minutes of `_collect_young` after the last time, if they are a quarter more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 20, int(120 / COLLECT_S))


async def _collect_young(engine: Engine) -> None:
    """Have the collector look at new objects before they are many; seldom while nobody is there.

    It counts how many more were made than went, whatever their age. While old calls end as new ones come
    that is next to nothing, and then it finds a hundred thousand new objects at once: a pause of two ticks.
    """
    while True:
        pause_s = COLLECT_S if engine.legs.running or engine.plane.ports else COLLECT_IDLE_S
        await trio.sleep_until(after_beat(trio.current_time() + pause_s - BEAT_S))
        gc.collect(1)


async def _serve_until_signal(config: Config, listening: trio.Event, lines: LogStream) -> int:
    from vb.server import open_server

    async with trio.open_nursery() as nursery:
        stop = await nursery.start(_watch_signals, nursery.cancel_scope, lines)
        if not early_stop.was_asked():
            async with open_server(config) as server:
                engine = server.engine
                engine.metrics.add_source(lines.readings)
                nursery.start_soon(_collect_young, engine)  # goes on while legs are hung up in the end
                addresses = server.addresses
                where: dict[str, object] = {"http": addresses.http, "sip": list(addresses.sip)}
                if addresses.moq is not None:
                    where["moq"] = addresses.moq
                print(json.dumps({"event": "listening", **where}), flush=True)
                listening.set()
                if engine.history is None and config.history.database_url.get_secret_value() != "off":
                    log.warning("call_history_off", reason="VB_DATA_DIR is not set, nor HOME")
                await stop.wait()
        nursery.cancel_scope.cancel()
    return 0


async def _watch_signals(
    everything: trio.CancelScope, lines: LogStream, *, task_status: trio.TaskStatus[trio.Event]
) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(*early_stop.heeded()) as signals:
        task_status.started(stop)
        async for number in signals:
            if not stop.is_set():
                stop.set()
                continue
            if number == signal.SIGHUP:  # the terminal of what is asked to stop goes too
                continue
            everything.cancel()
            with trio.move_on_after(HARD_STOP_S, shield=True):
                await trio.sleep_forever()
            lines.finish()
            os._exit(1)
