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
from vb.mixer.frames import Slots, true_places

_EXTENDED: Final = 0x90
"""First byte of a packet with an extension and neither contributors nor padding."""
_PLAIN: Final = 0x80
_INTRODUCTION_BYTES: Final = 4
_ONE_BYTE_FORM: Final = (0xBE, 0xDE)
_STOP: Final = 15
"""Number of the element after which nothing is read any more (RFC 8285 §4.2)."""
_MAX_ELEMENTS: Final = 16
_LEVEL_MASK: Final = 0x7F
SILENT_LEVEL: Final = 75
"""dB below full scale from which on nobody would hear it: 10 below our own comfort noise."""


def skip_extensions(
    batch: Batch, start: int, stop: int, trusted: NDArray[np.bool_], level_ids: NDArray[np.uint8]
) -> None:
    """Take the extensions out of the rows from `start` to before `stop` that have nothing else odd.

    `batch.levels` of all these rows tells the audio level of each, or that it has none.

    Others, such as those whose extension is longer than the packet, are left for a closer look.

    Args:
        batch: what arrived.
        start: first row.
        stop: row after the last.
        trusted: of each leg, whether its packets need no such look for other reasons.
        level_ids: of each leg, the number of the audio level among its extensions, 0 for none.
    """
    batch.levels[start:stop] = NO_LEVEL
    extended = batch.matrix[start:stop, 0] == _EXTENDED
    if not extended.any():
        return
    rows = start + true_places(extended & trusted[batch.slots[start:stop]])
    rows = rows[batch.lengths[rows] >= HEADER_BYTES + _INTRODUCTION_BYTES]
    rows = rows[(batch.matrix[rows, 1] < 192) | (batch.matrix[rows, 1] > 223)]
    words = batch.matrix[rows, 14].astype(np.int64) << 8 | batch.matrix[rows, 15]
    sizes = _INTRODUCTION_BYTES + 4 * words
    whole = sizes <= batch.lengths[rows] - HEADER_BYTES
    rows, sizes = rows[whole], sizes[whole]
    _read_levels(batch, rows, sizes, level_ids)
    for size in set(sizes.tolist()):
        chosen = rows[sizes == size]
        same = slice(start, stop) if chosen.size == stop - start else chosen
        end = int(batch.lengths[same].max())
        # The right side is a copy, so the overlap does no harm.
        moved = batch.matrix[same, HEADER_BYTES + size : end].copy()
        batch.matrix[same, HEADER_BYTES : end - size] = moved
        batch.lengths[same] -= size
        batch.matrix[same, 0] = _PLAIN


def _read_levels(batch: Batch, rows: Slots, sizes: Slots, level_ids: NDArray[np.uint8]) -> None:
    """Note the audio level of the rows whose extension has one."""
    wanted = level_ids[batch.slots[rows]]
    chosen = (
        (wanted > 0)
        & (batch.matrix[rows, HEADER_BYTES] == _ONE_BYTE_FORM[0])
        & (batch.matrix[rows, HEADER_BYTES + 1] == _ONE_BYTE_FORM[1])
    )
    rows, wanted = rows[chosen], wanted[chosen]
    place, end = np.full(rows.size, HEADER_BYTES + _INTRODUCTION_BYTES), sizes[chosen] + HEADER_BYTES
    for _ in range(_MAX_ELEMENTS if rows.size else 0):
        inside = place + 1 < end  # an element of a byte at least, and the byte before it
        if not inside.any():
            return
        rows, wanted, place, end = rows[inside], wanted[inside], place[inside], end[inside]
        head = batch.matrix[rows, place]
        number, size = head >> 4, (head & 15).astype(np.int64) + 1
        found = (number == wanted) & (size == 1)
        batch.levels[rows[found]] = batch.matrix[rows[found], place[found] + 1] & _LEVEL_MASK
        # A byte of zero is padding and stands for itself.
        place = np.where(found | (number == _STOP), end, place + np.where(head == 0, 1, 1 + size))
