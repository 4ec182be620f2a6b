"""The participants of a mix class whose hearing matters to somebody: the class without the other rows.

Left out are followers, who are sent what their leaders hear, and legs to whom nothing is sent at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vb.mixer.frames import Slots
from vb.rtp.masks import true_places

if TYPE_CHECKING:
    from vb.mixer.layout import Block, MixClass


@dataclass(frozen=True, slots=True)
class Hearing:
    """Some rows of a mix class.

    Attributes:
        rows: which, ascending.
        meshes: the first of them that is in a full mesh, counted among them.
        whole: so many of the class's first rows are all there.
        told: the class with these rows only.
    """

    rows: Slots
    meshes: int
    whole: int
    told: MixClass


def hearing_of(mix_class: MixClass, leader: Slots, wanted: NDArray[np.bool_]) -> Hearing:
    """Choose rows of a class; those of routed rooms stay where they are, and so do all rows before them.

    Args:
        mix_class: the participants.
        leader: of each slot, whom it follows; what a follower is sent is told to its bank.
        wanted: (n,) which rows.
    """
    if any(room.hears is not None for room in mix_class.rooms):
        wanted = wanted.copy()
        wanted[: mix_class.mesh_start] = True
    rows = true_places(wanted)
    missing = true_places(~wanted)
    whole = int(missing[0]) if missing.size else wanted.size
    return Hearing(
        rows, int(np.searchsorted(rows, mix_class.mesh_start)), whole, _only(mix_class, leader, rows)
    )


def _only(mix_class: MixClass, leader: Slots, kept: Slots) -> MixClass:
    """Return the class with some of its rows, having told each bank who is sent what another one hears."""
    count = mix_class.slots.size
    place = np.full(count, -1, np.int64)
    place[kept] = np.arange(kept.size)
    row_of = np.zeros(leader.size, np.int64)
    row_of[mix_class.slots] = np.arange(count)
    where = np.zeros(count, np.int64)
    blocks = []
    for block in mix_class.blocks:
        rows = np.arange(count)[block.class_rows]
        banked = np.arange(block.bank.slots.size)[block.bank_rows]
        stays = place[rows] >= 0
        block.bank.source[banked] = banked
        # A leader is of its followers' bank, as it has their codec.
        where[rows] = banked
        first = leader[mix_class.slots[rows[~stays]]]
        block.bank.source[banked[~stays]] = where[row_of[first]]
        block.bank.version += 1
        blocks.append(_rows_kept(block, banked[stays], place[rows[stays]], block.slots[stays]))
    return replace(
        mix_class,
        slots=mix_class.slots[kept],
        pair_rows=int(np.searchsorted(kept, mix_class.pair_rows)),
        comfort=mix_class.comfort[kept],
        blocks=blocks,
        streams=[(int(place[row]), port) for row, port in mix_class.streams],
        private=[(int(place[row]), port) for row, port in mix_class.private],
        taps_out=[(int(place[row]), port) for row, port in mix_class.taps_out],
        hearing=None,
        sharers=None,
        said=None,
    )


def _rows_kept(block: Block, banked: Slots, rows: Slots, slots: Slots) -> Block:
    """Return a block of some of its rows."""
    return replace(block, bank_rows=compact(banked), class_rows=compact(rows), slots=slots)


def rows_of(rows: Slots | slice) -> Slots:
    """Return rows as numbers."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def compact(rows: Slots) -> Slots | slice:
    """Return consecutive rows as a slice, which costs no copy."""
    if rows.size and int(rows[-1]) - int(rows[0]) + 1 == rows.size:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
