"""Legs at rest: their packets are put away in columns, and their decoders go on as if they had seen each."""

from __future__ import annotations

import numpy as np

from tests.mixer.support import MemoryEndpoint, World
from tests.mixer.test_extensions import browser
from tests.mixer.test_streams import joined, played, speech_with_pauses
from vb.codecs.base import CODECS
from vb.mixer.frames import Pcm
from vb.mixer.resting import MAX_BYTES, Resting
from vb.mixer.streams import LEAD_IN, StreamReceiver

OPUS = CODECS["opus"]
SLOT = 3


def put_away(resting: Resting, position: int, payload: bytes) -> None:
    row = np.frombuffer(payload, np.uint8)[None, :]
    slots, ends = np.array([SLOT]), np.array([position + 960])
    resting.keep(slots, ends, np.array([111], np.uint8), row, np.array([len(payload)]))


def played_through_columns(packets: list[bytes], silent: list[bool]) -> tuple[Pcm, StreamReceiver]:
    stream, resting = StreamReceiver({111: OPUS}, 48000), Resting(8)
    parts: list[tuple[int, Pcm]] = []
    for k, (packet, is_silent) in enumerate(zip(packets, silent, strict=True)):
        if is_silent and resting.legs[SLOT]:
            put_away(resting, k * 960, packet)
        else:
            resting.wake(SLOT, stream)
            if is_silent and stream.rests:
                stream.rest(k * 960, 960, 111, packet)
                resting.begin(SLOT)
            else:
                stream.push(k * 960, 111, packet, silent=is_silent)
        parts += stream.advance((k + 1) * 960)
    return joined(parts, len(packets) * 960), stream


def test_words_after_a_rest_are_those_of_a_decoder_that_rested_by_itself() -> None:
    packets, silent = speech_with_pauses()
    assert max(map(len, packets)) <= MAX_BYTES
    straight, itself = played(packets, silent)
    got, stream = played_through_columns(packets, silent)
    assert np.array_equal(got, straight)
    assert stream.rested == itself.rested


def test_the_last_packets_come_back_in_their_order_whatever_their_number() -> None:
    packets, silent = speech_with_pauses()
    for pause in range(1, 5):
        chosen = [*packets[:12], *packets[12 : 12 + pause], *packets[60:70]]
        quiet = [*silent[:12], *silent[12 : 12 + pause], *silent[60:70]]
        assert pause < LEAD_IN or quiet[12 : 12 + pause] == [True] * pause
        assert np.array_equal(played_through_columns(chosen, quiet)[0], played(chosen, quiet)[0])


def test_only_who_rests_is_woken_and_nobody_twice() -> None:
    resting, stream = Resting(8), StreamReceiver({111: OPUS}, 48000)
    resting.wake(SLOT, stream)
    resting.begin(SLOT)
    put_away(resting, 0, b"\x00")
    resting.wake(SLOT, stream)
    resting.wake(SLOT, stream)
    assert stream.rested == 1
    resting.begin(SLOT)
    resting.forget(SLOT)
    resting.wake(SLOT, stream)
    assert stream.rested == 1


def test_a_new_source_and_a_new_leg_in_the_same_place_do_not_go_on_resting() -> None:
    world = World()
    phone, other = browser(world), world.phone(600)
    world.room(phone, other)
    phone.loud = False
    world.run(60)
    legs, slot = world.plane._core.resting.legs, phone.port.slot
    assert legs[slot]
    phone.ssrc += 1
    world.run(2)
    assert not legs[slot]
    world.run(60)
    assert legs[slot]
    phone.port.close()
    assert world.plane.open_port(MemoryEndpoint()).slot == slot
    assert not legs[slot]
