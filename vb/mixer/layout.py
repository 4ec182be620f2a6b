"""Which leg is which row of which matrix: index arrays worked out once after each change.

Legs are grouped twice. A *bank* holds the legs of one sample rate, whose rings are read and whose payloads
are coded together. A *mix class* holds the participants that are mixed at one rate: rooms row by row, first
those of two members who simply hear each other, then routed rooms, then participants who are alone, then full
meshes, last of them those with members who may hear alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vb.mixer.columns import HANDLE_BITS
from vb.mixer.core import PlaneCore
from vb.mixer.facts import NO_FORMAT, PortFacts
from vb.mixer.frames import RATES_HZ, Mix, Pcm, Slots, samples_per_tick
from vb.mixer.hearing import Hearing, compact, hearing_of
from vb.mixer.plan import MixPlan
from vb.mixer.port import Port, RtpPort, StreamPort
from vb.mixer.sharing import NEVER, NO_KIND, SETTLED_TABLED_TICKS, SETTLED_TICKS, Sharers
from vb.rtp.masks import true_places

Rows: TypeAlias = Slots | slice
_PASS_HZ = 8000
_PAIR = 2
_PHASE_BITS = 4
_FORMAT_BITS = 20
_NOBODY: Final = np.zeros(0, np.int64)
_NOBODY.flags.writeable = False  # one array for all


@dataclass(slots=True)
class Bank:
    """The legs of one sample rate.

    Attributes:
        rate_hz: their rate.
        slots: (n,) the legs.
        decoded: those of them whose packets wait for a decoder.
        heard: (n, samples) what they say in this tick.
        told: (n, samples) what they hear in this tick; only rows of `Hearing` are filled in.
        nothing: (n,) whose row of `heard` is known to be zero; None when that of nobody is.
        source: (n,) the row of what each of them hears: its own, or that of the leader whom it follows.
        version: changes with `source`.
    """

    rate_hz: int
    slots: Slots
    decoded: Slots
    heard: Pcm
    told: Pcm
    source: Slots
    nothing: NDArray[np.bool_] | None = None
    version: int = 0


@dataclass(slots=True)
class Block:
    """The legs of one bank that are mixed in one class."""

    bank: Bank
    bank_rows: Rows
    class_rows: Rows
    slots: Slots


@dataclass(slots=True)
class RoomRows:
    """A room with more to it than two members: its rows in the class and its number among the meshes."""

    plan: MixPlan
    start: int
    stop: int
    mesh: int
    hears: Mix | None


@dataclass(slots=True)
class MixClass:
    """The participants that are mixed at one rate.

    Attributes:
        rate_hz: mixing rate.
        slots: (n,) participants, room by room.
        pair_rows: the first so many rows are rooms of two.
        mesh_start: row of the first full mesh; all rows from there on are those of meshes.
        mesh_starts: first row of each mesh, counted from `mesh_start`.
        mesh_of_row: mesh of each of these rows.
        share_start: first row of the meshes in which some may hear alike.
        share_kinds: of each row from there on, what it has in common with those who share, or `NO_KIND`.
        share_after: (n − share_start,) ticks of silence after which each shares.
        shy: rows from there on that only begin to share while they are told next to nothing.
        rooms: rooms with sources, taps or routing.
        comfort: (n,) whether silence is replaced by noise.
        peaks: (n,) greatest sample that each says in this tick, kept where some may hear alike.
        ears: (n,) whether anybody is to hear what each of them hears.
        blocks: where rows come from and go to.
        streams: rows of participants without RTP.
        private: rows with playback of their own.
        taps_in: rows whose speech somebody listens to.
        taps_out: rows whose hearing somebody listens to.
        hearing: the rows with ears, None when all have.
        sharers: who shared in the last tick.
        lone: everybody is alone and nothing else is played to or taken from them: what they hear stays zero.
        said: (n, samples) what they say, kept from tick to tick while most say nothing.
        voiced: the rows of it that were written in the last tick; all others are zero.
    """

    rate_hz: int
    slots: Slots
    pair_rows: int
    mesh_start: int
    mesh_starts: Slots
    mesh_of_row: Slots
    share_start: int
    share_kinds: Slots
    share_after: Slots
    shy: Slots
    rooms: list[RoomRows]
    comfort: NDArray[np.bool_]
    peaks: NDArray[np.int32]
    ears: NDArray[np.bool_]
    blocks: list[Block] = field(default_factory=list)
    streams: list[tuple[int, StreamPort]] = field(default_factory=list)
    private: list[tuple[int, Port]] = field(default_factory=list)
    taps_in: list[tuple[int, Port]] = field(default_factory=list)
    taps_out: list[tuple[int, Port]] = field(default_factory=list)
    hearing: Hearing | None = None
    sharers: Sharers | None = None
    lone: bool = False
    said: Mix | None = None
    voiced: Slots = field(default_factory=lambda: _NOBODY)


@dataclass(slots=True)
class Layout:
    """All banks and mix classes, valid until the next change.

    Attributes:
        banks: the legs by their own rate.
        classes: the participants by the rate that they are mixed at.
        unheard: ports that are played to and have no codec yet, such as ringing calls.
    """

    banks: list[Bank]
    classes: list[MixClass]
    unheard: list[Port] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    """The rooms of one rate while they are gathered; members are slots."""

    pairs: list[int] = field(default_factory=list)
    pair_comfort: list[bool] = field(default_factory=list)
    meshes: list[_Mesh] = field(default_factory=list)
    routed: list[tuple[MixPlan, Slots, Slots]] = field(default_factory=list)
    alone: Slots = field(default_factory=lambda: _NOBODY)

    @property
    def has_members(self) -> bool:
        """Whether anybody is mixed at this rate; a room is drafted only if a member of it is there."""
        return bool(self.pairs or self.meshes or self.routed or self.alone.size)


@dataclass(slots=True)
class _Mesh:
    """A room in which everybody hears everybody.

    `kinds` is what each member has in common with others, empty where nobody may share.
    """

    plan: MixPlan
    slots: Slots
    kinds: Slots


def slots_of(handles: Slots) -> Slots:
    """Return the slots of ports."""
    return handles & ((1 << HANDLE_BITS) - 1)


def compile_layout(core: PlaneCore, facts: PortFacts, rooms: Sequence[tuple[int, MixPlan]]) -> Layout:
    """Work out the arrays for the present ports and plans.

    Args:
        core: the plane.
        facts: of its ports, as they are now.
        rooms: each room's number and plan. A member takes part in the room that owns it, so that a move is
            never heard twice.
    """
    columns, reach = core.columns, core.columns.reach
    if not (rooms or facts.extras):
        return _lone_layout(facts, true_places(facts.usable[:reach]))
    drafts = {rate: _Draft() for rate in RATES_HZ}
    placed = np.zeros(reach, np.bool_)
    if rooms:
        handles = np.concatenate([plan.handles for _, plan in rooms])
        slots = slots_of(handles)
        room = np.repeat(np.arange(len(rooms)), [plan.handles.size for _, plan in rooms])
        numbers = np.array([number for number, _ in rooms], np.int64)
        present = (columns.handle[slots] == handles) & facts.usable[slots]
        present &= columns.owner[slots] == numbers[room]
        slots, room = slots[present], room[present]
        placed[slots] = True
        stops = np.cumsum(np.bincount(room, minlength=len(rooms))).tolist()
        start = first = 0
        for (number, plan), stop in zip(rooms, stops, strict=True):
            if stop > start:
                who = true_places(present[first : first + plan.handles.size])
                _draft_room(core, facts, drafts, (number, plan), slots[start:stop], who)
            start, first = stop, first + plan.handles.size
    alone = true_places(facts.usable[:reach] & ~placed)
    rates = facts.rate_hz[alone]
    for rate_hz, draft in drafts.items():
        draft.alone = alone[rates == rate_hz]
    classes = [_finish_class(facts, rate, draft) for rate, draft in drafts.items() if draft.has_members]
    for mix_class in classes:
        _list_extras(core, facts, mix_class)
        mix_class.lone &= not (
            mix_class.private or mix_class.taps_in or mix_class.taps_out or mix_class.streams
        )
    banks = _make_banks(core, facts, classes)
    for mix_class in classes:
        if not (mix_class.lone or mix_class.ears.all()):
            mix_class.hearing = hearing_of(mix_class, columns.leader, mix_class.ears)
    unheard = [core.ports[slot] for slot in true_places(facts.unheard[:reach] & ~placed).tolist()]
    return Layout(banks, classes, [port for port in unheard if port is not None])


def _lone_layout(facts: PortFacts, slots: Slots) -> Layout:
    """Lay out legs that are all alone, the shortest way: calls come and go more often than anything else.

    Each is mixed at its own rate, so that a class is a bank.
    """
    layout = Layout([], [])
    rates = facts.rate_hz[slots]
    for rate_hz in RATES_HZ:
        same = true_places(rates == rate_hz)
        if not same.size:
            continue
        mine = slots if same.size == slots.size else slots[same]
        shape = (mine.size, samples_per_tick(rate_hz))
        heard, told = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
        bank = Bank(rate_hz, mine, mine[facts.decoded[mine]], heard, told, np.arange(mine.size))
        mix_class = _lone_class(facts, rate_hz, mine)
        rows = slice(0, mine.size)
        mix_class.blocks.append(Block(bank, rows, rows, mine))
        layout.banks.append(bank)
        layout.classes.append(mix_class)
        if mine is slots:
            break
    return layout


def _draft_room(
    core: PlaneCore,
    facts: PortFacts,
    drafts: dict[int, _Draft],
    numbered: tuple[int, MixPlan],
    slots: Slots,
    present: Slots,
) -> None:
    number, plan = numbered
    if plan.hears is not None:
        drafts[plan.rate_hz].routed.append((plan, slots, present))
    elif slots.size == _PAIR and plan.plain:
        one, other = slots.tolist()
        through = core.pass_through and _passes_through(core.ports[one], core.ports[other])
        draft = drafts[_PASS_HZ if through else plan.rate_hz]
        draft.pairs += (one, other)
        draft.pair_comfort += (plan.comfort_noise, plan.comfort_noise)
    else:
        kinds = _share_kinds(core, facts, number, slots)
        drafts[plan.rate_hz].meshes.append(_Mesh(plan, slots, kinds))


def _passes_through(one: Port | None, other: Port | None) -> bool:
    """Whether two legs may skip the detour through the room's rate (media rule 11)."""
    if not (isinstance(one, RtpPort) and isinstance(other, RtpPort) and one.plain and other.plain):
        return False
    if one.agreed is None or other.agreed is None:
        return False
    codec = one.agreed.send_codec
    return codec.tabled and codec == other.agreed.send_codec


