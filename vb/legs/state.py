"""The life of a leg as a table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class LegState(StrEnum):
    """Where a leg stands; `held` is a view of a connected leg."""

    RINGING = "ringing"
    EARLY_MEDIA = "early_media"
    CONNECTED = "connected"
    HELD = "held"
    HUNG_UP = "hung_up"


TRANSITIONS: Final[dict[LegState, frozenset[LegState]]] = {
    LegState.RINGING: frozenset({LegState.EARLY_MEDIA, LegState.CONNECTED, LegState.HUNG_UP}),
    LegState.EARLY_MEDIA: frozenset({LegState.CONNECTED, LegState.HUNG_UP}),
    LegState.CONNECTED: frozenset({LegState.HUNG_UP}),
    LegState.HUNG_UP: frozenset(),
}

UNANSWERED: Final = frozenset({LegState.RINGING, LegState.EARLY_MEDIA})


class WrongState(Exception):
    """A transition that the table does not have."""


def advance(state: LegState, target: LegState) -> LegState:
    """Return the target state.

    Raises:
        WrongState: the table has no such transition.
    """
    if target not in TRANSITIONS[state]:
        raise WrongState(f"{state} does not lead to {target}")
    return target
