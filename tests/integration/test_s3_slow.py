"""Recordings on their way to buckets that are slow, hang, lie inside, or die in the middle."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.integration.test_s3 import left_in, record_briefly, settings, upload_begins
from tests.support.object_store import ObjectStore, open_store
from tests.support.phone import open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import RecordingStop, RoomRecordingStop
from vb.errors import BadRequest
from vb.names import NameLookup
from vb.recording import recording_task, uploads
from vb.recording.storage import S3Choice
from vb.server import open_server
from vb.storage import s3
from vb.storage.tasks import connection

pytestmark = pytest.mark.integration


@pytest.fixture
async def near() -> AsyncIterator[ObjectStore]:
    async with open_store() as found:
        yield found


async def test_a_request_does_not_lead_inside_unless_the_operator_opens_it(
    near: ObjectStore, tmp_path: Path
) -> None:
    config = settings(tmp_path, VB_FETCH_ALLOW="", AWS_ACCESS_KEY_ID="ours", AWS_SECRET_ACCESS_KEY="hidden")
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            for endpoint in (near.endpoint, f"http://localhost:{near.port}", f"https://127.1:{near.port}"):
                with pytest.raises(BadRequest, match="s3_endpoint"):
                    await server.call("leg_record_start", id=leg, **{**near.request, "s3_endpoint": endpoint})
            kinds = [item["type"] for item in await rest_of(events, 0.05)]
    assert "recording.started" not in kinds
    assert near.connections == 0


async def test_a_name_that_turns_inside_later_is_not_followed(
    near: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, VB_FETCH_ALLOW="127.0.0.9")
    addresses = ["127.0.0.9"]

    async def resolve(names: NameLookup, host: str, port: int) -> list[str]:
        return list(addresses)

    monkeypatch.setattr(NameLookup, "__call__", resolve)
    fields = {**near.request, "s3_endpoint": f"http://store:{near.port}"}
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            path = await record_briefly(server, phone, leg, **fields)
            addresses[:] = ["127.0.0.1"]
            result = await server.call("leg_record_stop", id=leg)
    assert isinstance(result, RecordingStop)
    assert (result.file, result.error) == (
        path,
        "upload failed: s3_endpoint: host store is not allowed",
    )
    assert near.connections == 0


async def test_a_hangup_does_not_wait_for_a_slow_bucket_which_gets_the_recording_all_the_same(
    near: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_task, "HURRIED_KEEP_TIMEOUT_S", 0.3)
    config = settings(tmp_path)
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            path = await record_briefly(server, phone, leg, **near.request)
            near.bytes_per_s = 10_000
            began = trio.current_time()
            phone.calls[0].hangup()
            finished = await wait_for(events, "recording.finished", leg_id=leg)
            await wait_for(events, "leg.disconnected", leg_id=leg)
            assert trio.current_time() - began < 1
            name = path.rpartition("/")[2]
            assert finished["file"] == path
            assert finished["error"] == (
                f"not uploaded yet: the upload goes on, and then moves the file to s3://recordings/{name}"
            )
            assert left_in(config) == [name]
            running = server.engine.recorders.storage.uploads
            assert (running.running, near.objects) == (1, {})
            with trio.fail_after(10):
                await running.wait_idle()
            assert [item["type"] for item in await rest_of(events, 0.05)] == []
            assert server.engine.recorders.outcomes["complete"] == 1  # it is, and it moves
            assert b'voiceblender_recording_uploads{outcome="stored"} 1.0' in server.engine.metrics.render()
    assert near.objects[name][:4] == b"RIFF"
    assert left_in(config) == []


async def test_both_files_of_a_room_may_follow_later(
    near: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_task, "KEEP_TIMEOUT_S", 0.5)
    config = settings(tmp_path)
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            await call_in(server, phone, events, "r")
            await server.call("room_record_start", id="r", multi_channel=True, **near.request)
            await phone.hear(20)
            near.bytes_per_s = 8_000
            result = await server.call("room_record_stop", id="r")
        assert isinstance(result, RoomRecordingStop)
        assert result.multi_channel_file is not None
        names = [path.rpartition("/")[2] for path in (result.file, result.multi_channel_file)]
        assert result.file.startswith("/")
        assert result.multi_channel_file.startswith("/")
        assert all(f"s3://recordings/{name}" in str(result.error) for name in names)
        near.bytes_per_s = 1e9
        with trio.fail_after(5):
            await server.engine.recorders.storage.uploads.wait_idle()
    assert sorted(near.objects) == sorted(names)
    assert left_in(config) == []


async def test_a_stop_of_the_server_cancels_a_slow_upload_and_leaves_no_object(
    near: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vb")
    monkeypatch.setattr(recording_task, "HURRIED_KEEP_TIMEOUT_S", 0.3)
    monkeypatch.setattr(s3, "PART_BYTES", 10_000)
    config = settings(tmp_path, VB_STOP_TIMEOUT="4s")
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            path = await record_briefly(server, phone, leg, **near.request)
            near.bytes_per_s = 2_000
            phone.calls[0].hangup()
            await wait_for(events, "leg.disconnected", leg_id=leg)
            near.bytes_per_s = 1.0
        began = trio.current_time()
    assert trio.current_time() - began < 5
    await near.settle()
    assert (near.objects, near.parts) == ({}, {})
    assert left_in(config) == [path.rpartition("/")[2]]
    assert server.engine.recorders.storage.uploads.outcomes["cancelled"] == 1
    assert "very-secret" not in caplog.text


async def test_four_uploads_that_hang_do_not_hold_up_a_fifth_elsewhere(
    near: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_task, "KEEP_TIMEOUT_S", 3.0)
    config = settings(tmp_path, VB_STOP_TIMEOUT="2s")
    async with open_store() as stuck, open_server(config) as server, open_phone(500) as phone:
        stuck.deaf_for = "PUT"
        running = server.engine.recorders.storage
        for number in range(uploads.UPLOADS_AT_ONCE_PER_BUCKET + 2):
            file = trio.Path(tmp_path / f"stuck{number}.wav")
            await file.write_bytes(b"audio")
            asked = {name.removeprefix("s3_"): value for name, value in stuck.request.items()}
            del asked["storage"]
            running.uploads.start(running.s3_target(S3Choice(**asked)), [str(file)])
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await record_briefly(server, phone, leg, **near.request)
            began = trio.current_time()
            result = await server.call("leg_record_stop", id=leg)
            assert trio.current_time() - began < 1
        assert isinstance(result, RecordingStop)
        assert (result.file.startswith("s3://"), result.error) == (True, None)


async def test_a_connection_that_dies_in_the_middle_costs_nothing(near: ObjectStore, tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await record_briefly(server, phone, leg, **near.request)
            near.break_after = 4_000
            result = await server.call("leg_record_stop", id=leg)
    assert isinstance(result, RecordingStop)
    assert (result.file.startswith("s3://"), result.error) == (True, None)
    assert near.methods().count("PUT") == 2
    assert left_in(config) == []


@pytest.mark.parametrize("how", ["by command", "by hangup", "by command, then hangup"])
async def test_an_endpoint_that_never_answers_delays_little_and_loses_nothing(
    near: ObjectStore, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience_s = 30.0 if how == "by command, then hangup" else 1.0
    monkeypatch.setattr(recording_task, "KEEP_TIMEOUT_S", patience_s)
    monkeypatch.setattr(recording_task, "HURRIED_KEEP_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connection, "STALL_TIMEOUT_S", 0.4)
    monkeypatch.setattr(uploads, "BASE_TIME_S", 2.0)
    near.silent_for, near.deaf_for = "HEAD", "PUT"
    config = settings(tmp_path, S3_REQUEST_PREFLIGHT_TIMEOUT="300ms")
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            began = trio.current_time()
            path = await record_briefly(server, phone, leg, **near.request)
            assert trio.current_time() - began < 1.5
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                if how.startswith("by command"):
                    nursery.start_soon(partial(server.call, "leg_record_stop", id=leg))
                    await upload_begins(server)
                if how.endswith("hangup"):
                    phone.calls[0].hangup()
                finished = await wait_for(events, "recording.finished", leg_id=leg)
            assert trio.current_time() - began < 2
            running = server.engine.recorders.storage.uploads
            with trio.fail_after(5):
                await running.wait_idle()
    assert finished["error"].startswith("not uploaded yet: ")
    assert finished["file"] == path
    assert left_in(config) == [path.rpartition("/")[2]]
    assert running.outcomes["failed"] == 1
