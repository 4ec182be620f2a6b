"""Recordings of real calls that go to an S3 server, which runs as a process of its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.support.phone import open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import RecordingStart, RecordingStop, RoomRecordingStop
from vb.config import Config
from vb.errors import BadRequest, ConfigError, Conflict
from vb.server import open_server
from vb.storage.s3 import S3Bucket, S3Target

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True)
class Store:
    """A running S3 server with one bucket, `recordings`."""

    endpoint: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "S3_BUCKET": "recordings",
            "S3_ENDPOINT": self.endpoint,
            "S3_PREFIX": "calls/",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    @property
    def request(self) -> dict[str, str]:
        return {
            "s3_bucket": "recordings",
            "s3_endpoint": self.endpoint,
            "s3_prefix": "asked/",
            "s3_access_key": "key",
            "s3_secret_key": "secret",
        }

    async def get(self, url: str) -> httpx.Response:
        """The object behind an s3:// address."""
        assert url.startswith("s3://recordings/")
        async with httpx.AsyncClient() as client:
            return await client.get(f"{self.endpoint}/{url.removeprefix('s3://')}", headers=SIGNED)


SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
async def store(nursery: trio.Nursery) -> AsyncIterator[Store]:
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    run = partial(trio.run_process, command, capture_stdout=True, capture_stderr=True, check=False)
    process = await nursery.start(run)
    endpoint = f"http://127.0.0.1:{port}"
    with trio.fail_after(30):
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    reply = await client.put(f"{endpoint}/recordings", headers=SIGNED)
                    assert reply.status_code == 200, reply.text
                    break
                except httpx.TransportError:
                    await trio.sleep(0.1)
    try:
        yield Store(endpoint)
    finally:
        process.kill()


@pytest.fixture
def with_bucket(store: Store, tmp_path: Path) -> Config:
    """Settings of a server with a bucket of its own."""
    return settings(tmp_path, **store.settings)


def settings(directory: Path, **more: str) -> Config:
    basic = {"HTTP_ADDR": "127.0.0.1:0", "SIP_PORT": "0", "RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"}
    return Config.from_env({**basic, "RECORDING_DIR": str(directory / "recordings"), **more})


def left_in(config: Config) -> list[str]:
    return os.listdir(config.recording.dir)


async def test_a_recording_goes_to_the_servers_bucket_before_the_stop_is_answered(
    with_bucket: Config, store: Store
) -> None:
    async with open_server(with_bucket) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            started = await server.call("leg_record_start", id=leg, storage="s3")
            assert isinstance(started, RecordingStart)
            await phone.hear(30)
            result = await server.call("leg_record_stop", id=leg)
            finished = await wait_for(events, "recording.finished", leg_id=leg)
    assert isinstance(result, RecordingStop)
    name = started.file.rpartition("/")[2]
    assert (result.file, result.error) == (f"s3://recordings/calls/{name}", None)
    assert finished["file"] == result.file
    stored = await store.get(result.file)
    assert stored.headers["content-type"] == "audio/wav"
    assert stored.content[:4] == b"RIFF"
    assert len(stored.content) > 44 + 4 * 8000 * 0.4
    assert left_in(with_bucket) == []


