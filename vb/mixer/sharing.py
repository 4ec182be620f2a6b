"""One mix that several listeners hear alike is computed and encoded once: who may share it, and who does.

Alike are the members of a room who say nothing themselves: mixed-minus-self of each is the whole room. One of
them, the leader, is served like anybody; the others, its followers, are sent its payloads in packets of their
own. A follower that begins to speak, or that is to hear anything of its own, takes over the state of the
leader's filter and encoder and goes on from there, so that its decoder notices nothing. One that falls silent
follows after a while in which its own encoder hears the same as the leader's and comes to the same state.

Encoders of G.722 never come to quite the same state: what is left of the difference is a share of what is
heard. So their legs begin to follow while next to nothing is heard.

Where the encoders of a codec cannot be copied (`CopyableEncoder`), what is alike is mixed and converted once,
and each of its legs goes on encoding it by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from vb.mixer.frames import Slots
from vb.mixer.hearing import Hearing, hearing_of
from vb.rtp.masks import every, some, true_places

if TYPE_CHECKING:
    from vb.codecs.resample import Resampler
    from vb.mixer.core import PlaneCore
    from vb.mixer.layout import Layout, MixClass

QUIET: Final = 32
"""A frame without a greater sample says nothing: its peak is 60 dB down, and comfort noise is louder."""
SETTLED_TICKS: Final = 25
"""Silent for so long, a leg has an encoder that forgot what else it has heard."""
SETTLED_TABLED_TICKS: Final = 10
"""The same for a codec without state: its filter forgets within a frame, but a pause is no silence yet."""
HUSH: Final = 256
"""Told nothing louder, a leg does not notice a step of a tenth of it: 42 dB down, above comfort noise."""
HUSHED_TICKS: Final = 5
"""How long that has to last: a word has gaps, too."""
_LONGEST: Final = 1000
NO_KIND: Final = -1
"""What a leg has in common with nobody."""
NEVER: Final = _LONGEST + 1
"""More ticks of silence than are counted."""


@dataclass(slots=True)
class Sharers:
    """Who of a mix class shares in this tick; the same object as long as nothing changes.

    Attributes:
        alike: of the last rows of the class, whether they share.
        followers: whether any of them follows another one.
        hearing: the rows of the class that are computed for themselves.
    """

    alike: NDArray[np.bool_]
    followers: bool
    hearing: Hearing


class Sharing:
    """Leaders and followers of all rooms.

    Attributes:
        filters: those between the mix and the listeners.

    Args:
        core: the plane; `leader` and `quiet` of its columns are kept here.
    """

    def __init__(self, core: PlaneCore) -> None:
        self.filters: tuple[Resampler, ...] = ()
        self._core = core
        self._columns = core.columns
        self._packetizers = core.packetizers
        self._kinds = np.full(core.columns.capacity, NO_KIND, np.int64)
        self._in_use = False

    # What changes between two ticks.

    def adopt(self, layout: Layout) -> None:
        """Let go of whoever may no longer follow whom it follows, all states being those of the last tick."""
        used, self._in_use = self._in_use, any(one.share_kinds.size for one in layout.classes)
        if not (used or self._in_use):
            return  # nobody shared before, and nobody does now
        columns, before = self._columns, self._kinds
        kinds = self._kinds = np.full_like(before, NO_KIND)
        for mix_class in layout.classes:
            kinds[mix_class.slots[mix_class.share_start :]] = mix_class.share_kinds
        columns.quiet[(kinds != NO_KIND) & (kinds != before)] = 0
        columns.hush[kinds != NO_KIND] = 0
        leader, reach = columns.leader, columns.reach
        following = true_places(leader[:reach] != np.arange(reach))
        theirs = kinds[following]
        lost = following[(theirs == NO_KIND) | (theirs != kinds[leader[following]])]
        for slot in lost.tolist():
            first = int(leader[slot])
            if first == slot:
                continue  # another one's turn made it a leader
            if kinds[slot] == NO_KIND:
                self._leave(slot)
            elif kinds[first] != kinds[slot]:
                self._succeed(first, slot, following[theirs == kinds[slot]])

    def release(self, slot: int) -> None:
        """Let a leg go whose encoder is about to go as well: another one leads its followers."""
        if not self._in_use:
            return  # nobody follows anybody
        leader = self._columns.leader
        followers = true_places(leader == slot)
        followers = followers[followers != slot]
        if followers.size:
            self._succeed(slot, int(followers[0]), followers)
        self._leave(slot)

    def _leave(self, slot: int) -> None:
        """Go on alone from where the leader stands."""
        first = int(self._columns.leader[slot])
        if first != slot:
            self._inherit(first, slot)
            self._columns.leader[slot] = slot

    def _succeed(self, first: int, slot: int, others: Slots) -> None:
        """Make a follower the leader of others that followed the same one."""
        leader = self._columns.leader
        self._inherit(first, slot)
        leader[others[leader[others] == first]] = slot
        leader[slot] = slot

    def _inherit(self, first: int, slot: int) -> None:
        """Bring a follower's filter and encoder to the state of its leader's."""
        for resampler in self.filters:
            if resampler.used:
                resampler.history[slot] = resampler.history[first]
        own, theirs = self._packetizers[slot], self._packetizers[first]
        if own is not None and theirs is not None:
            own.copy(theirs)

    # What may change with each tick.

    def sharers(self, mix_class: MixClass) -> Sharers | None:
        """Return who shares in this tick, None when nobody does."""
        start = mix_class.share_start
        if start == mix_class.slots.size:
            return None
        columns, slots = self._columns, mix_class.slots[start:]
        loud = (mix_class.peaks[start:] > QUIET) & ~columns.silent[slots] & ~columns.filled[slots]
        quiet = np.where(loud, 0, np.minimum(columns.quiet[slots] + 1, _LONGEST))
        columns.quiet[slots] = quiet
        alike = np.asarray(quiet >= mix_class.share_after)
        if mix_class.shy.size and some(alike[mix_class.shy]):
            alike[mix_class.shy] &= self._may_begin(mix_class, slots)[mix_class.shy]
        before = mix_class.sharers
        if before is None:
            if not some(alike) and every(columns.leader[slots] == slots):
                return None
            mix_class.sharers = self._regroup(mix_class, alike)
        elif some(before.alike != alike):
            mix_class.sharers = self._regroup(mix_class, alike)
        sharers = mix_class.sharers
        return sharers if sharers is not None and sharers.followers else None

    def _may_begin(self, mix_class: MixClass, slots: Slots) -> NDArray[np.bool_]:
        """Return which legs share already, or have been told next to nothing for long enough to begin."""
        columns, start = self._columns, mix_class.share_start
        leader = columns.leader[slots]
        shares = np.asarray((leader != slots) | np.isin(slots, leader[leader != slots]))
        for block in mix_class.blocks:
            rows = np.arange(mix_class.slots.size)[block.class_rows] - start
            waits = np.isin(rows, mix_class.shy)
            waits[waits] &= ~shares[rows[waits]]
            if some(waits):
                # What was told in the last tick, which is what the encoder has in mind.
                told = block.bank.told[np.arange(block.bank.slots.size)[block.bank_rows][waits]]
                loud = np.maximum(told.max(1), -told.min(1).astype(np.int32)) > HUSH
                places = block.slots[waits]
                columns.hush[places] = np.where(loud, 0, columns.hush[places] + 1)
        return shares | np.asarray(columns.hush[slots] >= HUSHED_TICKS)

    def _regroup(self, mix_class: MixClass, alike: NDArray[np.bool_]) -> Sharers:
        """Let go of those who are not alike any more, and let the others follow one of each kind."""
        leader, start = self._columns.leader, mix_class.share_start
        slots = mix_class.slots[start:]
        for slot in slots[~alike & (leader[slots] != slots)].tolist():
            self._leave(slot)
        kinds, sharing = mix_class.share_kinds[alike], slots[alike]
        for kind in np.unique(kinds):
            self._lead(sharing[kinds == kind])
        own = mix_class.ears.copy()
        own[start:] &= leader[slots] == slots
        followers = some(leader[slots] != slots)
        return Sharers(alike, followers, hearing_of(mix_class, leader, own))

    def _lead(self, members: Slots) -> None:
        """Let all members of one kind follow one of them, the one who leads already where there is one."""
        leader = self._columns.leader
        followers = members[leader[members] != members]
        chosen = int(members[0])
        if followers.size:
            first = int(followers[0])
            chosen = int(leader[first])
            if not some(members == chosen):
                self._succeed(chosen, first, members)
                chosen = first
        leader[members] = chosen
