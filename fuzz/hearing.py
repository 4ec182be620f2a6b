"""What a caller heard of its partner's tone: each place where it is broken, and whether there is an excuse.

A server cannot be blamed for three kinds of dents, and each is told by its own marks:

* Our own sending was late just then, and later than at any time shortly before: playout ran dry, and waits
  longer from now on.
* The server was not let run and left out ticks, as its timestamps say.
* Playout gives back, a frame at a time, what it waits longer than it must since our sending was late; or it
  puts one in, because packets just came late. One frame is faded into another: the tone goes on a whole frame
  further, and nothing else changes.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from conformance.peers.payload import make_codec
from conformance.peers.rtp_peer import Late, Packet

LEVEL_DB = -18.0
MAX_LEVEL_ERROR_DB = 3.0
CONTEXT_S = 0.1
"""What must be known of the tone around that which is judged."""
FORGIVEN_S = 0.1
"""For so long after ticks that it left out the server blames nobody for packets that it read late."""
LATE_S = 0.004
"""Playout keeps this much in hand: sending of our own later than this may be heard."""
GROWN_S = 5.0
"""For so long at least playout waits for packets that are as late as the latest before."""
MAX_WAIT_S, LEFT_WAIT_S = 0.25, 0.02
"""Of what would have to wait longer playout lets go, and then waits little."""
BEFORE_LATE_S, AFTER_LATE_S = 0.1, 0.2
"""Around a late packet: the windows, and the way to the server and back."""
SHIFT_INTERVAL_S = 5.0
"""Playout moves by a frame no more often than this, but where packets come late anew."""
PUT_IN_S = 5.0
"""A frame is put in so long after a late packet at most: two seconds between decisions, half a one more."""
FIRST_SHIFT_S = 18.0
"""A frame is given back so long after the last late packet at most: it has to leave ten seconds of history,
two seconds pass between decisions, and a decision waits five for a quiet moment that a tone never has."""
NEXT_SHIFT_S = 13.0
"""Each further frame is given back so long after the one before: five to settle, two and five again."""
_RATE_HZ = 8000
_FRAME = _RATE_HZ // 50
_WINDOW = 2 * _FRAME
_STEP = _FRAME // 2
"""Windows so short and so close that a frame of silence breaks some, wherever it lies."""
_MAX_TURN = 0.3
"""Phase by which a tone that goes on may differ between two windows around one; in radians."""
_OWN_WINDOW = _RATE_HZ // 10
_ANCHOR = 3 * _FRAME
"""What the tone is measured by on either side of a shift."""
_MAX_LEAP = 3 * _RATE_HZ
"""A leap of the timestamps by more is none of ticks that were left out."""
_SEARCH_STEP = 4
_PHASE_TOLERANCE = 0.2
_MAX_REST = 0.01
"""Part of the tone's power that nowhere may be left when a shift is taken out: -20 dB."""
_AMPLITUDE = 32768 * 10 ** (LEVEL_DB / 20) * 2**0.5

LATE, PAUSE, GIVEN_BACK, PUT_IN = "late", "pause", "given back", "put in"

Samples = NDArray[np.float64]
Waves = NDArray[np.complex128]


@dataclass(frozen=True)
class Dent:
    """A stretch in which the level of a tone is off by more than allowed, or its phase moves.

    Attributes:
        began_at: monotonic time at which its first packet came; `ended_at`: at which its last one came.
        level_db: the worst level in it, relative to what was sent.
        excuse: LATE, PAUSE, GIVEN_BACK or PUT_IN, or None.
    """

    began_at: float
    ended_at: float
    level_db: float
    excuse: str | None

    @property
    def text(self) -> str:
        """What it is, without its time."""
        return f"{(self.ended_at - self.began_at) * 1000:.0f} ms at {self.level_db:+.1f} dB"


