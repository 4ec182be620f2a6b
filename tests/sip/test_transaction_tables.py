"""The tables held against the figures of RFC 3261 §17, as RFC 6026 §7 corrects them."""

from __future__ import annotations

import pytest

from vb.sip.timers import T4_S, TIMEOUT_S
from vb.sip.transaction_tables import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Machine,
    Sends,
    TransactionEvent,
    TransactionState,
    response_event,
)

S, E = TransactionState, TransactionEvent
Edge = tuple[TransactionState, TransactionEvent]
Edges = dict[Edge, TransactionState]

FIGURE_5: Edges = {
    (S.CALLING, E.REPEAT_DUE): S.CALLING,
    (S.CALLING, E.END_DUE): S.TERMINATED,
    (S.CALLING, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.CALLING, E.PROVISIONAL): S.PROCEEDING,
    (S.CALLING, E.SUCCESS): S.ACCEPTED,
    (S.CALLING, E.REFUSAL): S.COMPLETED,
    (S.PROCEEDING, E.PROVISIONAL): S.PROCEEDING,
    (S.PROCEEDING, E.SUCCESS): S.ACCEPTED,
    (S.PROCEEDING, E.REFUSAL): S.COMPLETED,
    (S.COMPLETED, E.REFUSAL): S.COMPLETED,
    (S.COMPLETED, E.END_DUE): S.TERMINATED,
    (S.COMPLETED, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.ACCEPTED, E.SUCCESS): S.ACCEPTED,
    (S.ACCEPTED, E.END_DUE): S.TERMINATED,
}
FIGURE_6: Edges = {
    (S.TRYING, E.REPEAT_DUE): S.TRYING,
    (S.TRYING, E.END_DUE): S.TERMINATED,
    (S.TRYING, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.TRYING, E.PROVISIONAL): S.PROCEEDING,
    (S.TRYING, E.SUCCESS): S.COMPLETED,
    (S.TRYING, E.REFUSAL): S.COMPLETED,
    (S.PROCEEDING, E.REPEAT_DUE): S.PROCEEDING,
    (S.PROCEEDING, E.END_DUE): S.TERMINATED,
    (S.PROCEEDING, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.PROCEEDING, E.PROVISIONAL): S.PROCEEDING,
    (S.PROCEEDING, E.SUCCESS): S.COMPLETED,
    (S.PROCEEDING, E.REFUSAL): S.COMPLETED,
    (S.COMPLETED, E.END_DUE): S.TERMINATED,
}
FIGURE_7: Edges = {
    (S.PROCEEDING, E.REQUEST): S.PROCEEDING,
    (S.PROCEEDING, E.PROVISIONAL): S.PROCEEDING,
    (S.PROCEEDING, E.SUCCESS): S.ACCEPTED,
    (S.PROCEEDING, E.REFUSAL): S.COMPLETED,
    (S.PROCEEDING, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.COMPLETED, E.REQUEST): S.COMPLETED,
    (S.COMPLETED, E.REPEAT_DUE): S.COMPLETED,
    (S.COMPLETED, E.END_DUE): S.TERMINATED,
    (S.COMPLETED, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.COMPLETED, E.ACK): S.CONFIRMED,
    (S.CONFIRMED, E.END_DUE): S.TERMINATED,
    (S.ACCEPTED, E.SUCCESS): S.ACCEPTED,
    (S.ACCEPTED, E.ACK): S.ACCEPTED,
    (S.ACCEPTED, E.END_DUE): S.TERMINATED,
}
FIGURE_8: Edges = {
    (S.TRYING, E.PROVISIONAL): S.PROCEEDING,
    (S.TRYING, E.SUCCESS): S.COMPLETED,
    (S.TRYING, E.REFUSAL): S.COMPLETED,
    (S.PROCEEDING, E.REQUEST): S.PROCEEDING,
    (S.PROCEEDING, E.PROVISIONAL): S.PROCEEDING,
    (S.PROCEEDING, E.SUCCESS): S.COMPLETED,
    (S.PROCEEDING, E.REFUSAL): S.COMPLETED,
    (S.PROCEEDING, E.TRANSPORT_ERROR): S.TERMINATED,
    (S.COMPLETED, E.REQUEST): S.COMPLETED,
    (S.COMPLETED, E.END_DUE): S.TERMINATED,
    (S.COMPLETED, E.TRANSPORT_ERROR): S.TERMINATED,
}
# What nobody would be told of: an ACK or a response that cannot be delivered. The call repeats its 2xx.
LEFT_OUT: dict[int, set[Edge]] = {
    id(INVITE_CLIENT): {(S.COMPLETED, E.TRANSPORT_ERROR)},
    id(NON_INVITE_CLIENT): set(),
    id(INVITE_SERVER): {
        (S.PROCEEDING, E.TRANSPORT_ERROR),
        (S.COMPLETED, E.TRANSPORT_ERROR),
        (S.ACCEPTED, E.SUCCESS),
    },
    id(NON_INVITE_SERVER): {(S.PROCEEDING, E.TRANSPORT_ERROR), (S.COMPLETED, E.TRANSPORT_ERROR)},
}
ADDED: dict[int, Edges] = {
    id(INVITE_CLIENT): {
        (S.PROCEEDING, E.END_DUE): S.TERMINATED,  # the user's own end, after a CANCEL
        (S.PROCEEDING, E.TRANSPORT_ERROR): S.TERMINATED,
    },
    id(INVITE_SERVER): {(S.PROCEEDING, E.REPEAT_DUE): S.PROCEEDING},  # the 100 after 200 ms
}
MACHINES = [
    pytest.param(INVITE_CLIENT, FIGURE_5, id="figure 5"),
    pytest.param(NON_INVITE_CLIENT, FIGURE_6, id="figure 6"),
    pytest.param(INVITE_SERVER, FIGURE_7, id="figure 7"),
    pytest.param(NON_INVITE_SERVER, FIGURE_8, id="figure 8"),
]


