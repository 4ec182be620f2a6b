"""Packets that a tick decodes: which of them are plain, and what becomes of those that are damaged."""

from __future__ import annotations

import numpy as np
import pytest

from tests.mixer.support import OPUS, START, TICK_S, Phone, World, agreed, rtp, tone
from vb.codecs.base import CodecError, at_rate, make_decoder, make_encoder
from vb.codecs.opus import OpusDecoder
from vb.mixer.hands import LEAST_CALLS, portions
from vb.mixer.streams import RESTS_AFTER, StreamReceiver
from vb.mixer.tasks.helpers import helpers_of

OPUS_16 = at_rate(OPUS, 16_000)
FRAME = 320
DAMAGED = b"\x48" + bytes(range(200, 255)) * 30
"""One frame by its first byte, longer than a frame may be."""


def payloads(count: int) -> list[bytes]:
    encoder = make_encoder(OPUS_16)
    return [encoder.encode(tone(400, FRAME, start=k * FRAME, rate_hz=16_000)) for k in range(count)]


def stream_of(packets: list[bytes], *, decoded: int = 1) -> StreamReceiver:
    """Return a stream that has got all packets, the first of which are decoded already."""
    stream = StreamReceiver({111: OPUS_16}, 16_000)
    for k, packet in enumerate(packets):
        stream.push(k * FRAME, 111, packet)
    stream.advance(decoded * FRAME)
    return stream


def test_a_packet_in_sequence_is_plain_and_gives_what_it_gives_otherwise() -> None:
    packets = payloads(6)
    stream, decoder = stream_of(packets), make_decoder(OPUS_16)
    wanted = [decoder.decode(packet) for packet in packets]
    for k in range(1, 6):
        plain = stream.take_plain((k + 1) * FRAME)
        assert plain is not None
        *what, own = plain
        assert what == [k * FRAME, FRAME, packets[k]]
        assert (own.decode(packets[k]) == wanted[k]).all()
    assert not stream.waits


def test_a_packet_is_plain_only_where_nothing_else_is_to_be_done() -> None:
    packets = payloads(8)
    assert stream_of(packets, decoded=2).take_plain(2 * FRAME) is None, "none is due"
    assert stream_of(packets, decoded=2).take_plain(4 * FRAME) is None, "two are due"
    assert stream_of(packets, decoded=0).take_plain(FRAME) is None, "there is no decoder yet"
    gap = stream_of(packets[:2])
    gap.push(3 * FRAME, 111, packets[3])
    assert gap.take_plain(2 * FRAME) is not None
    assert gap.take_plain(4 * FRAME) is None, "one is missing before it"
    silent = stream_of(packets[:1])
    silent.push(FRAME, 111, packets[1], silent=True)
    assert silent.take_plain(2 * FRAME) is None, "nobody would hear it"
    several = stream_of(packets[:1])
    several.push(FRAME, 111, bytes([packets[1][0] | 1]) + packets[1][1:])
    assert several.take_plain(2 * FRAME) is None, "it holds two frames"
    assert [len(pcm) for _, pcm in several.advance(2 * FRAME)]


def test_a_packet_whose_end_is_due_before_the_next_one_came_is_left_to_error_correction() -> None:
    packets = payloads(4)
    stream = stream_of(packets[:2])
    stream.push(3 * FRAME, 111, packets[3])
    # Half of the missing packet is due now, and the one behind it has come.
    assert stream.take_plain(2 * FRAME + FRAME // 2) is None
    assert [position for position, _ in stream.advance(2 * FRAME + FRAME // 2)] == [FRAME, 2 * FRAME]


def test_the_first_packet_after_a_rest_is_not_plain() -> None:
    packets = payloads(RESTS_AFTER + 4)
    stream = stream_of(packets[:1])
    for k in range(1, RESTS_AFTER + 3):
        stream.push(k * FRAME, 111, packets[k], silent=True)
        stream.advance((k + 1) * FRAME)
    assert stream.rested
    stream.push((RESTS_AFTER + 3) * FRAME, 111, packets[-1])
    assert stream.take_plain((RESTS_AFTER + 4) * FRAME) is None


class Sender:
    """Sends Opus to a leg, a packet before each tick."""

    def __init__(self, world: World, packets: list[bytes]) -> None:
        self.phone: Phone = world.phone(sending=False)
        self.phone.port.configure(agreed(self.phone.source[1], codec=OPUS_16))
        self.packets = packets
        for k, packet in enumerate(packets):
            data = rtp(k, k * 960, packet, payload_type=111)
            world.io.arrive(self.phone.port.slot, data, self.phone.source, START + (k + 1) * TICK_S - 0.01)

    @property
    def damaged(self) -> int:
        return self.phone.port.statistics().damaged


def damaged_at(place: int) -> list[bytes]:
    packets = payloads(12)
    packets[place] = DAMAGED
    return packets


@pytest.mark.parametrize("threads", [0, 1])
def test_a_damaged_packet_counts_and_is_covered_up_for_its_leg_alone(threads: int) -> None:
    world = World()
    hurt, sound = Sender(world, damaged_at(8)), Sender(world, payloads(12))
    others = [Sender(world, payloads(12)) for _ in range(10)]
    heard: dict[int, list[np.ndarray]] = {}
    with helpers_of(threads) as hands:
        world.plane.set_hands(hands)
        for _ in range(12):
            world.run(1)
            (bank,) = world.plane._layout.banks
            for slot, frame in zip(bank.slots.tolist(), bank.heard, strict=True):
                heard.setdefault(slot, []).append(frame.copy())
        world.plane.set_hands(None)
    assert (hurt.damaged, sound.damaged) == (1, 0)
    assert world.plane.statistics.faults == 0
    mine, theirs = heard[hurt.phone.port.slot], heard[sound.phone.port.slot]
    for k in range(8):
        assert (mine[k] == theirs[k]).all()
    assert not (mine[8] == theirs[8]).all()
    assert np.abs(mine[8]).max() > 1000, "libopus' guess goes on with the tone"
    for other in others:
        for one, its in zip(theirs, heard[other.phone.port.slot], strict=True):
            assert (one == its).all()


def test_a_decoder_that_cannot_cover_a_damaged_packet_up_ends_its_leg_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    hurt, *sound = [Sender(world, damaged_at(8)), *(Sender(world, payloads(12)) for _ in range(LEAST_CALLS))]
    ended: list[tuple[int, str]] = []
    world.plane.set_fault_handlers(lambda port, error: ended.append((port.slot, str(error))))

    def fail(decoder: OpusDecoder, samples: int) -> None:
        raise CodecError("out of ideas")

    monkeypatch.setattr(OpusDecoder, "conceal", fail)
    world.run(12)
    assert ended == [(hurt.phone.port.slot, "out of ideas")]
    assert [other.damaged for other in sound] == [0] * LEAST_CALLS


@pytest.mark.parametrize("count", [1, 7, 8, 40, 171, 1000])
def test_work_is_cut_into_pieces_that_cover_it_and_end_small(count: int) -> None:
    pieces = portions(count)
    assert [place for start, stop in pieces for place in range(start, stop)] == list(range(count))
    sizes = [stop - start for start, stop in pieces]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= 8
    assert sizes[-1] == 1


def test_no_work_has_no_pieces() -> None:
    assert portions(0) == []
