from __future__ import annotations

import numpy as np
import pytest

from vb.agents.audio import AudioFormat, Mouth
from vb.agents.barge_in import BargeIn
from vb.codecs.pcm import Pcm

LOUD = np.full(320, 4000, np.int16)
QUIET = np.zeros(320, np.int16)


class Call:
    """A user and an agent, tick by tick."""

    def __init__(self, speech_ms: int = 200) -> None:
        self.heard: list[Pcm] = []
        self.cuts: list[int] = []
        self.tick = 0
        self.mouth = Mouth(AudioFormat())
        self.barge_in = BargeIn(self, self.mouth, speech_ms, lambda: self.cuts.append(self.tick))

    def push(self, frame: Pcm, rate_hz: int) -> None:
        self.heard.append(frame)

    def run(self, frames: str, *, agent: bool = True) -> None:
        """Let the user speak where there is a letter, and pause where there is a dot."""
        for frame in frames:
            self.tick += 1
            if agent:
                self.mouth.put(AudioFormat().encode(LOUD), 0)
                self.mouth.take(16000)
            self.barge_in.push(QUIET if frame == "." else LOUD, 16000)


def test_speech_over_the_agent_is_an_interruption_once_it_is_long_enough() -> None:
    call = Call()
    call.run("." * 5 + "x" * 30)
    assert call.cuts == [15]
    assert len(call.heard) == 35


def test_a_breath_does_not_begin_the_speech_anew_and_a_pause_does() -> None:
    call = Call()
    call.run("." * 5 + "x" * 5 + "." * 3 + "x" * 5)
    assert len(call.cuts) == 1
    call.run("." * 20 + "x" * 9 + "." * 20 + "x" * 9)
    assert len(call.cuts) == 1
    call.run("." * 20 + "x" * 10)
    assert len(call.cuts) == 2


def test_nobody_is_interrupted_who_does_not_speak() -> None:
    call = Call()
    call.run("x" * 50, agent=False)
    assert call.cuts == []
    call.run("x" * 3)
    assert len(call.cuts) == 1


@pytest.mark.parametrize("level", [0.02, 0.1])
def test_what_comes_back_of_the_agent_is_no_speech(level: float) -> None:
    call = Call()
    echo = (LOUD * level).astype(np.int16)
    for _ in range(100):
        call.mouth.put(AudioFormat().encode(LOUD), 0)
        call.mouth.take(16000)
        call.barge_in.push(echo, 16000)
    assert call.cuts == []
