"""What leaves a leg: packet times, codecs with state, and telephone-events in place of audio."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.mixer.support import (
    G722,
    OPUS,
    PCMA,
    PCMU,
    Pcm,
    Phone,
    ToneSource,
    World,
    agreed,
    from_alaw,
    level,
    rtp,
    strength,
)
from vb.codecs.base import Codec, make_decoder, make_encoder
from vb.codecs.complexity import LEAN
from vb.codecs.g711 import ULAW_TO_PCM
from vb.codecs.opus import OpusEncoder
from vb.codecs.opus_runs import EncodeRun
from vb.codecs.resample import StreamResampler
from vb.mixer.hands import LEAST_CALLS, OneHand, Work
from vb.mixer.tasks.helpers import helpers_of
from vb.rtp.rtcp_session import PeerReport
from vb.speech.inband_dtmf import InbandDtmfDetector


def listener(world: World, *, codec: Codec = PCMU, ptime_ms: int = 20, events: int | None = None) -> Phone:
    """Return a phone that is played a 400 Hz tone."""
    phone = world.phone(sending=False)
    phone.port.configure(agreed(phone.source[1], codec=codec, ptime_ms=ptime_ms, events=events))
    phone.port.add_private(ToneSource(400))
    return phone


@pytest.mark.parametrize(("ptime_ms", "packets"), [(10, 240), (20, 120), (40, 60), (60, 40)])
@pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS], ids=lambda codec: codec.name)
def test_packet_times_are_kept_with_every_codec(codec: Codec, ptime_ms: int, packets: int) -> None:
    world = World()
    phone = listener(world, codec=codec, ptime_ms=ptime_ms)
    world.run(120)
    assert len(phone.heard) == packets
    step = codec.clock_rate_hz * ptime_ms // 1000
    for before, after in pairwise(phone.heard):
        assert (after.timestamp - before.timestamp) % 2**32 == step
        assert (after.sequence - before.sequence) % 65536 == 1
    decoder = make_decoder(codec)
    pcm = np.concatenate([decoder.decode(packet.payload) for packet in phone.heard])
    assert pcm.size == 120 * codec.pcm_rate_hz // 50
    assert strength(pcm[pcm.size // 2 :], 400, codec.pcm_rate_hz) > 6500
    statistics = phone.port.statistics()
    assert statistics.sent.packets == packets
    assert statistics.sent.octets == sum(len(packet.payload) for packet in phone.heard)


def test_media_follows_a_codec_change() -> None:
    world = World()
    phone = listener(world)
    world.run(20)
    phone.port.configure(agreed(phone.source[1], codec=PCMA))
    world.run(20)
    assert [packet.payload_type for packet in phone.heard] == [0] * 20 + [8] * 20
    assert strength(from_alaw(b"".join(packet.payload for packet in phone.heard[25:])), 400) > 7500
    assert not phone.heard[20].marker


def test_a_codec_of_another_clock_gets_a_source_of_its_own() -> None:
    world = World()
    phone = listener(world)
    world.run(5)
    phone.port.configure(agreed(phone.source[1], codec=OPUS))
    world.run(5)
    before, after = phone.heard[4], phone.heard[5]
    assert before.ssrc != after.ssrc == phone.port.ssrc
    assert after.marker
    assert after.payload_type == 111


@pytest.mark.parametrize("codec", [G722, OPUS], ids=lambda codec: codec.name)
def test_codecs_with_state_are_heard(codec: Codec) -> None:
    world = World()
    talker, other = world.phone(sending=False), world.phone()
    talker.port.configure(agreed(talker.source[1], codec=codec))
    world.room(talker, other)
    encoder = make_encoder(codec)
    source = ToneSource(400)
    for k in range(100):
        payload = encoder.encode(source.take(codec.pcm_rate_hz))
        data = rtp(k, k * codec.clock_rate_hz // 50, payload, payload_type=codec.payload_type)
        world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
        world.run(1)
    heard = other.pcm(50)
    assert strength(heard, 400) > 6500
    assert min(level(heard[i : i + 160]) for i in range(0, heard.size, 160)) > 4500


def test_opus_dtx_is_followed_by_quiet_noise() -> None:
    world = World()
    talker, other = world.phone(sending=False), world.phone()
    talker.port.configure(agreed(talker.source[1], codec=OPUS))
    world.room(talker, other)
    encoder = make_encoder(OPUS)
    source = ToneSource(400)
    for k in range(60):
        payload = encoder.encode(source.take(48000)) if k < 50 else b"\x08"
        data = rtp(k, k * 960, payload, payload_type=111)
        world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
        world.run(1)
    assert 5 < level(other.pcm(5)) < 60


def test_a_damaged_payload_is_counted_and_the_stream_goes_on() -> None:
    world = World()
    talker, other = world.phone(sending=False), world.phone()
    talker.port.configure(agreed(talker.source[1], codec=OPUS))
    world.room(talker, other)
    encoder = make_encoder(OPUS)
    source = ToneSource(400)
    for k in range(80):
        payload = encoder.encode(source.take(48000)) if k % 10 else b"\xff\xff\xff\xff"
        data = rtp(k, k * 960, payload, payload_type=111)
        world.io.arrive(talker.port.slot, data, talker.source, world.tick_at + 0.010)
        world.run(1)
    assert talker.port.statistics().damaged >= 6
    assert strength(other.pcm(30), 400) > 4000


class TestDigits:
    def test_a_digit_takes_the_place_of_audio(self) -> None:
        world = World()
        phone = listener(world, events=101)
        world.run(10)
        assert phone.port.send_digits("5")
        world.run(30)
        events = [packet for packet in phone.heard if packet.payload_type == 101]
        assert [packet.payload[0] for packet in events] == [5] * 7
        assert [packet.marker for packet in events] == [True] + [False] * 6
        assert len({packet.timestamp for packet in events}) == 1
        durations = [int.from_bytes(packet.payload[2:4], "big") for packet in events]
        assert durations == [160, 320, 480, 640, 800, 800, 800]
        sequences = [packet.sequence for packet in phone.heard]
        assert all((b - a) % 65536 == 1 for a, b in pairwise(sequences))

    def test_audio_comes_back_marked_and_in_time(self) -> None:
        world = World()
        phone = listener(world, events=101)
        world.run(10)
        phone.port.send_digits("1")
        world.run(30)
        audio = [packet for packet in phone.heard if packet.payload_type == 0]
        resumed = audio[10]
        assert resumed.marker
        ticks = (resumed.timestamp - audio[9].timestamp) % 2**32 // 160
        assert len(audio) == 40 - ticks + 1
        assert ticks == 11

    def test_a_peer_that_takes_no_events_is_sent_none(self) -> None:
        world = World()
        phone = listener(world)
        assert not phone.port.send_digits("5")
        world.run(5)
        assert {packet.payload_type for packet in phone.heard} == {0}


class TestDigitTones:
    @pytest.mark.parametrize("ptime_ms", [10, 20, 60])
    @pytest.mark.parametrize("codec", [PCMU, PCMA, G722, OPUS], ids=lambda codec: codec.name)
    def test_digits_take_the_place_of_audio_in_order(self, codec: Codec, ptime_ms: int) -> None:
        world = World()
        phone = listener(world, codec=codec, ptime_ms=ptime_ms)
        world.run(12)
        assert phone.port.send_tones("15d*")
        world.run(60)
        decoder = make_decoder(codec)
        pcm = np.concatenate([decoder.decode(packet.payload) for packet in phone.heard])
        eight = pcm if codec.pcm_rate_hz == 8000 else StreamResampler(codec.pcm_rate_hz, 8000).process(pcm)
        detector = InbandDtmfDetector()
        frames = eight[: eight.size // 160 * 160].reshape(-1, 160)
        assert "".join(digit for frame in frames if (digit := detector.feed(frame)) is not None) == "15D*"
        middle = pcm[pcm.size * 16 // 72 : pcm.size * 50 // 72]
        assert strength(middle, 400, codec.pcm_rate_hz) < 300
        assert strength(pcm[-pcm.size // 8 :], 400, codec.pcm_rate_hz) > 6500
        step = codec.clock_rate_hz * ptime_ms // 1000
        for before, after in pairwise(phone.heard):
            assert (after.timestamp - before.timestamp) % 2**32 == step

    def test_level_and_times_are_the_usual_ones(self) -> None:
        world = World()
        phone = listener(world)
        world.run(10)
        phone.port.send_tones("1")
        world.run(20)
        frames = [ULAW_TO_PCM[np.frombuffer(packet.payload, np.uint8)] for packet in phone.heard]
        tone = np.concatenate(frames[11:14])
        low, high = strength(tone, 697), strength(tone, 1209)
        dbm0 = [20 * np.log10(level / 32767) + 3.14 for level in (low, high)]
        assert dbm0 == pytest.approx([-9, -7], abs=0.5)
        assert [bool(strength(frame, 697) > 2000) for frame in frames[9:16]] == [False] + [True] * 5 + [False]
        assert all(not frame.any() for frame in frames[15:20])

    def test_a_deaf_leg_sends_them_all_the_same(self) -> None:
        world = World()
        phone = listener(world)
        phone.port.deaf = True
        phone.port.send_tones("1")
        world.run(4)
        assert strength(ULAW_TO_PCM[np.frombuffer(phone.heard[2].payload, np.uint8)], 697) > 2000

    def test_a_peer_that_holds_us_is_sent_none_and_hears_none_later(self) -> None:
        world = World()
        phone = listener(world)
        world.run(2)
        assert phone.port.send_tones("123")
        phone.port.configure(agreed(phone.source[1], direction="recvonly", remote_held=True))
        assert not phone.port.send_tones("5")
        phone.port.configure(agreed(phone.source[1]))
        assert not phone.port.dialling

    def test_too_many_digits_are_refused_as_a_whole(self) -> None:
        phone = listener(World())
        assert not phone.port.send_tones("1" * 257)
        assert not phone.port.dialling
        assert phone.port.send_tones("1" * 256)


def test_a_keep_alive_is_an_empty_packet_of_the_same_stream() -> None:
    world = World()
    phone = listener(world, events=101)
    world.run(3)
    data = phone.port.keep_alive()
    assert data is not None
    assert len(data) == 12
    assert data[1] & 0x7F not in (0, 8, 9, 13, 101, 111)
    assert data[8:12] == phone.port.ssrc.to_bytes(4, "big")
    assert int.from_bytes(data[2:4], "big") == (phone.heard[-1].sequence + 1) % 65536
    world.run(1)
    assert phone.heard[-1].sequence == (phone.heard[-2].sequence + 2) % 65536


def test_nothing_is_sent_until_sending_is_switched_on() -> None:
    world = World()
    phone = listener(world)
    phone.port.sending = False
    world.run(5)
    assert phone.heard == []
    phone.port.sending = True
    world.run(2)
    assert [packet.marker for packet in phone.heard] == [True, False]


class CountedHands(OneHand):
    """Counts the batches that it is given, and how large they were."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def share(self, count: int, work: Work) -> None:
        self.batches.append(count)
        super().share(count, work)


