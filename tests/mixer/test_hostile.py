"""Whatever arrives, the tick goes on, memory stays bounded and other legs are not disturbed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixer.support import G722, OPUS, PCMU, World, agreed, level, rtp, strength, to_ulaw, tone
from vb.codecs.base import Codec
from vb.rtp.playout import PlayoutSettings

TYPES = (0, 8, 9, 13, 101, 111, 72, 127)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Draw an RTP packet that is plausible in most fields."""
    sequence = draw(st.one_of(st.integers(0, 40), st.integers(0, 65535)))
    timestamp = draw(
        st.one_of(st.integers(0, 40).map(lambda k: 160 * k), st.integers(0, 2**32 - 1), st.integers(0, 20000))
    )
    payload = draw(st.one_of(st.binary(max_size=40), st.integers(0, 2000).map(bytes)))
    head = draw(st.sampled_from((0x80, 0x80, 0x80, 0x81, 0x90, 0xA0, 0xBF, 0x40)))
    data = rtp(
        sequence,
        timestamp,
        payload,
        ssrc=draw(st.sampled_from((1, 1, 1, 2))),
        payload_type=draw(st.sampled_from(TYPES)),
        marker=draw(st.booleans()),
    )
    return bytes([head]) + data[1:]


DATAGRAMS = st.lists(st.one_of(packets(), packets(), st.binary(max_size=60)), max_size=12)


@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda codec: codec.name)
@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(DATAGRAMS, min_size=1, max_size=25),
    target_ms=st.sampled_from([None, 0, 60]),
)
def test_any_datagrams_leave_the_plane_and_other_legs_alone(
    codec: Codec, batches: list[list[bytes]], target_ms: int | None
) -> None:
    world = World(playout=PlayoutSettings(target_ms))
    failed: list[object] = []
    world.plane.set_fault_handlers(lambda port, error: failed.append((port, error)))
    victim, one, two = world.phone(sending=False), world.phone(400), world.phone()
    victim.port.configure(
        agreed(victim.source[1], codec=codec, receive={0: PCMU, codec.payload_type: codec}, events=101)
    )
    world.room(one, two, room_id="quiet", rate_hz=8000)
    world.room(victim, room_id="loud")
    world.run(5)
    for batch in batches:
        for data in batch:
            world.io.arrive(victim.port.slot, data, victim.source, world.tick_at + 0.001)
        world.run(1)
        assert victim.port.statistics().delay_ms <= 320
    world.run(20)
    assert failed == []
    heard = two.pcm(20 + len(batches))
    assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 5000
    assert strength(heard, 400) > 7500
    assert len(victim.heard) == 25 + len(batches)
    assert len(victim.port.events) <= 64
    assert len(victim.port.rtcp) <= 16


def test_a_flood_of_new_sources_is_bounded() -> None:
    world = World()
    talker = world.phone(sending=False)
    world.run(1)
    for k in range(300):
        for i in range(8):
            number = 8 * k + i
            data = rtp(number, number * 160, to_ulaw(tone(400, 160)), ssrc=number)
            world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.001)
        world.run(1)
    assert talker.port.statistics().delay_ms <= 300


def test_events_and_reports_that_nobody_reads_drop_the_oldest() -> None:
    world = World()
    talker = world.phone(sending=False)
    talker.port.configure(agreed(talker.source[1], events=101))
    for k in range(200):
        event = rtp(k, 0, bytes((1, 0, k >> 8, k & 255)), payload_type=101)
        world.io.arrive(talker.port.slot, event, talker.source, world.tick_at + 0.001)
        report = bytes((0x80, 201, 0, 1, 0, 0, 0, k))
        world.io.arrive(talker.port.slot, report, talker.source, world.tick_at + 0.002)
        world.run(1)
    assert len(talker.port.events) == 64
    assert talker.port.events[-1].payload[3] == 199
    assert world.plane.statistics.dropped == {"events_full": 136, "rtcp_full": 184}
    assert len(talker.port.rtcp) == 16
