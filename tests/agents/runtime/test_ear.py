from __future__ import annotations

import numpy as np
import pytest

from vb.agents.audio import AudioFormat, Mouth
from vb.agents.runtime.ear import VoiceActivity
from vb.codecs.pcm import VOICED_RMS, Pcm
from vb.codecs.resample import StreamResampler


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 48_000])
def test_a_word_is_as_long_at_every_rate(rate_hz: int) -> None:
    clock = np.arange(8000 * 4 // 10) / 8000
    word = (8000 * np.sin(2 * np.pi * 500 * clock)).astype(np.int16)
    line = np.concatenate([np.zeros(1600, np.int16), word, np.zeros(1600, np.int16)])
    resampler = StreamResampler(8000, rate_hz)
    voice, voiced = VoiceActivity(), []
    for at in range(0, line.size, 160):
        frame = line[at : at + 160] if rate_hz == 8000 else resampler.process(line[at : at + 160])
        voiced.append(voice.judge(frame, agent_speaks=False))
    assert voiced == [False] * 10 + [True] * 20 + [False] * 10


class FrameByFrame:
    """The same judgement written down plainly, of each frame that the agent says and the user sends."""

    def __init__(self) -> None:
        self.floor, self.own = VOICED_RMS / 3, 0.0

    @staticmethod
    def rms(frame: Pcm) -> float:
        return float(np.sqrt(np.mean(frame.astype(np.float64) ** 2)))

    def judge(self, frame: Pcm, said: Pcm | None, *, agent_speaks: bool) -> bool:
        if said is not None:
            self.own = max(self.own, self.rms(said))
        rms = self.rms(frame[frame.size // 2 :])
        self.own *= 0.96
        self.floor = min(self.floor * 1.001, rms) if rms > self.floor else self.floor * 0.9 + rms * 0.1
        self.floor = min(max(self.floor, 10.0), 2000.0)
        threshold = max(VOICED_RMS, self.floor * 3) * (1.6 if agent_speaks else 1.0)
        return rms > self.own * 0.15 and rms > threshold


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 48_000])
def test_a_user_is_judged_by_each_frame_that_the_agent_says_while_he_speaks(rate_hz: int) -> None:
    rng = np.random.default_rng(rate_hz)
    voice, plain, mouth = VoiceActivity(), FrameByFrame(), Mouth(AudioFormat(24_000), lead_frames=1)
    mouth.on_said = voice.spoke
    judged, loud = list[bool](), 0.0
    for number in range(3000):
        if number % 60 == 0:
            level = rng.choice([0.0, 500.0, 4000.0, 12000.0])
            mouth.put((rng.standard_normal(24 * 700) * level).astype("<i2").tobytes(), number)
        if number % 25 == 0:
            loud = rng.choice([0.0, 60.0, 350.0, 600.0, 1500.0, 5000.0])
        if number % 400 == 399:
            mouth.interrupt(number)
        said = mouth.take(rate_hz)
        user = (rng.standard_normal(rate_hz // 50) * loud).astype(np.int16)
        speaks = bool(mouth.waiting_ms)
        judged.append(voice.judge(user, agent_speaks=speaks))
        assert judged[-1] == plain.judge(user, said, agent_speaks=speaks)
    assert 300 < sum(judged) < 2700