def opus_pair(world: World) -> list[Phone]:
    """Return two phones that hear tones by Opus."""
    phones = [listener(world, codec=OPUS) for _ in range(2)]
    world.run(1)
    return phones


def test_all_frames_of_a_tick_are_encoded_in_one_batch() -> None:
    world = World()
    opus_pair(world)
    listener(world, codec=G722)
    hands = CountedHands()
    world.plane.set_hands(hands)
    world.run(10)
    assert hands.batches == [3] * 10


def test_packets_are_the_same_whoever_encodes_them() -> None:
    alone, helped = World(), World()
    heard = [opus_pair(world) for world in (alone, helped)]
    with helpers_of(2) as hands:
        for world in (alone, helped):
            for _ in range(10):
                heard[world is helped].append(listener(world, codec=OPUS))
        helped.plane.set_hands(hands)
        alone.run(40)
        helped.run(40)
    for one, other in zip(*heard, strict=True):
        assert [packet.payload for packet in one.heard] == [packet.payload for packet in other.heard]


def test_frames_are_encoded_with_as_much_work_as_the_load_leaves() -> None:
    world = World()
    phones = opus_pair(world)
    world.run(5)
    for wanted in (0, 3):
        world.plane.complexity.level = wanted
        world.run(1)
        encoders = [world.plane._core.packetizers[phone.port.slot] for phone in phones]
        assert [encoder and encoder._opus and encoder._opus.complexity for encoder in encoders] == [
            wanted
        ] * 2


