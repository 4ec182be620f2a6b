"""Mixed-minus-self for all rooms of one rate at once.

Samples are float32 with int16's scale: sums of up to 512 full-scale talkers are exact, and nothing is
converted between resampling and mixing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.resample import Resampler, to_pcm
from vb.mixer.core import PlaneCore
from vb.mixer.frames import RATES_HZ, FrameSink, FrameSource, Mix, Pcm, Slots, samples_per_tick
from vb.mixer.guard import push_frame, take_frame
from vb.mixer.hearing import Hearing, rows_of
from vb.mixer.layout import Block, Layout, MixClass, RoomRows
from vb.mixer.noise import comfort_noise
from vb.mixer.port import Port
from vb.rtp.masks import some, true_places

_LOWEST: Final = -32768.0
_HIGHEST: Final = 32767.0
_UNHEARD_HZ: Final = RATES_HZ[0]
_PROBE: Final = 16
"""Every so many samples are looked at to find rows that may be all zero."""
_ROOM_NOISE_SLOT: Final = np.zeros(1, np.int64)


class Mixer:
    """Mixes every class of a layout.

    Args:
        core: the plane.
    """

    def __init__(self, core: PlaneCore) -> None:
        self._core = core
        capacity = core.columns.capacity
        pairs = [(a, b) for a in RATES_HZ for b in RATES_HZ if a != b]
        self._up = {pair: Resampler(*pair, capacity) for pair in pairs}
        self._down = {pair: Resampler(*pair, capacity) for pair in pairs}
        core.sharing.filters = tuple(self._down.values())
        self._broken: list[object] = []
        self._mixed = np.zeros(capacity, np.bool_)
        # The first conversion builds its filter; that must not happen within a tick.
        for from_hz, to_hz in pairs:
            silence = np.zeros((1, samples_per_tick(from_hz)), np.float32)
            kernel = self._up[from_hz, to_hz].kernel
            kernel.process(silence, kernel.new_history(1))

    def adopt(self, layout: Layout) -> None:
        """Clear the filters of legs that are mixed at another rate than before, or begin to hear again."""
        columns = self._core.columns
        mixed, hears = np.zeros(columns.capacity, np.bool_), np.zeros(columns.capacity, np.bool_)
        for mix_class in layout.classes:
            slots = mix_class.slots
            mixed[slots], hears[slots] = not mix_class.lone, mix_class.ears
            moved = columns.mix_hz[slots] != mix_class.rate_hz
            if some(moved):
                _clear((*self._up.values(), *self._down.values()), slots[moved])
                columns.mix_hz[slots] = mix_class.rate_hz
            begins = mix_class.ears & ~columns.hears[slots]
            _clear(self._down.values(), slots[begins & ~moved])
        columns.hears = hears
        # Of those who were not mixed in the last tick it is not known.
        columns.zero &= self._mixed
        self._mixed = mixed

    def mix(self, mix_class: MixClass) -> None:
        """Take what the members of a class say and give each bank what they hear."""
        if mix_class.lone:
            return  # the rows of their banks were made zero, and nobody writes them
        columns, slots = self._core.columns, mix_class.slots
        said = self._gather(mix_class)
        if mix_class.taps_in:
            # All at once: rounding one frame costs as much as rounding thirty.
            frames = to_pcm(said[[row for row, _ in mix_class.taps_in]])
            for frame, (_, port) in zip(frames, mix_class.taps_in, strict=True):
                for sink in port.tap_in:
                    push_frame(sink, frame, mix_class.rate_hz, partial(self._drop_tap, port, sink))
        silent = columns.silent[slots]
        if some(silent):
            said[silent] = 0.0
        sharers = self._core.sharing.sharers(mix_class)
        hearing = mix_class.hearing if sharers is None else sharers.hearing
        heard = self._sum(mix_class, said, hearing)
        if hearing is not None:
            mix_class = hearing.told
            slots = mix_class.slots
        # Of a pair each hears one voice, which needs no limit.
        mixed = heard[mix_class.pair_rows :]
        mixed.clip(_LOWEST, _HIGHEST, out=mixed)
        shut = columns.shut[slots]
        if some(shut):
            heard[shut] = 0.0
        self._fill_silence(mix_class, heard, shut)
        self._add_private(mix_class, heard, shut)
        for row, port in mix_class.taps_out:
            if not shut[row]:
                frame = _pcm(heard[row])
                for sink in port.tap_out:
                    push_frame(sink, frame, mix_class.rate_hz, partial(self._drop_tap, port, sink))
        for row, stream in mix_class.streams:
            if stream.sink is not None and not shut[row]:
                failed = partial(self._core.fault, stream)
                push_frame(stream.sink, _pcm(heard[row]), mix_class.rate_hz, failed)
        for block in mix_class.blocks:
            self._hand_out(mix_class.rate_hz, block, heard)

    def _gather(self, mix_class: MixClass) -> Mix:
        """Return what each member says, at the class's rate."""
        rate_hz, count = mix_class.rate_hz, mix_class.slots.size
        idle = [self._measure(mix_class, block) for block in mix_class.blocks]
        if 2 * sum(int(np.count_nonzero(mask)) for mask in idle) > count:
            said = self._gather_few(mix_class, idle)
        else:
            mix_class.said = None
            shape = (count, samples_per_tick(rate_hz))
            only = len(mix_class.blocks) == 1 and mix_class.blocks[0].slots.size == count
            said = np.empty(0, np.float32) if only else np.zeros(shape, np.float32)
            for block in mix_class.blocks:
                part = self._raise(rate_hz, block, block.bank.heard[block.bank_rows], block.slots)
                if only:
                    said = part.astype(np.float32, copy=False)
                else:
                    said[block.class_rows] = part
        self._gather_streams(mix_class, said)
        return said

    def _gather_few(self, mix_class: MixClass, idle: list[NDArray[np.bool_]]) -> Mix:
        """Return what each says where most say nothing: only rows that are not idle are written."""
        said = mix_class.said
        if said is None:
            shape = (mix_class.slots.size, samples_per_tick(mix_class.rate_hz))
            said = mix_class.said = np.zeros(shape, np.float32)
        else:
            said[mix_class.voiced] = 0.0
        voiced = [np.array([row for row, _ in mix_class.streams], np.int64)]
        for block, mask in zip(mix_class.blocks, idle, strict=True):
            busy = true_places(~mask)
            if busy.size:
                frames = block.bank.heard[block.bank_rows][busy]
                rows = rows_of(block.class_rows)[busy]
                said[rows] = self._raise(mix_class.rate_hz, block, frames, block.slots[busy])
                voiced.append(rows)
        mix_class.voiced = np.concatenate(voiced)
        return said

    def _gather_streams(self, mix_class: MixClass, said: Mix) -> None:
        """Ask the participants without RTP what they say, and whether that is speech."""
        watched: list[int] = []
        arrived: list[bool] = []
        for row, stream in mix_class.streams:
            if stream.source is None:
                continue
            frame = take_frame(stream.source, mix_class.rate_hz, partial(self._core.fault, stream))
            if frame is not None:
                said[row] = frame
            if stream.detect_speaking:
                watched.append(row)
                arrived.append(frame is not None)
        if watched:
            self._core.speaking.hear(mix_class.slots[watched], said[watched], np.array(arrived))

    def _raise(self, rate_hz: int, block: Block, frames: Pcm, slots: Slots) -> Mix | Pcm:
        """Bring what some legs of a block say to the class's rate."""
        if block.bank.rate_hz == rate_hz:
            return frames
        resampler = self._up[block.bank.rate_hz, rate_hz]
        return resampler.process_float(frames, slots)

    def _measure(self, mix_class: MixClass, block: Block) -> NDArray[np.bool_]:
        """Return which rows of a block are idle, and note the peak of every row where some may share."""
        zero = np.zeros(block.slots.size, np.bool_)
        if block.bank.nothing is not None:
            zero[:] = block.bank.nothing[block.bank_rows]
        if mix_class.share_start < mix_class.slots.size:
            peaks = _peaks(block.bank.heard[block.bank_rows], zero)
            mix_class.peaks[block.class_rows] = peaks
            zero = peaks == 0
        # What was nothing in the last tick as well has left nothing in the filter.
        columns = self._core.columns
        idle = np.asarray(zero & columns.zero[block.slots])
        columns.zero[block.slots] = zero
        return idle

    def _sum(self, mix_class: MixClass, said: Mix, hearing: Hearing | None) -> Mix:
        """Return what rows of the class hear of their rooms, unlimited.

        Args:
            mix_class: the participants.
            said: what they say.
            hearing: the rows wanted, all of them when None.
        """
        pairs, meshes, width = mix_class.pair_rows, mix_class.mesh_start, said.shape[1]
        spoken = said[meshes:]
        totals = spoken
        if mix_class.mesh_starts.size == 1:
            if mix_class.said is not None:
                spoken = said[mix_class.voiced[mix_class.voiced >= meshes]]
            totals = spoken.sum(axis=0, keepdims=True)
        elif mix_class.mesh_starts.size:
            totals = np.add.reduceat(spoken, mix_class.mesh_starts, axis=0)
        rows = np.zeros(0, np.int64) if hearing is None else hearing.rows
        heard = np.empty((said.shape[0] if hearing is None else rows.size, width), np.float32)
        # The first rows of the class are most often all wanted; only those behind them are looked up.
        whole = said.shape[0] if hearing is None else hearing.whole
        first_mesh = meshes if hearing is None else hearing.meshes
        paired = pairs
        if whole < pairs:
            paired = int(np.searchsorted(rows, pairs))
            heard[:paired] = said[rows[:paired] ^ 1]
        elif pairs:
            heard[:pairs].reshape(-1, 2, width)[:] = said[:pairs].reshape(-1, 2, width)[:, ::-1]
        heard[paired:first_mesh] = 0.0
        for room in mix_class.rooms:
            self._sum_room(mix_class.rate_hz, room, said, totals, heard)
        if whole > meshes:
            of_row = mix_class.mesh_of_row[: whole - meshes]
            np.subtract(totals[of_row], said[meshes:whole], out=heard[meshes:whole])
        if whole < said.shape[0]:
            rest = rows[max(whole, first_mesh) :]
            of_row = mix_class.mesh_of_row[rest - meshes]
            np.subtract(totals[of_row], said[rest], out=heard[max(whole, first_mesh) :])
        return heard

    def _sum_room(self, rate_hz: int, room: RoomRows, said: Mix, totals: Mix, heard: Mix) -> None:
        """Add a room's playback, apply its routing and serve its taps."""
        plan = room.plan
        played = self._room_playback(room, rate_hz)
        if room.hears is not None:
            members = said[room.start : room.stop]
            heard[room.start : room.stop] = room.hears @ members
            if played is not None:
                heard[room.start : room.stop] += played
            total = members.sum(axis=0) if plan.taps else members[0]
            if plan.taps and played is not None:
                total = total + played
        else:
            total = totals[room.mesh]
            if played is not None:
                total += played
        if not plan.taps:
            return
        frame = _pcm(np.clip(total, _LOWEST, _HIGHEST))
        if plan.comfort_noise and not frame.any():
            frame = comfort_noise(_ROOM_NOISE_SLOT, self._core.tick, rate_hz)[0]
        for tap in plan.taps:
            if not any(tap is broken for broken in self._broken):
                push_frame(tap, frame, rate_hz, partial(self._break, tap, plan.room_id))

    def _room_playback(self, room: RoomRows, rate_hz: int) -> Mix | Pcm | None:
        played: Mix | Pcm | None = None
        for source in room.plan.sources:
            if self._broken and any(source is broken for broken in self._broken):
                continue
            frame = take_frame(source, rate_hz, partial(self._break, source, room.plan.room_id))
            if frame is not None:
                played = frame if played is None else played.astype(np.float32, copy=False) + frame
        return played

    def _fill_silence(self, mix_class: MixClass, heard: Mix, shut: NDArray[np.bool_]) -> None:
        """Put faint noise where a listener would hear nothing at all."""
        wanted = mix_class.comfort & ~shut
        if not some(wanted):
            return
        rows = true_places(wanted & ~heard[:, ::_PROBE].any(axis=1))
        if not rows.size:
            return
        rows = rows[~heard[rows].any(axis=1)]
        heard[rows] = comfort_noise(mix_class.slots[rows], self._core.tick, mix_class.rate_hz)

    def _add_private(self, mix_class: MixClass, heard: Mix, shut: NDArray[np.bool_]) -> None:
        """Add each leg's own playback; it goes on unheard while the leg is deaf or held."""
        for row, port in mix_class.private:
            for source in port.private:
                failed = partial(self._drop_private, port, source)
                frame = take_frame(source, mix_class.rate_hz, failed)
                if frame is not None and not shut[row]:
                    heard[row] += frame
            heard[row].clip(_LOWEST, _HIGHEST, out=heard[row])

    def play_unheard(self, ports: Iterable[Port]) -> None:
        """Let the playback of ports without a codec go on in real time; its audio goes nowhere.

        Whoever is answered midway hears it from where it has come to.
        """
        for port in ports:
            for source in port.private:
                take_frame(source, _UNHEARD_HZ, partial(self._drop_private, port, source))

    def _hand_out(self, rate_hz: int, block: Block, heard: Mix) -> None:
        """Convert what a block's legs hear to their own rate."""
        to_hz, mixed = block.bank.rate_hz, heard[block.class_rows]
        if to_hz == rate_hz:
            block.bank.told[block.bank_rows] = mixed
            return
        resampler = self._down[rate_hz, to_hz]
        block.bank.told[block.bank_rows] = resampler.process(mixed, block.slots)

    def _drop_tap(self, port: Port, sink: FrameSink, _error: Exception) -> None:
        """Take out a leg's tap that failed; the leg goes on."""
        port.remove_tap(sink)
        self._core.statistics.faults += 1

    def _drop_private(self, port: Port, source: FrameSource, error: Exception) -> None:
        """Take out a leg whose own playback failed."""
        port.remove_private(source)
        self._core.fault(port, error)

    def _break(self, part: object, room_id: str, error: Exception) -> None:
        """Use a room's source or tap no more, whatever plans still name it."""
        self._broken.append(part)
        self._core.statistics.faults += 1
        if self._core.on_room_fault is not None:
            self._core.on_room_fault(room_id, error)

    def forget_broken(self, used: Iterable[object]) -> None:
        """Let go of failed sources and taps that no plan names any more."""
        if self._broken:
            alive = {id(part) for part in used}
            self._broken = [part for part in self._broken if id(part) in alive]


def _clear(resamplers: Iterable[Resampler], slots: Slots) -> None:
    """Make filters forget what some legs have said, or heard."""
    if slots.size:
        for resampler in resamplers:
            if resampler.used and resampler.history[slots].any():
                resampler.reset(slots)


def _peaks(frames: Pcm, zero: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the greatest sample of each row, rows that are known to be zero being left out."""
    peaks = np.zeros(zero.size, np.int32)
    rows: Slots | slice = slice(None)
    if 2 * np.count_nonzero(zero) > zero.size:
        rows = true_places(~zero)
    chosen = frames[rows]
    peaks[rows] = np.maximum(chosen.max(axis=1), -chosen.min(axis=1).astype(np.int32))
    return peaks


def _pcm(samples: Mix) -> Pcm:
    """Return a saturated copy."""
    return to_pcm(samples.copy())
