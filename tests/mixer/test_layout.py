"""The arrays of a tick are worked out once, however much has changed since the last one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.mixer.support import MemoryEndpoint, ToneSource, World, agreed
from vb.codecs.base import G722, PCMA, PCMU
from vb.mixer import layout as layout_module
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


def _heard_by_all(seed: int) -> list[bytes]:
    """Let phones come, join, leave, hear playback and go, and return what each of them was sent."""
    draw = random.Random(seed)
    world = World(capacity=16)
    phones = [world.phone(hz) for hz in (400, 700, None, 1000)]
    tune = ToneSource(1300)
    for _ in range(12):
        present = [phone for phone in phones if not phone.port.closed]
        members = [phone for phone in present if draw.random() < 0.5]
        world.room(*members, comfort_noise=draw.random() < 0.3)
        chosen = draw.choice(phones).port
        what = draw.randrange(4)
        if what == 0 and len(present) > 2:
            chosen.close()
        elif what == 1 and not chosen.closed:
            chosen.add_private(tune)
        elif what == 2:
            chosen.remove_private(tune)
        elif what == 3 and len(phones) < 12:
            phones.append(world.phone(draw.choice((500, None))))
        world.run(draw.randrange(1, 8))
    return [phone.pcm().tobytes() for phone in phones]


@pytest.mark.parametrize("seed", range(8))
def test_who_is_alone_hears_the_same_as_by_the_long_way(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    short = _heard_by_all(seed)
    lone_class = layout_module._lone_class
    monkeypatch.setattr(
        layout_module, "_lone_class", lambda *arguments: replace(lone_class(*arguments), lone=False)
    )
    assert _heard_by_all(seed) == short
    assert any(pcm.strip(b"\0") for pcm in short)


def test_nobody_mixes_for_those_who_are_alone() -> None:
    world = World()
    phone = world.phone(400)
    world.run(3)
    assert [mix_class.lone for mix_class in world.plane._layout.classes] == [True]
    assert not phone.pcm().any()
    phone.port.add_private(ToneSource(700))
    world.run(3)
    assert [mix_class.lone for mix_class in world.plane._layout.classes] == [False]
    assert phone.pcm(2).any()


def _arrays(layout: Layout) -> list[object]:
    """Return all that a layout says, as plain values."""
    found: list[object] = [[port.slot for port in layout.unheard]]
    for bank in layout.banks:
        found += [bank.rate_hz, *(part.tolist() for part in (bank.slots, bank.decoded, bank.source))]
        found += [bank.heard.shape, bank.heard.any(), bank.told.shape, bank.told.any(), bank.nothing]
    for one in layout.classes:
        found += [one.rate_hz, one.slots.tolist(), one.pair_rows, one.mesh_start, one.lone, one.ears.tolist()]
        found += [
            one.comfort.tolist(),
            one.peaks.tolist(),
            one.share_start,
            one.rooms,
            one.hearing,
            one.private,
        ]
        for block in one.blocks:
            found += [layout.banks.index(block.bank), block.bank_rows, block.class_rows, block.slots.tolist()]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_legs_that_are_all_alone_are_laid_out_as_by_the_long_way(seed: int) -> None:
    draw = random.Random(seed)
    world = World(capacity=16)
    ports = [world.plane.open_port(MemoryEndpoint()) for _ in range(12)]
    for port in ports:
        if draw.random() < 0.8:
            port.configure(agreed(codec=draw.choice((PCMU, PCMA, G722))))
            port.sending = draw.random() < 0.7
        if draw.random() < 0.2:
            port.close()
    world.run(1)
    core, facts = world.plane._core, world.plane._facts
    short = compile_layout(core, facts, [])
    facts.extras.add(0)  # somebody needs more than arithmetic, it says
    assert _arrays(short) == _arrays(compile_layout(core, facts, []))
