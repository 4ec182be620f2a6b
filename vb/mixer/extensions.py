"""Header extensions taken out of whole batches: some callers put one into every packet.

Spec: RFC 3550 §5.3.1, RFC 8285.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.mixer.batch import Batch
from vb.mixer.columns import HEADER_BYTES

_EXTENDED: Final = 0x90
"""First byte of a packet with an extension and neither contributors nor padding."""
_PLAIN: Final = 0x80
_INTRODUCTION_BYTES: Final = 4


def skip_extensions(batch: Batch, start: int, stop: int, trusted: NDArray[np.bool_]) -> None:
    """Take the extensions out of the rows from `start` to before `stop` that have nothing else odd.

    Others, such as those whose extension is longer than the packet, are left for a closer look.

    Args:
        batch: what arrived.
        start: first row.
        stop: row after the last.
        trusted: of each leg, whether its packets need no such look for other reasons.
    """
    extended = batch.matrix[start:stop, 0] == _EXTENDED
    if not extended.any():
        return
    rows = start + np.flatnonzero(extended & trusted[batch.slots[start:stop]])
    rows = rows[batch.lengths[rows] >= HEADER_BYTES + _INTRODUCTION_BYTES]
    rows = rows[(batch.matrix[rows, 1] < 192) | (batch.matrix[rows, 1] > 223)]
    words = batch.matrix[rows, 14].astype(np.int64) << 8 | batch.matrix[rows, 15]
    sizes = _INTRODUCTION_BYTES + 4 * words
    whole = sizes <= batch.lengths[rows] - HEADER_BYTES
    rows, sizes = rows[whole], sizes[whole]
    for size in np.unique(sizes).tolist():
        same = rows[sizes == size]
        end = int(batch.lengths[same].max())
        # The right side is a copy, so the overlap does no harm.
        batch.matrix[same, HEADER_BYTES : end - size] = batch.matrix[same, HEADER_BYTES + size : end]
        batch.lengths[same] -= size
        batch.matrix[same, 0] = _PLAIN
