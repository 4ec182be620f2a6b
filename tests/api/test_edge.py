from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.api.harness import SmallEngine
from vb.api.edge import CommandRunner
from vb.commands.registry import REGISTRY


async def test_a_reply_waits_until_what_the_command_caused_is_safe(
    engine: SmallEngine, autojump_clock: MockClock
) -> None:
    runner = CommandRunner(engine)

    async def settle() -> None:
        await trio.sleep(2)

    runner.settle = settle
    command = REGISTRY["list_colours"]
    assert await runner.run(command, command.params()) == [{"id": "a", "colour": "red", "coats": 1}]
    assert trio.current_time() == 2
