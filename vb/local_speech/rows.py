"""Bodies of FRAMES and ODDS: one frame of 32 ms of many streams, and how likely each of them is speech."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.children.framing import Garbage
from vb.codecs.pcm import Pcm, pcm_bytes
from vb.local_speech.frames import Frame, Kind
from vb.local_speech.segments import FRAME_SAMPLES

_HEAD: Final = struct.Struct(">HH")
MAX_ROWS: Final = 512
"""Rows of one batch: what fits into a frame."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch.

    Attributes:
        rows: where the past of each frame's stream is kept.
        fresh: rows where a new stream begins.
        frames: int16 at 16 kHz, (rows, 512).
    """

    rows: NDArray[np.intp]
    fresh: NDArray[np.intp]
    frames: Pcm


def write(number: int, rows: Sequence[int], fresh: Sequence[int], frames: Pcm) -> Frame:
    """Return the frame that asks about a batch."""
    head = _HEAD.pack(len(rows), len(fresh))
    places = np.array([*rows, *fresh], ">u2").tobytes()
    return Frame(Kind.FRAMES, number, head + places + pcm_bytes(frames))


def read(body: bytes, limit: int) -> Rows:
    """Read what `write` has written.

    Args:
        body: of the frame.
        limit: how many rows there are.

    Raises:
        Garbage: it was something else.
    """
    if len(body) < _HEAD.size:
        raise Garbage("FRAMES has no head")
    count, more = _HEAD.unpack_from(body)
    places = _HEAD.size + 2 * (count + more)
    if len(body) != places + 2 * FRAME_SAMPLES * count:
        raise Garbage("FRAMES has another length than its head says")
    all_rows = np.frombuffer(body, ">u2", count + more, _HEAD.size).astype(np.intp)
    if len(all_rows) and int(all_rows.max()) >= limit:
        raise Garbage("FRAMES names a row that there is not")
    frames = np.frombuffer(body, "<i2", offset=places).astype(np.int16).reshape(count, FRAME_SAMPLES)
    return Rows(all_rows[:count], all_rows[count:], frames)


def odds_of(frame: Frame, count: int) -> NDArray[np.float32] | None:
    """Return the probabilities of an answer; None where the batch came too late to be judged.

    Raises:
        Garbage: it has another number of them.
    """
    if not frame.body:
        return None
    if len(frame.body) != 4 * count:
        raise Garbage("ODDS has another length than was asked for")
    return np.frombuffer(frame.body, "<f4").astype(np.float32)
