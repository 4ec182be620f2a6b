"""A bucket against a server in the same process; files are read in threads and sockets are real."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trustme

from tests.support.object_store import BUCKET, ObjectStore, open_store
from tests.support.web import local_web
from vb.blocking import ThreadRunner
from vb.storage import s3
from vb.storage.base import BucketAbsent, HostRefused, StorageError, Unreachable
from vb.storage.s3 import S3Target
from vb.storage.sigv4 import Credentials
from vb.storage.tasks import bucket as bucket_module
from vb.storage.tasks import connection as connection_module
from vb.storage.tasks.bucket import Access, S3Bucket
from vb.web.tasks.dial import Dialer

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 1024 * 1024)
    monkeypatch.setattr(bucket_module, "_PAUSE_S", 0.01)


async def loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def machine() -> Credentials:
    return Credentials("of-the-machine", "machine-secret", "machine-token")


def opened(store: ObjectStore, tls: ssl.SSLContext | None = None, **fields: str) -> S3Bucket:
    given = {"bucket": BUCKET, "endpoint": store.endpoint, "access_key": "key", "secret_key": "secret"}
    target = S3Target(**{**given, **fields})  # type: ignore[arg-type]  # all of them are text
    web = local_web(resolve=loopback, dialer=Dialer(tls))
    return S3Bucket(target, Access(web, machine, ThreadRunner(2, abandon_on_cancel=True)))


def file_of(directory: Path, size: int) -> Path:
    path = directory / "a.wav"
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("size", [0, 5, 1024 * 1024])
async def test_a_small_file_goes_at_once(tmp_path: Path, size: int) -> None:
    path = file_of(tmp_path, size)
    async with open_store() as store:
        await opened(store).put("calls/ä b.wav", path)
    assert store.objects == {"calls/ä b.wav": path.read_bytes()}
    assert store.methods() == ["PUT", "HEAD"]
    assert store.heads[0]["content-type"] == "audio/wav"
    assert store.heads[0]["host"] == f"127.0.0.1:{store.port}"


async def test_a_large_file_goes_in_parts_over_one_connection(tmp_path: Path) -> None:
    path = file_of(tmp_path, 3 * 1024 * 1024 + 1)
    async with open_store() as store:
        await opened(store).put("a.wav", path)
    assert store.objects == {"a.wav": path.read_bytes()}
    assert store.methods() == ["POST", "PUT", "PUT", "PUT", "PUT", "POST", "HEAD"]
    assert store.connections == 1
    assert store.parts == {}


async def test_a_connection_that_breaks_in_a_part_costs_that_part_only(tmp_path: Path) -> None:
    path = file_of(tmp_path, 3 * 1024 * 1024)
    async with open_store() as store:
        store.break_after = 500_000
        await opened(store).put("a.wav", path)
    assert store.objects == {"a.wav": path.read_bytes()}
    assert store.methods() == ["POST", "PUT", "PUT", "PUT", "PUT", "POST", "HEAD"]


async def test_a_busy_server_is_asked_again_three_times_in_all(tmp_path: Path) -> None:
    path = file_of(tmp_path, 5)
    async with open_store() as store:
        store.statuses = [503, 500]
        await opened(store).put("a.wav", path)
        assert store.objects == {"a.wav": path.read_bytes()}
        store.statuses = [503, 500, 503]
        with pytest.raises(StorageError, match="did not take the file"):
            await opened(store).put("b.wav", path)
        assert store.methods() == ["PUT", "PUT", "PUT", "HEAD", "PUT", "PUT", "PUT"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
async def test_a_no_is_not_asked_again(tmp_path: Path, status: int) -> None:
    async with open_store() as store:
        store.statuses = [status]
        with pytest.raises(StorageError):
            await opened(store).put("a.wav", file_of(tmp_path, 5))
        assert store.methods() == ["PUT"]


async def test_a_part_that_is_refused_drops_the_parts(tmp_path: Path) -> None:
    async with open_store() as store:
        store.part_statuses = {2: 403}
        with pytest.raises(StorageError, match="access denied"):
            await opened(store).put("a.wav", file_of(tmp_path, 3 * 1024 * 1024))
    assert store.methods() == ["POST", "PUT", "PUT", "DELETE"]
    assert (store.objects, store.parts) == ({}, {})


@pytest.mark.parametrize("part_mb", [1, 16])
async def test_a_cancelled_upload_leaves_no_object_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_mb: int
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", part_mb * 1024 * 1024)
    path = file_of(tmp_path, 12 * 1024 * 1024)  # more than may be on its way when a busy machine cancels
    async with open_store() as store:
        store.bytes_per_s = 500_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opened(store).put, "a.wav", path)
            await store.body_begun.wait()
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < 1
        await store.settle()
        assert store.objects == {}
        assert store.parts == {}
    assert path.exists()


async def test_a_cancelled_upload_to_a_server_that_hangs_is_over_soon(tmp_path: Path) -> None:
    path = file_of(tmp_path, 3 * 1024 * 1024)
    async with open_store() as store:
        store.deaf_for, store.silent_for = "PUT", "DELETE"
        with trio.move_on_after(0.3):
            await opened(store).put("a.wav", path)
            raise AssertionError("a server that hangs has stored something")
        assert store.methods() == ["POST", "PUT", "DELETE"]


async def test_a_slow_server_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 3.0)
    path = file_of(tmp_path, 400_000)
    async with open_store() as store:
        store.bytes_per_s = 125_000
        began = trio.current_time()
        await opened(store).put("a.wav", path)
        assert trio.current_time() - began > 3
    assert store.objects == {"a.wav": path.read_bytes()}


@pytest.mark.parametrize("how", ["deaf_for", "silent_for"])
async def test_a_server_that_hangs_is_tried_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 0.2)
    path = file_of(tmp_path, 5)
    async with open_store() as store:
        setattr(store, how, "PUT")
        with pytest.raises(Unreachable, match="does not answer"):
            await opened(store).put("a.wav", path)
        assert store.methods() == ["PUT"] * 3
        assert store.connections == 3


async def test_a_lost_answer_to_the_last_request_is_found_out(tmp_path: Path) -> None:
    path = file_of(tmp_path, 2 * 1024 * 1024)
    async with open_store() as store:
        complete = store._complete

        def lose(key: str, upload: str, listed: str) -> tuple[int, dict[str, str], bytes]:
            complete(key, upload, listed)
            return 503, {}, b""

        store._complete = lose  # type: ignore[method-assign]  # carried out, and the answer is another
        await opened(store).put("a.wav", path)
    assert store.objects == {"a.wav": path.read_bytes()}
    assert store.methods()[-3:] == ["POST", "POST", "HEAD"]


def lose(store: ObjectStore, older: bytes | None, *, answer: int | None = None) -> None:
    """Let the parts get lost before they become an object, and an older object have the key."""
    if older is not None:
        store.objects["a.wav"] = older

    def complete(key: str, upload: str, listed: str) -> tuple[int, dict[str, str], bytes]:
        store.parts.pop(upload)
        return answer or 404, {}, b""

    store._complete = complete  # type: ignore[method-assign]  # carried out differently


@pytest.mark.parametrize("older", [None, b"older", bytes(2 * 1024 * 1024)])
async def test_lost_parts_are_told_whatever_has_the_key(tmp_path: Path, older: bytes | None) -> None:
    async with open_store() as store:
        lose(store, older)
        with pytest.raises(StorageError, match="did not take the file") as caught:
            await opened(store).put("a.wav", file_of(tmp_path, 2 * 1024 * 1024))
    assert caught.value.detail == "it lost the parts"
    assert store.methods() == ["POST", "PUT", "PUT", "POST", "DELETE"]


@pytest.mark.parametrize("older", [None, b"older", bytes(2 * 1024 * 1024)])
async def test_an_older_object_is_not_taken_for_one_whose_answer_was_lost(
    tmp_path: Path, older: bytes | None
) -> None:
    async with open_store() as store:
        lose(store, older, answer=503)
        with pytest.raises(StorageError, match="did not take the file"):
            await opened(store).put("a.wav", file_of(tmp_path, 2 * 1024 * 1024))
    assert store.methods() == ["POST", "PUT", "PUT", "POST", "POST", "HEAD", "DELETE"]


async def test_an_older_object_that_may_not_be_looked_at_proves_nothing(tmp_path: Path) -> None:
    async with open_store() as store:
        lose(store, b"older", answer=503)
        store.head_status = 403
        with pytest.raises(StorageError, match="access denied"):
            await opened(store).put("a.wav", file_of(tmp_path, 2 * 1024 * 1024))


@pytest.mark.parametrize("size", [5, 2 * 1024 * 1024])
@pytest.mark.parametrize("status", [401, 403, 405, 501])
async def test_credentials_that_may_only_write_are_enough(tmp_path: Path, status: int, size: int) -> None:
    path = file_of(tmp_path, size)
    async with open_store() as store:
        store.head_status = status
        await opened(store).put("a.wav", path)
    assert store.objects == {"a.wav": path.read_bytes()}


async def test_a_server_that_gives_no_etag_is_none(tmp_path: Path) -> None:
    async with open_store() as store:
        store.tagged = False
        with pytest.raises(StorageError, match="did not take the file") as caught:
            await opened(store).put("a.wav", file_of(tmp_path, 5))
    assert caught.value.detail == "the answer has no ETag"


@pytest.mark.parametrize("size", [5, 2 * 1024 * 1024])
@pytest.mark.parametrize("kept", [b"", b"1234", None])
async def test_an_object_of_another_length_is_not_the_file(
    tmp_path: Path, size: int, kept: bytes | None
) -> None:
    class Forgetful(dict[str, bytes]):
        def __setitem__(self, key: str, value: bytes) -> None:
            if kept is not None:
                super().__setitem__(key, kept)

    async with open_store() as store:
        store.objects = Forgetful()
        with pytest.raises(StorageError, match="did not take the file"):
            await opened(store).put("a.wav", file_of(tmp_path, size))


async def test_a_storage_that_hangs_when_it_is_looked_at_keeps_the_file_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 0.2)
    async with open_store() as store:
        store.silent_for = "HEAD"
        with pytest.raises(Unreachable):
            await opened(store).put("a.wav", file_of(tmp_path, 5))
        assert store.methods() == ["PUT", "HEAD", "HEAD", "HEAD"]


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with open_store() as elsewhere, open_store() as store:
        for status in (301, 302, 307, 308):
            store.statuses, store.location = [status], f"{elsewhere.endpoint}/recordings/a.wav"
            with pytest.raises(StorageError, match="elsewhere"):
                await opened(store).put("a.wav", file_of(tmp_path, 5))
        assert elsewhere.asked == []


async def test_a_bucket_and_an_object_are_there_or_not() -> None:
    async with open_store() as store:
        store.objects["a.wav"] = b""
        bucket = opened(store)
        await bucket.check()
        assert (await bucket.exists("a.wav"), await bucket.exists("b.wav")) == (True, False)
        with pytest.raises(BucketAbsent, match="other-bucket"):
            await opened(store, bucket="other-bucket").check()
        store.statuses = [403]
        with pytest.raises(StorageError, match="access denied"):
            await bucket.exists("a.wav")


async def test_given_credentials_are_used_alone() -> None:
    async with open_store() as store:
        await opened(store, access_key="mine", region="eu-central-1").check()
    (head,) = store.heads
    assert "Credential=mine/" in head["authorization"]
    assert "/eu-central-1/s3/aws4_request" in head["authorization"]
    assert "x-amz-security-token" not in head
    assert "machine" not in str(head)


async def test_without_given_credentials_those_of_the_machine_are_used() -> None:
    async with open_store() as store:
        await opened(store, access_key="", secret_key="").check()
    (head,) = store.heads
    assert "Credential=of-the-machine/" in head["authorization"]
    assert head["x-amz-security-token"] == "machine-token"


async def test_a_host_that_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    asked = []

    async def inside(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["10.0.0.1"]

    target = S3Target(BUCKET, endpoint="http://store", access_key="key", secret_key="secret", guarded=True)
    bucket = S3Bucket(target, Access(local_web(resolve=inside), machine, ThreadRunner(2)))
    with pytest.raises(HostRefused, match="s3_endpoint: host store is not allowed"):
        await bucket.put("a.wav", file_of(tmp_path, 5))
    assert asked == ["store"]


async def test_a_file_that_is_gone_is_a_failure_of_the_storage(tmp_path: Path) -> None:
    async with open_store() as store:
        with pytest.raises(StorageError, match="could not be read"):
            await opened(store).put("a.wav", tmp_path / "gone.wav")
        assert store.asked == []


def contexts(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(name).configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def test_the_certificate_has_to_be_that_of_the_name(tmp_path: Path) -> None:
    server, client = contexts("store.example.com")
    path = file_of(tmp_path, 2 * 1024 * 1024)
    async with open_store(server) as store:
        good = f"https://store.example.com:{store.port}"
        await opened(store, client, endpoint=good).put("a.wav", path)
        assert store.objects == {"a.wav": path.read_bytes()}
        assert store.heads[0]["host"] == f"store.example.com:{store.port}"
        asked = len(store.asked)
        for endpoint in (f"https://other.example.com:{store.port}", store.endpoint):
            with pytest.raises(Unreachable, match="does not answer"):
                await opened(store, client, endpoint=endpoint).check()
        assert len(store.asked) == asked


async def read_part(bucket: S3Bucket, key: str, begin: int, end: int) -> bytes:
    async with bucket.read(key, begin, end) as parts:
        return b"".join([part async for part in parts])


async def test_any_part_of_an_object_is_read_as_it_comes() -> None:
    data = os.urandom(300_000)
    async with open_store() as store:
        store.objects["calls/ä b.wav"] = data
        bucket = opened(store)
        assert await bucket.size("calls/ä b.wav") == len(data)
        assert await read_part(bucket, "calls/ä b.wav", 0, len(data)) == data
        assert await read_part(bucket, "calls/ä b.wav", 7, 12) == data[7:12]
        assert store.heads[-1]["range"] == "bytes=7-11"
        await store.settle()


async def test_what_cannot_be_read_or_ends_early_is_told() -> None:
    async with open_store() as store:
        store.objects["a"] = bytes(1000)
        bucket = opened(store)
        with pytest.raises(BucketAbsent):
            await bucket.size("b")
        with pytest.raises(StorageError, match="cannot be read"):
            await read_part(bucket, "b", 0, 10)
        with pytest.raises(StorageError, match="cannot be read"):  # it became shorter meanwhile
            await read_part(bucket, "a", 500, 2000)
        store.cut_after = 100
        with pytest.raises(Unreachable):
            await read_part(bucket, "a", 0, 1000)
        await store.settle()


async def test_a_storage_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 0.1)
    async with open_store() as store:
        store.objects["a"], store.silent_for = bytes(1000), "GET"
        with pytest.raises(Unreachable):
            await read_part(opened(store), "a", 0, 1000)
