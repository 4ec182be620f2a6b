import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import vb.sip
from vb.sip.call_state import CALL_TRANSITIONS, CallState, CallStep

ORDER = list(CallState)


def test_every_state_of_a_call_has_its_row() -> None:
    assert list(CALL_TRANSITIONS) == ORDER


def test_a_call_only_moves_down_the_list_of_states() -> None:
    for state, row in CALL_TRANSITIONS.items():
        for step, new in row.items():
            again = state is CallState.ENDING and step is CallStep.END
            assert again or ORDER.index(new) > ORDER.index(state)


@pytest.mark.parametrize("state", ORDER[:-1])
def test_every_living_call_can_end_and_close(state: CallState) -> None:
    assert CALL_TRANSITIONS[state][CallStep.END] is CallState.ENDING
    assert CALL_TRANSITIONS[state][CallStep.CLOSE] is CallState.CLOSED


def test_a_closed_call_goes_nowhere() -> None:
    assert not CALL_TRANSITIONS[CallState.CLOSED]


@pytest.mark.parametrize(
    ("state", "step", "new"),
    [
        (CallState.EARLY, CallStep.ACCEPT, CallState.ANSWERED),
        (CallState.EARLY, CallStep.ESTABLISH, CallState.CONFIRMED),
        (CallState.ANSWERED, CallStep.ACKNOWLEDGE, CallState.CONFIRMED),
    ],
)
def test_a_2xx_and_its_ack_set_a_call_up(state: CallState, step: CallStep, new: CallState) -> None:
    assert CALL_TRANSITIONS[state][step] is new
    assert [known for known, row in CALL_TRANSITIONS.items() if step in row] == [state]


def test_no_module_of_the_sip_core_imports_in_a_circle() -> None:
    folder = Path(vb.sip.__path__[0])
    graph: dict[str, set[str]] = {}
    for path in folder.glob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        graph[f"vb.sip.{path.stem}"] = {
            node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module is not None
        }
    graph["vb.sip.errors"].discard("vb.sip.message")  # an error carries the request that it is about
    assert list(TopologicalSorter(graph).static_order())  # raises for a circle, those of types included
