"""Whether a stereo recording is complete: its length, and every burst of tone in its channel and place."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.delay import is_unbroken
from bench.tones import LEAKED, RATE_HZ

FRAME_S: Final = 0.02
HEARD: Final = 0.5
"""Share of the sent level from which a frame is voiced."""
EARLY_S: Final = 0.04
LATE_S: Final = 0.5
"""How much later than it was sent a burst may lie in the file: play-out delay, and a tick that waited."""
EDGE_S: Final = 0.2
"""Bursts that begin this soon after the recording may be cut off at its begin, or may not."""

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Channel:
    """What must be heard on one channel: a tone, and wall times at which its bursts were sent."""

    name: str
    frequency: int
    onsets_ns: Sequence[int]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as the application knows it; all times are wall times.

    Attributes:
        path: the file.
        started_ns: of recording.started.
        stopped_ns: when the command to stop was sent.
        finished_ns: of recording.finished.
        channels: left and right.
    """

    path: Path
    started_ns: int
    stopped_ns: int
    finished_ns: int
    channels: tuple[Channel, Channel]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a recording.

    Attributes:
        faults: all that is not as it must be.
        bursts: how many were looked for on both channels.
        offsets_ms: how much later than sent each of them lies in the file.
    """

    faults: tuple[str, ...]
    bursts: int
    offsets_ms: tuple[float, ...]


def read_stereo(path: Path) -> tuple[int, Samples]:
    """Return the rate and the samples of a file, shape (channels, samples).

    Raises:
        ValueError: it is not 16-bit stereo.
    """
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (2, 2):
            raise ValueError(f"{file.getnchannels()} channels of {file.getsampwidth()} bytes")
        data = file.readframes(file.getnframes())
        return file.getframerate(), np.frombuffer(data, "<i2").reshape(-1, 2).T


def check_recording(
    recording: Recording, strangers: NDArray[np.int64], *, amplitude: float, burst_s: float, late_s: float
) -> Checked:
    """Compare a recording with what was sent while it ran.

    Its length is known to one frame on either side: the first frame is that of the first tick after
    recording.started, and the last that of the tick before it was stopped, which was some time between the
    command to stop and recording.finished. A tick that is late then counts for when it was due.

    Args:
        recording: what is known of it.
        strangers: the frequencies of all talkers, in Hz.
        amplitude: the level at which everybody talked.
        burst_s: length of a burst.
        late_s: how late ticks were when it began and when it ended.
    """
    try:
        rate_hz, samples = read_stereo(recording.path)
    except (OSError, ValueError, EOFError, wave.Error) as exc:
        return Checked((f"{recording.path.name}: {exc}",), 0, ())
    faults: list[str] = []
    length_s = samples.shape[1] / rate_hz
    least_s = (recording.stopped_ns - recording.started_ns) / 1e9 - FRAME_S - late_s
    most_s = (recording.finished_ns - recording.started_ns) / 1e9 + FRAME_S + late_s
    if not least_s <= length_s <= most_s:
        faults.append(f"{length_s:.3f} s long, not {least_s:.3f} to {most_s:.3f}")
    bursts, offsets = 0, []
    for channel, audio in zip(recording.channels, samples, strict=True):
        found, problems = _check_channel(
            channel, audio[:: rate_hz // RATE_HZ], recording, strangers, amplitude, burst_s
        )
        bursts += len(found)
        offsets += found
        faults += [f"{channel.name}: {problem}" for problem in problems]
    return Checked(tuple(f"{recording.path.name}: {fault}" for fault in faults), bursts, tuple(offsets))


def _check_channel(
    channel: Channel,
    audio: Samples,
    recording: Recording,
    strangers: NDArray[np.int64],
    amplitude: float,
    burst_s: float,
) -> tuple[list[float], list[str]]:
    """Return where each burst lies beside when it was sent, in ms, and what is wrong with them."""
    runs = [run for run in voiced_runs(audio, channel.frequency, amplitude) if run[0] > 0]
    sent_s = [(at - recording.started_ns) / 1e9 for at in channel.onsets_ns]
    wanted = [
        at
        for at in sent_s
        if at >= EDGE_S and at + burst_s < (recording.stopped_ns - recording.started_ns) / 1e9
    ]
    runs = [
        run for run in runs if run[0] >= EDGE_S - EARLY_S and run[0] >= (wanted[0] - EARLY_S if wanted else 0)
    ]
    offsets, faults = [], []
    if len(runs) != len(wanted):
        faults.append(f"{len(runs)} bursts of {len(wanted)}")
    for at, (begin, end) in zip(wanted, runs, strict=False):
        offsets.append((begin - at) * 1000)
        if not -EARLY_S <= begin - at <= LATE_S:
            faults.append(f"a burst sent at {at:.2f} s lies at {begin:.2f} s")
        if abs(end - begin - burst_s) > 2 * FRAME_S:
            faults.append(f"a burst of {burst_s:.2f} s is {end - begin:.2f} s long")
        inner = audio[int((begin + FRAME_S) * RATE_HZ) : int((end - FRAME_S) * RATE_HZ)]
        if not is_unbroken(inner, channel.frequency, amplitude):
            faults.append(f"the burst at {begin:.2f} s is broken")
        others = foreign_tones(inner, channel.frequency, strangers, amplitude)
        if others.size:
            faults.append(f"at {begin:.2f} s there are {others[:3].tolist()} Hz beside {channel.frequency}")
    return offsets, faults


def voiced_runs(audio: Samples, frequency: int, amplitude: float) -> list[tuple[float, float]]:
    """Return begin and end in seconds of every run of frames that hold a tone, at 8 kHz."""
    step = int(FRAME_S * RATE_HZ)
    frames = len(audio) // step
    clock = np.arange(frames * step) / RATE_HZ
    turned = audio[: frames * step] * np.exp(-2j * np.pi * frequency * clock)
    voiced = np.abs(turned.reshape(frames, step).mean(axis=1)) * 2 > amplitude * HEARD
    edges = np.flatnonzero(np.diff(np.concatenate(([False], voiced, [False])).astype(np.int8)))
    return [(float(begin) * FRAME_S, float(end) * FRAME_S) for begin, end in edges.reshape(-1, 2)]


def foreign_tones(
    audio: Samples, frequency: int, talkers: NDArray[np.int64], amplitude: float
) -> NDArray[np.int64]:
    """Return the tones of other talkers in the first second of some audio at 8 kHz."""
    if len(audio) < RATE_HZ:
        return np.empty(0, np.int64)
    window = np.hanning(RATE_HZ + 1)[:-1]
    levels = np.abs(np.fft.rfft(audio[:RATE_HZ] * window)) * 2 / window.sum()
    others = talkers[talkers != frequency]
    found: NDArray[np.int64] = others[levels[others] > LEAKED * amplitude]
    return found
