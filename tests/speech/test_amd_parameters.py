from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vb.speech.amd import AmdMachine
from vb.speech.amd_parameters import AmdParameters, AmdParametersError

NAMES = (
    "initial_silence_timeout",
    "greeting_duration",
    "after_greeting_silence",
    "total_analysis_time",
    "minimum_word_length",
    "beep_timeout",
)


def test_nothing_given_is_the_defaults() -> None:
    assert AmdParameters.from_request({}) == AmdParameters(2500, 1500, 800, 5000, 100, 0)


def test_zero_is_the_default() -> None:
    assert AmdParameters.from_request(dict.fromkeys(NAMES, 0)) == AmdParameters()


@pytest.mark.parametrize("name", NAMES)
def test_a_negative_limit_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(AmdParametersError, match=f"^{name} must be positive"):
        AmdParameters.from_request({name: -1})


def test_too_short_a_total_for_any_verdict_is_refused() -> None:
    with pytest.raises(AmdParametersError, match="total_analysis_time is too short"):
        AmdParameters.from_request({"total_analysis_time": 100})


def test_one_unreachable_verdict_is_fine() -> None:
    limits = AmdParameters.from_request({"total_analysis_time": 1600})
    assert limits.reachable() == {"machine", "human"}


def test_a_total_reached_with_the_verdict_comes_first() -> None:
    assert "no_speech" not in AmdParameters(total_analysis_time_ms=2500).reachable()
    assert "no_speech" in AmdParameters(total_analysis_time_ms=2501).reachable()


def explore(limits: AmdParameters) -> set[str]:
    """The verdicts that any audio at all leads to, by trying all of it."""
    found: set[str] = set()
    states = {snapshot(AmdMachine(limits)): AmdMachine(limits)}
    while states:
        after: dict[tuple[Any, ...], AmdMachine] = {}
        for machine in states.values():
            for voiced in (False, True):
                clone = copy.copy(machine)
                clone.gate = copy.copy(machine.gate)
                verdict = clone.step(voiced)
                if verdict is None:
                    after[snapshot(clone)] = clone
                else:
                    found.add(verdict.result)
        states = after
    return found


def snapshot(machine: AmdMachine) -> tuple[Any, ...]:
    values = {name: value for name, value in vars(machine).items() if name not in ("gate", "_limits")}
    return (*values.values(), *vars(machine.gate).values())


SHORT = st.integers(1, 150)


@settings(deadline=None, max_examples=60)
@given(SHORT, SHORT, SHORT, st.integers(1, 260), SHORT)
def test_the_check_agrees_with_the_state_machine(
    initial: int, greeting: int, after: int, total: int, word: int
) -> None:
    values = dict(zip(NAMES, (initial, greeting, after, total, word, 0), strict=True))
    limits = object.__new__(AmdParameters)  # unchecked, so that limits that are refused can be tried too
    for name, value in values.items():
        object.__setattr__(limits, f"{name}_ms", value)
    truth = explore(limits) - {"not_sure"}
    assert limits.reachable() == truth
    if truth:
        assert AmdParameters.from_request(values) == limits
    else:
        with pytest.raises(AmdParametersError):
            AmdParameters.from_request(values)
