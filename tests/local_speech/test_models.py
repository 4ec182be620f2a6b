"""`vb models`: what is listed, what is fetched, and that nothing half-fetched stays."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from vb.cli import build_parser
from vb.config import Config
from vb.local_speech.archives import BadArchive, unpack
from vb.local_speech.tasks import models
from vb.local_speech.tasks.models import FetchFailed, Source, fetch, source_of
from vb.name_servers import NameServers
from vb.names import NameLookup
from vb.web.policy import FetchPolicy
from vb.web.tasks.client import WebClient
from vb.web.tasks.dial import Dialer
from vb.web.tasks.guard import Guard

URL = "http://models.example/files/voice.tar.gz"
FILES = {
    "pack/m/tokens.txt": b"a\n",
    "pack/m/model.onnx": b"x" * 5000,
    "pack/m/test/a.wav": b"y",
    "pack/README": b"z",
}


def tape(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            packed.addfile(info, io.BytesIO(body))
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, body in files.items():
            packed.writestr(name, body)
    return out.getvalue()


@asynccontextmanager
async def web_that_answers(body: bytes, status: int = 200) -> AsyncIterator[WebClient]:
    names = NameLookup("test", lookup=NameServers(()).look_up)
    guard = Guard(FetchPolicy.parse(()), names, names)
    transport = httpx.MockTransport(lambda request: httpx.Response(status, stream=httpx.ByteStream(body)))
    web = WebClient(guard, Dialer(), transport=transport)
    try:
        yield web
    finally:
        await web.aclose()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def source(body: bytes) -> Source:
    return Source(URL, hashlib.sha256(body).hexdigest())


@pytest.fixture(autouse=True)
def any_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is installed here, a folder with the right files can run."""
    monkeypatch.setattr("vb.local_speech.engines.installed._has", lambda *packages: True)


@pytest.mark.parametrize("pack", [tape, zipped])
async def test_an_archive_becomes_a_folder_of_the_files_beside_the_model(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    body = pack(FILES)
    async with web_that_answers(body) as web:
        found = await fetch(web, "sense", source(body), tmp_path)
    assert (found.ability.name, found.engine) == ("sense", "sherpa")
    assert names_in(tmp_path / "sense") == ["model.onnx", "tokens.txt"]
    assert names_in(tmp_path) == ["sense"]


async def test_a_file_alone_is_a_voice_if_it_has_the_name_of_one(tmp_path: Path) -> None:
    async with web_that_answers(b"voice") as web:
        found = await fetch(
            web, "emma", Source("http://h.example/bf_emma.onnx", source(b"voice").sha256), tmp_path
        )
    assert found.is_voice
    assert (tmp_path / "emma" / "bf_emma.onnx").read_bytes() == b"voice"


@pytest.mark.parametrize(
    ("body", "status", "digest", "message"),
    [
        (tape(FILES), 200, "0" * 64, "SHA-256 is"),
        (tape(FILES), 404, None, "status 404"),
        (tape(FILES)[:-200], 200, None, "damaged|no voice or model"),
        (b"just text", 200, None, "no voice or model"),
        (tape({}), 200, None, "no files"),
        (zipped({"a/b.txt": b"x"}), 200, None, "no voice or model"),
    ],
    ids=["digest", "status", "cut", "text", "empty", "no model"],
)
async def test_what_is_wrong_leaves_nothing_behind(
    tmp_path: Path, body: bytes, status: int, digest: str | None, message: str
) -> None:
    wanted = Source(URL, digest or source(body).sha256)
    async with web_that_answers(body, status) as web:
        with pytest.raises(FetchFailed, match=message):
            await fetch(web, "sense", wanted, tmp_path)
    assert names_in(tmp_path) == []


async def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "sense").mkdir()
    async with web_that_answers(b"") as web:
        with pytest.raises(FetchFailed, match="there already"):
            await fetch(web, "sense", source(b""), tmp_path)


@pytest.mark.parametrize("pack", [tape, zipped])
def test_nothing_leaves_the_folder(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    archive = tmp_path / "a"
    archive.write_bytes(pack({"../../evil": b"x" * 100, "/etc/evil2": b"y", "ok": b"z"}))
    unpack(archive, folder)
    assert [path.name for path in folder.iterdir()] == ["evil"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "in"]


def test_an_archive_that_promises_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.local_speech.archives.MAX_BYTES", 1000)
    archive = tmp_path / "a"
    archive.write_bytes(tape(FILES))
    with pytest.raises(BadArchive, match="too large"):
        unpack(archive, tmp_path)


def test_a_name_leads_somewhere_or_says_what_is_missing() -> None:
    known = {"emma": Source(URL, "1" * 64)}
    assert source_of("emma", None, None, known) == known["emma"]
    assert source_of("mine", URL, "AB" * 32, known) == Source(URL, "ab" * 32)
    wrong: tuple[tuple[tuple[str, str | None, str | None], str], ...] = (
        (("nobody", None, None), "not known .emma."),
        (("emma", None, "1" * 64), "goes with --from"),
        (("mine", URL, None), "needs --sha256"),
        (("mine", URL, "xyz"), "needs --sha256"),
        (("../up", URL, "1" * 64), "is no name"),
        ((".hidden", URL, "1" * 64), "is no name"),
    )
    for arguments, message in wrong:
        with pytest.raises(FetchFailed, match=message):
            source_of(*arguments, known)


def test_the_list_shows_what_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "known_sources", lambda: {"emma": Source(URL, "1" * 64)})
    (tmp_path / "sense").mkdir()
    (tmp_path / "sense" / "tokens.txt").touch()
    (tmp_path / "sense" / "model.onnx").touch()
    out = io.StringIO()
    config = Config.from_env({"VB_MODELS_DIR": str(tmp_path)})
    args = build_parser().parse_args(["models", "list"])
    assert models.run(args, config, None, out) == 0  # type: ignore[arg-type]  # listing asks nobody
    rows = [line.split(maxsplit=3) for line in out.getvalue().splitlines()]
    assert ["sense", "model", "any", str(tmp_path / "sense")] in rows
    assert ["emma", "voice", "en", "vb models fetch emma"] in rows


def test_models_lie_in_the_state_folder_unless_a_setting_says_otherwise() -> None:
    assert Config.from_env({"HOME": "/home/u"}).local_speech.models_dir == "/home/u/.local/state/vb/models"
    assert Config.from_env({"HOME": "/h", "VB_MODELS_DIR": "/m"}).local_speech.models_dir == "/m"
    assert Config.from_env({}).local_speech.models_dir == ""
