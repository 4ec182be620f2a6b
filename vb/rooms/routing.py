"""Who hears whom in a room, by role: a listener whose role has a row hears only the roles in that row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vb.errors import BadRequest

MAX_ROWS = 256
MAX_SOURCES = 256
MAX_ROLE_CHARS = 128

RowUpdate = tuple[str, Sequence[str] | None]
"""A listener role and its new sources; None takes the row away."""


@dataclass(frozen=True, slots=True)
class RoutingMatrix:
    """The rows of a room, an immutable value: a change replaces it whole.

    Attributes:
        rows: listener role → the roles that it hears, in the order given; an empty row isolates.
    """

    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.rows) > MAX_ROWS:
            raise BadRequest(f"matrix: has more than {MAX_ROWS} rows")

    @classmethod
    def of(cls, rows: Mapping[str, Sequence[str]]) -> RoutingMatrix:
        """Return a matrix of these rows.

        Raises:
            BadRequest: there are too many.
        """
        return cls({listener: tuple(sources) for listener, sources in rows.items()})

    def updated(self, updates: Iterable[RowUpdate]) -> RoutingMatrix:
        """Return the matrix with rows replaced, added and removed, one after the other.

        Raises:
            BadRequest: it would have too many rows.
        """
        rows = dict(self.rows)
        for listener, sources in updates:
            if sources is None:
                rows.pop(listener, None)
            else:
                rows[listener] = tuple(sources)
        return RoutingMatrix(rows)

    def as_dict(self) -> dict[str, list[str]]:
        """Return the rows as they were given."""
        return {listener: list(sources) for listener, sources in self.rows.items()}

    def hears(self, roles: Sequence[str | None]) -> NDArray[np.bool_] | None:
        """Work out who hears whom.

        A listener without a row, or without a role, hears everybody. A row lets in the roles that it names;
        a leg without a role is in no row. Nobody hears itself.

        Args:
            roles: role of each participant, empty for a leg without one; None for a participant that is not
                subject to routing, such as a bridge: it hears everybody and everybody hears it.

        Returns:
            (participants, participants), row hears column; None when everybody hears everybody.
        """
        masks: dict[str, NDArray[np.bool_]] = {}
        for role in roles:
            if role and role in self.rows and role not in masks:
                masks[role] = self._heard_by(role, roles)
        if not masks:
            return None
        hears = np.ones((len(roles), len(roles)), np.bool_)
        for listener, role in enumerate(roles):
            if role in masks:
                hears[listener] = masks[role]
        np.fill_diagonal(hears, True)
        if hears.all():
            return None
        np.fill_diagonal(hears, False)
        return hears

    def _heard_by(self, listener: str, roles: Sequence[str | None]) -> NDArray[np.bool_]:
        allowed = {source for source in self.rows[listener] if source}
        return np.array([role is None or role in allowed for role in roles], np.bool_)
