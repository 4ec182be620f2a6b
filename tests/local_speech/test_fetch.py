"""`vb models fetch` over real HTTP and HTTPS on loopback: models come whole, or not at all."""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import trio

from conformance.peers.certificates import Authority
from tests.support.web import local_web
from vb.config import Config
from vb.local_speech.tasks import models
from vb.local_speech.tasks.models import FetchFailed, Source, fetch
from vb.web.tasks.client import WebClient
from vb.web.tasks.dial import Dialer


def pack() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, body in {"m/tokens.txt": b"a 0\n", "m/model.onnx": os.urandom(300_000)}.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            packed.addfile(info, io.BytesIO(body))
    return out.getvalue()


BODY = pack()
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class Shop:
    """A server for models.

    Attributes:
        redirects: paths that lead elsewhere.
        cut_at: the connection ends after so many bytes.
        stall_at: nothing more comes after so many.
        hold: waited for before the second half.
    """

    port: int = 0
    scheme: str = "http"
    host: str = "127.0.0.1"
    redirects: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    stall_at: int | None = None
    hold: trio.Event | None = None
    asked: list[str] = field(default_factory=list)
    half: trio.Event = field(default_factory=trio.Event)

    def source(self, path: str = "/m.tar", digest: str = DIGEST) -> Source:
        return Source(f"{self.scheme}://{self.host}:{self.port}{path}", digest)

    async def serve(self, stream: trio.abc.Stream) -> None:
        try:
            await self._answer(stream)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some(65536)
            if not data:
                return
            head += data
        path = head.split(b" ")[1].decode()
        self.asked.append(path)
        if path in self.redirects:
            place = self.redirects[path]
            await stream.send_all(
                f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return
        await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode())
        await stream.send_all(BODY[: self.cut_at or self.stall_at or len(BODY) // 2])
        self.half.set()
        if self.stall_at is not None:
            await trio.sleep_forever()
        if self.hold is not None:
            await self.hold.wait()
        if self.cut_at is None:
            await stream.send_all(BODY[len(BODY) // 2 :])


@asynccontextmanager
async def open_shop(authority: Authority | None = None) -> AsyncIterator[Shop]:
    shop = Shop()
    async with trio.open_nursery() as nursery:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        shop.port = plain.socket.getsockname()[1]
        listener: trio.abc.Listener[trio.abc.Stream] = plain
        if authority is not None:
            shop.scheme, shop.host = "https", "localhost"
            listener = trio.SSLListener(plain, authority.server_context("localhost"))
        await nursery.start(trio.serve_listeners, shop.serve, [listener])
        yield shop
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def way_out(authority: Authority | None = None) -> AsyncIterator[WebClient]:
    web = local_web(dialer=Dialer(authority.client_context()) if authority else None)
    try:
        yield web
    finally:
        await web.aclose()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def any_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here, a folder with the right files can run."""
    monkeypatch.setattr("vb.local_speech.engines.installed._has", lambda *packages: True)


@pytest.mark.parametrize("secure", [False, True])
async def test_a_model_comes_whole_over_the_network(tmp_path: Path, secure: bool) -> None:
    authority = Authority(tmp_path / "ca") if secure else None
    into = tmp_path / "models"
    async with open_shop(authority) as shop, way_out(authority) as web:
        found = await fetch(web, "sense", shop.source(), into)
    assert found.folder == into / "sense"
    assert names_in(into) == ["sense"]
    assert names_in(into / "sense") == ["model.onnx", "tokens.txt"]


async def test_a_server_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    async with open_shop(Authority(tmp_path / "ca")) as shop, way_out() as web:
        with pytest.raises(FetchFailed):
            await fetch(web, "sense", shop.source(), tmp_path / "models")
    assert names_in(tmp_path / "models") == []


async def test_redirects_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    async with open_shop() as shop, way_out() as web:
        shop.redirects = {"/a": "/b", "/b": f"http://127.0.0.1:{shop.port}/m.tar", "/loop": "/loop"}
        with pytest.raises(FetchFailed, match="redirects"):
            await fetch(web, "sense", shop.source("/loop"), tmp_path)
        assert names_in(tmp_path) == []
        await fetch(web, "sense", shop.source("/a"), tmp_path)
    assert names_in(tmp_path) == ["sense"]


async def test_a_redirect_to_a_private_host_is_not_followed(tmp_path: Path) -> None:
    async with open_shop() as shop, way_out() as web:
        shop.redirects = {"/a": f"http://localhost:{shop.port}/m.tar"}
        with pytest.raises(FetchFailed):
            await fetch(web, "sense", shop.source("/a"), tmp_path)
        assert shop.asked == ["/a"]


@pytest.mark.parametrize("faulty", ["digest", "cut", "gone"])
async def test_after_a_failure_the_next_try_is_a_clean_one(tmp_path: Path, faulty: str) -> None:
    async with open_shop() as shop, way_out() as web:
        shop.cut_at = 1000 if faulty == "cut" else None
        source = shop.source(digest="0" * 64 if faulty == "digest" else DIGEST)
        if faulty == "gone":
            source = Source("http://127.0.0.1:9/m.tar", DIGEST)
        with pytest.raises(FetchFailed):
            await fetch(web, "sense", source, tmp_path)
        assert names_in(tmp_path) == []
        shop.cut_at = None
        await fetch(web, "sense", shop.source(), tmp_path)
    assert names_in(tmp_path) == ["sense"]


async def test_a_server_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "STALL_S", 0.1)
    async with open_shop() as shop, way_out() as web:
        shop.stall_at = 1000
        with pytest.raises(FetchFailed, match="nothing came"):
            await fetch(web, "sense", shop.source(), tmp_path)
    assert names_in(tmp_path) == []


async def test_of_two_at_once_one_is_told_that_it_is_there(tmp_path: Path) -> None:
    ends: list[str] = []

    async def get(web: WebClient, source: Source) -> None:
        try:
            await fetch(web, "sense", source, tmp_path)
            ends.append("")
        except FetchFailed as failed:
            ends.append(str(failed))

    async with open_shop() as shop, way_out() as web:
        shop.hold = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(get, web, shop.source())
            with trio.fail_after(5):
                while len(shop.asked) < 2:  # noqa: ASYNC110 - a server of the test
                    await trio.sleep(0.005)
            shop.hold.set()
    assert sorted(end.partition(":")[0] for end in ends) == ["", f"{tmp_path / 'sense'} is there already"]
    assert names_in(tmp_path) == ["sense"]


async def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = trio.open_file

    async def full(file: Path, mode: Literal["wb"]) -> object:
        target = await opened(file, mode)

        async def write(data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(target, "write", write, raising=False)
        return target

    monkeypatch.setattr(trio, "open_file", full)
    async with open_shop() as shop, way_out() as web:
        with pytest.raises(OSError, match="No space left"):
            await fetch(web, "sense", shop.source(), tmp_path)
    assert names_in(tmp_path) == []


async def test_whoever_interrupts_it_finds_nothing_behind(tmp_path: Path) -> None:
    async with open_shop() as shop, way_out() as web:
        shop.hold = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, web, "sense", shop.source(), tmp_path)
            await shop.half.wait()
            nursery.cancel_scope.cancel()
    assert names_in(tmp_path) == []


async def test_what_a_killed_fetch_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    for name, hours in ((".fetch-old", 2), (".fetch-new", 0)):
        scratch = tmp_path / name
        scratch.mkdir()
        (scratch / "m.tar").write_bytes(b"half")
        for path in (scratch / "m.tar", scratch):
            then = path.stat().st_mtime - hours * 3600
            os.utime(path, (then, then))
    async with open_shop() as shop, way_out() as web:
        await fetch(web, "sense", shop.source(), tmp_path)
    assert names_in(tmp_path) == [".fetch-new", "sense"]


def command(**given: str) -> argparse.Namespace:
    return argparse.Namespace(verb="fetch", **{"name": "sense", "url": None, "sha256": None, **given})


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (command(name="nobody-knows"), "is not known"),
        (command(url="http://127.0.0.1:9/m.tar", sha256="0" * 64), "127.0.0.1"),
        (command(url="ftp://h.example/m.tar", sha256="0" * 64), "h.example"),
        (command(url="no url", sha256="0" * 64), "no url"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(
    tmp_path: Path, args: argparse.Namespace, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config.from_env({"VB_MODELS_DIR": str(tmp_path)})
    make: Callable[[], WebClient] = local_web
    assert models.run(args, config, make()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vb: ")
    assert words in said.err
    assert said.err.count("\n") == 1
    assert names_in(tmp_path) == []
