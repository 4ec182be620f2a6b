"""The sources that a leg listened to before its present one.

When a call is transferred, or ringback ends, the old stream and the new one overlap. The newest source is
played, and what still comes of those before it is left aside, or each packet would start the audio anew. A
source before is taken again when the present one fell silent: for half a second, or for three of the other's
packets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OVERLAP_S: Final = 0.5
_CONVINCING_PACKETS: Final = 3
_REMEMBERED: Final = 4


@dataclass(slots=True)
class _Former:
    """A source before: its packets since the present source was heard, which had sent so many by then."""

    packets: int
    present: int


class FormerSources:
    """Remembers by SSRC, for the legs that had more than one source."""

    def __init__(self) -> None:
        self._legs: dict[int, dict[int, _Former]] = {}

    def forget(self, slot: int) -> None:
        """Let any source be a new one to this leg."""
        self._legs.pop(slot, None)

    def replace(self, slot: int, ssrc: int, by: int) -> None:
        """Take note that a leg has another source now."""
        formers = self._legs.setdefault(slot, {})
        formers.pop(by, None)
        formers.pop(ssrc, None)
        formers[ssrc] = _Former(0, -1)
        while len(formers) > _REMEMBERED:
            del formers[next(iter(formers))]

    def is_over(self, slot: int, ssrc: int, present: int, silent_s: float) -> bool:
        """Tell whether a packet of another source is one of a source before, to be left aside.

        Args:
            slot: the leg.
            ssrc: of the packet.
            present: how many packets the present source has sent.
            silent_s: time since the present source's last audio.
        """
        former = self._legs.get(slot, {}).get(ssrc)
        if former is None or silent_s >= OVERLAP_S:
            return False
        former.packets = former.packets + 1 if former.present == present else 1
        former.present = present
        return former.packets < _CONVINCING_PACKETS
