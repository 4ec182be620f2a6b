"""Faults that end with one leg or one feature are counted where they were contained."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.support.engine import Observed, open_engine


def counted(observed: Observed, component: str, site: str) -> float | None:
    labels = {"component": component, "site": site}
    registry = observed.engine.metrics.registry
    return registry.get_sample_value("voiceblender_recovered_panics_total", labels)


async def fail() -> None:
    raise ZeroDivisionError("broken")


async def test_a_fault_of_a_legs_task_is_counted() -> None:
    async with open_engine() as observed:
        observed.engine.legs.start(fail, name="leg")
        await observed.engine.legs.wait_idle()
        assert counted(observed, "engine", "leg") == 1


async def test_a_fault_of_a_leg_that_was_ready_is_counted_and_one_before_that_is_raised() -> None:
    async def ready(*, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("ready")
        await fail()

    async def unready(*, task_status: trio.TaskStatus[str]) -> None:
        await fail()

    async with open_engine() as observed:
        assert await observed.engine.legs.start_ready(ready, name="leg") == "ready"
        await observed.engine.legs.wait_idle()
        with pytest.raises(ZeroDivisionError):
            await observed.engine.legs.start_ready(unready, name="leg")
        assert counted(observed, "engine", "leg") == 1


async def test_a_fault_of_a_feature_of_a_room_is_counted() -> None:
    async with open_engine() as observed:
        await observed.engine.rooms.open("r").slots.start("feature", fail).join()
        assert counted(observed, "slots", "room") == 1


async def test_a_fault_of_an_upload_is_counted() -> None:
    async with open_engine() as observed:
        observed.engine.recorders.storage.uploads.on_fault()
        assert counted(observed, "uploads", "upload") == 1


async def test_who_hears_that_a_leg_has_ended_finds_its_place_free() -> None:
    async with open_engine() as observed:
        legs = observed.engine.legs
        places: list[int] = []

        async def leg() -> None:
            legs.leave()
            places.append(legs.places)
            legs.leave()

        legs.start(leg, name="leg")
        assert (legs.places, legs.running) == (1, 1)
        await legs.wait_idle()
    assert places == [0]
    assert (legs.places, legs.running) == (0, 0)
