from __future__ import annotations

import numpy as np
import pytest

from vb.agents.runtime.ear import VoiceActivity
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
