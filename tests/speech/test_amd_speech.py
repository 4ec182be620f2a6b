"""Verdicts and beeps on speech-like calls by telephone: no synthesiser is needed, all runs hear the same."""

from __future__ import annotations

import numpy as np
import pytest

from bench.amd_samples import LINE_HZ, Audio, analyse, at_level, by_telephone, judge_beep, silence, tones
from tests.speech.talker import Talker
from vb.speech.amd import AmdVerdict

TALKERS = range(8)
WORDS = (1, 3, 2, 1, 2, 4, 2, 1, 3, 2, 2, 3, 1)


def call(who: int, *words: int, behind: Audio | None = None) -> tuple[AmdVerdict, int | None, int]:
    """Hear somebody say some words; returns the verdict, when a beep was told, and when the talk ended."""
    talk = at_level(Talker(who, 95 + 15 * who).say(*words), (-16.0, -22.0, -28.0)[who % 3])
    parts = [silence(200 + 120 * who), talk]
    ended_ms = sum(part.size for part in parts) * 1000 // LINE_HZ
    if behind is not None:
        parts.append(behind)
    noise_dbfs = (-70.0, -60.0, -52.0)[who % 3]
    verdict, told_ms = analyse(by_telephone(parts, noise_dbfs, np.random.default_rng(who), seconds=12))
    return verdict, told_ms, ended_ms


@pytest.mark.parametrize("who", TALKERS)
@pytest.mark.parametrize("words", [(1,), (2,), (2, 1, 2)])
def test_a_word_or_a_few_are_a_person(who: int, words: tuple[int, ...]) -> None:
    verdict, told_ms, ended_ms = call(who, *words)
    assert (verdict.result, told_ms) == ("human", None)
    assert ended_ms + 700 <= verdict.total_analysis_ms <= ended_ms + 1000


@pytest.mark.parametrize("who", TALKERS)
def test_who_talks_on_is_a_machine_and_its_beep_is_found(who: int) -> None:
    hz, ms = ((1000, 400), (850, 300), (1200, 250), (950, 800))[who % 4]
    pause_ms = 200 + 100 * who
    beep = np.concatenate((silence(pause_ms), at_level(tones((hz,), ms), -20.0)))
    verdict, told_ms, ended_ms = call(who, *WORDS, behind=beep)
    assert (verdict.result, verdict.greeting_duration_ms) == ("machine", 1500)
    assert judge_beep(ended_ms + pause_ms, told_ms) == "found"


@pytest.mark.parametrize("who", TALKERS)
def test_talk_itself_is_never_a_beep(who: int) -> None:
    verdict, told_ms, _ = call(who, *WORDS)
    assert (verdict.result, told_ms) == ("machine", None)


@pytest.mark.parametrize("hz", [440, 620, 1400, 2100])
def test_a_beep_of_another_pitch_is_not_found_behind_talk(hz: int) -> None:
    beep = np.concatenate((silence(400), at_level(tones((hz,), 400), -20.0)))
    verdict, told_ms, _ = call(1, *WORDS, behind=beep)
    assert (verdict.result, told_ms) == ("machine", None)


def test_talk_in_loud_noise_is_taken_for_a_machine() -> None:
    # Where the method ends: noise above the level of speech is speech.
    talk = at_level(Talker(1, 110).say(2), -16.0)
    verdict, _ = analyse(by_telephone([silence(400), talk], -36.0, np.random.default_rng(1), seconds=12))
    assert verdict.result == "machine"
