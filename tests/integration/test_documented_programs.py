"""The programs around a server that the documentation shows do what it says."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.phone import open_phone
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent
_PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)
_FREE_PORTS = '"SIP_PORT": "0"'


class Output:
    """What a program prints."""

    def __init__(self) -> None:
        self.printed: list[tuple[Any, ...]] = []
        self._more = trio.Event()

    def print(self, *values: Any) -> None:
        self.printed.append(values)
        self._more.set()
        self._more = trio.Event()

    async def wait(self, count: int) -> None:
        with trio.fail_after(10):
            while len(self.printed) < count:
                await self._more.wait()


def program(page: str, word: str) -> tuple[dict[str, Any], Output]:
    """Return the names of the program on a page that has this word, and what it prints; it does not run."""
    (text,) = [each for each in _PROGRAM.findall((ROOT / page).read_text("utf-8")) if word in each]
    assert _FREE_PORTS in text
    output = Output()
    names: dict[str, Any] = {"__name__": "program", "print": output.print}
    start = re.compile(r"^trio\.run\(main\)$", re.MULTILINE)
    exec(
        compile(
            start.sub("", text).replace("trio.sleep(2)", "trio.sleep(0.2)"), page, "exec", dont_inherit=True
        ),
        names,
    )
    return names, output


async def test_the_program_of_the_readme_prints_where_it_listens_and_its_room() -> None:
    names, output = program("README.md", "open_server")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names["main"])
        await output.wait(2)
        nursery.cancel_scope.cancel()
    (url, _), (event,) = output.printed
    assert url.startswith("http://127.0.0.1:")
    assert (event["type"], event["room_id"]) == ("room.created", "lobby")


async def test_the_program_that_answers_calls_plays_to_them_and_hangs_up() -> None:
    names, output = program("docs/embedding.md", "async def greet")
    async with trio.open_nursery() as nursery, open_phone(600) as phone:
        nursery.start_soon(names["main"])
        await output.wait(1)
        _, (address,) = output.printed[0]
        call = phone.dial(f"sip:hello@{address.partition(':')[2]}")
        phone.use_answer((await phone.wait_for(call, sip.Answered)).sdp)
        await phone.wait_for(call, sip.RemoteHangup)
        assert phone.heard
        nursery.cancel_scope.cancel()
    assert len(output.printed) == 1


def test_the_program_on_asyncio_runs_and_ends() -> None:
    names, output = program("docs/embedding.md", "start_guest_run")
    asyncio.run(asyncio.wait_for(names["main"](), 20))
    ((url, _),) = output.printed
    assert url.startswith("http://127.0.0.1:")
