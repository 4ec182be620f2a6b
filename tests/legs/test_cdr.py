from __future__ import annotations

import pytest

from vb.legs.cdr import CallClock, refusal_reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, "invite_failed"),
        (401, "unauthorized"),
        (407, "unauthorized"),
        (404, "not_found"),
        (408, "timeout"),
        (480, "unavailable"),
        (484, "sip_484"),
        (486, "busy"),
        (487, "cancelled"),
        (488, "not_acceptable"),
        (500, "sip_500"),
        (503, "service_unavailable"),
        (600, "sip_600"),
        (603, "declined"),
    ],
)
def test_a_final_answer_has_its_reason(status: int, reason: str) -> None:
    assert refusal_reason(status) == reason


def test_the_total_duration_is_never_zero() -> None:
    assert CallClock(created_at=5.0).record("busy", now=5.0).duration_total == 0.01


def test_the_answered_part_is_never_longer_than_the_whole() -> None:
    clock = CallClock(created_at=0.004, answered_at=0.006)
    cdr = clock.record("remote_bye", now=1.0109)
    assert cdr.duration_answered <= cdr.duration_total
