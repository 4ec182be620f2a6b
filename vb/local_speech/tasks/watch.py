"""Who speaks now, of many legs at once: frames of 32 ms in, probabilities of speech out, in batches.

The detector costs a third as much for each leg when it is asked about many, so whoever watches legs collects
their frames and asks once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.blocking import Bell
from vb.children.framing import Garbage
from vb.codecs.pcm import Pcm
from vb.local_speech.rows import MAX_ROWS, odds_of, write
from vb.local_speech.tasks.speech import LocalSpeech
from vb.providers.failure import ProviderFailed

LATE: Final = "local: the engines do not keep up"


class Watch:
    """The legs that are watched. Each has a row, where the detector keeps what it heard of it.

    Args:
        speech: the engines of this machine.
    """

    def __init__(self, speech: LocalSpeech) -> None:
        self._speech = speech
        self._free = list(range(MAX_ROWS))[::-1]
        self._open: set[int] = set()
        self._fresh: set[int] = set()
        """Rows where the detector may still know somebody else; a new helper knows nobody."""

    def open(self) -> int:
        """Return a row for another leg.

        Raises:
            ProviderFailed: as many as can be are watched already.
        """
        if not self._free:
            raise ProviderFailed("service_unavailable", "local: too many legs are watched")
        row = self._free.pop()
        self._open.add(row)
        self._fresh.add(row)
        return row

    def close(self, row: int) -> None:
        """Give a row back; it may be called again."""
        if row in self._open:
            self._open.remove(row)
            self._free.append(row)

    async def judge(self, rows: Sequence[int], frames: Pcm) -> NDArray[np.float32]:
        """Return the probability of speech of the next frame of each row.

        Args:
            rows: different ones, of those that are open.
            frames: int16 at 16 kHz, (rows, 512), each following the last of its row.

        Cancellation: the frames are judged all the same, and their probabilities lost.

        Raises:
            ProviderFailed: the helper has ended, or does not keep up; the next batch may do better.
        """
        bell = Bell()
        exchange = self._speech.open("frames", bell.ring)
        try:
            fresh = [row for row in rows if row in self._fresh]
            exchange.send(write(exchange.id, rows, fresh, frames))
            while (answer := exchange.next()) is None:
                await bell.wait()
            odds = odds_of(answer, len(rows))
        except Garbage:
            raise ProviderFailed("unknown", "local: the engines said something odd") from None
        finally:
            exchange.close()
        if odds is None:
            raise ProviderFailed("service_unavailable", LATE)
        self._fresh.difference_update(fresh)
        return odds
