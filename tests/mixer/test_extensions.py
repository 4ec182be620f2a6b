"""Callers that put an extension into every header are heard like others, without a look at each packet."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.mixer.support import OPUS, Phone, World, agreed, heard_tones, rtp, strength, tone
from vb.codecs.opus import OpusEncoder
from vb.mixer.batch import NO_LEVEL, Batch
from vb.mixer.demux import Demux
from vb.mixer.extensions import skip_extensions
from vb.mixer.resting import MAX_BYTES
from vb.rtp.masks import true_places
from vb.rtp.packet import parse_rtp


def extended(packet: bytes, body: bytes, profile: int = 0xBEDE) -> bytes:
    """Return a packet with an extension of RFC 8285's one-byte form."""
    return b"\x90" + packet[1:12] + struct.pack("!HH", profile, len(body) // 4) + body + packet[12:]


class ExtendedPhone(Phone):
    """A phone that sends the audio level and, now and then, something longer."""

    def packet(self) -> bytes:
        body = b"\x10\x7f\x00\x00" if self.sequence % 3 else b"\x10\x7f\x22abc\x00\x00"
        return extended(super().packet(), body)


@pytest.mark.parametrize("profile", [0xBEDE, 0x1000])
def test_audio_behind_an_extension_is_heard(profile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    plain, other = world.phone(400), world.phone(600)
    world.phones.remove(plain)
    phone = ExtendedPhone(world.io, plain.port, plain.source, 400, ssrc=plain.ssrc)
    world.phones.append(phone)
    world.room(phone, other)
    world.run(20)
    looked: list[int] = []
    examine = Demux.examine

    def counted(demux: Demux, batch: Batch, row: int, arrival_s: float) -> bool:
        looked.append(row)
        return examine(demux, batch, row, arrival_s)

    monkeypatch.setattr(Demux, "examine", counted)
    world.run(30)
    assert heard_tones(other) == {400}
    assert looked == []
    statistics = phone.port.statistics()
    assert (statistics.damaged, statistics.underruns) == (0, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from((0x80, 0x90, 0x91, 0xB0)), st.integers(0, 12), st.binary(max_size=80)),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_left_is_what_a_careful_reader_finds(drawn: list[tuple[int, int, bytes]]) -> None:
    batch = Batch(len(drawn))
    packets = []
    for row, (first, words, rest) in enumerate(drawn):
        data = bytes([first]) + rtp(row, 0, struct.pack("!HH", 0xBEDE, words) + rest)[1:]
        packets.append(data)
        batch.matrix[row, : len(data)] = np.frombuffer(data, np.uint8)
        batch.lengths[row], batch.slots[row] = len(data), row
    skip_extensions(batch, 0, len(drawn), np.ones(len(drawn), np.bool_), np.zeros(len(drawn), np.uint8))
    for row, data in enumerate(packets):
        now = batch.matrix[row, : int(batch.lengths[row])].tobytes()
        before, after = parse_rtp(data), parse_rtp(now)
        if before is None:
            assert now == data
        else:
            assert after is not None
            assert (after.payload, after.sequence, after.ssrc) == (
                before.payload,
                before.sequence,
                before.ssrc,
            )


def test_rtcp_and_sources_that_are_not_known_are_left_alone() -> None:
    batch = Batch(2)
    report = extended(rtp(1, 2, b"abcd"), b"\x10\x7f\x00\x00")
    report = report[:1] + bytes([200]) + report[2:]
    for row, data in enumerate((report, extended(rtp(1, 2, b"abcd"), b"\x10\x7f\x00\x00"))):
        batch.matrix[row, : len(data)] = np.frombuffer(data, np.uint8)
        batch.lengths[row], batch.slots[row] = len(data), row
    skip_extensions(batch, 0, 2, np.array([True, False]), np.ones(2, np.uint8))
    assert batch.matrix[:2, 0].tolist() == [0x90, 0x90]
    assert batch.levels[:2].tolist() == [NO_LEVEL, NO_LEVEL]


def test_rows_that_all_had_an_extension_need_not_be_asked_again() -> None:
    def of(packets: list[bytes]) -> bool:
        batch = Batch(len(packets))
        for row, data in enumerate(packets):
            batch.matrix[row, : len(data)] = np.frombuffer(data, np.uint8)
            batch.lengths[row], batch.slots[row] = len(data), row
        count = len(packets)
        return skip_extensions(batch, 0, count, np.ones(count, np.bool_), np.ones(count, np.uint8))[1]

    usual = [extended(rtp(row, 0, b"abcd"), b"\x10\x7f\x00\x00") for row in range(3)]
    assert of(usual)
    longer = extended(rtp(1, 0, b"abcd"), b"\x10\x7f\x00\x00" * 2)
    cut_off = usual[0][:18]
    odd = {"plain": rtp(1, 0, b"abcd"), "longer": longer, "cut off": cut_off, "empty": b""}
    for second_byte in (72, 95, 200, 223):
        odd[f"type {second_byte}"] = usual[0][:1] + bytes([second_byte]) + usual[0][2:]
    assert [name for name, packet in odd.items() if of([*usual, packet])] == []
    assert of([b"\x90" + bytes([96]) + usual[0][2:]])


def levels_of(bodies: list[bytes], level_id: int, profile: int = 0xBEDE) -> list[int]:
    batch = Batch(len(bodies))
    batch.levels[:] = 99
    for row, body in enumerate(bodies):
        data = extended(rtp(row, 0, b"abcd"), body, profile)
        batch.matrix[row, : len(data)] = np.frombuffer(data, np.uint8)
        batch.lengths[row], batch.slots[row] = len(data), row
    count = len(bodies)
    skip_extensions(batch, 0, count, np.ones(count, np.bool_), np.full(count, level_id, np.uint8))
    levels: list[int] = batch.levels.tolist()
    return levels


def careful_level(body: bytes, level_id: int) -> int:
    """Return the level that a reader of one element after the other finds."""
    place = 0
    while place + 1 < len(body):
        number, size = body[place] >> 4, (body[place] & 15) + 1
        if number == level_id and size == 1:
            return body[place + 1] & 0x7F
        if number == 15:
            break
        place += 1 if body[place] == 0 else 1 + size
    return NO_LEVEL


@given(
    st.lists(st.integers(0, 5).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)), min_size=1),
    st.integers(1, 14),
)
def test_the_audio_level_is_the_one_that_a_careful_reader_finds(bodies: list[bytes], level_id: int) -> None:
    found = levels_of(bodies, level_id)
    for body, level in zip(bodies, found, strict=True):
        # What is beyond sixteen elements may be left unread.
        assert level in (careful_level(body, level_id), NO_LEVEL)
        if len(body) <= 16:
            assert level == careful_level(body, level_id)


