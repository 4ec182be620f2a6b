"""SRTP and SRTCP of a leg: media in batches, in place on the rows of an array; reports one by one.

Nothing here raises for what a network may send: a packet that is refused gets the length 0 and is counted.

Spec: RFC 3711, RFC 7714.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.webrtc import libsrtp
from vb.webrtc.dtls import SrtpKeys, SrtpProfile

TRAILER_BYTES: Final = 20
"""Room that protecting needs behind a packet: the tag, and the index of SRTCP."""
MAX_SOURCES: Final = 16
"""SSRCs that libsrtp keeps state for; a peer that goes on to invent them has its oldest forgotten."""

_RTP_HEADER_BYTES: Final = 12
_RTCP_HEADER_BYTES: Final = 8
_RTCP_INDEX_BYTES: Final = 4
_MAX_RTCP_BYTES: Final = 2048
_TAG_BYTES: Final = {
    SrtpProfile.AEAD_AES_128_GCM: 16,
    SrtpProfile.AEAD_AES_256_GCM: 16,
    SrtpProfile.AES128_CM_SHA1_80: 10,
    SrtpProfile.AES128_CM_SHA1_32: 4,
}
_RTCP_TAG_BYTES: Final = _TAG_BYTES | {SrtpProfile.AES128_CM_SHA1_32: 10}


@dataclass(slots=True)
class SrtpCounts:
    """Packets that were refused.

    Attributes:
        malformed: cut off, or too long.
        unauthentic: changed on the way, or protected with another key.
        replayed: seen before, or older than what is remembered.
        unsent: of ours, which could not be protected.
    """

    malformed: int = 0
    unauthentic: int = 0
    replayed: int = 0
    unsent: int = 0


class Rows:
    """The rows of an array as places for packets; made once for an array that stays.

    Args:
        array: two-dimensional, of uint8, C-contiguous; rows begin at multiples of four bytes.

    Attributes:
        words: the same memory as 32-bit numbers.

    Raises:
        ValueError: the array is of another form.
    """

    __slots__ = ("array", "capacity_bytes", "pointers", "words")

    def __init__(self, array: NDArray[np.uint8]) -> None:
        if array.ndim != 2 or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise ValueError("rows need a contiguous two-dimensional array of bytes")
        start, pitch = array.ctypes.data, array.shape[1]
        if start % 4 or pitch % 4:
            raise ValueError("rows need to begin at multiples of four bytes")
        self.array = array
        self.capacity_bytes = pitch
        self.words: NDArray[np.uint32] = array.view(np.uint32)
        self.pointers = [libsrtp.pointer(start + row * pitch) for row in range(array.shape[0])]


class Srtp:
    """Both directions of one leg.

    Attributes:
        counts: what was refused.
    """

    __slots__ = (
        "_inbound", "_keys", "_min_rtcp_bytes", "_min_rtp_bytes", "_outbound", "_size", "_sources", "counts",
    )  # fmt: skip

    def __init__(self, keys: SrtpKeys) -> None:
        self.counts = SrtpCounts()
        self._outbound = libsrtp.Context(keys.profile, keys.send, inbound=False)
        self._receive_with(keys)
        self._keys = keys
        self._size = libsrtp.new_length()

    def rekey(self, keys: SrtpKeys) -> None:
        """Go on with other keys; a direction whose key stays goes on counting its packets (RFC 3711 §8.1)."""
        before = self._keys
        same_profile = keys.profile is before.profile
        if not same_profile or keys.send != before.send:
            self._outbound = libsrtp.Context(keys.profile, keys.send, inbound=False)
        if not same_profile or keys.receive != before.receive:
            self._receive_with(keys)
        self._keys = keys

    def _receive_with(self, keys: SrtpKeys) -> None:
        self._inbound = libsrtp.Context(keys.profile, keys.receive, inbound=True)
        self._min_rtp_bytes = _RTP_HEADER_BYTES + _TAG_BYTES[keys.profile]
        self._min_rtcp_bytes = _RTCP_HEADER_BYTES + _RTCP_INDEX_BYTES + _RTCP_TAG_BYTES[keys.profile]
        self._sources: dict[int, None] = {}

    def protect(self, packet: memoryview, length: int) -> int:
        """Turn one RTP packet into SRTP in place; the memory needs `TRAILER_BYTES` of room behind it.

        Returns:
            The length of the SRTP packet, 0 when it must not be sent.
        """
        size = self._size
        size[0] = length
        fits = _RTP_HEADER_BYTES <= length <= len(packet) - TRAILER_BYTES
        if fits and not libsrtp.protect(self._outbound.handle, libsrtp.lent(packet), size):
            return int(size[0])
        self.counts.unsent += 1
        return 0

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Turn one SRTP packet into RTP in place.

        Returns:
            The length of the RTP packet, 0 when it is refused.
        """
        if not self._min_rtp_bytes <= length <= len(packet):
            self.counts.malformed += 1
            return 0
        source = int.from_bytes(packet[8:12], sys.byteorder)
        size = self._size
        size[0] = length
        status = libsrtp.unprotect(self._inbound.handle, libsrtp.lent(packet), size)
        if status:
            self._refused(status)
            return 0
        if source not in self._sources:
            self._seen(source)
        return int(size[0])

    def protect_rtcp(self, data: bytes) -> bytes | None:
        """Return a compound RTCP packet as SRTCP; None for one that is none, or too long."""
        if not _RTCP_HEADER_BYTES <= len(data) <= _MAX_RTCP_BYTES:
            self.counts.unsent += 1
            return None
        memory = libsrtp.buffer(data, len(data) + TRAILER_BYTES)
        size = libsrtp.new_length()
        size[0] = len(data)
        if libsrtp.protect_rtcp(self._outbound.handle, memory, size):
            self.counts.unsent += 1
            return None
        return libsrtp.read(memory, size[0])

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """Return the compound packet in an SRTCP packet, None when it is refused."""
        if not self._min_rtcp_bytes <= len(data) <= _MAX_RTCP_BYTES:
            self.counts.malformed += 1
            return None
        memory = libsrtp.buffer(data, len(data))
        size = libsrtp.new_length()
        size[0] = len(data)
        status = libsrtp.unprotect_rtcp(self._inbound.handle, memory, size)
        if status:
            self._refused(status)
            return None
        self._seen(int(np.frombuffer(data, np.uint32, 1, 4)[0]))
        return libsrtp.read(memory, size[0])

    def _refused(self, status: int) -> None:
        if status in (libsrtp.AUTHENTICATION_FAILED, libsrtp.CIPHER_FAILED):
            self.counts.unauthentic += 1
        elif status in (libsrtp.REPLAYED, libsrtp.TOO_OLD):
            self.counts.replayed += 1
        else:
            self.counts.malformed += 1

    def _seen(self, source: int) -> None:
        """Bound the state of libsrtp, which makes some for every SSRC that has sent something authentic."""
        if source in self._sources:
            return
        if len(self._sources) >= MAX_SOURCES:
            oldest = next(iter(self._sources))
            del self._sources[oldest]
            self._inbound.forget(oldest)
        self._sources[source] = None