@pytest.mark.parametrize(("machine", "figure"), MACHINES)
def test_the_table_has_every_edge_of_the_figure_and_no_other(machine: Machine, figure: Edges) -> None:
    edges = {
        (state, event): rule.state for state, row in machine.rules.items() for event, rule in row.items()
    }
    left_out, added = LEFT_OUT[id(machine)], ADDED.get(id(machine), {})
    assert edges == {edge: new for edge, new in figure.items() if edge not in left_out} | added
    assert left_out <= figure.keys()


@pytest.mark.parametrize(("machine", "figure"), MACHINES)
def test_every_state_of_the_figure_has_its_row(machine: Machine, figure: Edges) -> None:
    states = {state for state, _ in figure} | set(figure.values())
    assert set(machine.rules) == states
    assert machine.first is next(iter(figure))[0]
    assert not machine.rules[S.TERMINATED]


@pytest.mark.parametrize(("machine", "figure"), MACHINES)
def test_every_state_that_absorbs_repetitions_ends(machine: Machine, figure: Edges) -> None:
    for state in machine.lingers:
        assert machine.rules[state][E.END_DUE].state is S.TERMINATED


@pytest.mark.parametrize("machine", [INVITE_CLIENT, NON_INVITE_CLIENT])
def test_the_user_of_a_client_hears_of_every_response_but_repeated_finals(machine: Machine) -> None:
    for state, row in machine.rules.items():
        for event in (E.PROVISIONAL, E.SUCCESS, E.REFUSAL):
            if event in row:
                assert row[event].tells is (state is not S.COMPLETED)


def test_the_timers_last_as_long_as_the_rfcs_say() -> None:
    assert INVITE_CLIENT.lingers == {S.COMPLETED: (32.0, 0.0), S.ACCEPTED: (TIMEOUT_S, TIMEOUT_S)}  # D, M
    assert NON_INVITE_CLIENT.lingers == {S.COMPLETED: (T4_S, 0.0)}  # K
    assert INVITE_SERVER.lingers == {S.CONFIRMED: (T4_S, 0.0), S.ACCEPTED: (TIMEOUT_S, TIMEOUT_S)}  # I, L
    assert NON_INVITE_SERVER.lingers == {S.COMPLETED: (TIMEOUT_S, 0.0)}  # J


def test_only_the_invite_client_acknowledges_and_only_refusals() -> None:
    rules = [(event, rule) for row in INVITE_CLIENT.rules.values() for event, rule in row.items()]
    assert {event for event, rule in rules if rule.sends is Sends.ACK} == {E.REFUSAL}


@pytest.mark.parametrize(
    ("status", "event"),
    [(100, E.PROVISIONAL), (199, E.PROVISIONAL), (200, E.SUCCESS), (299, E.SUCCESS), (300, E.REFUSAL)],
)
def test_a_response_is_an_event_by_its_class(status: int, event: TransactionEvent) -> None:
    assert response_event(status) is event
