"""Rules of recordings that need no media; whole recordings are in tests/integration/test_recording.py."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import structlog
import trio
import trio.testing

from tests.support.engine import Client, Observed, open_engine
from vb.config import Config, RecordingConfig
from vb.errors import BadRequest
from vb.recording.recorders import check_name

pytestmark = pytest.mark.integration  # files are written in threads

T = TypeVar("T")


class BusyDisk:
    """Does nothing for anybody until it is free."""

    def __init__(self) -> None:
        self.free = trio.Event()

    async def __call__(self, function: Callable[[], T], /) -> T:
        await self.free.wait()
        return function()


class Start:
    """A start of a recording with a name of its own that finds the disk busy."""

    def __init__(self, observed: Observed, client: Client, nursery: trio.Nursery) -> None:
        self.disk = BusyDisk()
        self.answer: tuple[int, Any] | None = None
        self._client = client
        self._nursery = nursery
        observed.engine.recorders.blocking = self.disk

    async def begin(self, path: str) -> None:
        """Ask for it, and return once it waits for the disk."""
        self._nursery.start_soon(self._ask, path)
        await trio.testing.wait_all_tasks_blocked()
        assert self.answer is None

    async def _ask(self, path: str) -> None:
        self.answer = await self._client.rest("POST", path, {"filename": "mine"})

    async def told(self) -> tuple[int, Any] | None:
        """The answer, once the disk is free and nothing moves any more."""
        self.disk.free.set()
        await trio.testing.wait_all_tasks_blocked()
        return self.answer


@asynccontextmanager
async def start_in(directory: Path) -> AsyncIterator[tuple[Observed, Client, Start]]:
    """A room with a leg, in an engine whose disk is busy."""
    async with engine_in(directory) as (observed, client), trio.open_nursery() as nursery:
        room_with_leg(observed)
        yield observed, client, Start(observed, client, nursery)


@asynccontextmanager
async def engine_in(directory: Path) -> AsyncIterator[tuple[Observed, Client]]:
    config = Config(recording=RecordingConfig(dir=str(directory)))
    async with open_engine(config) as observed:
        yield observed, Client(observed)


def room_with_leg(observed: Observed) -> None:
    observed.engine.rooms.open("r").add(observed.leg("a"))
    observed.events()


@pytest.mark.parametrize(("given", "name"), [("", None), ("case", "case.wav")])
def test_a_name_is_optional(given: str, name: str | None) -> None:
    assert check_name(given) == name


def test_a_bad_name_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="invalid recording filename"):
        check_name("../x")


async def test_a_leg_without_media_is_omitted_and_there_is_no_second_file(tmp_path: Path) -> None:
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        await client.command("room_record_start", id="r", multi_channel=True)
        answer = await client.command("room_record_stop", id="r")
        assert answer == {"status": "stopped", "file": "", "omitted_legs": ["a"]}
        started, finished = (published.as_dict() for published in observed.events())
        assert started["type"] == "recording.started"
        assert {name: finished.get(name) for name in ("type", "room_id", "file", "omitted_legs")} == {
            "type": "recording.finished",
            "room_id": "r",
            "file": "",
            "omitted_legs": ["a"],
        }
        assert "multi_channel_file" not in finished
    assert os.listdir(tmp_path) == []


async def test_pause_and_resume_say_what_changed_and_name_the_file(tmp_path: Path) -> None:
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        started = await client.command("room_record_start", id="r")
        said = [
            (await client.command(f"room_record_{what}", id="r"))["status"]
            for what in ("pause", "pause", "resume", "resume")
        ]
        assert said == ["paused", "already_paused", "resumed", "not_paused"]
        assert observed.told("file") == [
            ("recording.started", started["file"]),
            ("recording.paused", started["file"]),
            ("recording.resumed", started["file"]),
        ]


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"storage": "s3"}, 400, "S3 storage not configured"),
        ({"storage": "gcs"}, 400, "GCS storage not configured"),
        ({"storage": "gcs", "gcs_bucket": "b"}, 501, "not available: gcs_bucket"),
        ({"storage": "tape"}, 400, "unknown storage type: tape"),
        ({"filename": "a/b"}, 400, "invalid recording filename"),
        ({"filename": 7}, 400, "filename"),
        ({"multi_channel": "yes"}, 400, "multi_channel"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    tmp_path: Path, fields: dict[str, object], status: int, text: str
) -> None:
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        got, answer = await client.rest("POST", "rooms/r/record", fields)
        assert got == status
        assert text in answer["error"]
        assert observed.events() == []


async def test_a_second_recording_and_a_name_in_use_are_conflicts(tmp_path: Path) -> None:
    (tmp_path / "there.wav").write_text("precious")
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        assert (await client.rest("POST", "rooms/r/record", {"filename": "there"}))[0] == 409
        assert (await client.rest("POST", "rooms/r/record", {"filename": "new"}))[0] == 200
        assert (await client.rest("POST", "rooms/r/record", {}))[0] == 409
        observed.engine.rooms.open("other").add(observed.leg("b"))
        assert (await client.rest("POST", "rooms/other/record", {"filename": "new"}))[0] == 409
        assert (await client.rest("DELETE", "rooms/r/record"))[0] == 200
        assert (await client.rest("POST", "rooms/other/record", {"filename": "new"}))[0] == 200
    assert (tmp_path / "there.wav").read_text() == "precious"


async def test_after_the_end_there_is_nothing_to_stop_or_pause(tmp_path: Path) -> None:
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        await client.command("room_record_start", id="r")
        await client.command("room_record_stop", id="r")
        for method, path in (
            ("DELETE", "rooms/r/record"),
            ("POST", "rooms/r/record/pause"),
            ("POST", "rooms/r/record/resume"),
        ):
            assert await client.rest(method, path) == (404, {"error": "no recording in progress"})


async def test_a_folder_that_cannot_be_made_is_an_internal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with engine_in(tmp_path / "file" / "recordings") as (observed, client):
        room_with_leg(observed)
        assert (await client.rest("POST", "rooms/r/record", {}))[0] == 500
        assert observed.events() == []


async def test_a_recording_that_the_disk_does_not_take_is_logged_and_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with engine_in(tmp_path / "file" / "recordings") as (observed, client):
        room_with_leg(observed)
        with structlog.testing.capture_logs() as lines:
            await client.rest("POST", "rooms/r/record", {})
            await client.rest("POST", "rooms/nobody/record", {})
        assert [(line["event"], line["owner"]) for line in lines] == [("recording not begun", "room r")]
        assert observed.engine.recorders.outcomes == {"complete": 0, "incomplete": 0, "not_begun": 1}


async def test_a_recording_that_ends_well_counts_as_complete_and_is_not_logged(tmp_path: Path) -> None:
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        with structlog.testing.capture_logs() as lines:
            await client.command("room_record_start", id="r")
            await client.command("room_record_stop", id="r")
        assert lines == []
        assert observed.engine.recorders.outcomes == {"complete": 1, "incomplete": 0, "not_begun": 0}


async def test_a_folder_in_which_nothing_can_be_written_is_logged_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory, told in ((tmp_path / "file", ["no recording can be written"]), (tmp_path / "new", [])):
        async with engine_in(directory) as (observed, _):
            with structlog.testing.capture_logs() as lines:
                await observed.engine.recorders.recover()
        assert [line["event"] for line in lines] == told


async def test_the_next_recording_may_start_as_soon_as_the_stop_is_answered(tmp_path: Path) -> None:
    async with engine_in(tmp_path) as (observed, client):
        room_with_leg(observed)
        for _ in range(20):
            await client.command("room_record_start", id="r", filename="same")
            await client.command("room_record_stop", id="r")


async def test_a_start_that_failed_leaves_the_place_free(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    async with engine_in(blocked / "recordings") as (observed, client):
        room_with_leg(observed)
        for _ in range(20):
            assert (await client.rest("POST", "rooms/r/record", {"filename": "same"}))[0] == 500


async def test_a_start_whose_room_empties_meanwhile_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with start_in(tmp_path) as (observed, client, start):
        await start.begin("rooms/r/record")
        await client.command("remove_leg_from_room", room_id="r", leg_id="a")
        assert await start.told() == (409, {"error": "room has no participants"})
        assert observed.told() == [("leg.left_room",)]
        room = observed.engine.rooms.get("r")
        assert room.slots.names() == []
        room.add(observed.leg("b"))
        assert (await client.rest("POST", "rooms/r/record", {"filename": "mine"}))[0] == 200


async def test_a_start_whose_room_is_being_deleted_is_refused_and_says_nothing_later(tmp_path: Path) -> None:
    async with start_in(tmp_path) as (observed, client, start), trio.open_nursery() as nursery:
        over = trio.Event()

        async def linger() -> None:
            with trio.CancelScope(shield=True):
                await over.wait()

        observed.engine.rooms.get("r").slots.start("lingering", linger)
        await start.begin("rooms/r/record")
        nursery.start_soon(client.rest, "DELETE", "rooms/r")
        await trio.testing.wait_all_tasks_blocked()
        answer = await start.told()
        over.set()
        await trio.testing.wait_all_tasks_blocked()
        assert answer == (409, {"error": "it is ending"})
        assert observed.told() == [("leg.left_room",), ("room.deleted",)]


async def test_a_start_whose_leg_ends_meanwhile_is_refused_before_the_leg_has_ended(tmp_path: Path) -> None:
    async with start_in(tmp_path) as (observed, _, start):
        async with observed.engine.legs.get("a").slots.open():
            await start.begin("legs/a/record")
        assert await start.told() == (409, {"error": "it is ending"})
        assert observed.events() == []


async def test_of_two_starts_at_once_with_one_name_the_first_gets_it(tmp_path: Path) -> None:
    async with start_in(tmp_path) as (observed, client, start):
        observed.engine.rooms.open("other").add(observed.leg("b"))
        await start.begin("rooms/r/record")
        for room in ("other", "r"):
            assert (await client.rest("POST", f"rooms/{room}/record", {"filename": "mine"}))[0] == 409
        answer = await start.told()
        assert answer is not None
        assert answer[0] == 200
