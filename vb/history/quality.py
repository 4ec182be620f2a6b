"""How a call sounded over time: one row each few seconds, and never more than so many of them.

A row tells what happened since the one before it. When there is no more room, each two become one and from
then on every second sample is left out, so that a long call is told as a whole, only less finely.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from vb.legs.link import Link
from vb.rtp.stats import mean_opinion_score

SAMPLE_EVERY_S: Final = 5.0
MAX_ROWS: Final = 240
"""Twenty minutes at five seconds, forty at ten, and so on."""
QUALITY_PART: Final = 1 << 30
"""Number of the part that holds the rows; lists of entries have smaller ones."""


class Row(NamedTuple):
    """What happened since the row before.

    Attributes:
        at_ms: since the call was created.
        received: packets that came.
        lost: packets that did not.
        jitter_us: at that moment.
        round_trip_us: None while unknown.
        far_lost_permille: of what we sent, by the far end; None while unknown.
    """

    at_ms: int
    received: int
    lost: int
    jitter_us: int
    round_trip_us: int | None
    far_lost_permille: int | None

    @property
    def mos(self) -> float:
        """The score of this stretch, 1 to 5; 1 when nothing came."""
        share = 100.0 * self.lost / (self.received + self.lost) if self.lost else 0.0
        return round(mean_opinion_score(self.jitter_us / 1000, share), 2) if self.received else 1.0


@dataclass(slots=True)
class QualityTrack:
    """The rows of one call.

    Attributes:
        grown: whether there are rows that were not taken.
    """

    rows: list[Row] = field(default_factory=list)
    grown: bool = False
    _before: Link | None = None
    _every: int = 1
    _skipped: int = 0

    def add(self, at_ms: int, link: Link) -> bool:
        """Take a sample; returns whether there is a new row. The first of a source is where to count from."""
        before = self._before
        if before is None or before.ssrc != link.ssrc or link.received < before.received:
            self._before, self._skipped = link, 0
            return False
        self._skipped += 1
        if self._skipped < self._every:
            return False
        received = link.received - before.received
        lost = max(0, link.expected - before.expected - received)
        self._before, self._skipped = link, 0
        if not received and not lost:
            return False  # on hold, or nothing is sent: there is nothing to tell
        trip, far = link.round_trip_ms, link.far_lost_percent
        self.rows.append(
            Row(
                at_ms,
                received,
                lost,
                round(link.jitter_ms * 1000),
                None if trip is None else round(trip * 1000),
                None if far is None else round(far * 10),
            )
        )
        self.grown = True
        if len(self.rows) >= MAX_ROWS:
            self.rows = [_joined(*self.rows[at : at + 2]) for at in range(0, len(self.rows), 2)]
            self._every *= 2
        return True

    def take(self) -> bytes:
        """Return all rows as bytes; they count as taken."""
        self.grown = False
        return json.dumps(self.rows, separators=(",", ":")).encode()


def _joined(first: Row, second: Row) -> Row:
    return Row(
        second.at_ms,
        first.received + second.received,
        first.lost + second.lost,
        max(first.jitter_us, second.jitter_us),
        _most(first.round_trip_us, second.round_trip_us),
        _most(first.far_lost_permille, second.far_lost_permille),
    )


def _most(first: int | None, second: int | None) -> int | None:
    return max((value for value in (first, second) if value is not None), default=None)


def rows_of(data: bytes) -> Iterator[Row]:
    """Give the rows of what `QualityTrack.take` returned."""
    found: Sequence[Sequence[Any]] = json.loads(data)
    for row in found:
        yield Row(*row)
