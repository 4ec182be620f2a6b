"""From received packets to samples in rings: the receiving half of a tick.

The columns of a batch are worked on as vectors. Only packets that are not plain audio of a known source, or
whose codec has state, are looked at one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs import g711
from vb.codecs.opus import DTX_MAX_BYTES
from vb.mixer.batch import Batch
from vb.mixer.columns import (
    ALAW,
    EVENT,
    GAP_CONCEAL,
    GAP_NOISE,
    GAP_SILENCE,
    HEADER_BYTES,
    NOISE,
    STREAM,
    ULAW,
)
from vb.mixer.core import PlaneCore
from vb.mixer.demux import MAX_AGE_S, PLAIN_FIRST_BYTE, Demux
from vb.mixer.extensions import SILENT_LEVEL, may_be_audio, skip_extensions
from vb.mixer.frames import TICKS_PER_S, Slots
from vb.mixer.port import MAX_EVENTS, RtpPort
from vb.mixer.resting import MAX_BYTES
from vb.mixer.streams import OPUS_FRAME_MS, StreamReceiver
from vb.rtp.arrival import Headers
from vb.rtp.digits import EventPacket
from vb.rtp.masks import every, some, true_places

_TABLED_HZ: Final = 8000
_OPUS_HZ: Final = 48000
_MAX_OFFSET_STEP_S: Final = 0.001
_TABLES: Final = {ULAW: g711.ULAW_TO_PCM, ALAW: g711.ALAW_TO_PCM}
_MARKER_BIT: Final = np.uint8(0x80)
_FIRST_RTP_BYTE: Final = 0x80
_FEW: Final = 4
"""So few packets are looked at one by one where none of them can be RTP."""


@dataclass(slots=True)
class _Audio:
    """Audio packets of distinct legs.

    Attributes:
        rows: (n,) their rows in the batch.
        slots: their legs.
        kinds: ULAW, ALAW or STREAM.
        types: payload types.
        lengths: bytes of payload, then samples of the leg's ring.
        positions: first sample.
        steps: distance in sequence from the packet before.
        arrival_s: monotonic arrival time.
    """

    rows: Slots
    slots: Slots
    kinds: NDArray[np.uint8]
    types: NDArray[np.uint8]
    lengths: Slots
    positions: Slots
    steps: NDArray[np.int16]
    arrival_s: NDArray[np.float64]

    def at(self, chosen: Slots | NDArray[np.bool_]) -> _Audio:
        """Return the chosen packets only."""
        return _Audio(
            self.rows[chosen],
            self.slots[chosen],
            self.kinds[chosen],
            self.types[chosen],
            self.lengths[chosen],
            self.positions[chosen],
            self.steps[chosen],
            self.arrival_s[chosen],
        )


class Ingest:
    """Takes the packets of each tick.

    Args:
        core: the plane.
        demux: judge of the packets that are not plain.
    """

    def __init__(self, core: PlaneCore, demux: Demux) -> None:
        self._core = core
        self._demux = demux
        self._offset_s: float | None = None
        self._steady_clock = True

    def receive(self, batch: Batch, count: int, tick_at: float) -> None:
        """Place the first `count` packets of a batch.

        Args:
            batch: what arrived.
            count: how many rows of it hold a packet.
            tick_at: nominal time of the present tick.
        """
        self._demux.finish_locking()
        if batch.rtcp:
            self._demux.receive_rtcp(batch)
        if not count:
            return
        self._core.statistics.packets_in += count
        if self._core.transforms:
            self._core.transforms.receive(batch, count)
        arrival_s = self._arrival_times(batch, count)
        start = 0
        for stop in batch.rounds:
            if stop > start:
                self._receive_round(batch, start, stop, arrival_s[start:stop], tick_at)
            start = stop

    def _arrival_times(self, batch: Batch, count: int) -> NDArray[np.float64]:
        """Convert the kernel's wall time to monotonic time (media rule 10)."""
        offset_s, now = batch.wall_offset_s, self._core.now
        self._steady_clock = self._offset_s is None or abs(offset_s - self._offset_s) <= _MAX_OFFSET_STEP_S
        self._offset_s = offset_s
        stamps = batch.stamps_ns[:count]
        arrival_s = stamps * 1e-9 - offset_s
        unknown = stamps == 0
        if some(unknown):
            arrival_s[unknown] = now
        clipped: NDArray[np.float64] = np.minimum(np.maximum(arrival_s, now - MAX_AGE_S), now)
        return clipped

    def _receive_round(
        self, batch: Batch, start: int, stop: int, arrival_s: NDArray[np.float64], tick_at: float
    ) -> None:
        """Sort out the packets of a round, one per leg at most."""
        columns = self._core.columns
        if stop - start <= _FEW and max(batch.matrix[start:stop, 0].tolist()) < _FIRST_RTP_BYTE:
            # A check of connectivity came beside the audio of its leg, so it is alone in its round.
            for row in range(start, stop):
                self._demux.examine(batch, row, float(arrival_s[row - start]))
            return
        slots, lengths = batch.slots[start:stop], batch.lengths[start:stop]
        heads, all_plain = skip_extensions(batch, start, stop, columns.trusted, columns.level_id)
        rows = np.arange(start, stop)
        if not all_plain:
            plain = (
                (heads[:, 0] == PLAIN_FIRST_BYTE)
                & may_be_audio(heads)
                & (lengths >= HEADER_BYTES)
                & columns.trusted[slots]
            )
            if not every(plain):
                for i in true_places(~plain).tolist():
                    plain[i] = self._demux.examine(batch, start + i, float(arrival_s[i]))
                chosen = true_places(plain)
                if not chosen.size:
                    return
                rows, slots, arrival_s = rows[chosen], slots[chosen], arrival_s[chosen]
                lengths, heads = batch.lengths[rows], heads[chosen]
        self._receive_heads(batch, rows, heads, lengths - HEADER_BYTES, slots, arrival_s, tick_at)

    def _receive_heads(
        self,
        batch: Batch,
        rows: Slots,
        heads: NDArray[np.uint8],
        lengths: Slots,
        slots: Slots,
        arrival_s: NDArray[np.float64],
        tick_at: float,
    ) -> None:
        """Count packets by their headers, (n, 12), and pass their audio on."""
        columns, arrivals = self._core.columns, self._core.arrivals
        types = heads[:, 1] & ~_MARKER_BIT
        kinds = columns.kinds[slots, types]
        tabled = (kinds - np.uint8(1)) < np.uint8(ALAW)
        all_tabled = every(tabled)
        clock_hz, is_audio, all_opus = arrivals.clock_hz[slots], tabled, False
        if all_tabled:
            off_clock = clock_hz != _TABLED_HZ
            if some(off_clock):
                self._follow_clocks(slots, types, off_clock, off_clock)
        else:
            streamed = kinds == STREAM
            at_ease = streamed & (clock_hz == _OPUS_HZ) & (columns.opus_hz[slots] > 0)
            is_audio, all_opus = at_ease, every(at_ease)
            if not all_opus:
                is_audio, off_clock = tabled | streamed, tabled & (clock_hz != _TABLED_HZ)
                self._follow_clocks(slots, types, (streamed & ~at_ease) | off_clock, off_clock)
        samples = lengths
        if not all_tabled:
            samples = self._audio_lengths(batch, rows, slots, kinds, types, lengths, all_opus=all_opus)
        words = heads.view(">u4")
        headers = Headers(
            slots=slots,
            sequence=heads.view(">u2")[:, 1].astype(np.uint16),
            timestamp=words[:, 1].astype(np.uint32),
            ssrc=words[:, 2].astype(np.uint32),
            arrival_s=arrival_s,
            audio=is_audio,
            lengths=samples,
        )
        columns.heard_at[slots] = arrival_s
        aside = arrivals.foreign(headers)
        if aside is not None:
            other = aside & ~headers.audio
            if some(other):
                self._sort_out(batch, rows[other], headers.at(other), heads[other])
            stay = true_places(~aside)
            if not stay.size:
                return
            rows, slots, lengths, arrival_s = rows[stay], slots[stay], lengths[stay], arrival_s[stay]
            heads, headers, kinds, types = heads[stay], headers.at(stay), kinds[stay], types[stay]
        keep, fresh, positions, steps = arrivals.receive(headers, steady_clock=self._steady_clock)
        arrivals.octets[slots] += lengths
        if some(fresh):
            for slot in slots[fresh].tolist():
                self._restart(slot)
        audio = _Audio(rows, slots, kinds, types, headers.lengths, positions, steps, arrival_s)
        usable = keep & (headers.lengths > 0)
        if not every(usable):
            other = keep & ~headers.audio
            if some(other):
                self._sort_out(batch, rows[other], headers.at(other), heads[other])
            silent = true_places(keep & (kinds == STREAM) & (headers.lengths == 0))
            if silent.size:
                self._note_silent(batch, rows[silent], slots[silent], types[silent])
            audio = audio.at(true_places(usable))
        if audio.slots.size:
            self._place(batch, audio, tick_at)

    def _place(self, batch: Batch, audio: _Audio, tick_at: float) -> None:
        """Give audio its place in the playout and store it."""
        core = self._core
        core.columns.gap[audio.slots] = GAP_CONCEAL
        placement = core.playout.place(
            audio.slots, audio.positions, audio.lengths, audio.steps, audio.arrival_s, tick_at
        )
        for slot, start, stop in placement.holes:
            core.ring_of(slot).punch(slot, start, stop)
        if not every(placement.keep):
            audio = audio.at(placement.keep)
        for kind in sorted(set(audio.kinds.tobytes())):
            same = audio.kinds == kind
            part = audio if every(same) else audio.at(same)
            if kind == STREAM:
                self._keep_payloads(batch, part)
            else:
                self._write(batch, kind, part)

    def _write(self, batch: Batch, kind: int, audio: _Audio) -> None:
        """Decode payloads of one law by table, those of equal length at once."""
        table, ring = _TABLES[kind], self._core.rings[_TABLED_HZ]
        length = int(audio.lengths[0])
        if not every(audio.lengths == length):
            for length in sorted(set(audio.lengths.tolist())):
                self._write(batch, kind, audio.at(audio.lengths == length))
            return
        rows = audio.rows
        payload_columns = slice(HEADER_BYTES, HEADER_BYTES + length)
        first, last = int(rows[0]), int(rows[-1]) + 1
        consecutive = last - first == rows.size
        taken = slice(first, last) if consecutive else rows
        payload = batch.matrix[taken, payload_columns]
        ring.write(audio.slots, audio.positions, table.take(payload))

    def _keep_payloads(self, batch: Batch, audio: _Audio) -> None:
        """Hand payloads of codecs with state to their decoders, silence of those at rest to their rings."""
        resting = self._core.resting
        silent, sizes = batch.levels[audio.rows] >= SILENT_LEVEL, batch.lengths[audio.rows] - HEADER_BYTES
        rests = resting.legs[audio.slots] & silent & (sizes <= MAX_BYTES)
        if some(rests):
            slots, positions, lengths = audio.slots[rests], audio.positions[rests], audio.lengths[rests]
            kept = sizes[rests]
            payloads = batch.matrix[audio.rows[rests], HEADER_BYTES : HEADER_BYTES + int(kept[kept.argmax()])]
            resting.keep(slots, positions + lengths, audio.types[rests], payloads, kept)
            self._rest(slots, positions, lengths)
            audio, silent, sizes = audio.at(~rests), silent[~rests], sizes[~rests]
            if not audio.slots.size:
                return
        for slot in audio.slots[resting.legs[audio.slots]].tolist():
            if (stream := self._core.streams[slot]) is not None:
                resting.wake(slot, stream)
        # One copy of all of them: cutting bytes costs a fraction of cutting arrays.
        width = int(sizes[sizes.argmax()])
        data = batch.matrix[audio.rows, HEADER_BYTES : HEADER_BYTES + width].tobytes()
        columns = (audio.slots, audio.positions, audio.lengths, audio.types, sizes, silent)
        begun: list[int] = []
        for at, (slot, position, samples, payload_type, size, is_silent) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            stream = self._core.streams[slot]
            if stream is None:
                continue
            payload = data[at * width : at * width + size]
            if is_silent and stream.rests:
                self._rest_waiting(slot, stream)
                stream.rest(position, samples, payload_type, payload)
                resting.begin(slot)
                begun.append(at)
            else:
                stream.push(position, payload_type, payload, silent=is_silent)
        if begun:
            self._rest(audio.slots[begun], audio.positions[begun], audio.lengths[begun])

    def _rest(self, slots: Slots, positions: Slots, lengths: Slots) -> None:
        """Count packets that are not decoded, and let silence be played for them."""
        self._core.statistics.rested += slots.size
        self._write_silence(slots, positions, lengths)

    def _rest_waiting(self, slot: int, stream: StreamReceiver) -> None:
        """Leave the packets that still wait of a leg that has just begun to rest undecoded."""
        for position, samples in stream.rest_waiting():
            self._rest(np.array([slot]), np.array([position]), np.array([samples]))

    def _write_silence(self, slots: Slots, positions: Slots, lengths: Slots) -> None:
        """Let the rings of distinct legs play silence for a span of each."""
        widths = self._core.playout.width[slots]
        width, length = int(widths[0]), int(lengths[0])
        if every(widths == width) and every(lengths == length):
            self._core.rings[width * TICKS_PER_S].write_silence(slots, positions, length)
            return
        for width, length in {*zip(widths.tolist(), lengths.tolist(), strict=True)}:
            same = (widths == width) & (lengths == length)
            ring = self._core.rings[width * TICKS_PER_S]
            ring.write_silence(slots[same], positions[same], length)

    def _restart(self, slot: int) -> None:
        """Play a new source from its first packet on (media rule 6)."""
        self._core.playout.stop(slot)
        self._core.resting.forget(slot)
        stream = self._core.streams[slot]
        if stream is not None:
            stream.reset()

    def _payload(self, batch: Batch, row: int) -> bytes:
        return batch.matrix[row, HEADER_BYTES : int(batch.lengths[row])].tobytes()

    def _follow_clocks(
        self,
        slots: Slots,
        types: NDArray[np.uint8],
        suspects: NDArray[np.bool_],
        off_clock: NDArray[np.bool_],
    ) -> None:
        """Start a stream anew whose codec's clock differs from that of the packets before.

        Args:
            slots: of the packets.
            types: their payload types.
            suspects: those that are looked at one by one.
            off_clock: those among them that are coded by table; it is known that their clock is another.
        """
        core = self._core
        for i in true_places(suspects).tolist():
            slot = int(slots[i])
            stream = core.streams[slot]
            if off_clock[i]:
                clock_hz = _TABLED_HZ
            elif stream is not None:
                clock_hz = stream.codec(int(types[i])).clock_rate_hz
            else:
                continue
            if clock_hz != core.arrivals.clock_hz[slot]:
                core.arrivals.configure(slot, clock_hz, int(core.playout.width[slot]) * TICKS_PER_S)
                core.arrivals.active[slot] = False

    def _audio_lengths(
        self,
        batch: Batch,
        rows: Slots,
        slots: Slots,
        kinds: NDArray[np.uint8],
        types: NDArray[np.uint8],
        lengths: Slots,
        *,
        all_opus: bool,
    ) -> Slots:
        """Turn payload lengths into samples of each leg's ring, none for what holds no audio.

        `all_opus` says that it is known of all of them that they are Opus.
        """
        opus_hz = self._core.columns.opus_hz[slots]
        # A first byte with two zeros at its end says that the packet is one frame.
        heads = batch.matrix[rows, HEADER_BYTES]
        single = heads & 3 == 0
        if not all_opus:
            single &= (kinds == STREAM) & (opus_hz > 0)
        whole: Slots = (OPUS_FRAME_MS[heads >> 3] * opus_hz / 1000).astype(np.int64)
        sounds = lengths > DTX_MAX_BYTES
        if not every(sounds):
            whole *= sounds
        if every(single):
            return whole
        samples = np.where(single, whole, np.where((kinds == ULAW) | (kinds == ALAW), lengths, 0))
        for i in true_places((kinds == STREAM) & ~single).tolist():
            stream, payload_type = self._core.streams[slots[i]], int(types[i])
            if stream is not None:
                payload = self._payload(batch, int(rows[i]))
                if not stream.is_pause(payload_type, payload):
                    samples[i] = stream.length(payload_type, payload)
        return samples

    def _note_silent(self, batch: Batch, rows: Slots, slots: Slots, types: NDArray[np.uint8]) -> None:
        """Tell pauses of codecs with state from damaged packets."""
        columns = self._core.columns
        small = batch.lengths[rows] <= HEADER_BYTES + DTX_MAX_BYTES
        pauses = small & (columns.opus_hz[slots] > 0)
        columns.gap[slots[pauses]] = GAP_NOISE
        if every(pauses):
            return
        for i in true_places(~pauses).tolist():
            slot = int(slots[i])
            stream = self._core.streams[slot]
            if stream is None:
                continue
            payload = self._payload(batch, int(rows[i]))
            if stream.is_pause(int(types[i]), payload):
                columns.gap[slot] = GAP_NOISE
            else:
                columns.damaged[slot] += 1

    def _sort_out(self, batch: Batch, rows: Slots, headers: Headers, heads: NDArray[np.uint8]) -> None:
        """Handle packets that are not audio; `heads` are their headers, (n, 12)."""
        core = self._core
        for i, slot in enumerate(headers.slots.tolist()):
            payload_type = int(heads[i, 1] & ~_MARKER_BIT)
            kind = core.columns.kinds[slot, payload_type]
            if kind == NOISE:
                core.columns.gap[slot] = GAP_NOISE
            elif kind == EVENT:
                core.columns.gap[slot] = GAP_SILENCE
                port = core.ports[slot]
                if isinstance(port, RtpPort):
                    packet = EventPacket(
                        self._payload(batch, int(rows[i])),
                        int(headers.timestamp[i]),
                        float(headers.arrival_s[i]),
                        int(headers.sequence[i]),
                        marker=bool(heads[i, 1] & _MARKER_BIT),
                        ssrc=int(headers.ssrc[i]),
                        payload_type=payload_type,
                    )
                    if len(port.events) == MAX_EVENTS:
                        core.statistics.dropped["events_full"] += 1
                    port.events.append(packet)
                    port.wake()
            else:
                core.statistics.dropped["unknown_payload_type"] += 1
