from __future__ import annotations

import pytest
import trio

from tests.support.leg_host import RecordingHost, make_leg
from vb.sip.refer import ReferRequest
from vb.sipleg.referral import ORIGINATE_FAILED, Referral


class Told:
    def __init__(self) -> None:
        self.statuses: list[tuple[int, str]] = []

    def __call__(self, status: int, reason: str) -> None:
        self.statuses.append((status, reason))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def referral(told: Told) -> Referral:
    return Referral(ReferRequest("sip:carol@example.com"), told)


def test_a_repeated_ringing_is_told_once(referral: Referral, told: Told) -> None:
    referral.progress(180, "Ringing")
    referral.progress(180, "Ringing")
    referral.progress(183, "Session Progress")
    assert told.statuses == [(180, "Ringing"), (183, "Session Progress")]


def test_only_the_first_end_is_told(referral: Referral, told: Told) -> None:
    referral.finish(486)
    referral.finish(500)
    referral.progress(180, "Ringing")
    assert told.statuses == [(486, "Busy Here")]


async def test_a_referral_that_takes_too_long_ends_its_leg_and_tells_nothing(
    referral: Referral, told: Told
) -> None:
    leg = make_leg(RecordingHost())
    referral.leg = leg
    referral.give_up()
    await trio.lowlevel.checkpoint()
    referral.finish(487)
    assert (leg.end_reason, told.statuses) == (ORIGINATE_FAILED, [])