@dataclass(frozen=True)
class Heard:
    """What one caller heard.

    Attributes:
        dents: where the partner's tone was broken.
        worst_level_db: level of the partner's tone in the worst window, relative to what was sent.
        left_out: frames by which the timestamps leap where no packet is missing.
        own_db: level of the caller's own tone, relative to what it sends, in the upper quarter of windows; a
            click has energy everywhere for a moment, an echo is there all the time.
    """

    packets: int
    missing: int
    strange: int
    longest_gap_s: float
    left_out: int
    dents: tuple[Dent, ...]
    worst_level_db: float
    own_db: float

    @classmethod
    def of(
        cls, packets: Sequence[Packet], late: Sequence[Late], codec_name: str, partner_hz: int, own_hz: int
    ) -> Heard:
        """Measure packets of G.711 in order of arrival.

        The first and last CONTEXT_S are there to know what is around the rest.

        Args:
            late: what the partner sent late, in this time and a minute before.
        """
        if len(packets) < 2 * (_ANCHOR + 2 * _FRAME) // _FRAME:
            never = Dent(0.0, 0.0, -99.0, None)
            return cls(len(packets), 50, 0, 9.9, 0, (never,), -99.0, -99.0)
        codec = make_codec(codec_name)
        first = packets[0]
        steps = [((p.sequence - first.sequence + 0x8000) & 0xFFFF) - 0x8000 for p in packets]
        offsets = np.unwrap(np.array(steps, float), period=65536).astype(int)
        missing = int(offsets.max() - offsets.min() + 1 - len(set(offsets.tolist())))
        strange = sum(p.ssrc != first.ssrc or p.payload_type != codec.payload_type for p in packets)
        ours = [p for p in packets if p.payload_type == codec.payload_type]
        line = Line.of(ours, codec.decode(b"".join(p.payload for p in ours)))
        dents, worst = _dents(line, partner_hz, late)
        own = _levels_db(_tones(line.pcm, own_hz, _OWN_WINDOW, _OWN_WINDOW))
        return cls(
            packets=len(packets),
            missing=missing,
            strange=strange,
            longest_gap_s=max(b.at - a.at for a, b in pairwise(packets)),
            left_out=sum(hole.stop - hole.start for hole in line.holes) // _FRAME,
            dents=dents,
            worst_level_db=worst,
            own_db=float(np.percentile(own, 75)) if own.size else -99.0,
        )

    def count(self, excuse: str) -> int:
        """How many dents have this excuse."""
        return sum(dent.excuse == excuse for dent in self.dents)

    @property
    def broken(self) -> tuple[Dent, ...]:
        """The dents without an excuse."""
        return tuple(dent for dent in self.dents if dent.excuse is None)


@dataclass(frozen=True)
class Line:
    """Audio as the timestamps of its packets have it.

    Attributes:
        pcm: silence where ticks were left out.
        times: of each sample, when its packet came; in a hole, when the one after it came.
        holes: samples of ticks that were left out.
    """

    pcm: Samples
    times: Samples
    holes: tuple[range, ...]

    @classmethod
    def of(cls, packets: Sequence[Packet], audio: NDArray[np.int16]) -> Line:
        """Lay packets of a frame each out in the order in which they came, with the audio of all."""
        leaps = [0] + [
            max(0, ((b.timestamp - a.timestamp) & 0xFFFF_FFFF) - len(a.payload))
            if b.sequence == (a.sequence + 1) & 0xFFFF
            else 0
            for a, b in pairwise(packets)
        ]
        leaps = [leap if leap <= _MAX_LEAP else 0 for leap in leaps]
        sizes = [len(p.payload) for p in packets]
        starts = np.cumsum(np.array(leaps) + np.array([0, *sizes[:-1]]))
        pcm = np.zeros(int(starts[-1]) + sizes[-1])
        heard = np.concatenate([start + np.arange(size) for start, size in zip(starts, sizes, strict=True)])
        pcm[heard] = audio
        holes = tuple(
            range(int(start) - leap, int(start)) for start, leap in zip(starts, leaps, strict=True) if leap
        )
        times = np.repeat([p.at for p in packets], np.array(leaps) + np.array(sizes))
        return cls(pcm, times, holes)