def test_the_voice_flag_is_no_part_of_the_level_and_other_elements_are_passed_over() -> None:
    bodies = [b"\x10\xff\x00\x00", b"\x22abc\x10\x05\x00\x00", b"\x00\x00\x10\x7f", b"\x20\x7f\x00\x00"]
    assert levels_of(bodies, 1) == [127, 5, 127, NO_LEVEL]


def test_no_level_is_read_where_none_was_agreed_on_or_the_form_is_another() -> None:
    assert levels_of([b"\x10\x7f\x00\x00"], 0) == [NO_LEVEL]
    assert levels_of([b"\x10\x7f\x00\x00"], 1, profile=0x1000) == [NO_LEVEL]


class LevelPhone(Phone):
    """A browser that sends Opus with the level of each packet."""

    encoder: OpusEncoder
    loud: bool = True

    def packet(self) -> bytes:
        pcm = (
            tone(400, 960, start=self.sequence * 960, rate_hz=48000) if self.loud else np.zeros(960, np.int16)
        )
        data = rtp(self.sequence, self.timestamp, self.encoder.encode(pcm), ssrc=self.ssrc, payload_type=111)
        self.sequence += 1
        self.skip()
        return extended(data, bytes([0x10, 20 if self.loud else 127, 0, 0]))

    def skip(self) -> None:
        self.timestamp += 960


def browser(world: World) -> LevelPhone:
    """Add one whose levels are agreed on."""
    plain = world.phone(400)
    world.phones.remove(plain)
    phone = LevelPhone(world.io, plain.port, plain.source, ssrc=plain.ssrc)
    phone.encoder = OpusEncoder(48000)
    phone.port.authenticated = True
    phone.port.configure(agreed(plain.source[1], codec=OPUS))
    phone.port.audio_level_id = 1
    world.phones.append(phone)
    return phone


@pytest.mark.parametrize("most_bytes", [MAX_BYTES, 3])
def test_a_leg_whose_level_says_silence_is_not_decoded_and_heard_again_at_once(
    most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.mixer.ingest.MAX_BYTES", most_bytes)
    world = World()
    phone, other = browser(world), world.phone(600)
    world.room(phone, other)
    world.run(50)
    assert world.plane.statistics.rested == 0
    assert heard_tones(other) == {400}
    phone.loud = False
    world.run(60)
    rested = world.plane.statistics.rested
    assert 40 <= rested <= 50
    assert np.abs(other.pcm(10).astype(np.int32)).max() < 8
    phone.loud = True
    world.run(50)
    assert world.plane.statistics.rested - rested <= 3
    heard = other.pcm(50)
    begun = int(np.argmax(heard > 1000))
    assert begun < 160 * 4
    # The first 20 ms are as strong as all others: nothing fades in, nothing is lost of the onset.
    assert strength(heard[begun : begun + 160], 400) > 0.9 * strength(heard[-1600:], 400)
    assert phone.port.statistics().concealed == 0


def test_a_level_that_was_not_agreed_on_lets_nobody_rest() -> None:
    world = World()
    plain, other = world.phone(400), world.phone(600)
    world.phones.remove(plain)
    phone = LevelPhone(world.io, plain.port, plain.source, ssrc=plain.ssrc)
    phone.encoder, phone.loud = OpusEncoder(48000), False
    phone.port.configure(agreed(plain.source[1], codec=OPUS))
    world.phones.append(phone)
    world.room(phone, other)
    world.run(50)
    assert world.plane.statistics.rested == 0


def test_only_the_sizes_of_extensions_cost_a_pass_over_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, passes = Batch(300), 0
    for row in range(300):
        data = rtp(row, 0, bytes([row % 256, row * 7 % 256]) * 80)
        data = extended(data, b"\x10\x7f\x00\x00") if row == 150 else data
        batch.matrix[row, : len(data)] = np.frombuffer(data, np.uint8)
        batch.lengths[row], batch.slots[row] = len(data), row

    def counted(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        nonlocal passes
        passes += 1
        return true_places(mask)

    monkeypatch.setattr("vb.mixer.extensions.true_places", counted)
    heads, all_extended = skip_extensions(batch, 0, 300, np.ones(300, np.bool_), np.zeros(300, np.uint8))
    assert passes <= 3
    assert not all_extended
    assert (heads[:, 0] == 0x80).all()
    assert int(batch.lengths[150]) == int(batch.lengths[149])
