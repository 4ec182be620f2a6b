"""The arrays of a tick are worked out once, however much has changed since the last one."""

from __future__ import annotations

import pytest

from tests.mixer.support import MemoryEndpoint, World, agreed
from vb.mixer import plane as plane_module
from vb.mixer.layout import Layout, compile_layout


def test_a_hundred_joins_within_a_tick_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(capacity=128)
    compiled: list[Layout] = []

    def counted(*arguments: object) -> Layout:
        compiled.append(compile_layout(*arguments))  # type: ignore[arg-type]  # handed on as they are
        return compiled[-1]

    monkeypatch.setattr(plane_module, "compile_layout", counted)
    world.run(1)
    compiled.clear()
    phones = [world.phone() for _ in range(100)]
    for count in range(1, 101):
        world.room(*phones[:count])
    world.run(1)
    assert len(compiled) == 1
    assert sum(mix_class.slots.size for mix_class in compiled[0].classes) == 100
    world.run(3)
    assert len(compiled) == 1


def test_places_that_were_never_taken_are_not_looked_at() -> None:
    world = World(capacity=1000)
    ports = [world.plane.open_port(MemoryEndpoint()) for _ in range(3)]
    assert world.plane._core.columns.reach == 3
    ports[1].close()
    again = world.plane.open_port(MemoryEndpoint())
    again.configure(agreed())
    world.run(1)
    assert world.plane._core.columns.reach == 3
