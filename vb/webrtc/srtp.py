"""SRTP and SRTCP of a leg: media in batches, in place on the rows of an array; reports one by one.

Nothing here raises for what a network may send: a packet that is refused gets the length 0 and is counted.

Spec: RFC 3711, RFC 7714.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

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
_ENOUGH_BYTES: Final = _RTP_HEADER_BYTES + max(_TAG_BYTES.values())
"""A packet so long is one by every profile, protected or not."""


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


@dataclass(frozen=True, slots=True)
class Places:
    """Some rows, made ready for libsrtp; serves again wherever the same rows are worked on.

    Attributes:
        rows: which they are.
        pointers: to the packet in each.
        sizes: to where the length of each is told.
    """

    rows: NDArray[np.intp] | slice
    pointers: list[Any]
    sizes: list[Any]


class Rows:
    """The rows of an array as places for packets; made once for an array that stays.

    Args:
        array: two-dimensional, of uint8, C-contiguous; rows begin at multiples of four bytes.

    Attributes:
        words: the same memory as 32-bit numbers.

    Raises:
        ValueError: the array is of another form.
    """

    __slots__ = ("_pointers", "_size_pointers", "_sizes", "array", "capacity_bytes", "words")

    def __init__(self, array: NDArray[np.uint8]) -> None:
        if array.ndim != 2 or array.dtype != np.uint8 or not array.flags.c_contiguous:
            raise ValueError("rows need a contiguous two-dimensional array of bytes")
        start, pitch = array.ctypes.data, array.shape[1]
        if start % 4 or pitch % 4:
            raise ValueError("rows need to begin at multiples of four bytes")
        self.array = array
        self.capacity_bytes = pitch
        self.words: NDArray[np.uint32] = array.view(np.uint32)
        count = array.shape[0]
        self._sizes = np.zeros(count, np.intc)
        self._pointers = [libsrtp.pointer(start + row * pitch) for row in range(count)]
        self._size_pointers = libsrtp.number_pointers(self._sizes)

    def places(self, indexes: Sequence[int]) -> Places:
        """Make some rows ready, at least one and none twice."""
        first, end = indexes[0], indexes[0] + len(indexes)
        if list(indexes) == list(range(first, end)):
            return Places(slice(first, end), self._pointers[first:end], self._size_pointers[first:end])
        return Places(
            np.array(indexes, np.intp),
            list(map(self._pointers.__getitem__, indexes)),
            list(map(self._size_pointers.__getitem__, indexes)),
        )

    def work(
        self,
        function: libsrtp.Function,
        contexts: Iterable[Any],
        places: Places,
        lengths: NDArray[np.int64],
        chosen: Sequence[int] | slice,
    ) -> list[int]:
        """Have libsrtp work on packets one after the other, without an object for any of them.

        Args:
            function: what is to be done.
            contexts: of each packet.
            places: the rows.
            lengths: where the length of each stands, at `chosen`, and then its new one, 0 after a failure.
            chosen: so many as there are places.

        Returns:
            The status of each.
        """
        self._sizes[places.rows] = lengths[chosen]
        # The loop is one of the interpreter's own iterators.
        statuses = list(map(function, contexts, places.pointers, places.sizes))
        lengths[chosen] = self._sizes[places.rows]
        if any(statuses):
            lengths[chosen] *= np.array(statuses) == 0
        return statuses


class Srtp:
    """Both directions of one leg.

    Attributes:
        counts: what was refused.
        inbound: first argument of libsrtp's functions for what comes; changes with the keys.
        outbound: the same for what is sent.
        min_rtp_bytes: a shorter packet is none.
        newest_source: SSRC of the last packet that was authentic, as the machine reads it.
    """

    __slots__ = (
        "_contexts", "_keys", "_min_rtcp_bytes", "_size", "_sources", "counts",
        "inbound", "min_rtp_bytes", "newest_source", "outbound",
    )  # fmt: skip

    def __init__(self, keys: SrtpKeys) -> None:
        self.counts = SrtpCounts()
        self._contexts: dict[str, libsrtp.Context] = {}
        self._send_with(keys)
        self._receive_with(keys)
        self._keys = keys
        self._size = libsrtp.new_length()

    def rekey(self, keys: SrtpKeys) -> None:
        """Go on with other keys; a direction whose key stays goes on counting its packets (RFC 3711 §8.1)."""
        before = self._keys
        same_profile = keys.profile is before.profile
        if not same_profile or keys.send != before.send:
            self._send_with(keys)
        if not same_profile or keys.receive != before.receive:
            self._receive_with(keys)
        self._keys = keys

    def _send_with(self, keys: SrtpKeys) -> None:
        context = self._contexts["out"] = libsrtp.Context(keys.profile, keys.send, inbound=False)
        self.outbound = context.handle

    def _receive_with(self, keys: SrtpKeys) -> None:
        context = self._contexts["in"] = libsrtp.Context(keys.profile, keys.receive, inbound=True)
        self.inbound = context.handle
        self.min_rtp_bytes = _RTP_HEADER_BYTES + _TAG_BYTES[keys.profile]
        self._min_rtcp_bytes = _RTCP_HEADER_BYTES + _RTCP_INDEX_BYTES + _RTCP_TAG_BYTES[keys.profile]
        self._sources: dict[int, None] = {}
        self.newest_source = -1

    def protect(self, packet: memoryview, length: int) -> int:
        """Turn one RTP packet into SRTP in place; the memory needs `TRAILER_BYTES` of room behind it.

        Returns:
            The length of the SRTP packet, 0 when it must not be sent.
        """
        size = self._size
        size[0] = length
        fits = _RTP_HEADER_BYTES <= length <= len(packet) - TRAILER_BYTES
        if fits and not libsrtp.protect(self.outbound, libsrtp.lent(packet), size):
            return int(size[0])
        self.counts.unsent += 1
        return 0

    def unprotect(self, packet: memoryview, length: int) -> int:
        """Turn one SRTP packet into RTP in place.

        Returns:
            The length of the RTP packet, 0 when it is refused.
        """
        if not self.min_rtp_bytes <= length <= len(packet):
            self.counts.malformed += 1
            return 0
        source = int.from_bytes(packet[8:12], sys.byteorder)
        size = self._size
        size[0] = length
        status = libsrtp.unprotect(self.inbound, libsrtp.lent(packet), size)
        if status:
            self._refused(status)
            return 0
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
        if libsrtp.protect_rtcp(self.outbound, memory, size):
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
        status = libsrtp.unprotect_rtcp(self.inbound, memory, size)
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
        self.newest_source = source
        if source in self._sources:
            return
        if len(self._sources) >= MAX_SOURCES:
            oldest = next(iter(self._sources))
            del self._sources[oldest]
            self._contexts["in"].forget(oldest)
        self._sources[source] = None


def unprotect_rows(
    sessions: Sequence[Srtp | None], rows: Rows, indexes: Sequence[int], lengths: NDArray[np.int64]
) -> None:
    """Turn SRTP packets into RTP, in place.

    Args:
        sessions: of each packet; those of None are RTP already and stay as they are.
        indexes: the row of each packet, none twice.
        lengths: of each packet; becomes that of the RTP packet, 0 when it is refused.
    """
    most = rows.capacity_bytes
    legs: Sequence[Srtp]
    chosen: Sequence[int] | slice
    if _are_usual(sessions, lengths, most):
        legs, chosen = sessions, slice(None)
    else:
        legs, chosen = [], []
        for at, (session, length) in enumerate(zip(sessions, lengths.tolist(), strict=True)):
            if session is None:
                continue
            if session.min_rtp_bytes <= length <= most:
                legs.append(session)
                chosen.append(at)
            else:
                session.counts.malformed += 1
                lengths[at] = 0
        indexes = [indexes[at] for at in chosen]
        if not legs:
            return
    places = rows.places(indexes)
    sources = rows.words[places.rows, 2].tolist()
    statuses = rows.work(libsrtp.unprotect, [leg.inbound for leg in legs], places, lengths, chosen)
    if not any(statuses) and sources == [leg.newest_source for leg in legs]:
        return
    for leg, source, status in zip(legs, sources, statuses, strict=True):
        if status:
            leg._refused(status)
        elif source != leg.newest_source:
            leg._seen(source)


def protect_rows(
    sessions: Sequence[Srtp | None],
    rows: Rows,
    indexes: Sequence[int],
    lengths: NDArray[np.int64],
    places: Places | None = None,
) -> None:
    """Turn RTP packets into SRTP, in place; rows need `TRAILER_BYTES` of room behind the packet.

    Args:
        sessions: of each packet; those of None stay as they are.
        indexes: the row of each packet, none twice.
        lengths: of each packet; becomes that of the SRTP packet, 0 when it must not be sent.
        places: these rows, if they are ready.
    """
    most = rows.capacity_bytes - TRAILER_BYTES
    legs: Sequence[Srtp]
    chosen: Sequence[int] | slice
    if _are_usual(sessions, lengths, most):
        legs, chosen = sessions, slice(None)
        places = places or rows.places(indexes)
    else:
        legs, chosen = [], []
        for at, (session, length) in enumerate(zip(sessions, lengths.tolist(), strict=True)):
            if session is None:
                continue
            if _RTP_HEADER_BYTES <= length <= most:
                legs.append(session)
                chosen.append(at)
            else:
                session.counts.unsent += 1
                lengths[at] = 0
        if not legs:
            return
        places = rows.places([indexes[at] for at in chosen])
    statuses = rows.work(libsrtp.protect, [leg.outbound for leg in legs], places, lengths, chosen)
    if any(statuses):
        for leg, status in zip(legs, statuses, strict=True):
            leg.counts.unsent += bool(status)


def _are_usual(
    sessions: Sequence[Srtp | None], lengths: NDArray[np.int64], most: int
) -> TypeGuard[Sequence[Srtp]]:
    """Tell whether all packets have a session, and lengths that none of them refuses."""
    # `min` and `max` of an array go through several functions of numpy's, these do not.
    return bool(
        lengths.size
        and lengths[lengths.argmin()] >= _ENOUGH_BYTES
        and lengths[lengths.argmax()] <= most
        and None not in sessions
    )
