"""Segments: stretches of calls that are laid out once more by column and by term, to be sifted all at once.

A question with several filters that each leave many calls is answered by no index: their common calls have
to be found one by one. So the key, times and length of some thousand calls in a row are kept once more as
arrays, and with them, as bits, which of these calls have a common word or label. A million calls are sifted
by a few hundred such rows (see `vb.history.sieve`).

Segments follow each other without a gap from key 0 on; what is newer lies in none yet. They never change: who
writes or removes a call that lies in the stretch of a segment names it in `late_calls`, in the same
transaction, and from then on it is looked up where it really lies. A segment with many such calls is made
anew (see `vb.history.seal`). So what is found is exact at every moment, whoever writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, func, select
from sqlalchemy.dialects import postgresql, sqlite

from vb.history.schema import LATE_CALLS, SEGMENTS

SEGMENT_CALLS: Final = 8_192
KEYS: Final = -1
JOINED: Final = -2
ENDED: Final = -3
DURATION: Final = -4
"""Terms of the columns; those of words and labels are never negative."""
ANNOUNCED: Final = -1
"""Number of calls of a segment that is not laid out yet."""

_BITS, _POSITIONS = b"\x00", b"\x01"
_FEW: Final = 1 << 16

Bits = NDArray[np.uint8]
"""A bit for each call, eight in a byte."""
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of calls.

    Attributes:
        first_key: where it begins; there need not be such a call.
        last_key: where it ends.
        mark: drawn when it was announced, so that it is told from one that took its place.
        calls: how many; `ANNOUNCED` while it is not laid out.
        words: digest of the common words that it has a set for.
    """

    first_key: int
    last_key: int
    mark: int
    calls: int
    words: int

    @property
    def is_built(self) -> bool:
        """Whether it is laid out."""
        return self.calls != ANNOUNCED


def load_segments(connection: Connection) -> list[Segment]:
    """Return all segments in order."""
    rows: Iterable[Row[Any]] = connection.execute(select(SEGMENTS).order_by(SEGMENTS.c.first_key))
    return [Segment(row.first_key, row.last_key, row.mark, row.calls, row.words) for row in rows]


def tell_late(connection: Connection, keys: Iterable[int]) -> None:
    """Name the calls that a transaction writes or removes, as far as they lie in segments.

    To be called in a transaction that holds the lock of those who write (`WordTally.begin`).
    """
    sealed_to = connection.scalar(select(func.max(SEGMENTS.c.last_key)))
    late = sorted({key for key in keys if sealed_to is not None and key <= sealed_to})
    if late:
        kind = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(
            kind.insert(LATE_CALLS).on_conflict_do_nothing(), [{"call_key": key} for key in late]
        )


# -- what a row holds --------------------------------------------------------------------------------------


def pack_set(positions: Iterable[int], calls: int) -> bytes:
    """Return which of a segment's calls are in a set, as bits or, when they are few, as their numbers."""
    chosen = np.fromiter(positions, np.int64)
    if not len(chosen):
        return b""
    if len(chosen) * 16 < calls:
        return _POSITIONS + chosen.astype("<u2" if calls <= _FEW else "<u4").tobytes()
    flags = np.zeros(calls, bool)
    flags[chosen] = True
    return _BITS + np.packbits(flags).tobytes()


def unpack_set(data: bytes, calls: int) -> Bits:
    """Return the bits of what `pack_set` was given."""
    if data[:1] == _BITS:
        return np.frombuffer(data, np.uint8, offset=1)
    flags = np.zeros(calls, bool)
    add_set(flags, data)
    return np.packbits(flags)


def add_set(flags: Flags, data: bytes) -> None:
    """Set the flags of a segment's calls that are in what `pack_set` was given."""
    if data[:1] == _POSITIONS:
        flags[np.frombuffer(data, "<u2" if len(flags) <= _FEW else "<u4", offset=1)] = True
    elif data:
        flags |= np.unpackbits(np.frombuffer(data, np.uint8, offset=1), count=len(flags)).view(bool)


def pack_column(values: Iterable[int]) -> bytes:
    """Return a column of a segment, 64 bits for each call; 32 where all values, none below -1, fit."""
    found = np.fromiter(values, np.int64)
    fits = not len(found) or int(found.max()) + 1 < 1 << 32
    return (found + 1).astype("<u4").tobytes() if fits else found.astype("<i8").tobytes()


def unpack_column(data: bytes, calls: int) -> Numbers:
    """Return what `pack_column` was given."""
    if len(data) == 8 * calls:
        return np.frombuffer(data, "<i8")
    return np.frombuffer(data, "<u4").astype(np.int64) - 1
