"""Recordings of real calls that go to an S3 server, which runs as a process of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from tests.integration.s3_server import Store, open_s3_server
from tests.support.history import history_config
from tests.support.object_store import open_store
from tests.support.phone import Phone, open_phone
from tests.support.world import call_in, rest_of, wait_for
from vb.commands.views import RecordingStart, RecordingStop, RoomRecordingStop
from vb.config import Config
from vb.errors import BadRequest, ConfigError, Conflict
from vb.recording.storage import S3Choice
from vb.server import Server, open_server
from vb.storage import s3

pytestmark = pytest.mark.integration


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_s3_server() as found:
        yield found


@pytest.fixture
def with_bucket(store: Store, tmp_path: Path) -> Config:
    """Settings of a server with a bucket of its own."""
    return settings(tmp_path, **store.settings)


def settings(directory: Path, **more: str) -> Config:
    basic = {"HTTP_ADDR": "127.0.0.1:0", "SIP_PORT": "0", "RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"}
    basic["VB_FETCH_ALLOW"] = "127.0.0.0/8"
    return Config.from_env({**basic, "RECORDING_DIR": str(directory / "recordings"), **more})


def left_in(config: Config) -> list[str]:
    return os.listdir(config.recording.dir)


async def record_briefly(server: Server, phone: Phone, leg: str, **fields: Any) -> str:
    started = await server.call("leg_record_start", id=leg, **fields)
    assert isinstance(started, RecordingStart)
    await phone.hear(20)
    return started.file


async def upload_begins(server: Server) -> None:
    with trio.fail_after(5):
        while not server.engine.recorders.storage.uploads.running:
            await trio.lowlevel.checkpoint()


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


async def test_a_recording_in_the_servers_bucket_goes_with_its_call(
    with_bucket: Config, store: Store, tmp_path: Path
) -> None:
    history = history_config(tmp_path / "history")
    config = with_bucket.model_copy(update={"history": history})
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await server.call("leg_record_start", id=leg, storage="s3")
            await phone.hear(30)
            await server.call("delete_leg", id=leg)
            finished = await wait_for(events, "recording.finished", leg_id=leg)
            await wait_for(events, "call.recorded", leg_id=leg)
        assert (await store.get(finished["file"])).status_code == 200
        await server.call("delete_call", id=leg)
        assert (await store.get(finished["file"])).status_code == 404


def client_of(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url or "", trust_env=False)


async def recorded_call(server: Server, phone: Phone, **where: str) -> tuple[str, str]:
    """Hold a call that is recorded into a bucket, until it is stored; its id and the recording's address."""
    with server.events() as events:
        leg = await call_in(server, phone, events)
        await server.call("leg_record_start", id=leg, storage="s3", **where)
        await phone.hear(30)
        await server.call("delete_leg", id=leg)
        finished = await wait_for(events, "recording.finished", leg_id=leg)
        await wait_for(events, "call.recorded", leg_id=leg)
        return leg, finished["file"]


@pytest.mark.parametrize("where", [{}, {"s3_prefix": "elsewhere/"}])
async def test_a_recording_in_a_bucket_of_the_server_is_handed_on(
    with_bucket: Config, store: Store, tmp_path: Path, where: dict[str, str]
) -> None:
    history = history_config(tmp_path / "history")
    config = with_bucket.model_copy(update={"history": history})
    async with open_server(config) as server, open_phone(500) as phone:
        leg, url = await recorded_call(server, phone, **where)
        async with client_of(server) as client:
            path = f"/api/calls/{leg}/recording"
            whole = await client.get(path)
            part = await client.get(path, headers={"Range": "bytes=4-11"})
            none = await client.get(path, headers={"Range": "bytes=99999999-"})
            detail = (await client.get(f"/api/calls/{leg}")).json()
            kept = await store.get(url)
            assert (whole.status_code, whole.content) == (200, kept.content)
            assert whole.headers["content-type"] == "audio/wav"
            assert (part.status_code, part.content) == (206, kept.content[4:12])
            assert part.headers["content-range"] == f"bytes 4-11/{len(kept.content)}"
            assert none.status_code == 416
            assert detail["leg"]["recordings"][0]["openedBy"] == "server"
            await server.call("delete_call", id=leg)
            assert (await client.get(path)).status_code == 404
        assert (await store.get(url)).status_code == 404
        assert server.engine.stored().left == 0


async def test_a_recording_that_only_its_request_can_open_stays_and_says_so(
    store: Store, tmp_path: Path
) -> None:
    history = history_config(tmp_path / "history")
    config = settings(tmp_path).model_copy(update={"history": history})
    async with open_server(config) as server, open_phone(500) as phone:
        leg, url = await recorded_call(server, phone, **store.request)
        async with client_of(server) as client:
            reply = await client.get(f"/api/calls/{leg}/recording")
            detail = (await client.get(f"/api/calls/{leg}")).json()
        assert reply.status_code == 409
        assert "only the credentials of its request open" in reply.json()["error"]
        assert detail["leg"]["recordings"][0]["openedBy"] == "request"
        await server.call("delete_call", id=leg)
        assert server.engine.stored().left == 1
    assert (await store.get(url)).status_code == 200
    for file in (tmp_path / "history").iterdir():
        assert store.secret_key.encode() not in file.read_bytes()


