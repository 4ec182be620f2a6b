"""Answering machine detection: who took the call is told by how long speech and silence last.

People answer with a word or two and wait; machines talk on. The analysis counts frames, so its verdict
depends on the audio alone, and not on the chunks or the pace in which it comes. The clock matters only when
audio stays away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vb.codecs.pcm import Pcm
from vb.speech.amd_parameters import (
    SPEECH_OFF_FRAMES,
    SPEECH_ON_FRAMES,
    AmdParameters,
    AmdVerdictName,
)
from vb.speech.beep import BeepDetector
from vb.speech.frames import FRAME_MS, Frame, Framer, is_voiced

GUARD_GRACE_S: Final = 0.1
"""How much later than the last frame the clock gives up, so that it never outruns audio that does come."""


@dataclass(frozen=True, slots=True)
class AmdVerdict:
    """What an analysis found; all times are multiples of 20 ms."""

    result: AmdVerdictName
    initial_silence_ms: int
    greeting_duration_ms: int
    total_analysis_ms: int


@dataclass(frozen=True, slots=True)
class AmdBeep:
    """A machine's beep.

    Attributes:
        beep_ms: time since the verdict.
    """

    beep_ms: int


class SpeechGate:
    """Whether somebody speaks: on and off only after several frames that say so."""

    def __init__(self) -> None:
        self.on = False
        self._contrary = 0

    def push(self, voiced: bool) -> bool:
        """Take the next frame; returns whether speech is on."""
        self._contrary = self._contrary + 1 if voiced != self.on else 0
        if self._contrary >= (SPEECH_OFF_FRAMES if self.on else SPEECH_ON_FRAMES):
            self.on = not self.on
            self._contrary = 0
        return self.on


class AmdMachine:
    """The phases of an analysis, one step per frame.

    Args:
        parameters: its limits.
    """

    def __init__(self, parameters: AmdParameters) -> None:
        self._limits = parameters
        self.gate = SpeechGate()
        self.greeting = False
        self.elapsed_ms = 0
        self.initial_silence_ms = 0
        self.greeting_ms = 0
        self._burst_ms = 0
        self._silence_ms = 0

    def step(self, voiced: bool) -> AmdVerdict | None:
        """Take the next frame; returns the verdict when this frame brings it."""
        speech = self.gate.push(voiced)
        self.elapsed_ms += FRAME_MS
        if self.elapsed_ms >= self._limits.total_analysis_time_ms:
            return self.verdict("not_sure")
        if not self.greeting:
            return self._wait(speech)
        return self._speak() if speech else self._pause()

    def verdict(self, result: AmdVerdictName) -> AmdVerdict:
        """Return a verdict with the times counted so far."""
        greeting_ms = 0 if result == "no_speech" else self.greeting_ms
        return AmdVerdict(result, self.initial_silence_ms, greeting_ms, self.elapsed_ms)

    def _wait(self, speech: bool) -> AmdVerdict | None:
        if speech:
            self.greeting = True
            self._burst_ms = self.greeting_ms = FRAME_MS
            return None
        self.initial_silence_ms += FRAME_MS
        if self.initial_silence_ms >= self._limits.initial_silence_timeout_ms:
            return self.verdict("no_speech")
        return None

    def _speak(self) -> AmdVerdict | None:
        self._burst_ms += FRAME_MS
        self.greeting_ms += FRAME_MS
        self._silence_ms = 0
        if self.greeting_ms >= self._limits.greeting_duration_ms:
            return self.verdict("machine")
        return None

    def _pause(self) -> AmdVerdict | None:
        if self._burst_ms < self._limits.minimum_word_length_ms:
            self.greeting_ms -= self._burst_ms
        self._burst_ms = 0
        self._silence_ms += FRAME_MS
        if self._silence_ms < self._limits.after_greeting_silence_ms:
            return None
        if self.greeting_ms:
            return self.verdict("human")
        self.greeting = False
        self.initial_silence_ms += self._silence_ms
        self._silence_ms = 0
        return None


class AmdAnalyser:
    """One analysis: audio in, at most one verdict and then at most one beep out.

    Args:
        parameters: its limits.
        now: monotonic seconds at the start.

    Attributes:
        deadline: monotonic time at which `expire` is due.
        finished: whether nothing more can come.
    """

    def __init__(self, parameters: AmdParameters, now: float) -> None:
        self._parameters = parameters
        self._framer = Framer()
        self._machine = AmdMachine(parameters)
        self._beep: BeepDetector | None = None
        limit_ms = parameters.total_analysis_time_ms + parameters.beep_timeout_ms
        self.deadline = now + limit_ms / 1000 + GUARD_GRACE_S
        self.finished = False

    def feed(self, pcm: Pcm) -> list[AmdVerdict | AmdBeep]:
        """Take audio at 16 kHz, any number of samples, and return what it brought."""
        outcomes: list[AmdVerdict | AmdBeep] = []
        for frame in self._framer.push(pcm):
            if self.finished:
                break
            outcome = self._judge(frame) if self._beep is None else self._listen(self._beep, frame)
            if outcome is not None:
                outcomes.append(outcome)
        return outcomes

    def _judge(self, frame: Frame) -> AmdVerdict | None:
        verdict = self._machine.step(is_voiced(frame))
        if verdict is not None:
            if verdict.result == "machine" and self._parameters.beep_timeout_ms:
                self._beep = BeepDetector()
            else:
                self.finished = True
        return verdict

    def _listen(self, detector: BeepDetector, frame: Frame) -> AmdBeep | None:
        found = detector.push(frame)
        limit_ms = self._parameters.beep_timeout_ms
        self.finished = found or detector.elapsed_ms >= limit_ms
        return AmdBeep(detector.elapsed_ms) if found and detector.elapsed_ms <= limit_ms else None

    def expire(self, now: float) -> AmdVerdict | None:
        """End the analysis once its deadline has passed; returns the verdict if there was none yet."""
        if self.finished or now < self.deadline:
            return None
        self.finished = True
        if self._beep is not None:
            return None
        return self._machine.verdict("not_sure" if self._machine.greeting_ms else "no_speech")
