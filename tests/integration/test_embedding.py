"""A server inside a program: where it ends, and what it leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog
import trio

import vb
from vb.config import Config
from vb.errors import InternalError, Unavailable
from vb.events.base import Published

pytestmark = pytest.mark.integration


async def test_a_reader_outside_of_the_block_gets_the_last_event_and_ends_with_the_server(
    config: Config,
) -> None:
    types: list[str] = []

    async def read(
        server: vb.Server, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with server.events() as events:
            task_status.started()
            async for published in events:
                types.append(published.event.type)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, vb.open_server(config, http=False) as server:
            await nursery.start(read, server)
            await server.call("create_leg", type="sip", to="sip:nobody@127.0.0.1:9")
    assert types[0] == "leg.ringing"
    assert types[-1] == "leg.disconnected"


async def test_a_server_that_has_ended_refuses_commands(config: Config) -> None:
    async with vb.open_server(config, http=False) as server:
        pass
    for command in ("create_room", "list_legs"):
        with pytest.raises(Unavailable, match="server has stopped"):
            await server.call(command)


def open_polls() -> int:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return sum(link.is_symlink() and "eventpoll" in os.readlink(link) for link in links)


async def test_a_server_that_has_ended_watches_no_sockets_even_before_it_is_collected(config: Config) -> None:
    before = open_polls()
    async with vb.open_server(config, http=False) as server:
        assert open_polls() > before
    assert open_polls() == before
    assert server.engine.life.over


def test_a_program_without_trio_is_told_so() -> None:
    opening = vb.open_server(Config()).__aenter__()
    with pytest.raises(RuntimeError, match="vb runs on Trio"):
        opening.send(None)


def fail(_published: Published) -> None:
    """Be a fault of the server's own."""
    raise LookupError


async def test_a_program_that_knows_nothing_of_structlog_gets_lines_by_logging_and_none_on_its_output(
    config: Config, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    async with vb.open_server(config, http=False) as server:
        server.engine.bus.subscribe(fail)
        with pytest.raises(InternalError):
            await server.call("create_room")
        assert capsys.readouterr().out == ""
        lines = [each.getMessage() for each in caplog.records if each.name == "vb.commands.registry"]
        assert lines == ["command failed command='create_room'"]
