"""Packets with short headers as plain bytes: their protection, and the acknowledgements in them.

Spec: RFC 9000 §16, §17.3.1 and §19.3, RFC 9001 §5.3 and §5.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aioquic.quic.crypto import CryptoContext
from aioquic.quic.packet import decode_packet_number
from aioquic.quic.rangeset import RangeSet

from vb.quic.invariants import CONNECTION_ID_BYTES
from vb.quic.varint import read_varint, varint

SPIN: Final = 0x20
NUMBER_BYTES: Final = 2
"""Of the packet numbers that we send."""
MAX_RANGES: Final = 8
"""Gaps that an acknowledgement may tell of; those that tell of more are rare."""
_SHORT: Final = 0x40
_FORM_BITS: Final = 0xC0
_RESERVED_BITS: Final = 0x18
_KEY_PHASE: Final = 0x04
_MASKED_BITS: Final = 0x1F
_NUMBER_AT: Final = 1 + CONNECTION_ID_BYTES
_SAMPLE_AT: Final = _NUMBER_AT + 4
_SAMPLE_BYTES: Final = 16
_ACK: Final = b"\x02"


class UnusualError(Exception):
    """There is something about a packet for which aioquic's own way is the right one."""


@dataclass(frozen=True, slots=True)
class Ack:
    """An acknowledgement: which packets, and for how long it waited, in the sender's unit."""

    packets: RangeSet
    delay: int


def open_packet(receiving: CryptoContext, data: bytes, expected: int) -> tuple[int, int, bytes]:
    """Return first byte, number and contents of a packet.

    Args:
        receiving: the keys in use.
        data: the datagram.
        expected: number that the packet may be expected to have.

    Raises:
        UnusualError: it has no short header, is too short, or has other keys.
        aioquic's CryptoError: it is damaged.
    """
    if len(data) < _SAMPLE_AT + _SAMPLE_BYTES or data[0] & _FORM_BITS != _SHORT:
        raise UnusualError
    assert receiving.hp is not None
    assert receiving.aead is not None
    mask = receiving.hp._mask(data[_SAMPLE_AT : _SAMPLE_AT + _SAMPLE_BYTES])
    first = data[0] ^ mask[0] & _MASKED_BITS
    if bool(first & _KEY_PHASE) != receiving.key_phase:
        raise UnusualError
    size = (first & 3) + 1
    end = _NUMBER_AT + size
    shortened = int.from_bytes(data[_NUMBER_AT:end]) ^ int.from_bytes(mask[1 : 1 + size])
    number = decode_packet_number(shortened, 8 * size, expected)
    header = bytes((first,)) + data[1:_NUMBER_AT] + shortened.to_bytes(size)
    plain = receiving.aead.decrypt(data[end:], header, number)
    if first & _RESERVED_BITS:
        raise UnusualError
    return first, number, plain


def seal_packet(
    sending: CryptoContext, destination: bytes, frames: bytes, number: int, *, spin: bool
) -> bytes:
    """Return a packet as it leaves.

    Args:
        sending: the keys in use.
        destination: the peer's connection id.
        frames: what it holds, 2 bytes at least.
        number: of the packet.
        spin: the latency spin bit.
    """
    assert sending.aead is not None
    assert sending.hp is not None
    first = _SHORT | spin << 5 | sending.key_phase << 2 | NUMBER_BYTES - 1
    shortened = number & 0xFFFF
    header = bytes((first,)) + destination + shortened.to_bytes(NUMBER_BYTES)
    sealed = sending.aead.encrypt(frames, header, number)
    sample_at = 4 - NUMBER_BYTES
    mask = sending.hp._mask(sealed[sample_at : sample_at + _SAMPLE_BYTES])
    hidden = shortened ^ int.from_bytes(mask[1 : 1 + NUMBER_BYTES])
    masked = bytes((first ^ mask[0] & _MASKED_BITS,))
    return masked + destination + hidden.to_bytes(NUMBER_BYTES) + sealed


def integer(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer of variable length at a place, and the place behind it.

    Raises:
        IndexError: it is cut off.
    """
    found = read_varint(data, at)
    if found is None:
        raise IndexError
    return found


def read_ack(data: bytes, at: int) -> tuple[Ack, int]:
    """Return the acknowledgement whose type is before a place, and the place behind it.

    Raises:
        UnusualError: it has many ranges, or acknowledges what cannot be.
        IndexError: it is cut off.
    """
    largest, at = integer(data, at)
    delay, at = integer(data, at)
    more, at = integer(data, at)
    size, at = integer(data, at)
    smallest = largest - size
    if more > MAX_RANGES or smallest < 0:
        raise UnusualError
    packets = RangeSet((range(smallest, largest + 1),))
    for _ in range(more):
        gap, at = integer(data, at)
        size, at = integer(data, at)
        largest = smallest - gap - 2
        smallest = largest - size
        if smallest < 0:
            raise UnusualError
        packets.add(smallest, largest + 1)
    return Ack(packets, delay), at


def ack_frame(received: Sequence[range], delay: int) -> bytes:
    """Return the frame that acknowledges packets.

    Args:
        received: their numbers, in order.
        delay: for how long it has waited, in our unit.
    """
    newest = received[-1]
    start = newest.start
    frame = _ACK + varint(newest.stop - 1) + varint(delay)
    frame += varint(len(received) - 1) + varint(newest.stop - 1 - start)
    for before in received[-2::-1]:
        frame += varint(start - before.stop - 1) + varint(before.stop - before.start - 1)
        start = before.start
    return frame
