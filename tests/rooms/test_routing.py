from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.errors import BadRequest
from vb.rooms.routing import MAX_ROWS, RoutingMatrix

SUPERVISED = RoutingMatrix.of(
    {"agent": ["customer"], "customer": ["agent"], "supervisor": ["agent", "customer"]}
)


def pairs(matrix: RoutingMatrix, *roles: str | None) -> set[tuple[int, int]]:
    """Listener and source of everything that is heard."""
    hears = matrix.hears(roles)
    if hears is None:
        return {(a, b) for a in range(len(roles)) for b in range(len(roles)) if a != b}
    return {(int(a), int(b)) for a, b in np.argwhere(hears)}


def test_the_supervisor_hears_both_and_the_customer_never_the_supervisor() -> None:
    assert pairs(SUPERVISED, "agent", "customer", "supervisor") == {(0, 1), (1, 0), (2, 0), (2, 1)}


def test_without_rows_everybody_hears_everybody() -> None:
    assert RoutingMatrix().hears(["agent", "customer"]) is None


def test_rows_of_roles_that_nobody_has_change_nothing() -> None:
    assert SUPERVISED.hears(["", "visitor", None]) is None


def test_rows_that_let_everybody_in_are_a_full_mesh() -> None:
    assert SUPERVISED.hears(["agent", "customer"]) is None


def test_a_listener_without_a_role_or_a_row_hears_everybody() -> None:
    assert pairs(SUPERVISED, "agent", "", "visitor") == {(1, 0), (1, 2), (2, 0), (2, 1)}


def test_a_leg_without_a_role_is_not_heard_by_a_listener_with_a_row() -> None:
    assert (0, 1) not in pairs(SUPERVISED, "agent", "")


def test_an_empty_role_in_a_row_names_nobody() -> None:
    assert pairs(RoutingMatrix.of({"agent": [""]}), "agent", "") == {(1, 0)}


def test_a_row_of_the_empty_role_applies_to_nobody() -> None:
    assert RoutingMatrix.of({"": []}).hears(["", "agent"]) is None


def test_an_empty_row_isolates() -> None:
    assert pairs(RoutingMatrix.of({"agent": []}), "agent", "customer") == {(1, 0)}


def test_others_of_the_own_role_are_heard_only_when_the_row_names_it() -> None:
    assert pairs(RoutingMatrix.of({"agent": ["customer"]}), "agent", "agent") == set()
    assert pairs(RoutingMatrix.of({"agent": ["agent"]}), "agent", "agent", "") == {
        (0, 1),
        (1, 0),
        (2, 0),
        (2, 1),
    }


def test_participants_outside_routing_hear_and_are_heard() -> None:
    assert pairs(RoutingMatrix.of({"agent": []}), "agent", None, "customer") == {
        (0, 1),
        (1, 0),
        (1, 2),
        (2, 0),
        (2, 1),
    }


def test_rows_and_sources_keep_the_order_given() -> None:
    rows = {"z": ["c", "a", "b"], "a": []}
    assert list(RoutingMatrix.of(rows).as_dict().items()) == [("z", ["c", "a", "b"]), ("a", [])]


def test_an_update_replaces_adds_and_removes_rows_and_leaves_the_rest() -> None:
    changed = SUPERVISED.updated([("customer", []), ("agent", None), ("guest", ["agent"]), ("nobody", None)])
    assert changed.as_dict() == {"customer": [], "supervisor": ["agent", "customer"], "guest": ["agent"]}
    assert SUPERVISED.as_dict()["agent"] == ["customer"]


def test_of_two_updates_of_one_row_the_last_counts() -> None:
    assert RoutingMatrix().updated([("a", ["b"]), ("a", None)]).as_dict() == {}
    assert RoutingMatrix().updated([("a", None), ("a", ["c"])]).as_dict() == {"a": ["c"]}


def test_rows_are_limited_however_they_come() -> None:
    full = RoutingMatrix.of({str(number): [] for number in range(MAX_ROWS)})
    with pytest.raises(BadRequest, match="matrix"):
        full.updated([("one more", [])])
    assert len(full.updated([("0", None), ("one more", [])]).rows) == MAX_ROWS


roles = st.sampled_from(["", "a", "b", "c", None])
matrices = st.dictionaries(
    st.sampled_from(["", "a", "b", "c"]), st.lists(st.sampled_from(["", "a", "b", "c"]))
)


@given(rows=matrices, present=st.lists(roles, max_size=8))
def test_hearing_is_what_the_rows_say(rows: dict[str, list[str]], present: list[str | None]) -> None:
    def hears(listener: int, source: int) -> bool:
        mine, theirs = present[listener], present[source]
        if listener == source:
            return False
        if not mine or mine not in rows or theirs is None:
            return True
        return theirs != "" and theirs in rows[mine]

    count = len(present)
    wanted = {(a, b) for a in range(count) for b in range(count) if hears(a, b)}
    assert pairs(RoutingMatrix.of(rows), *present) == wanted


@given(
    rows=matrices,
    updates=st.lists(
        st.tuples(st.sampled_from(["", "a", "b"]), st.none() | st.lists(st.sampled_from("abc")))
    ),
)
def test_updates_all_at_once_are_updates_one_by_one(
    rows: dict[str, list[str]], updates: list[tuple[str, list[str] | None]]
) -> None:
    together = RoutingMatrix.of(rows).updated(updates)
    single = RoutingMatrix.of(rows)
    for update in updates:
        single = single.updated([update])
    assert list(together.as_dict().items()) == list(single.as_dict().items())
