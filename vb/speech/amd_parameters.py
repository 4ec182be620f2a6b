"""How an answering machine is told from a person: the time limits, and whether they make sense together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from vb.speech.frames import FRAME_MS

AmdVerdictName = Literal["human", "machine", "no_speech", "not_sure"]

SPEECH_ON_FRAMES = 2
SPEECH_OFF_FRAMES = 4
_SHORTEST_BURST_FRAMES = SPEECH_OFF_FRAMES
"""Two voiced frames switch speech on with the second; it then outlasts the last of them by three."""


class AmdParametersError(ValueError):
    """The limits cannot be used."""


@dataclass(frozen=True, slots=True)
class AmdParameters:
    """The limits of one analysis.

    Attributes:
        initial_silence_timeout_ms: silence from the start after which nobody is there.
        greeting_duration_ms: speech from which on it is a machine.
        after_greeting_silence_ms: silence after a short greeting that tells a person.
        total_analysis_time_ms: when to give up.
        minimum_word_length_ms: shorter bursts are no speech.
        beep_timeout_ms: how long to wait for the beep of a machine; 0 does not wait.

    Raises:
        AmdParametersError: a limit is not positive, or no verdict could ever be reached.
    """

    initial_silence_timeout_ms: int = 2500
    greeting_duration_ms: int = 1500
    after_greeting_silence_ms: int = 800
    total_analysis_time_ms: int = 5000
    minimum_word_length_ms: int = 100
    beep_timeout_ms: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value < 0 or (value == 0 and item.default):
                raise AmdParametersError(f"{item.name.removesuffix('_ms')} must be positive")
        if not self.reachable():
            raise AmdParametersError(
                "total_analysis_time is too short for any verdict: every call would end as not_sure"
            )

    @classmethod
    def from_request(cls, values: Mapping[str, int]) -> AmdParameters:
        """Return the limits that a client asked for, by their public names; 0 or absent is the default.

        Raises:
            AmdParametersError: they cannot be used.
        """
        given = {f"{name}_ms": value for name, value in values.items() if value}
        return cls(**given)

    def reachable(self) -> frozenset[AmdVerdictName]:
        """Return the verdicts other than not_sure that some audio leads to."""
        last = _frames(self.total_analysis_time_ms) - 1
        found: set[AmdVerdictName] = set()
        waiting = _frames(self.initial_silence_timeout_ms)
        if waiting <= last:
            found.add("no_speech")
        if waiting > 1:  # otherwise the first frame decides, before there can be speech
            machine_at = max(SPEECH_ON_FRAMES + 1, 1 + _frames(self.greeting_duration_ms))
            if machine_at <= last:
                found.add("machine")
            burst = max(_SHORTEST_BURST_FRAMES, _frames(self.minimum_word_length_ms))
            human_at = 1 + burst + _frames(self.after_greeting_silence_ms)
            if burst * FRAME_MS < self.greeting_duration_ms and human_at <= last:
                found.add("human")
        return frozenset(found)


def _frames(duration_ms: int) -> int:
    """Return how many frames reach a duration."""
    return -(-duration_ms // FRAME_MS)
