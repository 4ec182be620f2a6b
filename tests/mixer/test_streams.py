"""Decoding at playout: order, error correction and concealment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mixer.support import G722, OPUS, PCMU, Pcm, level, strength, to_ulaw, tone
from vb.codecs.base import CODECS, Codec, make_encoder
from vb.mixer.facts import TABLES
from vb.mixer.streams import RESTS_AFTER, StreamReceiver, opus_duration_ms


def opus_packets(count: int) -> list[bytes]:
    encoder = make_encoder(OPUS)
    return [encoder.encode(tone(400, 960, start=k * 960, rate_hz=48000)) for k in range(count)]


def joined(parts: list[tuple[int, Pcm]], samples: int) -> Pcm:
    pcm = np.zeros(samples, np.int16)
    for position, part in parts:
        pcm[position : position + part.size] = part
    return pcm


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_a_frame_of_every_codec_counts_as_20_ms(codec: Codec) -> None:
    rate_hz = codec.pcm_rate_hz
    payload = make_encoder(codec).encode(tone(400, rate_hz // 50, rate_hz=rate_hz))
    assert StreamReceiver({96: codec}, rate_hz).length(96, payload) == rate_hz // 50


def test_every_codec_that_is_coded_by_table_has_its_tables_in_the_plane() -> None:
    assert {codec.name for codec in CODECS.values() if codec.tabled} == set(TABLES)


def test_packets_are_decoded_in_order_whatever_order_they_come_in() -> None:
    packets = opus_packets(20)
    straight, shuffled = (StreamReceiver({111: OPUS}, 48000) for _ in range(2))
    for k, packet in enumerate(packets):
        straight.push(k * 960, 111, packet)
    for k in (3, 1, 0, 2, *range(19, 3, -1)):
        shuffled.push(k * 960, 111, packets[k])
    want, got = straight.advance(20 * 960), shuffled.advance(20 * 960)
    assert [position for position, _ in got] == [k * 960 for k in range(20)]
    assert all((a[1] == b[1]).all() for a, b in zip(want, got, strict=True))


def test_nothing_is_decoded_before_it_is_due() -> None:
    stream = StreamReceiver({9: G722}, 16000)
    for k in range(3):
        stream.push(k * 320, 9, bytes(160))
    assert [position for position, _ in stream.advance(320)] == [0]
    assert [position for position, _ in stream.advance(321)] == [320]


def test_a_lost_packet_is_restored_from_the_one_after_it() -> None:
    packets = opus_packets(30)
    stream = StreamReceiver({111: OPUS}, 48000)
    parts: list[tuple[int, Pcm]] = []
    for k, packet in enumerate(packets):
        if k != 20:
            stream.push(k * 960, 111, packet)
    for k in range(30):
        parts += stream.advance((k + 1) * 960)
    pcm = joined(parts, 30 * 960)
    assert strength(pcm[20 * 960 : 21 * 960], 400, 48000) > 5000


def test_a_long_hole_is_left_to_the_playout() -> None:
    packets = opus_packets(30)
    stream = StreamReceiver({111: OPUS}, 48000)
    for k in (0, 1, 20):
        stream.push(k * 960, 111, packets[k])
    parts = stream.advance(21 * 960)
    assert [position for position, _ in parts] == [0, 960, 20 * 960]


def test_a_codec_of_another_rate_is_brought_to_the_ring() -> None:
    stream = StreamReceiver({0: PCMU}, 48000)
    for k in range(20):
        stream.push(k * 960, 0, to_ulaw(tone(400, 160, start=k * 160)))
    pcm = joined(stream.advance(20 * 960), 20 * 960)
    assert strength(pcm[4800:], 400, 48000) > 7500


def test_what_waits_is_bounded() -> None:
    stream = StreamReceiver({9: G722}, 16000)
    for k in range(1000):
        stream.push(k * 320, 9, bytes(160))
    decoded = stream.advance(10**9)
    assert len([pcm for at, pcm in decoded if at >= 936 * 320]) == 64
    assert len(decoded) == 128, "what was given up not long ago is silence"
    assert stream.damaged == 936


def test_a_stream_that_starts_anew_forgets_what_waited() -> None:
    stream = StreamReceiver({9: G722}, 16000)
    stream.push(0, 9, bytes(160))
    stream.reset()
    assert stream.advance(10**6) == []


@pytest.mark.parametrize(
    ("toc", "ms"),
    [(0x00, 10), (0x08, 20), (0x18, 60), (0x60, 10), (0x68, 20), (0x80, 2.5), (0x98, 20), (0x99, 40)],
)
def test_duration_of_an_opus_packet(toc: int, ms: float) -> None:
    assert opus_duration_ms(bytes([toc, 0, 0])) == ms


def test_duration_of_a_counted_opus_packet() -> None:
    assert opus_duration_ms(bytes([0x9B, 3])) == 60
    assert opus_duration_ms(bytes([0x9B, 63])) == 0
    assert opus_duration_ms(bytes([0x9B])) == 0
    assert opus_duration_ms(b"") == 0


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_any_payloads_are_decoded_or_counted(payloads: list[bytes]) -> None:
    stream = StreamReceiver({111: OPUS}, 48000)
    position = 0
    for payload in payloads:
        length = stream.length(111, payload)
        if length and not stream.is_pause(111, payload):
            stream.push(position, 111, payload)
            position += length
    for _, pcm in stream.advance(position + 1):
        assert level(pcm) <= 32768


def speech_with_pauses() -> tuple[list[bytes], list[bool]]:
    """Return two words of harmonics with a pause before each, as packets, and which of them are silent."""
    encoder = make_encoder(OPUS)
    clock = np.arange(200 * 960) / 48000
    voice = sum(2000 / k * np.sin(2 * np.pi * 140 * k * clock) for k in range(1, 15))
    silent = [not (60 <= packet < 100 or packet >= 150) for packet in range(200)]
    voice *= np.repeat(np.logical_not(silent), 960)
    frames = np.rint(voice).astype(np.int16).reshape(-1, 960)
    return [encoder.encode(frame) for frame in frames], silent


def played(
    packets: list[bytes], silent: list[bool], lost: tuple[int, ...] = ()
) -> tuple[Pcm, StreamReceiver]:
    stream = StreamReceiver({111: OPUS}, 48000)
    parts: list[tuple[int, Pcm]] = []
    for k, (packet, is_silent) in enumerate(zip(packets, silent, strict=True)):
        if k not in lost:
            stream.push(k * 960, 111, packet, silent=is_silent)
        parts += stream.advance((k + 1) * 960)
    return joined(parts, len(packets) * 960), stream


def test_packets_of_silence_rest_and_the_next_word_begins_as_if_they_had_been_decoded() -> None:
    packets, silent = speech_with_pauses()
    straight, _ = played(packets, [False] * 200)
    rested, stream = played(packets, silent)
    assert stream.rested == 200 - 40 - 50 - 2 * RESTS_AFTER
    for begun in (60, 150):
        for frame in range(begun, begun + 4):
            part = slice(frame * 960, (frame + 1) * 960)
            error = rested[part] - straight[part]
            assert level(rested[part]) > 500
            assert level(error) < level(straight[part]) / 1000
    assert not rested[20 * 960 : 60 * 960].any()


def test_a_packet_lost_among_silent_ones_is_silence_too() -> None:
    packets, silent = speech_with_pauses()
    got, stream = played(packets, silent, lost=(30, 31, 40))
    assert stream.rested == 200 - 40 - 50 - 2 * RESTS_AFTER - 3
    assert not got[20 * 960 : 60 * 960].any()


def test_a_lost_first_packet_of_a_word_is_restored_after_a_rest() -> None:
    packets, silent = speech_with_pauses()
    straight, _ = played(packets, [False] * 200, lost=(60,))
    got, stream = played(packets, silent, lost=(60,))
    assert stream.damaged == 0
    error = got[60 * 960 : 64 * 960] - straight[60 * 960 : 64 * 960]
    assert level(error) < level(straight[60 * 960 : 64 * 960]) / 100


def test_a_short_gap_in_speech_is_decoded() -> None:
    packets, _ = speech_with_pauses()
    silent = [k % 20 < RESTS_AFTER for k in range(200)]
    _, stream = played(packets, silent)
    assert stream.rested == 0


def test_a_stream_that_starts_anew_does_not_go_on_resting() -> None:
    packets, silent = speech_with_pauses()
    _, stream = played(packets[:40], silent[:40])
    rested = stream.rested
    stream.reset()
    stream.push(0, 111, packets[0], silent=True)
    assert stream.advance(960)
    assert stream.rested == rested
