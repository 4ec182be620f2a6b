from __future__ import annotations

import numpy as np
import pytest

from tests.speech.signals import level
from vb.speech.frames import Framer, is_voiced


@pytest.mark.parametrize(("rms", "voiced"), [(299, False), (300, True), (301, True)])
def test_a_frame_is_voiced_from_an_rms_of_300(rms: float, voiced: bool) -> None:
    (frame,) = Framer().push(level(rms))
    assert is_voiced(frame) is voiced


def test_a_full_scale_frame_does_not_overflow() -> None:
    (frame,) = Framer().push(np.full(320, -32768, np.int16))
    assert is_voiced(frame)


def test_samples_wait_until_their_frame_is_whole() -> None:
    framer = Framer()
    pcm = np.arange(700, dtype=np.int16)
    assert framer.push(pcm[:319]).shape == (0, 320)
    assert framer.push(pcm[319:320]).tolist() == [pcm[:320].tolist()]
    assert framer.push(pcm[320:]).tolist() == [pcm[320:640].tolist()]


def test_a_chunk_may_be_overwritten_after_the_push() -> None:
    framer = Framer()
    chunk = np.ones(200, np.int16)
    framer.push(chunk)
    chunk[:] = 9
    (frame,) = framer.push(np.ones(120, np.int16))
    assert frame.tolist() == [1.0] * 320
