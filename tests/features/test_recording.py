"""Rules of recordings that need no media; whole recordings are in tests/integration/test_recording.py."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.engine import Client, Observed, open_engine
from vb.config import Config, RecordingConfig
from vb.errors import BadRequest
from vb.features.recording import check_name

pytestmark = pytest.mark.integration  # files are written in threads


@asynccontextmanager
async def engine_in(directory: Path) -> AsyncIterator[tuple[Observed, Client]]:
    config = Config(recording=RecordingConfig(dir=str(directory)))
    async with open_engine(config) as observed:
        yield observed, Client(observed)


def room_with_leg(observed: Observed) -> None:
    observed.engine.open_room("r").add(observed.leg("a"))
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
        observed.engine.open_room("other").add(observed.leg("b"))
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
