from __future__ import annotations

import pytest

from vb.legs.state import TRANSITIONS, LegState, WrongState, advance


def test_every_live_state_leads_to_the_end() -> None:
    for state, targets in TRANSITIONS.items():
        assert state is LegState.HUNG_UP or LegState.HUNG_UP in targets


def test_nothing_follows_the_end() -> None:
    assert TRANSITIONS[LegState.HUNG_UP] == frozenset()


def test_a_connected_leg_does_not_ring_again() -> None:
    with pytest.raises(WrongState):
        advance(LegState.CONNECTED, LegState.RINGING)