def _lone_class(facts: PortFacts, rate_hz: int, slots: Slots) -> MixClass:
    """Lay out participants who are alone, as `_finish_class` would without rooms: new calls are all here."""
    count = slots.size
    return MixClass(
        rate_hz=rate_hz,
        slots=slots,
        pair_rows=0,
        mesh_start=count,
        mesh_starts=_NOBODY,
        mesh_of_row=_NOBODY,
        share_start=count,
        share_kinds=_NOBODY,
        share_after=_NOBODY,
        shy=_NOBODY,
        rooms=[],
        comfort=np.zeros(count, np.bool_),
        peaks=np.zeros(count, np.int32),
        ears=facts.transmitting[slots] | facts.special[slots],
        lone=True,
    )


def _finish_class(facts: PortFacts, rate_hz: int, draft: _Draft) -> MixClass:
    """Lay rooms out row by row."""
    if not (draft.pairs or draft.routed or draft.meshes):
        return _lone_class(facts, rate_hz, draft.alone)
    parts = [np.array(draft.pairs, np.int64)]
    comfort = [np.array(draft.pair_comfort, np.bool_)]
    rooms: list[RoomRows] = []
    count = len(draft.pairs)
    for plan, slots, present in draft.routed:
        parts.append(slots)
        comfort.append(np.full(slots.size, plan.comfort_noise))
        rooms.append(RoomRows(plan, count, count + slots.size, -1, _hearing(plan, present)))
        count += slots.size
    parts.append(draft.alone)
    comfort.append(np.zeros(draft.alone.size, np.bool_))
    mesh_start = count = count + draft.alone.size
    meshes = sorted(draft.meshes, key=lambda mesh: bool(mesh.kinds.size))
    for place, mesh in enumerate(meshes):
        parts.append(mesh.slots)
        comfort.append(np.full(mesh.slots.size, mesh.plan.comfort_noise))
        if not mesh.plan.plain:
            rooms.append(RoomRows(mesh.plan, count, count + mesh.slots.size, place, None))
        count += mesh.slots.size
    sizes = np.array([mesh.slots.size for mesh in meshes], np.int64)
    slots = np.concatenate(parts)
    kinds = np.concatenate([mesh.kinds for mesh in meshes]) if meshes else _NOBODY
    share_start = slots.size - kinds.size
    sharing = slots[share_start:]
    settled = np.where(facts.packeted[sharing], SETTLED_TICKS, SETTLED_TABLED_TICKS)
    return MixClass(
        rate_hz=rate_hz,
        slots=slots,
        pair_rows=len(draft.pairs),
        mesh_start=mesh_start,
        mesh_starts=np.cumsum(sizes) - sizes,
        mesh_of_row=np.repeat(np.arange(sizes.size), sizes),
        share_start=share_start,
        share_kinds=kinds,
        share_after=np.where(kinds == NO_KIND, NEVER, settled),
        shy=true_places(facts.shy[sharing]),
        rooms=rooms,
        comfort=np.concatenate(comfort),
        peaks=np.zeros(slots.size, np.int32),
        ears=facts.transmitting[slots] | facts.special[slots],
    )


