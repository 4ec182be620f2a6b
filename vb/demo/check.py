"""Who heard whom: voices found in audio by correlation.

A voice is found by sliding it along the track until both fit best. It is then followed in short stretches,
because a jitter buffer may move it by a frame or two on the way: it takes out in a pause what it had to put
in when a busy machine held up the calls at their start. Such a step spoils only the stretch in which it lies.
What fits is taken out, so that a second voice below it can be measured on its own, however faint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm
from vb.demo.track import RATE_HZ

Samples = NDArray[np.float64]

MIN_LIKENESS: Final = 0.8
"""A voice was heard when it fits the track at least this well; 1 is a copy, a busy machine leaves gaps.

Of a voice without every third frame 0.82 is left, without every other one 0.71."""
MAX_ECHO: Final = 0.1
"""A voice was not heard when less than this part of its amplitude is in the track: -20 dB."""
_ENDS: Final = frozenset({"hangup", "agent_hangup"})
"""Goodbyes of a phone or program, and of a browser, which says it over REST."""
_PIECE_SAMPLES: Final = RATE_HZ // 4
"""Short, so that a step of the jitter buffer spoils little; much shorter, and any voice would fit another."""
_SLACK_SAMPLES: Final = RATE_HZ // 4
"""Some frames of a jitter buffer, or what is missing where a busy machine held the server up."""


@dataclass(frozen=True, slots=True)
class Match:
    """A voice as it was found in a track.

    Attributes:
        likeness: normalised correlation of the voice with the track where it lies; 1 for a copy.
        lag_samples: where it begins, negative if the track begins later.
        rest: the track without it.
    """

    likeness: float
    lag_samples: int
    rest: Samples


@dataclass(frozen=True, slots=True)
class Check:
    """One fact, whether it holds, and the figure that it was judged by."""

    fact: str
    holds: bool
    figure: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All audio of a demonstration, at 8 kHz.

    Attributes:
        said: speech of each caller, by name.
        heard: what each of them received.
        recording: the room's recording.
    """

    said: Mapping[str, Pcm]
    heard: Mapping[str, Pcm]
    recording: Pcm


def find_voice(track: Pcm | Samples, voice: Pcm | Samples) -> Match:
    """Find a voice in a track by normalised cross-correlation."""
    spoken = voice.astype(np.float64)
    margin = spoken.size + _SLACK_SAMPLES
    padded = np.pad(track.astype(np.float64), margin)
    if not padded.any() or not spoken.any():
        return Match(0.0, 0, padded[margin:-margin])
    rest = padded.copy()
    lag = _best_lag(padded, spoken)
    common = found_energy = 0.0
    for start in range(0, spoken.size, _PIECE_SAMPLES):
        piece = spoken[start : start + _PIECE_SAMPLES]
        energy = float(piece @ piece)
        if not energy:
            continue
        place = _follow(padded, piece, lag + start)
        found = padded[place : place + piece.size]
        product = float(piece @ found)
        common += product
        found_energy += float(found @ found)
        rest[place : place + piece.size] -= product / energy * piece
    likeness = common / (float(np.sqrt(spoken @ spoken * found_energy)) or 1.0)
    return Match(likeness, lag - margin, rest[margin:-margin])


def echo_of(track: Pcm | Samples, voice: Pcm | Samples) -> float:
    """Return how much of a voice is in a track: 1 at its own loudness, 0 when absent; the sign is dropped."""
    spoken = voice.astype(np.float64)
    energy = float(spoken @ spoken)
    if not energy or not track.size:
        return 0.0
    padded = np.pad(track.astype(np.float64), spoken.size)
    return float(np.abs(_correlate(padded, spoken)).max()) / energy


def judge(evidence: Evidence) -> list[Check]:
    """Return what has to hold after everybody talked to everybody in a recorded room."""
    checks = []
    for own, track in evidence.heard.items():
        others = {name: voice for name, voice in evidence.said.items() if name != own}
        likenesses, rest = _take_apart(track, others)
        checks += [_likeness_check(f"{own} heard {name}", found) for name, found in likenesses.items()]
        echo = echo_of(rest, evidence.said[own])
        checks.append(
            Check(
                f"{own} did not hear itself",
                echo <= MAX_ECHO,
                f"own voice at {echo:.2f} of its amplitude, at most {MAX_ECHO:.2f}",
            )
        )
    likenesses, _ = _take_apart(evidence.recording, evidence.said)
    return checks + [
        _likeness_check(f"the recording holds {name}", found) for name, found in likenesses.items()
    ]


def _take_apart(track: Pcm | Samples, voices: Mapping[str, Pcm]) -> tuple[dict[str, float], Samples]:
    """Return how well each voice fits the track without the other ones, and the track without all of them.

    The clearest voice is taken out first: another one might be looked for in its place.
    """
    rest: Samples = track.astype(np.float64)
    parts: dict[str, Samples] = {}
    while len(parts) < len(voices):
        matches = {name: find_voice(rest, voice) for name, voice in voices.items() if name not in parts}
        name = max(matches, key=lambda item: matches[item].likeness)
        parts[name] = rest - matches[name].rest
        rest = matches[name].rest
    likenesses = {name: find_voice(rest + parts[name], voice).likeness for name, voice in voices.items()}
    return likenesses, rest


def _likeness_check(fact: str, likeness: float) -> Check:
    return Check(fact, likeness >= MIN_LIKENESS, f"correlation {likeness:.2f}, at least {MIN_LIKENESS:.2f}")


def _correlate(track: Samples, voice: Samples) -> Samples:
    """Return the product of the voice with the track at every place where it lies inside, (places,)."""
    step = 1 << max(0, track.size.bit_length() - 4)
    size = -(-track.size // step) * step  # of small factors; what wraps around is cut off below
    spectrum = np.fft.rfft(track, size) * np.conj(np.fft.rfft(voice, size))
    products: Samples = np.fft.irfft(spectrum, size)[: track.size - voice.size + 1]
    return products


def _best_lag(track: Samples, voice: Samples) -> int:
    return int(np.argmax(_correlate(track, voice)))


def _follow(track: Samples, piece: Samples, expected: int) -> int:
    """Return where a piece fits best near the place where it is expected, however loud the track is there."""
    start = min(max(0, expected - _SLACK_SAMPLES), track.size - piece.size)
    near = track[start : min(expected + _SLACK_SAMPLES, track.size - piece.size) + piece.size]
    sums = np.concatenate(([0.0], np.cumsum(near**2)))
    energies = sums[piece.size :] - sums[: -piece.size]
    return start + int(np.argmax(_correlate(near, piece) / np.sqrt(energies + 1.0)))


def are_stored(calls: Sequence[Mapping[str, Any]], expected: int) -> Check:
    """Check that the call history has all calls, answered, ended by their callers and recorded."""
    complete = [
        call
        for call in calls
        if call["endReason"] in _ENDS and call["joined"] is not None and call["recordingEnabled"]
    ]
    return Check(
        "GET /api/calls lists every call, with its end and its recording",
        len(calls) == len(complete) == expected,
        f"{len(complete)} of {expected}",
    )
