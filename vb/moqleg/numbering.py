"""Which frame of a stream an object is: objects are numbered within groups, frames one after the other.

A publisher may put each frame into a group of its own, or many into one, and groups may be of any length;
what is lost of a group, or a whole one, leaves a gap as long as it was. So the place of a group's first frame
is worked out from the group before it: behind all of its objects where its stream has ended, else behind as
many as groups have, unless there was no time for those. Datagrams have no stream that ends: what groups
have is then learnt from those that were followed by another one, and believed only to the half of a frame's
time until it has been the same a few times. Numbers that skip more than there was time for do not count
frames (some publishers number groups by a clock), and what follows them follows at once. How much time there
was is judged by the object that came fastest of late: no other can be that early, so a frame that would have
come before its time was not behind a loss, but its group was a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

FRAME_S: Final = 0.02
KEPT_GROUPS: Final = 64
_SPARE_FRAMES: Final = 3
"""By how many frames objects may outrun the clock."""
_SURE: Final = 2
"""So many groups in a row that are as long as the one before make a length that is relied on."""
_DOUBTFUL: Final = -2
"""Where their count begins again after one that was shorter, it seems, and not by loss."""
_MAX_TAIL_FRAMES: Final = 64
"""So many frames at the end of a group may be missing where its end is told."""
_SPAN_S: Final = 30.0
"""The fastest object is one of the last span or of the one before: clocks drift, and publishers pause."""


@dataclass(slots=True)
class _Group:
    """A group: where its first frame is, how many objects it has had, and whether there are no more."""

    base: int
    size: int = 0
    over: bool = False


class Numbering:
    """One track, from the first object that came."""

    def __init__(self) -> None:
        self._groups: dict[int, _Group] = {}
        self._newest = -1
        self._usual = 1
        self._agreed = 0
        self._highest = 0
        self._highest_at = 0.0
        self._least_s = self._least_before_s = inf
        self._span_begun = 0.0

    def place(self, group: int, number: int, now: float) -> int | None:
        """Return the number of a frame; None when its group is too old to be known.

        Args:
            group: of the object.
            number: of the object within it.
            now: monotonic time.
        """
        found = self._groups.get(group)
        if found is None:
            found = self._begin(group, number, now)
            if found is None:
                return None
        frame = found.base + number
        if number > found.size and frame > self._highest + self._time_for(now) + _SPARE_FRAMES:
            found.base += self._highest + 1 - frame
            frame = self._highest + 1
        if number >= found.size:
            found.size = number + 1
            if group != self._newest and not found.over and found.size >= self._usual:
                self._usual, self._agreed = found.size, _SURE  # it only looked shorter
        if frame > self._highest or not self._highest_at:
            self._highest, self._highest_at = frame, now
        self._note_delay(now - frame * FRAME_S, now)
        return frame

    def _note_delay(self, delay_s: float, now: float) -> None:
        """Take note of how late an object was, against a beginning that does not matter."""
        if now - self._span_begun >= _SPAN_S:
            self._least_before_s, self._least_s, self._span_begun = self._least_s, inf, now
        self._least_s = min(self._least_s, delay_s)

    def over(self, group: int, size: int = 0) -> None:
        """Take note that a group has no further objects.

        Args:
            group: which.
            size: how many it has had, where that was told.
        """
        found = self._groups.get(group)
        if found is not None:
            if found.size < size <= found.size + _MAX_TAIL_FRAMES:
                found.size = size
            found.over = True
            self._usual, self._agreed = max(1, found.size), _SURE

    def _time_for(self, now: float) -> int:
        """Return for how many frames there was time since the newest one."""
        return int((now - self._highest_at) / FRAME_S) if self._highest_at else 0

    def _begin(self, group: int, number: int, now: float) -> _Group | None:
        if not self._groups:
            base, self._newest = -number, group  # whoever listens begins anywhere
        elif group > self._newest:
            base, self._newest = self._behind(group, number, now), group
        elif group < self._newest - KEPT_GROUPS:
            return None
        else:
            later = min(known for known in self._groups if known > group)
            base = self._groups[later].base - (later - group) * self._usual
        self._groups[group] = begun = _Group(base)
        while len(self._groups) > KEPT_GROUPS:
            del self._groups[min(self._groups)]
        return begun

    def _close(self, before: _Group, now: float) -> None:
        """Learn from a group that another one follows, though nobody has told its end."""
        missing = self._usual - before.size
        if missing <= 0:
            self._agreed = min(_SURE, self._agreed + 1) if not missing else min(self._agreed, 0)
            self._usual = before.size
            return
        was_time = now - self._highest_at >= (missing + 0.5) * FRAME_S
        if was_time:
            return
        if self._agreed < _SURE:
            self._usual = before.size
        self._agreed = _DOUBTFUL

    def _behind(self, group: int, number: int, now: float) -> int:
        """Return where a group begins that is newer than all others, by an object of it that has come now."""
        before, time_for = self._groups[self._newest], self._time_for(now)
        if before.over:
            base = before.base + before.size
        else:
            self._close(before, now)
            base = before.base + max(before.size, self._usual)
        if base > self._highest + 1 + time_for + _SPARE_FRAMES:
            base = max(before.base + before.size, self._highest + 1 + max(0, time_for - 1))
        missed = (group - self._newest - 1) * self._usual
        if missed <= time_for + _SPARE_FRAMES:
            base += missed
        earliest_s = now - min(self._least_s, self._least_before_s)
        return max(before.base + before.size, min(base, int(earliest_s / FRAME_S + 0.5) - number))
