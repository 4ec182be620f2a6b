"""Nobody hears memory that holds no audio of theirs: rings are filled with a mark, and legs are silent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.mixer.support import G722, OPUS, TICK_S, MemoryEndpoint, World, agreed, rtp, tone
from vb.codecs.base import Codec, make_encoder
from vb.mixer.plane import Plane
from vb.mixer.port import RtpPort
from vb.mixer.streams import StreamReceiver
from vb.rtp.playout import PlayoutSettings

MARK = 12345
PEER = ("192.0.2.1", 4000)
FAINT = 1000
"""A codec's silence is below."""
Loudest = Callable[[RtpPort], list[int]]


@pytest.fixture
def loudest(monkeypatch: pytest.MonkeyPatch) -> Loudest:
    """Tells the loudest sample of a leg in each tick."""
    heard: dict[int, list[int]] = {}
    tick = Plane.tick

    def watched(plane: Plane, now: float, due: float) -> None:
        tick(plane, now, due)
        for bank in plane._layout.banks:
            for row, slot in enumerate(bank.slots.tolist()):
                heard.setdefault(slot, []).append(int(np.abs(bank.heard[row].astype(np.int64)).max()))

    monkeypatch.setattr(Plane, "tick", watched)
    return lambda port: heard[port.slot]


def marked(playout: PlayoutSettings | None = None) -> World:
    world = World(capacity=8, playout=playout)
    for ring in world.plane._core.rings.values():
        ring._pcm[:] = MARK
    return world


def leg(world: World, codec: Codec, payload_type: int) -> RtpPort:
    port = world.plane.open_port(MemoryEndpoint())
    port.configure(agreed(PEER[1], codec=codec, payload_type=payload_type, receive={payload_type: codec}))
    port.sending = True
    return port


@pytest.mark.parametrize("ticks", [1, 2, 3, 5])
def test_what_a_hold_up_skipped_covers_no_gap(ticks: int, loudest: Loudest) -> None:
    world = marked()
    phone = world.phone(None)
    world.run(12)
    phone.sending = False
    world.plane.skip(ticks)
    world.tick_at += ticks * TICK_S
    world.run(6)
    assert max(loudest(phone.port)) == 0


def test_a_new_call_never_sounds_like_the_one_that_had_its_place(loudest: Loudest) -> None:
    world = World(capacity=8)
    before = world.phone(700)
    world.run(40)
    before.port.close()
    phone, mate = world.phone(None), world.phone(None)
    assert phone.port.slot == before.port.slot
    world.room(phone, mate)
    assert max(loudest(before.port)) > FAINT
    loudest(before.port).clear()
    world.run(4)
    phone.sending = False
    world.plane.skip(3)
    mate.next_at = (mate.next_at or 0.0) + 3 * TICK_S
    world.tick_at += 3 * TICK_S
    world.run(8)
    assert max(loudest(phone.port)) == 0


def test_audio_is_gone_with_its_call_or_its_rate() -> None:
    world = World(capacity=8)
    rings = world.plane._core.rings
    phone = world.phone(700)
    world.run(10)
    slot = phone.port.slot
    assert rings[8000]._pcm[slot].any()
    phone.port.configure(agreed(PEER[1], codec=OPUS, payload_type=111, receive={111: OPUS}))
    assert not rings[8000]._pcm[slot].any()
    other = world.phone(700)
    world.run(10)
    other.port.close()
    assert not rings[8000]._pcm[other.port.slot].any()


def test_packets_that_had_no_room_to_wait_are_silence_and_counted(loudest: Loudest) -> None:
    world = marked(playout=PlayoutSettings(200))
    port = leg(world, G722, 9)
    silence = bytes(make_encoder(G722).encode(np.zeros(320, np.int16)))[:20]
    number = 0
    for _ in range(60):
        for _ in range(8):  # packets of 2.5 ms: more wait for 200 ms than there is room for
            world.io.arrive(port.slot, rtp(number, number * 20, silence, payload_type=9), PEER, world.tick_at)
            number += 1
        world.run(1)
    assert max(loudest(port)) < FAINT
    assert port.statistics().damaged > 0


def test_a_clock_that_is_set_back_after_a_pause_is_followed(loudest: Loudest) -> None:
    world = marked()
    port = leg(world, OPUS, 111)
    encoder, width = make_encoder(OPUS), OPUS.pcm_rate_hz // 50
    frames = [
        bytes(encoder.encode(tone(400, width, start=at * width, rate_hz=OPUS.pcm_rate_hz, amplitude=40)))
        for at in range(24)
    ]
    stamps = [96_000 + 960 * at for at in range(8)] + [72_000 + 960 * at for at in range(20)]
    payloads = [*frames[:3], *[frames[3][:1]] * 5, *frames[3:23]]
    for number, (stamp, payload) in enumerate(zip(stamps, payloads, strict=True)):
        world.io.arrive(port.slot, rtp(number, stamp, payload, payload_type=111), PEER, world.tick_at)
        world.run(1)
    ends = loudest(port)[-10:]
    assert max(loudest(port)) < FAINT
    assert min(ends) > 10, "it is heard again"


def test_a_packet_that_overlaps_the_one_before_is_silent_where_it_reaches_further() -> None:
    receiver = StreamReceiver({9: G722}, 16000)
    payload = bytes(make_encoder(G722).encode(np.zeros(640, np.int16)))
    receiver.push(0, 9, payload[:160])
    assert [(at, pcm.size) for at, pcm in receiver.advance(320)] == [(0, 320)]
    receiver.push(160, 9, payload)
    receiver.push(800, 9, payload[:160])
    (first, silence), (second, audio) = receiver.advance(2000)
    assert (first, silence.size, bool(silence.any())) == (320, 480, False)
    assert (second, audio.size) == (800, 320)
