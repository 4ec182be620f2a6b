"""Header extensions taken out of whole batches: some callers put one into every packet.

The audio level is read on the way, where it was agreed on.

Spec: RFC 3550 §5.3.1, RFC 8285, RFC 6464.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.mixer.batch import NO_LEVEL, Batch
from vb.mixer.columns import HEADER_BYTES
from vb.mixer.frames import Slots
from vb.rtp.masks import every, some, true_places

_EXTENDED: Final = 0x90
"""First byte of a packet with an extension and neither contributors nor padding."""
_PLAIN: Final = 0x80
_INTRODUCTION_BYTES: Final = 4
_FORM_WORD: Final = HEADER_BYTES // 2
_SIZE_WORD: Final = _FORM_WORD + 1
"""Where they stand, in words of two bytes."""
_FIRST_ELEMENT: Final = HEADER_BYTES + _INTRODUCTION_BYTES
_SEEN_BYTES: Final = _FIRST_ELEMENT + 4
"""As far as the first element, in whole words of four bytes."""
_ONE_BYTE_FORM: Final = 0xBEDE
_RTCP_TYPES_MASK: Final = 0x60
_RTCP_TYPES: Final = 0x40
"""Second bytes 192 to 223, and 64 to 95 with the marker off: never audio."""
_STOP: Final = 15
"""Number of the element after which nothing is read any more (RFC 8285 §4.2)."""
_MAX_ELEMENTS: Final = 16
_LEVEL_MASK: Final = 0x7F
SILENT_LEVEL: Final = 75
"""dB below full scale from which on nobody would hear it: 10 below our own comfort noise."""


def may_be_audio(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which packets have a type that may be audio's, by their headers, (n, 12)."""
    may_be: NDArray[np.bool_] = (heads[:, 1] & _RTCP_TYPES_MASK) != _RTCP_TYPES
    return may_be


def skip_extensions(
    batch: Batch, start: int, stop: int, trusted: NDArray[np.bool_], level_ids: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], bool]:
    """Take the extensions out of the rows from `start` to before `stop` that have nothing else odd.

    `batch.levels` of all these rows tells the audio level of each, or that it has none.

    Others, such as those whose extension is longer than the packet, are left for a closer look.

    Args:
        batch: what arrived.
        start: first row.
        stop: row after the last.
        trusted: of each leg, whether its packets need no such look for other reasons.
        level_ids: of each leg, the number of the audio level among its extensions, 0 for none.

    Returns:
        The headers of all these rows without what was taken out, (n, 12), and whether each row had an
        extension that was: then all are RTP of legs without oddities, and need not be asked again.
    """
    batch.levels[start:stop] = NO_LEVEL
    # What is read of a shorter packet is not used.
    seen = batch.matrix[start:stop, :_SEEN_BYTES].copy()
    heads = seen[:, :HEADER_BYTES]
    chosen = heads[:, 0] == _EXTENDED
    if not some(chosen):
        return heads, False
    slots, lengths = batch.slots[start:stop], batch.lengths[start:stop] - HEADER_BYTES
    words = seen.view(">u2")
    sizes = _INTRODUCTION_BYTES + 4 * words[:, _SIZE_WORD].astype(np.int64)
    chosen &= trusted[slots] & (sizes <= lengths) & may_be_audio(heads)
    wanted = level_ids[slots]
    told = chosen & (wanted > 0) & (words[:, _FORM_WORD] == _ONE_BYTE_FORM)
    # Most have one element, the level, or it is the first one.
    first = told & (seen[:, _FIRST_ELEMENT] == wanted << 4) & (sizes > _INTRODUCTION_BYTES)
    if every(first):
        batch.levels[start:stop] = seen[:, _FIRST_ELEMENT + 1] & _LEVEL_MASK
    else:
        batch.levels[start:stop][first] = seen[first, _FIRST_ELEMENT + 1] & _LEVEL_MASK
        others = true_places(told & ~first)
        if others.size:
            _read_levels(batch, start + others, sizes[others], wanted[others])
    different = set(sizes[chosen].tolist())  # what stands there in other packets is no size
    if len(different) == 1 and every(chosen):
        _cut_out(batch, slice(start, stop), different.pop())
        heads[:, 0] = _PLAIN
        return heads, True
    for size in different:
        _cut_out(batch, start + true_places(chosen & (sizes == size)), size)
    heads[chosen, 0] = _PLAIN
    return heads, False


def _cut_out(batch: Batch, rows: Slots | slice, size: int) -> None:
    """Take extensions of one size, with what introduces them, out of some rows."""
    ends = batch.lengths[rows]
    end = int(ends[ends.argmax()])
    # The right side is a copy, so the overlap does no harm.
    moved = batch.matrix[rows, HEADER_BYTES + size : end].copy()
    batch.matrix[rows, HEADER_BYTES : end - size] = moved
    batch.lengths[rows] = ends - size
    batch.matrix[rows, 0] = _PLAIN


def _read_levels(batch: Batch, rows: Slots, sizes: Slots, wanted: NDArray[np.uint8]) -> None:
    """Note the audio level of rows whose extension has it behind something else, if it has one."""
    place, end = np.full(rows.size, _FIRST_ELEMENT), sizes + HEADER_BYTES
    for _ in range(_MAX_ELEMENTS):
        inside = place + 1 < end  # an element of a byte at least, and the byte before it
        if not some(inside):
            return
        rows, wanted, place, end = rows[inside], wanted[inside], place[inside], end[inside]
        head = batch.matrix[rows, place]
        number, size = head >> 4, (head & 15).astype(np.int64) + 1
        found = (number == wanted) & (size == 1)
        batch.levels[rows[found]] = batch.matrix[rows[found], place[found] + 1] & _LEVEL_MASK
        # A byte of zero is padding and stands for itself.
        place = np.where(found | (number == _STOP), end, place + np.where(head == 0, 1, 1 + size))