def _share_kinds(core: PlaneCore, facts: PortFacts, number: int, slots: Slots) -> Slots:
    """Return what each member has in common with those who may share its mix, nothing where nobody may.

    That is the room, codec, packet time and its phase of a leg that hears nothing of its own.
    """
    if slots.size <= _PAIR:
        return _NOBODY
    formats, leaders = facts.format[slots], core.columns.leader[slots]
    kinds = (number << _FORMAT_BITS | formats) << _PHASE_BITS
    # The packets of a follower are its leader's, its own packetizer stands still.
    for row in true_places(facts.phased[leaders]).tolist():
        packetizer = core.packetizers[int(leaders[row])]
        if packetizer is not None:
            kinds[row] |= packetizer.phase(core.tick)
    kinds[formats == NO_FORMAT] = NO_KIND
    _, which, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    kinds[counts[which] == 1] = NO_KIND
    return kinds if (kinds != NO_KIND).any() else _NOBODY


def _hearing(plan: MixPlan, present: Slots) -> Mix:
    """Return the hears-matrix of the members present, nobody hearing itself."""
    assert plan.hears is not None
    hears = plan.hears[np.ix_(present, present)].astype(np.float32)
    np.fill_diagonal(hears, 0.0)
    return hears


def _list_extras(core: PlaneCore, facts: PortFacts, mix_class: MixClass) -> None:
    """Note the rows that need more than arithmetic."""
    for row in true_places(facts.special[mix_class.slots]).tolist():
        port = core.ports[int(mix_class.slots[row])]
        if port is None:
            continue
        if port.private:
            mix_class.private.append((row, port))
        if port.tap_in:
            mix_class.taps_in.append((row, port))
        if port.tap_out:
            mix_class.taps_out.append((row, port))
        if isinstance(port, StreamPort):
            mix_class.streams.append((row, port))
            mix_class.comfort[row] &= port.comfort_noise


def _make_banks(core: PlaneCore, facts: PortFacts, classes: Iterable[MixClass]) -> list[Bank]:
    """Order each bank by class and row, so that most index arrays are plain slices."""
    banks: list[Bank] = []
    for rate_hz in RATES_HZ:
        parts = []
        for mix_class in classes:
            rows = true_places(core.columns.rate_hz[mix_class.slots] == rate_hz)
            if rows.size:
                parts.append((mix_class, rows))
        if not parts:
            continue
        slots = np.concatenate([mix_class.slots[rows] for mix_class, rows in parts])
        shape = (slots.size, samples_per_tick(rate_hz))
        decoded = slots[facts.decoded[slots]]
        heard, told = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
        bank = Bank(rate_hz, slots, decoded, heard, told, np.arange(slots.size))
        banks.append(bank)
        start = 0
        for mix_class, rows in parts:
            bank_rows = slice(start, start + rows.size)
            start += rows.size
            mix_class.blocks.append(Block(bank, bank_rows, compact(rows), mix_class.slots[rows]))
    return banks
