"""Tells when the user speaks over an agent that leaves it to others to judge that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vb.agents.audio import FRAME_MS, Mouth
from vb.agents.runtime.ear import VoiceActivity
from vb.codecs.pcm import Pcm
from vb.mixer.frames import FrameSink

BREATH_FRAMES: Final = 200 // FRAME_MS
"""A shorter silence belongs to the speech around it."""
ECHO_FRAMES: Final = 300 // FRAME_MS
"""So long after its last frame the agent counts as speaking."""


class BargeIn:
    """A sink of frames in front of an agent's ears: counts the user's speech while the agent speaks.

    Args:
        ears: get every frame.
        mouth: the agent's.
        speech_ms: how much speech is an interruption.
        interrupt: told of one, once for each stretch of speech, inside the tick.
    """

    def __init__(self, ears: FrameSink, mouth: Mouth, speech_ms: int, interrupt: Callable[[], None]) -> None:
        self._ears = ears
        self._voice = VoiceActivity()
        self._needed_frames = max(1, -(-speech_ms // FRAME_MS))
        self._interrupt = interrupt
        self._speech_frames = self._gap_frames = 0
        self._agent_frames = 0
        self._told = False
        mouth.on_said = self._said

    def _said(self, level: float) -> None:
        self._voice.spoke(level)
        self._agent_frames = ECHO_FRAMES

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms."""
        self._ears.push(frame, rate_hz)
        speaks = self._agent_frames > 0
        self._agent_frames -= speaks
        if self._voice.judge(frame, agent_speaks=speaks):
            self._speech_frames += 1 + (self._gap_frames if self._speech_frames else 0)
            self._gap_frames = 0
        else:
            self._gap_frames += 1
            if self._gap_frames > BREATH_FRAMES:
                self._speech_frames, self._told = 0, False
        if speaks and not self._told and self._speech_frames >= self._needed_frames:
            self._told = True
            self._interrupt()
