"""The columns that the layout reads say of every port what the port itself says, whatever happened to it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.mixer.support import (
    OPUS,
    PCMA,
    PCMU,
    ListSink,
    MemoryEndpoint,
    ToneSource,
    World,
    agreed,
    heard_tones,
    strength,
)
from vb.mixer.facts import PortFacts
from vb.mixer.plane import Plane
from vb.mixer.port import Port, RtpPort

COLUMNS = (
    "usable",
    "transmitting",
    "single",
    "table",
    "phased",
    "packeted",
    "shy",
    "decoded",
    "special",
    "unheard",
)


def formats(plane: Plane, facts: PortFacts) -> dict[int, object]:
    """Return the codec and packet time of each leg that may share, by slot."""
    names = {number: key for key, number in facts._formats.items()}
    return {slot: names.get(int(facts.format[slot])) for slot in range(plane._core.columns.capacity)}


def change(world: World, ports: list[Port], draw: random.Random) -> None:
    """Do one thing that any of the layers above may do."""
    port = draw.choice(ports)
    match draw.randrange(12):
        case 0:
            ports.append(world.plane.open_port(MemoryEndpoint()))
        case 1:
            ports.append(world.plane.open_stream(None, ListSink()))
        case 2:
            port.close()
            if len(ports) > 3:
                ports.remove(port)
        case 3:
            port.deaf = draw.random() < 0.5
        case 4:
            port.local_hold = draw.random() < 0.5
        case 5:
            port.add_private(ToneSource(400))
        case 6:
            for source in port.private:
                port.remove_private(source)
        case 7:
            draw.choice((port.add_tap_out, port.add_tap_in))(ListSink())
        case 8:
            for sink in (*port.tap_in, *port.tap_out):
                port.remove_tap(sink)
        case 9 if isinstance(port, RtpPort):
            port.sending = draw.random() < 0.7
        case 10 if isinstance(port, RtpPort):
            port.send_digits("1")
            port.send_tones("2")
        case 11 if isinstance(port, RtpPort):
            port.configure(
                agreed(
                    codec=draw.choice((PCMU, PCMA, OPUS)),
                    ptime_ms=draw.choice((20, 40)),
                    events=draw.choice((None, 101)),
                    direction=draw.choice(("sendrecv", "recvonly", "inactive")),
                    remote_held=draw.random() < 0.2,
                    has_address=draw.random() < 0.9,
                )
            )
        case _ if draw.random() < 0.2:
            world.plane._core.fault(port, RuntimeError("by chance"))


@pytest.mark.parametrize("seed", range(6))
def test_no_change_of_a_port_is_missed(seed: int) -> None:
    draw = random.Random(seed)
    world = World(capacity=24)
    core, facts = world.plane._core, world.plane._facts
    ports: list[Port] = [world.phone().port for _ in range(6)]
    for _ in range(120):
        for _ in range(draw.randrange(4)):
            if core.columns.used < core.columns.capacity:
                change(world, ports, draw)
        if draw.random() < 0.3:
            world.room(*draw.sample(ports, min(len(ports), 4)), room_id=draw.choice("ab"))
        world.run(draw.randrange(1, 3))
        # What changes within a tick, as digits that end, is noted with the next one.
        facts.note(core, core.changed)
        fresh = PortFacts(core.columns.capacity)
        fresh.note(core, range(core.columns.capacity))
        for name in COLUMNS:
            assert np.array_equal(getattr(facts, name), getattr(fresh, name)), name
        assert formats(world.plane, facts) == formats(world.plane, fresh)


def test_one_who_leaves_a_large_room_costs_no_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(capacity=64)
    phones = [world.phone() for _ in range(40)]
    world.room(*phones)
    world.run(15)
    noted: list[int] = []
    note = PortFacts._note_port

    def counted(facts: PortFacts, slot: int, port: Port | None) -> None:
        noted.append(slot)
        note(facts, slot, port)

    monkeypatch.setattr(PortFacts, "_note_port", counted)
    gone = phones.pop()
    gone.port.close()
    world.room(*phones)
    world.run(2)
    assert noted == [gone.port.slot]
    assert [mix_class.slots.size for mix_class in world.plane._layout.classes] == [39]


def test_a_port_at_the_place_of_a_member_who_left_is_in_no_room_before_it_joins_one() -> None:
    world = World()
    one, other, third = (world.phone(hz) for hz in (400, 600, 900))
    world.room(one, other, third)
    world.run(5)
    third.port.close()
    newcomer = world.phone(1300)
    assert newcomer.port.slot == third.port.slot
    world.run(20)
    assert not newcomer.pcm(5).any()
    world.room(newcomer, one, room_id="s")
    world.room(other)
    world.run(25)
    assert heard_tones(newcomer) == {400}
    assert heard_tones(one) == {1300}
    assert heard_tones(other) == set()


def test_a_stream_in_no_room_hears_what_is_played_to_it_at_its_own_rate() -> None:
    world = World()
    sink = ListSink()
    port = world.plane.open_stream(None, sink, rate_hz=48000)
    port.add_private(ToneSource(400))
    world.run(12)
    assert set(sink.rates) == {48000}
    assert strength(sink.pcm(), 400, 48000) > 7000