async def test_both_files_of_a_room_go_where_the_request_says(store: Store, tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with open_server(config) as server, open_phone(500) as one, open_phone(800) as two:
        with server.events() as events:
            await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            await server.call(
                "room_record_start",
                id="r",
                storage="s3",
                multi_channel=True,
                filename="case",
                **store.request,
            )
            await one.hear(30)
            result = await server.call("room_record_stop", id="r")
    assert isinstance(result, RoomRecordingStop)
    assert result.file == "s3://recordings/asked/case.wav"
    assert result.multi_channel_file is not None
    assert result.multi_channel_file.startswith("s3://recordings/asked/")
    assert len((await store.get(result.multi_channel_file)).content) > 2 * 44
    assert left_in(config) == []


async def test_the_end_of_a_call_uploads_before_it_says_goodbye(with_bucket: Config, store: Store) -> None:
    async with open_server(with_bucket) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await server.call("leg_record_start", id=leg, storage="s3")
            await phone.hear(30)
            phone.calls[0].hangup()
            finished = await wait_for(events, "recording.finished", leg_id=leg)
            await wait_for(events, "leg.disconnected", leg_id=leg)
    assert (await store.get(finished["file"])).status_code == 200
    assert left_in(with_bucket) == []


async def test_a_name_that_the_bucket_has_is_refused(with_bucket: Config, store: Store) -> None:
    async with open_server(with_bucket) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await server.call("leg_record_start", id=leg, storage="s3", filename="case")
            await phone.hear(15)
            await server.call("leg_record_stop", id=leg)
            with pytest.raises(Conflict):
                await server.call("leg_record_start", id=leg, storage="s3", filename="case")
            await server.call("leg_record_start", id=leg, storage="s3", filename="case", s3_prefix="other/")


async def test_an_absent_bucket_is_refused_before_anything_starts(with_bucket: Config, store: Store) -> None:
    async with open_server(with_bucket) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            absent = {**store.request, "s3_bucket": "absent"}
            with pytest.raises(BadRequest, match="absent"):
                await server.call("leg_record_start", id=leg, storage="s3", **absent)
            kinds = [item["type"] for item in await rest_of(events, 0.05)]
            assert "recording.started" not in kinds
            await server.call("leg_record_start", id=leg)


async def test_a_server_whose_bucket_is_absent_does_not_start(store: Store, tmp_path: Path) -> None:
    config = settings(tmp_path, **{**store.settings, "S3_BUCKET": "absent"})
    with pytest.RaisesGroup(pytest.RaisesExc(ConfigError, match="S3_BUCKET"), flatten_subgroups=True):
        async with open_server(config):
            pass


async def test_a_large_file_goes_in_parts_that_add_up(store: Store, tmp_path: Path) -> None:
    content = os.urandom(1024) * 20 * 1024
    file = tmp_path / "large.wav"
    file.write_bytes(content)
    bucket = S3Bucket(
        S3Target("recordings", endpoint=store.endpoint, access_key="key", secret_key="secret"), timeout_s=10
    )
    await trio.to_thread.run_sync(bucket.put, "large.wav", file)
    assert (await store.get("s3://recordings/large.wav")).content == content


class SilentStore:
    """A listening port that takes connections and never answers."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"


@pytest.mark.parametrize("how", ["by command", "by hangup", "by command, then hangup"])
async def test_an_endpoint_that_never_answers_delays_little_and_loses_nothing(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience_s = 30.0 if how == "by command, then hangup" else 1.0
    monkeypatch.setattr("vb.features.recording_task.KEEP_TIMEOUT_S", patience_s)
    monkeypatch.setattr("vb.features.recording_task.HURRIED_KEEP_TIMEOUT_S", 0.5)
    monkeypatch.setattr("vb.features.storage.PART_TIMEOUT_S", 2.0)
    silent = SilentStore()
    config = settings(tmp_path, S3_REQUEST_PREFLIGHT_TIMEOUT="300ms", S3_PREFLIGHT_TIMEOUT="300ms")
    fields: dict[str, Any] = {"s3_bucket": "recordings", "s3_endpoint": silent.endpoint}
    fields |= {"s3_access_key": "key", "s3_secret_key": "secret"}
    with silent.listener:
        async with open_server(config) as server, open_phone(500) as phone:
            with server.events() as events:
                leg = await call_in(server, phone, events)
                began = trio.current_time()
                await server.call("leg_record_start", id=leg, storage="s3", **fields)
                assert trio.current_time() - began < 1
                await phone.hear(20)
                began = trio.current_time()
                async with trio.open_nursery() as nursery:
                    if how.startswith("by command"):
                        nursery.start_soon(partial(server.call, "leg_record_stop", id=leg))
                        await trio.sleep(0.1)
                    if how.endswith("hangup"):
                        phone.calls[0].hangup()
                    finished = await wait_for(events, "recording.finished", leg_id=leg)
                assert trio.current_time() - began < 2
    assert "did not finish in time" in finished["error"]
    assert finished["file"] == f"{config.recording.dir}/{left_in(config)[0]}"
