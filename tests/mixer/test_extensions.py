"""Callers that put an extension into every header are heard like others, without a look at each packet."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mixer.support import Phone, World, heard_tones, rtp
from vb.mixer.batch import Batch
from vb.mixer.demux import Demux
from vb.mixer.extensions import skip_extensions
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
    skip_extensions(batch, 0, len(drawn), np.ones(len(drawn), np.bool_))
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
    skip_extensions(batch, 0, 2, np.array([True, False]))
    assert batch.matrix[:2, 0].tolist() == [0x90, 0x90]
