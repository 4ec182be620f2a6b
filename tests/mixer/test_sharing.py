"""One mix that several hear alike is encoded once, and nobody who joins or leaves it hears a step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.mixer.support import (
    G722,
    OPUS,
    PCMA,
    PCMU,
    ListSink,
    Pcm,
    Phone,
    ToneSource,
    World,
    agreed,
    heard_tones,
    strength,
)
from vb.codecs.base import Codec, make_decoder
from vb.codecs.opus_runs import EncodeRun
from vb.mixer.packetizer import Packetizer, Payload
from vb.mixer.sharing import SETTLED_TICKS

HZ = 440
OWN_HZ = 1000
SETTLED = 2 * SETTLED_TICKS


class Counted:
    """Counts the frames that are given to encoders."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = 0
        push, run = Packetizer.push, EncodeRun.run

        def counted(packetizer: Packetizer, frame: Pcm) -> list[Payload]:
            self.frames += 1
            return push(packetizer, frame)

        def counted_run(frames: EncodeRun, start: int, stop: int) -> None:
            self.frames += stop - start
            run(frames, start, stop)

        monkeypatch.setattr(Packetizer, "push", counted)
        monkeypatch.setattr(EncodeRun, "run", counted_run)

    def take(self) -> int:
        total, self.frames = self.frames, 0
        return total


def listeners(world: World, count: int, codec: Codec, *, ptime_ms: int = 20) -> list[Phone]:
    """Return silent phones that are sent `codec` and may speak PCMU."""
    phones = [world.phone() for _ in range(count)]
    for phone in phones:
        receive = {codec.payload_type: codec, 0: PCMU}
        phone.port.configure(
            agreed(phone.source[1], codec=codec, receive=receive, ptime_ms=ptime_ms, events=101)
        )
    return phones


def room_with_a_tone(world: World, *phones: Phone, hz: int = HZ, room_id: str = "r") -> None:
    """Publish a room in which somebody who is not on the phone hums."""
    hums = world.plane.open_stream(ToneSource(hz), None)
    world.room(hums, *(phone.port for phone in phones), room_id=room_id)


def decoded(phone: Phone, codec: Codec) -> Pcm:
    decoder = make_decoder(codec)
    return np.concatenate(
        [
            decoder.decode(packet.payload)
            for packet in phone.heard
            if packet.payload_type == codec.payload_type
        ]
    )


