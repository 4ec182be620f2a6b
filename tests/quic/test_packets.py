"""Packets and acknowledgements of ours beside those of aioquic."""

from __future__ import annotations

import pytest
from aioquic._crypto import CryptoError
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import pull_ack_frame, push_ack_frame
from aioquic.quic.rangeset import RangeSet
from aioquic.tls import CipherSuite
from hypothesis import given
from hypothesis import strategies as st

from vb.quic.packets import MAX_RANGES, UnusualError, ack_frame, integer, open_packet, read_ack, seal_packet

DESTINATION = bytes(range(8))
SUITES = (
    CipherSuite.AES_128_GCM_SHA256,
    CipherSuite.AES_256_GCM_SHA384,
    CipherSuite.CHACHA20_POLY1305_SHA256,
)
VERSION = 1


def keys(suite: CipherSuite) -> CryptoPair:
    """Return keys with which one reads what the other writes."""
    pair = CryptoPair()
    secret = bytes(48 if suite is CipherSuite.AES_256_GCM_SHA384 else 32)
    pair.send.setup(cipher_suite=suite, secret=secret, version=VERSION)
    pair.recv.setup(cipher_suite=suite, secret=secret, version=VERSION)
    return pair


@st.composite
def received(draw: st.DrawFn) -> RangeSet:
    """Numbers of packets that have come, with a few gaps."""
    ranges, at = RangeSet(), draw(st.integers(0, 1 << 40))
    for _ in range(draw(st.integers(1, MAX_RANGES + 1))):
        size = draw(st.integers(1, 1 << 20))
        ranges.add(at, at + size)
        at += size + draw(st.integers(1, 1 << 20))
    return ranges


@pytest.mark.parametrize("suite", SUITES)
@given(frames=st.binary(min_size=2, max_size=1200), number=st.integers(0, 1 << 40), spin=st.booleans())
def test_a_packet_is_sealed_as_aioquic_does_and_opened_again(
    suite: CipherSuite, frames: bytes, number: int, spin: bool
) -> None:
    pair = keys(suite)
    sealed = seal_packet(pair.send, DESTINATION, frames, number, spin=spin)
    header = bytes((0x41 | spin << 5,)) + DESTINATION + (number & 0xFFFF).to_bytes(2)
    assert sealed == pair.encrypt_packet(header, frames, number)
    assert open_packet(pair.recv, sealed, number) == (header[0], number, frames)


@given(data=st.binary(max_size=80), expected=st.integers(0, 1 << 40))
def test_any_other_bytes_are_no_packet(data: bytes, expected: int) -> None:
    with pytest.raises((UnusualError, CryptoError)):
        open_packet(keys(SUITES[0]).recv, data, expected)


def test_a_packet_of_other_keys_or_with_reserved_bits_is_not_opened() -> None:
    pair = keys(SUITES[0])
    for first in (0x45, 0x49, 0x51):
        sealed = pair.encrypt_packet(bytes((first,)) + DESTINATION + bytes(2), bytes(20), 0)
        with pytest.raises(UnusualError):
            open_packet(pair.recv, sealed, 0)


@given(ranges=received(), delay=st.integers(0, 1 << 30))
def test_an_acknowledgement_is_written_and_read_as_aioquic_does(ranges: RangeSet, delay: int) -> None:
    theirs = Buffer(capacity=400)
    theirs.push_uint8(2)
    push_ack_frame(theirs, ranges, delay, 390)
    frame = ack_frame(list(ranges), delay)
    assert frame == theirs.data
    ack, end = read_ack(frame, 1)
    assert (ack.packets, ack.delay, end) == (*pull_ack_frame(Buffer(data=frame[1:])), len(frame))


@given(data=st.binary(max_size=40))
def test_any_acknowledgement_is_read_as_aioquic_does_or_not_at_all(data: bytes) -> None:
    try:
        ack, end = read_ack(data, 0)
    except (IndexError, UnusualError):
        return
    theirs = Buffer(data=data)
    assert (ack.packets, ack.delay) == pull_ack_frame(theirs)
    assert end == theirs.tell()


@given(data=st.binary(min_size=1, max_size=9))
def test_integers_are_read_as_aioquic_does(data: bytes) -> None:
    theirs = Buffer(data=data)
    try:
        value, end = integer(data, 0)
    except IndexError:
        assert len(data) < 1 << (data[0] >> 6)
        return
    assert (theirs.pull_uint_var(), theirs.tell()) == (value, end)
