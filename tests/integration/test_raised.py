"""What a program sees of errors around a server that runs inside it."""

from __future__ import annotations

import pytest
import trio

from vb.config import Config
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


class Mine(Exception):
    """An error of the program's own."""


async def test_what_the_block_raises_comes_out_as_it_is(config: Config) -> None:
    mine = Mine("x")
    mine.__cause__ = KeyError("why")
    with pytest.raises(Mine) as caught:
        async with open_server(config):
            raise mine
    assert caught.value is mine
    assert isinstance(mine.__cause__, KeyError)
    assert mine.__context__ is None


async def test_a_group_that_the_block_raises_stays_the_group_that_it_is(config: Config) -> None:
    mine = ExceptionGroup("of the program", [Mine("x")])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_server(config, http=False):
            raise mine
    assert caught.value is mine


async def test_an_error_in_a_task_that_follows_events_comes_out_of_two_servers(config: Config) -> None:
    async def follow(
        server: Server, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with server.events() as events:
            task_status.started()
            async for published in events:
                raise Mine(published.event.type)

    async def run() -> None:
        async with (
            open_server(config, http=False),
            open_server(config, http=False) as server,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(follow, server)
            await server.call("create_room", id="r")
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await run()
    (error,) = caught.value.exceptions
    assert (type(error), str(error)) == (Mine, "room.created")


async def test_an_address_that_is_taken_is_an_os_error(config: Config) -> None:
    async with open_server(config) as server:
        assert server.url is not None
        taken = config.model_copy(
            update={"http": config.http.model_copy(update={"addr": server.url.removeprefix("http://")})}
        )
        with pytest.raises(OSError, match="in use"):
            async with open_server(taken):
                pass


async def test_a_block_that_is_cancelled_is_just_over(config: Config) -> None:
    with trio.move_on_after(0.1) as scope:
        async with open_server(config):
            await trio.sleep_forever()
    assert scope.cancelled_caught
