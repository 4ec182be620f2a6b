"""The garbage collector while a server runs."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from vb import cli


async def test_new_objects_are_looked_at_ten_times_a_second(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[int] = []
    monkeypatch.setattr(gc, "collect", collected.append)
    with trio.move_on_after(1.05):
        await cli._collect_young()
    assert collected == [1] * 10
