from __future__ import annotations

import numpy as np

from vb.local_speech.segments import Cutting, Segment, Segments


def run(odds: list[float], cutting: Cutting | None = None) -> list[Segment]:
    segments = Segments(cutting)
    found = [segments.put(np.full(512, index, np.int16), value) for index, value in enumerate(odds)]
    return [segment for segment in [*found, segments.end()] if segment is not None]


def test_speech_begins_with_a_lead_and_ends_after_silence() -> None:
    (found,) = run([0.0] * 20 + [0.9] * 10 + [0.1] * 20)
    assert (found.start_ms, found.end_ms) == (12 * 32, 30 * 32)
    assert found.pcm[0] == 12
    assert len(found.pcm) == (30 + 16 - 12) * 512


def test_a_click_is_no_speech_and_a_pause_no_end() -> None:
    assert run([0.0] * 10 + [1.0] + [0.0] * 30) == []
    assert len(run([0.9] * 10 + [0.1] * 15 + [0.9] * 10 + [0.1] * 16)) == 1


def test_doubtful_frames_keep_speech_going_and_do_not_begin_it() -> None:
    assert run([0.4] * 50) == []
    assert len(run([0.9] * 5 + [0.4] * 40 + [0.9] * 5)) == 1


def test_endless_speech_is_cut_and_no_frame_is_lost() -> None:
    found = run([0.9] * 250, Cutting(max_frames=100))
    frames = [int(value) for segment in found for value in segment.pcm[::512]]
    assert frames == list(range(250))


def test_the_silence_that_ended_one_utterance_leads_the_next() -> None:
    first, second = run([0.9] * 5 + [0.1] * 16 + [0.9] * 5)
    assert second.start_ms >= first.end_ms
    assert second.pcm[0] > first.pcm[0]
