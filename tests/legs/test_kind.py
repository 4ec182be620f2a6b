from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.engine import open_engine
from tests.support.leg_host import RecordingHost, make_leg
from vb.errors import VbError
from vb.legs.capabilities import REFUSALS, Capability
from vb.legs.kind import LegKinds


def test_a_kind_that_is_not_there_is_not_available() -> None:
    with pytest.raises(VbError) as caught:
        LegKinds().get("moq")
    assert (caught.value.status, caught.value.message) == (501, "not available: type")


async def test_the_types_of_a_registered_kind_are_counted_from_zero() -> None:
    async with open_engine() as observed:
        found = observed.engine.metrics.registry.get_sample_value(
            "voiceblender_legs_total", {"type": "sip_inbound", "state": "ringing"}
        )
    assert found == 0


async def test_a_leg_declines_what_its_kind_cannot_do_with_one_error_each() -> None:
    leg = make_leg(RecordingHost())
    asked: dict[Capability, tuple[Callable[[], object], ...]] = {
        Capability.ANSWER: (
            lambda: leg.answer(None),
            lambda: leg.ring(),
            lambda: leg.start_early_media(None),
        ),
        Capability.HOLD: (lambda: leg.set_hold(True),),
        Capability.DTMF: (lambda: leg.send_digits("1"),),
        Capability.TRANSFER: (lambda: leg.transfer("sip:bob@example.com", None),),
        Capability.BE_TRANSFERRED: (lambda: leg.asked_transfer,),
        Capability.AMD: (lambda: leg.check_can(Capability.AMD),),
        Capability.CANDIDATES: (lambda: leg.check_can(Capability.CANDIDATES),),
    }
    assert set(asked) == set(Capability)
    for capability, orders in asked.items():
        expected = REFUSALS[capability]()
        for order in orders:
            with pytest.raises(type(expected)) as caught:
                order()
            assert caught.value.message == expected.message


async def test_a_digit_of_a_room_mate_is_no_error_for_a_leg_without_digits() -> None:
    make_leg(RecordingHost()).relay_digit("1")