def test_an_encoder_that_goes_on_for_another_one_has_its_complexity() -> None:
    one, other = OpusEncoder(48000), OpusEncoder(48000)
    one.set_complexity(0)
    other.copy_from(one)
    assert other.complexity == 0
    other.set_complexity(5)
    one.set_complexity(5)
    pcm = np.rint(3000 * np.random.default_rng(1).normal(size=960)).astype(np.int16)
    assert one.encode(pcm) == other.encode(pcm)


def report(phone: Phone, fraction_lost: float) -> None:
    phone.port.peer_report = PeerReport(fraction_lost, 0, 0, None)


def last_payloads(phones: list[Phone]) -> list[bool]:
    """Whether what each has heard last is speech coding, which mends losses (RFC 6716 §3.1)."""
    return [phone.heard[-1].payload[0] >> 3 < 16 for phone in phones]


def test_a_leg_that_reports_losses_is_sent_what_mends_them_however_busy_the_plane_is() -> None:
    world = World()
    phones = opus_pair(world)
    world.plane.complexity.level = LEAN
    world.run(5)
    assert last_payloads(phones) == [False, False]
    report(phones[0], 0.004)  # one packet in five seconds
    report(phones[1], 0.05)
    world.run(5)
    assert last_payloads(phones) == [False, True]
    for _ in range(3):
        report(phones[1], 0.0)
        world.run(5)
        assert last_payloads(phones) == [False, True]
    report(phones[1], 0.0)
    world.run(5)
    assert last_payloads(phones) == [False, False]


