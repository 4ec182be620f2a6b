"""Which leg is which row of which matrix: index arrays worked out once after each change.

Legs are grouped twice. A *bank* holds the legs of one sample rate, whose rings are read and whose payloads
are coded together. A *mix class* holds the participants that are mixed at one rate: rooms row by row, first
those of two members who simply hear each other, then routed rooms, then participants who are alone, then full
meshes, last of them those with members who may hear alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vb.mixer.core import PlaneCore
from vb.mixer.frames import RATES_HZ, Mix, Pcm, Slots, samples_per_tick
from vb.mixer.plan import MixPlan
from vb.mixer.port import Port, RtpPort, StreamPort
from vb.mixer.sharing import NEVER, SETTLED_TABLED_TICKS, SETTLED_TICKS, Sharers, compact

Rows: TypeAlias = Slots | slice
_PASS_HZ = 8000
_PAIR = 2


@dataclass(slots=True)
class Bank:
    """The legs of one sample rate.

    Attributes:
        rate_hz: their rate.
        slots: (n,) the legs.
        decoded: those of them whose packets wait for a decoder.
        heard: (n, samples) what they say in this tick.
        told: (n, samples) what they hear in this tick; the rows of followers are not filled in.
        source: (n,) the row of what each of them hears: its own, or that of the leader whom it follows.
        version: changes with `source`.
    """

    rate_hz: int
    slots: Slots
    decoded: list[int]
    heard: Pcm
    told: Pcm
    source: Slots
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
        share_kinds: of each row from there on, what it has in common with those who share with it, or None.
        share_after: (n − share_start,) ticks of silence after which each shares.
        shy: rows from there on that only begin to share while they are told next to nothing.
        rooms: rooms with sources, taps or routing.
        comfort: (n,) whether silence is replaced by noise.
        peaks: (n,) greatest sample that each says in this tick, kept where some may hear alike.
        blocks: where rows come from and go to.
        streams: rows of participants without RTP.
        private: rows with playback of their own.
        taps_in: rows whose speech somebody listens to.
        taps_out: rows whose hearing somebody listens to.
        sharers: who shared in the last tick.
    """

    rate_hz: int
    slots: Slots
    pair_rows: int
    mesh_start: int
    mesh_starts: Slots
    mesh_of_row: Slots
    share_start: int
    share_kinds: list[Hashable]
    share_after: Slots
    shy: Slots
    rooms: list[RoomRows]
    comfort: NDArray[np.bool_]
    peaks: NDArray[np.int32]
    blocks: list[Block] = field(default_factory=list)
    streams: list[tuple[int, StreamPort]] = field(default_factory=list)
    private: list[tuple[int, Port]] = field(default_factory=list)
    taps_in: list[tuple[int, Port]] = field(default_factory=list)
    taps_out: list[tuple[int, Port]] = field(default_factory=list)
    sharers: Sharers | None = None


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
    """The rooms of one rate while they are gathered."""

    pairs: list[int] = field(default_factory=list)
    pair_comfort: list[bool] = field(default_factory=list)
    meshes: list[tuple[MixPlan, list[int]]] = field(default_factory=list)
    routed: list[tuple[MixPlan, list[int], list[int]]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nobody is mixed at this rate."""
        return not (self.pairs or self.meshes or self.routed or self.alone)


def compile_layout(core: PlaneCore, plans: Mapping[str, MixPlan], owners: Mapping[int, str]) -> Layout:
    """Work out the arrays for the present ports and plans.

    Args:
        core: the plane.
        plans: each room's plan.
        owners: the room that each slot belongs to, so that a move is never heard twice.
    """
    drafts = {rate: _Draft() for rate in RATES_HZ}
    placed: set[int] = set()
    for room_id, plan in plans.items():
        present = [
            i
            for i, member in enumerate(plan.members)
            if _usable(member.port) and owners.get(member.port.slot) == room_id
        ]
        if present:
            slots = [plan.members[i].port.slot for i in present]
            placed.update(slots)
            _draft_room(core, drafts, plan, slots, present)
    unheard: list[Port] = []
    for port in core.ports[: core.columns.reach]:
        if port is None or port.slot in placed:
            continue
        if _usable(port):
            drafts[port.rate_hz].alone.append(port.slot)
        elif port.private and not port.rate_hz and not port.faulted:
            unheard.append(port)
    classes = [_finish_class(core, rate, draft) for rate, draft in drafts.items() if not draft.empty]
    for mix_class in classes:
        _list_extras(core, mix_class)
    return Layout(_make_banks(core, classes), classes, unheard)


def _usable(port: Port) -> bool:
    return not port.closed and not port.faulted and port.rate_hz > 0


def _draft_room(
    core: PlaneCore, drafts: dict[int, _Draft], plan: MixPlan, slots: list[int], present: list[int]
) -> None:
    if plan.hears is not None:
        drafts[plan.rate_hz].routed.append((plan, slots, present))
    elif len(slots) == 2 and plan.plain:
        through = core.pass_through and _passes_through(core.ports[slots[0]], core.ports[slots[1]])
        draft = drafts[_PASS_HZ if through else plan.rate_hz]
        draft.pairs += slots
        draft.pair_comfort += (plan.comfort_noise, plan.comfort_noise)
    else:
        drafts[plan.rate_hz].meshes.append((plan, slots))


def _passes_through(one: Port | None, other: Port | None) -> bool:
    """Whether two legs may skip the detour through the room's rate (media rule 11)."""
    if not (isinstance(one, RtpPort) and isinstance(other, RtpPort) and one.plain and other.plain):
        return False
    if one.agreed is None or other.agreed is None:
        return False
    codec = one.agreed.send_codec
    return codec.tabled and codec == other.agreed.send_codec


def _finish_class(core: PlaneCore, rate_hz: int, draft: _Draft) -> MixClass:
    """Lay rooms out row by row."""
    rows = list(draft.pairs)
    comfort = list(draft.pair_comfort)
    rooms: list[RoomRows] = []
    for plan, slots, present in draft.routed:
        start = len(rows)
        rows += slots
        comfort += [plan.comfort_noise] * len(slots)
        rooms.append(RoomRows(plan, start, len(rows), -1, _hearing(plan, present)))
    rows += draft.alone
    comfort += [False] * len(draft.alone)
    mesh_start = share_start = len(rows)
    starts: list[int] = []
    mesh_of_row: list[int] = []
    share_kinds: list[Hashable] = []
    kinds = {plan.room_id: _share_kinds(core, plan, slots) for plan, slots in draft.meshes}
    for mesh, (plan, slots) in enumerate(sorted(draft.meshes, key=lambda item: bool(kinds[item[0].room_id]))):
        start = len(rows)
        starts.append(start - mesh_start)
        rows += slots
        mesh_of_row += [mesh] * len(slots)
        comfort += [plan.comfort_noise] * len(slots)
        share_kinds += kinds[plan.room_id]
        if not plan.plain:
            rooms.append(RoomRows(plan, start, len(rows), mesh, None))
    share_start = len(rows) - len(share_kinds)
    return MixClass(
        rate_hz=rate_hz,
        slots=np.array(rows, np.int64),
        pair_rows=len(draft.pairs),
        mesh_start=mesh_start,
        mesh_starts=np.array(starts, np.int64),
        mesh_of_row=np.array(mesh_of_row, np.int64),
        share_start=share_start,
        share_kinds=share_kinds,
        share_after=np.array(
            [
                _share_after(core, slot, kind)
                for slot, kind in zip(rows[share_start:], share_kinds, strict=True)
            ],
            np.int64,
        ),
        shy=np.flatnonzero([_is_shy(core, slot) for slot in rows[share_start:]]),
        rooms=rooms,
        comfort=np.array(comfort, np.bool_),
        peaks=np.zeros(len(rows), np.int32),
    )


def _share_kinds(core: PlaneCore, plan: MixPlan, slots: list[int]) -> list[Hashable]:
    """Return what each member has in common with those who may share its mix, nothing where nobody may."""
    if len(slots) <= _PAIR:
        return []
    kinds = [_share_kind(core, plan, slot) for slot in slots]
    counts = Counter(kinds)
    kinds = [kind if kind is not None and counts[kind] > 1 else None for kind in kinds]
    return kinds if any(kinds) else []


def _share_kind(core: PlaneCore, plan: MixPlan, slot: int) -> Hashable:
    """Return the room, codec, packet time and its phase of a leg that hears nothing of its own, else None."""
    port = core.ports[slot]
    if not isinstance(port, RtpPort) or not port.shares or port.agreed is None:
        return None
    # The packets of a follower are its leader's, its own packetizer stands still.
    packetizer = core.packetizers[int(core.columns.leader[slot])]
    phase = packetizer.phase(core.tick) if packetizer is not None and packetizer.copyable else 0
    return (plan.room_id, port.agreed.send_codec, port.agreed.ptime_ms, phase)


def _share_after(core: PlaneCore, slot: int, kind: Hashable) -> int:
    if kind is None:
        return NEVER
    return SETTLED_TABLED_TICKS if core.packetizers[slot] is None else SETTLED_TICKS


def _is_shy(core: PlaneCore, slot: int) -> bool:
    """Whether the leg's encoder remembers for ever what else it has heard."""
    packetizer = core.packetizers[slot]
    return packetizer is not None and not packetizer.converges


def _hearing(plan: MixPlan, present: list[int]) -> Mix:
    """Return the hears-matrix of the members present, nobody hearing itself."""
    assert plan.hears is not None
    hears = plan.hears[np.ix_(present, present)].astype(np.float32)
    np.fill_diagonal(hears, 0.0)
    return hears


def _list_extras(core: PlaneCore, mix_class: MixClass) -> None:
    """Note the rows that need more than arithmetic."""
    for row, slot in enumerate(mix_class.slots.tolist()):
        port = core.ports[slot]
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


def _make_banks(core: PlaneCore, classes: Iterable[MixClass]) -> list[Bank]:
    """Order each bank by class and row, so that most index arrays are plain slices."""
    banks: list[Bank] = []
    for rate_hz in RATES_HZ:
        parts = []
        for mix_class in classes:
            rows = np.flatnonzero(core.columns.rate_hz[mix_class.slots] == rate_hz)
            if rows.size:
                parts.append((mix_class, rows))
        if not parts:
            continue
        slots = np.concatenate([mix_class.slots[rows] for mix_class, rows in parts])
        shape = (slots.size, samples_per_tick(rate_hz))
        decoded = [slot for slot in slots.tolist() if core.streams[slot] is not None]
        heard, told = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
        bank = Bank(rate_hz, slots, decoded, heard, told, np.arange(slots.size))
        banks.append(bank)
        start = 0
        for mix_class, rows in parts:
            bank_rows = slice(start, start + rows.size)
            start += rows.size
            mix_class.blocks.append(Block(bank, bank_rows, compact(rows), mix_class.slots[rows]))
    return banks
