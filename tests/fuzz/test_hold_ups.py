"""The fuzzer's judge against the plane itself, in virtual time: what a hold-up of senders brings later."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.peers.rtp_peer import NOTABLE_S, Late, Packet
from fuzz.hearing import GIVEN_BACK, LATE, LEVEL_DB, PUT_IN, Heard
from tests.mixer.support import TICK_S, Phone, World

HZ = 1570
OWN_HZ = 1130
HELD_UP_S = 0.061
STEADY_TICKS = 400
AMPLITUDE = 32768 * 10 ** (LEVEL_DB / 20) * 2**0.5
ADDRESS = ("192.0.2.1", 4000)


def excuses(heard: Heard) -> list[str | None]:
    return [dent.excuse for dent in heard.dents]


def hold_up(world: World, phone: Phone, seconds: float) -> list[Late]:
    """Let all packets of a phone that are due within a time come at its end."""
    assert phone.next_at is not None
    release = phone.next_at + seconds
    late = []
    while phone.next_at <= release:
        if release - phone.next_at >= NOTABLE_S:
            late.append(Late(release, release - phone.next_at))
        world.io.arrive(phone.port.slot, phone.packet(), phone.source, release)
        phone.next_at += 0.02
    return late


def listen_to(world: World, talker: Phone, listener: Phone, ticks: int) -> tuple[list[Packet], list[float]]:
    """Run; what came, and when the server counted a shift."""
    packets, shifts_at = [], []
    for _ in range(ticks):
        before = talker.port.statistics().shifts
        listener.heard.clear()
        world.run(1)
        shifts_at += [world.tick_at] * (talker.port.statistics().shifts - before)
        packets += [
            Packet(
                world.tick_at, ADDRESS, p.marker, p.payload_type, p.sequence, p.timestamp, p.ssrc, p.payload
            )
            for p in listener.heard
        ]
    return packets, shifts_at


@pytest.mark.parametrize(("phase_s", "frames"), [(0.006, 3), (0.010, 3), (0.015, 3), (0.024, 2)])
def test_a_hold_up_of_the_sender_is_given_back_frame_by_frame_and_each_is_told_from_a_fault(
    phase_s: float, frames: int
) -> None:
    world = World()
    talker, listener = world.phone(HZ, phase_s=phase_s, amplitude=AMPLITUDE), world.phone()
    world.room(talker, listener)
    world.run(STEADY_TICKS)
    calm, _ = listen_to(world, talker, listener, 50)
    late = hold_up(world, talker, HELD_UP_S)
    at_once, none = listen_to(world, talker, listener, 250)
    later, shifts_at = listen_to(world, talker, listener, 2000)
    assert not none
    assert len(shifts_at) == frames
    assert shifts_at[0] - late[0].at <= 18.0
    assert max(np.diff(shifts_at)) <= 13.0
    heard = Heard.of(calm + at_once + later, late, "PCMU", HZ, OWN_HZ)
    assert set(excuses(heard)) == {LATE, GIVEN_BACK}
    dents = [dent for dent in heard.dents if dent.excuse == GIVEN_BACK]
    assert len(dents) == frames
    assert all(abs(dent.began_at - at) < 0.1 for dent, at in zip(dents, shifts_at, strict=True))
    assert excuses(Heard.of(later, [], "PCMU", HZ, OWN_HZ)) == [None] * frames


def test_a_packet_that_is_lost_while_playout_gives_back_stays_a_violation() -> None:
    world = World()
    talker, listener = world.phone(HZ, amplitude=AMPLITUDE), world.phone()
    world.room(talker, listener)
    world.run(STEADY_TICKS)
    late = hold_up(world, talker, HELD_UP_S)
    world.run(250)
    before, _ = listen_to(world, talker, listener, 100)
    talker.packet()
    assert talker.next_at is not None
    talker.next_at += 0.02
    after, _ = listen_to(world, talker, listener, 100)
    assert talker.port.statistics().concealed > 0
    assert excuses(Heard.of(before + after, late, "PCMU", HZ, OWN_HZ)) == [None]


@pytest.mark.parametrize("seed", range(4))
def test_of_a_sender_that_is_held_up_at_random_every_dent_is_explained(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World()
    talker, listener = world.phone(HZ, phase_s=rng.uniform(0, TICK_S), amplitude=AMPLITUDE), world.phone()
    world.room(talker, listener)
    world.run(STEADY_TICKS)
    packets, shifts_at, late = [], [], []
    for pause_s in rng.exponential(6.0, 12):
        heard, shifted_at = listen_to(world, talker, listener, 10 + round(pause_s / TICK_S))
        packets += heard
        shifts_at += shifted_at
        late += hold_up(world, talker, rng.exponential(0.03))
    heard, shifted_at = listen_to(world, talker, listener, 2000)
    judged = Heard.of(packets + heard, late, "PCMU", HZ, OWN_HZ)
    assert not judged.broken
    moved = [dent for dent in judged.dents if dent.excuse in (GIVEN_BACK, PUT_IN)]
    assert moved
    assert len(moved) <= len(shifts_at + shifted_at)
    for dent in moved:
        assert min(abs(dent.began_at - at) for at in shifts_at + shifted_at) < 0.1