def steps(pcm: Pcm, rate_hz: int, hz: int = HZ) -> np.ndarray:
    """Return what is left of each 20 ms when a tone is taken out of it: the worst sample of each window."""
    width = rate_hz // 50
    time = np.arange(width) / rate_hz
    base = np.stack([np.sin(2 * np.pi * hz * time), np.cos(2 * np.pi * hz * time)], axis=1)
    windows = np.stack([pcm[at : at + width] for at in range(0, pcm.size - width, width // 4)]).astype(float)
    fitted = windows @ np.linalg.pinv(base).T @ base.T
    return np.asarray(np.abs(windows - fitted).max(axis=1))


def has_no_step(phone: Phone, codec: Codec, *ticks: int) -> None:
    """Check that nothing near some ticks stands out of what the codec does to the tone anyway."""
    left = steps(decoded(phone, codec), codec.pcm_rate_hz)
    usual = float(np.percentile(left[4 * SETTLED :], 95))
    for tick in ticks:
        worst = float(left[4 * tick - 8 : 4 * tick + 32].max())
        assert worst < 2 * usual + 40, f"a step of {worst:.0f} where {usual:.0f} is usual"


@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS], ids=lambda codec: codec.name)
def test_silent_members_are_sent_one_payload_in_packets_of_their_own(codec: Codec) -> None:
    world = World()
    phones = listeners(world, 5, codec)
    room_with_a_tone(world, *phones)
    world.run(SETTLED)
    last = [phone.heard[-1] for phone in phones]
    assert len({packet.payload for packet in last}) == 1
    assert len({packet.ssrc for packet in last}) == 5
    for phone in phones:
        assert phone.port.ssrc == phone.heard[-1].ssrc
        for before, after in pairwise(phone.heard):
            assert (after.sequence - before.sequence) % 65536 == 1
            assert (after.timestamp - before.timestamp) % 2**32 == codec.clock_rate_hz // 50
        assert phone.port.statistics().sent.packets == len(phone.heard)
        pcm = decoded(phone, codec)[-codec.pcm_rate_hz // 5 :]
        assert strength(pcm, HZ, codec.pcm_rate_hz) > 6500


@pytest.mark.parametrize(("codec", "ptime_ms"), [(OPUS, 20), (OPUS, 40), (PCMA, 10)])
def test_what_is_alike_is_encoded_once(codec: Codec, ptime_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    phones = listeners(world, 6, codec, ptime_ms=ptime_ms)
    room_with_a_tone(world, *phones)
    world.run(SETTLED)
    counted = Counted(monkeypatch)
    world.run(10)
    assert counted.take() == 10
    phones[2].hz = phones[4].hz = OWN_HZ
    world.run(10)
    counted.take()
    world.run(10)
    assert counted.take() == 30


@pytest.mark.parametrize("ptime_ms", [20, 40])
def test_wideband_listeners_share_from_a_pause_on_and_who_spoke_again_from_the_next(
    ptime_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    phones = listeners(world, 6, G722, ptime_ms=ptime_ms)
    world.room(*(phone.port for phone in phones))
    world.run(SETTLED)
    hum = ToneSource(HZ)
    world.room(world.plane.open_stream(hum, None), *(phone.port for phone in phones))
    world.run(120)
    counted = Counted(monkeypatch)
    world.run(10)
    assert counted.take() == 10
    phones[2].hz = OWN_HZ
    world.run(40)
    phones[2].hz = None
    world.run(60)
    counted.take()
    world.run(10)
    assert counted.take() == 20  # it goes on by itself while the others hum
    if ptime_ms == 20:
        has_no_step(phones[2], G722, 190, 191, 230, 231, 230 + SETTLED_TICKS, 280)
        has_no_step(phones[4], G722, 190, 191, 230, 231)
    world.room(*(phone.port for phone in phones))
    world.run(SETTLED)
    counted.take()
    world.run(10)
    assert counted.take() == 10


@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda codec: codec.name)
@pytest.mark.parametrize("who", [0, 1, 5])
def test_who_begins_to_speak_and_falls_silent_again_hears_no_step(codec: Codec, who: int) -> None:
    world = World()
    phones = listeners(world, 6, codec)
    room_with_a_tone(world, *phones)
    world.run(120)
    phones[who].hz = OWN_HZ
    world.run(60)
    phones[who].hz = None
    world.run(120)
    has_no_step(phones[who], codec, 121, 122, 180, 182, 180 + SETTLED_TICKS, 182 + SETTLED_TICKS)
    # Nobody hears itself, however near it was to those who do hear it.
    spoken = decoded(phones[who], codec)[130 * codec.pcm_rate_hz // 50 : 170 * codec.pcm_rate_hz // 50]
    assert strength(spoken, OWN_HZ, codec.pcm_rate_hz) < 100


@pytest.mark.parametrize("codec", [G722, OPUS], ids=lambda codec: codec.name)
def test_several_may_begin_at_once(codec: Codec) -> None:
    world = World()
    phones = listeners(world, 7, codec)
    room_with_a_tone(world, *phones)
    world.run(120)
    # Each of them hears the two others, at an amplitude that hides nothing of a step.
    for phone in phones[:3]:
        phone.port.add_private(Whisper())
    world.run(60)
    for phone in phones[:3]:
        has_no_step(phone, codec, 120, 121)


class Whisper:
    """Plays nothing that could be heard, but plays."""

    finished = False

    def take(self, rate_hz: int) -> Pcm:
        return np.zeros(rate_hz // 50, np.int16)


@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda codec: codec.name)
def test_a_leader_that_hangs_up_is_not_missed(codec: Codec) -> None:
    world = World()
    phones = listeners(world, 4, codec)
    room_with_a_tone(world, *phones)
    world.run(120)
    phones[0].port.close()
    world.run(60)
    for phone in phones[1:]:
        assert len(phone.heard) == 180
        has_no_step(phone, codec, 120, 121)
    assert len({phone.heard[-1].payload for phone in phones[1:]}) == 1


@pytest.mark.parametrize("codec", [G722, OPUS], ids=lambda codec: codec.name)
def test_who_moves_to_another_room_goes_on_alone(codec: Codec) -> None:
    world = World()
    phones = listeners(world, 5, codec)
    room_with_a_tone(world, *phones)
    world.run(120)
    room_with_a_tone(world, phones[1], phones[3], hz=900, room_id="s")
    world.run(60)
    moved = decoded(phones[3], codec)[-codec.pcm_rate_hz // 2 :]
    assert strength(moved, 900, codec.pcm_rate_hz) > 6500
    assert strength(moved, HZ, codec.pcm_rate_hz) < 100
    has_no_step(phones[4], codec, 120, 121)


@pytest.mark.parametrize("ptime_ms", [10, 40, 60])
@pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda codec: codec.name)
def test_packets_of_other_lengths_are_shared_by_those_that_begin_together(
    codec: Codec, ptime_ms: int
) -> None:
    world = World()
    early = listeners(world, 2, codec, ptime_ms=ptime_ms)
    world.run(1)
    late = listeners(world, 2, codec, ptime_ms=ptime_ms)
    room_with_a_tone(world, *early, *late)
    world.run(150)
    early[1].hz = late[0].hz = OWN_HZ
    world.run(60)
    for phone in (*early, *late):
        for before, after in pairwise(phone.heard):
            assert (after.sequence - before.sequence) % 65536 == 1
            assert (after.timestamp - before.timestamp) % 2**32 == codec.clock_rate_hz * ptime_ms // 1000
        assert strength(decoded(phone, codec)[-codec.pcm_rate_hz // 2 :], HZ, codec.pcm_rate_hz) > 6500


class TestWhatBreaksSharing:
    def test_playback_to_one_leg_is_heard_by_it_alone(self) -> None:
        world = World()
        phones = listeners(world, 4, PCMU)
        room_with_a_tone(world, *phones, hz=400)
        world.run(SETTLED)
        phones[0].port.add_private(ToneSource(900))
        world.run(30)
        assert heard_tones(phones[0]) == {400, 900}
        assert all(heard_tones(phone) == {400} for phone in phones[1:])
        assert len({phone.heard[-1].payload for phone in phones[1:]}) == 1

    @pytest.mark.parametrize("flag", ["deaf", "local_hold"])
    def test_who_is_deaf_or_held_hears_nothing_and_the_others_go_on(self, flag: str) -> None:
        world = World()
        phones = listeners(world, 4, PCMU)
        room_with_a_tone(world, *phones, hz=400)
        world.run(SETTLED)
        setattr(phones[0].port, flag, True)
        world.run(30)
        assert heard_tones(phones[0]) == set()
        assert all(heard_tones(phone) == {400} for phone in phones[1:])
        setattr(phones[0].port, flag, False)
        world.run(30)
        assert heard_tones(phones[0]) == {400}

    @pytest.mark.parametrize("codec", [PCMU, G722, OPUS], ids=lambda codec: codec.name)
    def test_digits_go_to_one_leg_in_place_of_the_shared_audio(self, codec: Codec) -> None:
        world = World()
        phones = listeners(world, 4, codec)
        room_with_a_tone(world, *phones)
        world.run(SETTLED)
        assert phones[0].port.send_digits("5")
        world.run(50)
        assert any(packet.payload_type == 101 for packet in phones[0].heard)
        for phone in phones[1:]:
            assert all(packet.payload_type == codec.payload_type for packet in phone.heard)
            assert len(phone.heard) == SETTLED + 50
            has_no_step(phone, codec, SETTLED, SETTLED + 5)

    def test_a_tap_on_what_one_leg_hears_gets_it(self) -> None:
        world = World()
        phones = listeners(world, 4, PCMU)
        room_with_a_tone(world, *phones, hz=400)
        world.run(SETTLED)
        sink = ListSink()
        phones[2].port.add_tap_out(sink)
        world.run(20)
        assert strength(sink.pcm(), 400, 16000) > 7000

    def test_routing_is_obeyed(self) -> None:
        world = World()
        phones = listeners(world, 4, PCMU)
        room_with_a_tone(world, *phones, hz=400)
        world.run(SETTLED)
        plan = world.plane._plans["r"]
        hears = np.ones((5, 5), np.bool_)
        hears[1] = False
        world.room(*(member.port for member in plan.members), hears=hears)
        world.run(30)
        assert heard_tones(phones[0]) == set()
        assert heard_tones(phones[1]) == {400}


def test_listeners_of_other_codecs_share_with_their_like(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    groups = [listeners(world, 3, codec) for codec in (PCMU, PCMA, G722, OPUS)]
    room_with_a_tone(world, *(phone for group in groups for phone in group))
    world.run(SETTLED)
    counted = Counted(monkeypatch)
    world.run(10)
    assert counted.take() == 40  # one for Opus, one for each leg of G.722, which wait for a pause
    for group in groups:
        assert len({phone.heard[-1].payload for phone in group}) == 1


def test_a_room_that_is_silent_shares_its_noise() -> None:
    world = World()
    phones = listeners(world, 4, PCMU)
    world.room(*phones, comfort_noise=True)
    world.run(20)
    payloads = {phone.heard[-1].payload for phone in phones}
    assert len(payloads) == 1
    assert payloads != {b"\xff" * 160}


def test_a_codec_that_fails_ends_its_leg_and_leaves_the_others_their_audio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    phones = listeners(world, 4, OPUS)
    room_with_a_tone(world, *phones)
    world.run(SETTLED)
    broken = world.plane._core.packetizers[phones[0].port.slot]
    push = Packetizer.push

    def failing(packetizer: Packetizer, frame: Pcm) -> list[Payload]:
        if packetizer is broken:
            raise RuntimeError("broken codec")
        return push(packetizer, frame)

    monkeypatch.setattr(Packetizer, "push", failing)
    world.run(30)
    assert [phone.port.faulted for phone in phones] == [True, False, False, False]
    assert all(len(phone.heard) >= SETTLED + 29 for phone in phones[1:])