async def test_a_bucket_that_fails_while_a_recording_is_read_ends_the_answer_early(tmp_path: Path) -> None:
    async with open_store() as shop:
        environ = {"S3_BUCKET": "recordings", "S3_ENDPOINT": shop.endpoint}
        config = settings(tmp_path, **environ, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="very-secret")
        history = history_config(tmp_path / "history")
        config = config.model_copy(update={"history": history})
        async with open_server(config) as server, open_phone(500) as phone:
            leg, url = await recorded_call(server, phone)
            async with client_of(server) as client:
                path = f"/api/calls/{leg}/recording"
                shop.cut_after = 100
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(path)
                shop.cut_after = None
                shop.statuses += [403]
                refused = await client.get(path)
                assert (refused.status_code, "access denied" in refused.text) == (503, True)
                assert (await client.get(path)).content == shop.objects[url.removeprefix("s3://recordings/")]
                shop.objects.clear()
                assert (await client.get(path)).status_code == 404


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
    with pytest.raises(ConfigError, match="S3_BUCKET"):
        async with open_server(config):
            pass


async def test_a_large_file_goes_in_parts_that_add_up(
    with_bucket: Config, store: Store, tmp_path: Path
) -> None:
    content = os.urandom(1024) * 20 * 1024
    file = tmp_path / "large.wav"
    await trio.Path(file).write_bytes(content)
    async with open_server(with_bucket, http=False) as server:
        storage = server.engine.recorders.storage
        (upload,) = storage.uploads.start(storage.s3_target(S3Choice(prefix="täg /")), [str(file)])
        await upload.settled.wait()
    assert upload.report() == ("s3://recordings/täg /large.wav", None)
    assert (await store.get("s3://recordings/täg /large.wav")).content == content
    assert not await trio.Path(file).exists()


async def test_signatures_fit_every_key_and_size(with_bucket: Config, store: Store, tmp_path: Path) -> None:
    large = s3.PART_BYTES + 1
    files = {"calls + a.wav": 44, "Grüße & 100% ~ 漢字": large, "a=b?c#d%20e": 0, "'x' (1)!*;,@$": large}
    async with open_server(with_bucket, http=False) as server:
        storage = server.engine.recorders.storage
        for name, size in files.items():
            content = (os.urandom(1024) * (size // 1024 + 1))[:size]
            await trio.Path(tmp_path / name).write_bytes(content)
            target = storage.s3_target(S3Choice(prefix="ä b+c/"))
            (upload,) = storage.uploads.start(target, [str(tmp_path / name)])
            await upload.settled.wait()
            assert upload.report() == (f"s3://recordings/ä b+c/{name}", None)
            assert (await store.get(f"s3://recordings/ä b+c/{name}")).content == content
            assert not await trio.Path(tmp_path / name).exists()


async def test_wrong_keys_keep_the_file_and_say_so(with_bucket: Config, store: Store, tmp_path: Path) -> None:
    right = {"access_key": store.access_key, "secret_key": store.secret_key}
    file = tmp_path / "kept.wav"
    async with open_server(with_bucket, http=False) as server:
        storage = server.engine.recorders.storage
        for size in (44, s3.PART_BYTES + 1):
            await trio.Path(file).write_bytes(bytes(size))
            for wrong in right:
                target = storage.s3_target(S3Choice(**{**right, wrong: "AKIAOTHER"}))
                (upload,) = storage.uploads.start(target, [str(file)])
                await upload.settled.wait()
                assert upload.report() == (str(file), "upload failed: access denied")
                assert (await trio.Path(file).stat()).st_size == size
                assert (await store.get("s3://recordings/calls/kept.wav")).status_code == 404


async def test_a_recording_under_a_wrong_secret_stays_here(
    with_bucket: Config, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vb")
    async with open_server(with_bucket) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            wrong = {**store.request, "s3_secret_key": "not-the-secret"}
            path = await record_briefly(server, phone, leg, storage="s3", **wrong)
            result = await server.call("leg_record_stop", id=leg)
            finished = await wait_for(events, "recording.finished", leg_id=leg)
            await record_briefly(server, phone, leg, storage="s3", **store.request)
            second = await server.call("leg_record_stop", id=leg)
    assert isinstance(result, RecordingStop)
    assert (result.file, result.error) == (path, "upload failed: access denied")
    assert finished["file"] == path
    assert left_in(with_bucket) == [path.rpartition("/")[2]]
    assert isinstance(second, RecordingStop)
    assert (second.file.startswith("s3://recordings/asked/"), second.error) == (True, None)
    assert "not-the-secret" not in caplog.text