def unprotect_rows(
    sessions: Sequence[Srtp | None], rows: Rows, indexes: Sequence[int], lengths: NDArray[np.int64]
) -> None:
    """Turn SRTP packets into RTP, in place.

    Args:
        sessions: of each packet; those of None are RTP already and stay as they are.
        indexes: the row of each packet.
        lengths: of each packet; becomes that of the RTP packet, 0 when it is refused.
    """
    size = libsrtp.new_length()
    unprotect, pointers = libsrtp.unprotect, rows.pointers
    sources = rows.words[indexes, 2].tolist()
    sizes = lengths.tolist()
    for at, (session, index) in enumerate(zip(sessions, indexes, strict=True)):
        if session is None:
            continue
        if not session._min_rtp_bytes <= sizes[at] <= rows.capacity_bytes:
            session.counts.malformed += 1
            sizes[at] = 0
            continue
        size[0] = sizes[at]
        status = unprotect(session._inbound.handle, pointers[index], size)
        if status:
            session._refused(status)
            sizes[at] = 0
            continue
        sizes[at] = size[0]
        if sources[at] not in session._sources:
            session._seen(sources[at])
    lengths[:] = sizes


def protect_rows(
    sessions: Sequence[Srtp | None], rows: Rows, indexes: Sequence[int], lengths: NDArray[np.int64]
) -> None:
    """Turn RTP packets into SRTP, in place; rows need `TRAILER_BYTES` of room behind the packet.

    Args:
        sessions: of each packet; those of None stay as they are.
        indexes: the row of each packet.
        lengths: of each packet; becomes that of the SRTP packet, 0 when it must not be sent.
    """
    size = libsrtp.new_length()
    protect, pointers = libsrtp.protect, rows.pointers
    room = rows.capacity_bytes - TRAILER_BYTES
    sizes = lengths.tolist()
    for at, (session, index) in enumerate(zip(sessions, indexes, strict=True)):
        if session is None:
            continue
        size[0] = sizes[at]
        fits = _RTP_HEADER_BYTES <= sizes[at] <= room
        if fits and not protect(session._outbound.handle, pointers[index], size):
            sizes[at] = size[0]
        else:
            session.counts.unsent += 1
            sizes[at] = 0
    lengths[:] = sizes