def _tones(pcm: Samples, hz: int, size: int, step: int) -> Waves:
    """Amplitude and phase of a tone in each window; the phase stays while the tone goes on."""
    if pcm.size < size:
        return np.zeros(0, np.complex128)
    windows = np.lib.stride_tricks.sliding_window_view(pcm, size)[::step]
    shape = np.hanning(size)
    turn = np.exp(-2j * np.pi * hz * np.arange(size) / _RATE_HZ) * shape / (shape.sum() / 2)
    starts = np.arange(windows.shape[0]) * step
    tones: Waves = (windows @ turn) * np.exp(-2j * np.pi * hz * starts / _RATE_HZ)
    return tones


def _levels_db(tones: Waves) -> Samples:
    """Level of each, relative to the level that is sent."""
    levels: Samples = 20 * np.log10(np.maximum(np.abs(tones), 1e-3) / _AMPLITUDE)
    return levels


def _dents(line: Line, hz: int, late: Sequence[Late]) -> tuple[tuple[Dent, ...], float]:
    """Return the dents of a tone and the worst level, but for what lies in the context alone."""
    tones = _tones(line.pcm, hz, _WINDOW, _STEP)
    levels = _levels_db(tones)
    context = round(CONTEXT_S * _RATE_HZ) // _STEP
    inner = levels[context : levels.size - context]
    if not inner.size:
        return (Dent(0.0, 0.0, -99.0, None),), -99.0
    off = np.abs(levels) > MAX_LEVEL_ERROR_DB
    off[1:-1] |= np.abs(np.angle(tones[2:] * tones[:-2].conj())) > _MAX_TURN
    edges = np.flatnonzero(np.diff(np.concatenate(([False], off, [False]))))
    dents = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop <= context or start >= levels.size - context:
            continue
        part = levels[start:stop]
        begin, end = start * _STEP, (stop - 1) * _STEP + _WINDOW
        level = float(part[np.argmax(np.abs(part))])
        excuse = _excuse(line, hz, begin, end, late)
        dents.append(Dent(float(line.times[begin]), float(line.times[end - 1]), level, excuse))
    return _without_crowds(dents, late), float(inner[np.argmax(np.abs(inner))])


def _without_crowds(dents: Sequence[Dent], late: Sequence[Late]) -> tuple[Dent, ...]:
    """Take the excuse from shifts that follow another one too soon."""
    judged = list(dents)
    shifts = [i for i, dent in enumerate(dents) if dent.excuse in (GIVEN_BACK, PUT_IN)]
    for before, after in pairwise(shifts):
        since, at = dents[before].began_at, dents[after].began_at
        renewed = any(one.by_s >= LATE_S and since < one.at < at for one in late)
        if at - since < SHIFT_INTERVAL_S and not (renewed and dents[after].excuse == PUT_IN):
            judged[after] = replace(dents[after], excuse=None)
    return tuple(judged)


def _excuse(line: Line, hz: int, begin: int, end: int, late: Sequence[Late]) -> str | None:
    began_at, ended_at = float(line.times[begin]), float(line.times[end - 1])
    length = end - begin - _WINDOW
    if any(_is_of(hole, begin, end, length) for hole in line.holes):
        return PAUSE
    if _was_late(began_at, ended_at, length / _RATE_HZ, late):
        return LATE
    move = shift_of(line.pcm, hz, begin, end)
    if move > 0 and _may_give_back(began_at, late):
        return GIVEN_BACK
    if move < 0 and any(0 <= began_at - one.at <= PUT_IN_S for one in late):
        return PUT_IN
    return None


