from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speech.signals import analyse, silence, tone, voice
from vb.speech.amd import GUARD_GRACE_S, AmdAnalyser, AmdBeep, AmdVerdict, SpeechGate
from vb.speech.amd_parameters import AmdParameters


class TestGate:
    def test_two_voiced_frames_switch_speech_on(self) -> None:
        gate = SpeechGate()
        assert [gate.push(voiced) for voiced in (True, False, True, True)] == [False, False, False, True]

    def test_four_silent_frames_switch_it_off(self) -> None:
        gate = SpeechGate()
        frames = [True] * 2 + [False] * 3 + [True] + [False] * 4
        assert [gate.push(voiced) for voiced in frames] == [False] + [True] * 8 + [False]


class TestVerdicts:
    def test_a_short_greeting_and_silence_is_human(self) -> None:
        # The first voiced frame counts as silence, and three silent ones after the last as speech.
        assert analyse(silence(200), voice(400), silence(2000)) == [AmdVerdict("human", 220, 440, 1460)]

    def test_figures_of_a_call_on_the_wire(self) -> None:
        found = analyse(silence(560), voice(620), silence(2000))
        assert found == [AmdVerdict("human", 580, 660, 2040)]

    def test_a_continuous_tone_is_a_machine(self) -> None:
        assert analyse(silence(180), tone(400, 3000)) == [AmdVerdict("machine", 200, 1500, 1700)]

    def test_nothing_is_no_speech(self) -> None:
        assert analyse(silence(6000)) == [AmdVerdict("no_speech", 2500, 0, 2500)]

    def test_pauses_inside_a_greeting_add_nothing_and_end_nothing(self) -> None:
        words = [part for _ in range(6) for part in (voice(240), silence(400))]
        (found,) = analyse(*words)
        assert isinstance(found, AmdVerdict)
        assert (found.result, found.greeting_duration_ms) == ("machine", 1500)

    def test_the_silence_that_ends_a_greeting_is_reached_exactly(self) -> None:
        # Speech goes off with the fourth silent frame, which is the first of the silence.
        assert analyse(voice(200), silence(60 + 780)) == []
        assert analyse(voice(200), silence(60 + 800)) == [AmdVerdict("human", 20, 240, 1060)]

    def test_a_click_is_no_word(self) -> None:
        assert analyse(silence(100), voice(40), silence(4000)) == [AmdVerdict("no_speech", 2500, 0, 2580)]

    def test_a_word_of_the_least_length_counts(self) -> None:
        (found,) = analyse(voice(60), silence(2000))
        assert found == AmdVerdict("human", 20, 100, 920)

    def test_a_click_before_a_word_is_left_out(self) -> None:
        (found,) = analyse(voice(40), silence(200), voice(400), silence(2000))
        assert isinstance(found, AmdVerdict)
        assert (found.result, found.greeting_duration_ms) == ("human", 440)

    def test_a_word_after_a_click_and_silence_is_still_found(self) -> None:
        (found,) = analyse(voice(40), silence(1500), voice(400), silence(2000))
        assert isinstance(found, AmdVerdict)
        assert (found.result, found.greeting_duration_ms) == ("human", 440)
        # 20 ms before the click, the 800 that turned it down, the rest up to the word's second frame.
        assert found.initial_silence_ms == 20 + (1500 - 60) + 20

    def test_time_runs_out_before_a_verdict(self) -> None:
        words = [part for _ in range(20) for part in (voice(40), silence(500))]
        (found,) = analyse(*words, minimum_word_length=60, greeting_duration=4000)
        assert isinstance(found, AmdVerdict)
        assert (found.result, found.total_analysis_ms) == ("not_sure", 5000)

    def test_time_running_out_beats_a_verdict_of_the_same_frame(self) -> None:
        (found,) = analyse(silence(3000), total_analysis_time=2500)
        assert found == AmdVerdict("not_sure", 2480, 0, 2500)

    @pytest.mark.parametrize(("limit", "reached_ms"), [(500, 500), (501, 520), (519, 520), (520, 520)])
    def test_a_limit_between_two_frames_is_reached_by_the_later(self, limit: int, reached_ms: int) -> None:
        (found,) = analyse(silence(3000), initial_silence_timeout=limit)
        assert found == AmdVerdict("no_speech", reached_ms, 0, reached_ms)

    def test_nothing_comes_after_the_verdict(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        assert len(analyser.feed(silence(6000))) == 1
        assert analyser.finished
        assert analyser.feed(voice(6000)) == []


BEEPING = AmdParameters(beep_timeout_ms=1000)


class TestBeep:
    def test_a_beep_after_a_machine_is_told_with_its_time(self) -> None:
        found = analyse(voice(3000), silence(400), tone(1000, 400), beep_timeout=3000)
        # The verdict falls at 1520 ms: 1480 ms of speech follow, then silence, then four tonal frames.
        assert found[1:] == [AmdBeep(1480 + 400 + 80)]

    def test_a_tonal_greeting_is_a_beep_at_once(self) -> None:
        assert analyse(tone(1000, 3000), beep_timeout=1000)[1:] == [AmdBeep(80)]

    def test_without_a_timeout_nobody_waits(self) -> None:
        assert len(analyse(voice(1600), tone(1000, 400))) == 1

    @pytest.mark.parametrize(("pause", "heard"), [(920, True), (940, False)])
    def test_a_beep_counts_up_to_its_timeout(self, pause: int, heard: bool) -> None:
        analyser = AmdAnalyser(BEEPING, now=0.0)
        assert len(analyser.feed(voice(1520))) == 1
        assert analyser.feed(np.concatenate((silence(pause), tone(1000, 400)))) == (
            [AmdBeep(1000)] if heard else []
        )
        assert analyser.finished

    def test_a_person_does_not_beep(self) -> None:
        found = analyse(voice(400), silence(900), tone(1000, 400), beep_timeout=1000)
        assert [type(outcome) for outcome in found] == [AmdVerdict]

    def test_there_is_one_beep(self) -> None:
        found = analyse(voice(1520), tone(1000, 200), silence(100), tone(1000, 200), beep_timeout=1000)
        assert len(found) == 2


class TestDeadline:
    def test_it_is_total_time_and_beep_timeout_after_the_start(self) -> None:
        assert AmdAnalyser(BEEPING, now=10.0).deadline == pytest.approx(10.0 + 5.0 + 1.0 + GUARD_GRACE_S)

    def test_before_it_nothing_expires(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        assert analyser.expire(analyser.deadline - 0.001) is None
        assert not analyser.finished

    def test_without_audio_there_was_no_speech(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        assert analyser.expire(analyser.deadline) == AmdVerdict("no_speech", 0, 0, 0)
        assert analyser.finished

    def test_speech_so_far_leaves_it_unsure_with_the_values_so_far(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        analyser.feed(np.concatenate((silence(200), voice(400))))
        assert analyser.expire(analyser.deadline) == AmdVerdict("not_sure", 220, 380, 600)

    def test_a_click_so_far_was_no_speech(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        analyser.feed(np.concatenate((voice(40), silence(200))))
        verdict = analyser.expire(analyser.deadline)
        assert verdict is not None
        assert verdict.result == "no_speech"

    def test_a_verdict_is_not_told_twice(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        assert len(analyser.feed(voice(2000))) == 1
        assert analyser.expire(analyser.deadline) is None

    def test_waiting_for_a_beep_ends_without_a_word(self) -> None:
        analyser = AmdAnalyser(BEEPING, now=0.0)
        assert len(analyser.feed(voice(1520))) == 1
        assert not analyser.finished
        assert analyser.expire(analyser.deadline) is None
        assert analyser.finished

    def test_it_expires_once(self) -> None:
        analyser = AmdAnalyser(AmdParameters(), now=0.0)
        assert analyser.expire(analyser.deadline) is not None
        assert analyser.expire(analyser.deadline) is None


PARTS = st.lists(
    st.tuples(st.sampled_from([0, 100, 299, 301, 5000]), st.integers(1, 700 * 16)), min_size=1, max_size=12
)


@settings(deadline=None)
@given(PARTS, st.lists(st.integers(1, 2000), min_size=1, max_size=30))
def test_chunk_boundaries_make_no_difference(parts: list[tuple[int, int]], cuts: list[int]) -> None:
    pcm = np.concatenate([np.resize(np.array([a, -a], np.int16), count) for a, count in parts])
    pcm = np.concatenate((pcm, tone(1000, 400)))
    whole = AmdAnalyser(AmdParameters(beep_timeout_ms=2000), now=0.0)
    pieces = AmdAnalyser(AmdParameters(beep_timeout_ms=2000), now=0.0)
    found = []
    start = index = 0
    while start < pcm.size:
        stop = start + cuts[index % len(cuts)]
        found += pieces.feed(pcm[start:stop])
        start, index = stop, index + 1
    assert found == whole.feed(pcm)
    assert pieces.expire(pieces.deadline) == whole.expire(whole.deadline)


@settings(deadline=None)
@given(PARTS)
def test_times_are_multiples_of_20_and_no_longer_than_the_audio(parts: list[tuple[int, int]]) -> None:
    pcm = np.concatenate([np.resize(np.array([a, -a], np.int16), count) for a, count in parts])
    for outcome in AmdAnalyser(AmdParameters(), now=0.0).feed(pcm):
        assert isinstance(outcome, AmdVerdict)
        times = (outcome.initial_silence_ms, outcome.greeting_duration_ms, outcome.total_analysis_ms)
        assert all(time % 20 == 0 for time in times)
        assert outcome.initial_silence_ms + outcome.greeting_duration_ms <= outcome.total_analysis_ms
        assert outcome.total_analysis_ms <= pcm.size / 16