def test_all_who_share_an_encoding_are_sent_what_mends_the_losses_of_one() -> None:
    world = World()
    phones = [world.phone(400), *(world.phone() for _ in range(3))]
    for phone in phones[1:]:
        phone.port.configure(agreed(phone.source[1], codec=OPUS, receive={0: PCMU}))
    world.room(*phones)
    world.plane.complexity.level = LEAN
    world.run(60)
    followers = phones[1:]
    assert (
        world.plane._core.columns.leader[[phone.port.slot for phone in followers]].tolist()
        == [followers[0].port.slot] * 3
    )
    assert last_payloads(followers) == [False] * 3
    report(followers[2], 0.05)
    world.run(5)
    assert last_payloads(followers) == [True] * 3


def test_an_encoder_that_fails_ends_its_leg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    phones = [listener(world, codec=OPUS) for _ in range(LEAST_CALLS)]
    world.run(5)
    ended: list[tuple[int, str]] = []
    world.plane.set_fault_handlers(lambda port, error: ended.append((port.slot, str(error))))
    run = EncodeRun.run

    def failing(frames: EncodeRun, start: int, stop: int) -> None:
        run(frames, start, stop)
        if not start:
            frames.sizes[0] = -3

    monkeypatch.setattr(EncodeRun, "run", failing)
    before = [phone.port.sent() for phone in phones]
    heard = [len(phone.heard) for phone in phones]
    world.run(1)
    monkeypatch.undo()
    world.run(4)
    assert ended == [(phones[0].port.slot, "Opus encoding: internal error")]
    assert phones[0].port.sent().packets == before[0].packets
    assert [phone.port.sent().packets for phone in phones[1:]] == [sent.packets + 5 for sent in before[1:]]
    assert [len(phone.heard) for phone in phones] == [heard[0], *(count + 5 for count in heard[1:])]
    for phone in phones:
        assert {(b.sequence - a.sequence) % 65536 for a, b in pairwise(phone.heard)} == {1}


class Dialler(ToneSource):
    """Dials within a tick, as whoever is called from one may."""

    def __init__(self, phone: Phone) -> None:
        super().__init__(400)
        self.phone = phone
        self.at = 0

    def take(self, rate_hz: int) -> Pcm:
        self.at += 1
        if self.at == 10:
            self.phone.port.send_digits("1")
        return super().take(rate_hz)


def test_digits_that_a_tick_asks_for_take_the_place_of_its_audio() -> None:
    world = World()
    phone, *others = (listener(world, codec=OPUS, events=101) for _ in range(LEAST_CALLS))
    phone.port.add_private(Dialler(phone))
    world.run(30)
    types = [packet.payload_type for packet in phone.heard]
    assert types[8:11] == [111, 101, 101]
    assert types[-1] == 111
    for other in others:
        assert [packet.payload_type for packet in other.heard] == [111] * 30