def _is_of(hole: range, begin: int, end: int, length: int) -> bool:
    """Tell whether a dent lies where ticks were left out, or right after, and is not longer."""
    forgiven = round(FORGIVEN_S * _RATE_HZ)
    near = hole.start - _WINDOW <= begin and end <= hole.stop + forgiven + 2 * _WINDOW
    return near and length <= len(hole) + forgiven


def _was_late(began_at: float, ended_at: float, length_s: float, late: Sequence[Late]) -> bool:
    """Tell whether a packet came that was later than those before it, and a dent of this length with it."""
    for one in late:
        if one.by_s < LATE_S or length_s > one.by_s + 2 * _FRAME / _RATE_HZ:
            continue
        if began_at < one.at - one.by_s - BEFORE_LATE_S or ended_at > one.at + AFTER_LATE_S:
            continue
        if not any(one.at - GROWN_S <= old.at < one.at and _kept_s(old) >= one.by_s for old in late):
            return True
    return False


def _kept_s(late: Late) -> float:
    """How late the packets after this one may be, without being heard."""
    return late.by_s if late.by_s <= MAX_WAIT_S else LEFT_WAIT_S


def _may_give_back(at: float, late: Sequence[Late]) -> bool:
    """Tell whether playout may still have a frame that it took because packets came late."""
    return any(
        0 <= at - one.at <= FIRST_SHIFT_S + (math.ceil(one.by_s * _RATE_HZ / _FRAME) - 1) * NEXT_SHIFT_S
        for one in late
    )


def shift_of(pcm: Samples, hz: int, begin: int, end: int) -> int:
    """Tell whether a dent is one frame faded into the one after it, 1, or before it, -1, else 0."""
    start, stop = begin - _FRAME - _ANCHOR, end + _FRAME + _ANCHOR
    if start < 0 or stop > pcm.size or end - begin > _FRAME + 2 * _WINDOW:
        return 0
    wave = pcm[start:stop]
    turn = np.exp(2j * np.pi * hz * np.arange(wave.size) / _RATE_HZ)
    before, after = _tone(wave[:_ANCHOR], turn[:_ANCHOR]), _tone(wave[-_ANCHOR:], turn[-_ANCHOR:])
    least, most = (_AMPLITUDE * 10 ** (sign * MAX_LEVEL_ERROR_DB / 20) for sign in (-1, 1))
    if not (least < abs(before) < most and least < abs(after) < most):
        return 0
    frame_phase = 2 * np.pi * hz * _FRAME / _RATE_HZ
    moves = [m for m in (1, -1) if _is_turn(after / before, m * frame_phase)]
    if not moves:
        return 0
    rests = [
        _rest(wave, turn, before, after, faded)
        for faded in range(_ANCHOR, wave.size - _ANCHOR - _FRAME + 1, _SEARCH_STEP)
    ]
    return moves[0] if min(rests) <= _MAX_REST else 0


def _is_turn(ratio: complex, phase: float) -> bool:
    return abs(cmath.phase(ratio * cmath.exp(-1j * phase))) <= _PHASE_TOLERANCE


def _tone(wave: Samples, turn: Waves) -> complex:
    """Amplitude and phase of a tone, at the first place that `turn` knows of."""
    shape = np.hanning(wave.size)
    return complex((wave * shape) @ turn.conj() / (shape.sum() / 2))


def _rest(wave: Samples, turn: Waves, before: complex, after: complex, faded: int) -> float:
    """Part of the tone's power that is left in the worst 20 ms, if one frame is faded into another there."""
    share = np.clip((np.arange(wave.size) - faded + 1) / _FRAME, 0.0, 1.0)
    left = wave - ((before * (1 - share) + after * share) * turn).real
    sums = np.concatenate(([0.0], np.cumsum(left**2)))
    return float((sums[_FRAME:] - sums[:-_FRAME]).max()) / _FRAME / (abs(before) ** 2 / 2)
