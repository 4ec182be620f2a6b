"""`vb models`: the one place that downloads voices and models."""

from __future__ import annotations

import argparse
import errno
import hashlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import trio

from vb.blocking import ThreadRunner
from vb.config import Config
from vb.errors import ConfigError, VbError
from vb.local_speech.archives import MAX_BYTES, BadArchive, is_archive, unpack
from vb.local_speech.engines.installed import HIBARI_VOICES, Found, find_all, inspect
from vb.web.errors import WebError
from vb.web.tasks.client import WebClient, WebResponse, unwind

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SCRATCH: Final = ".fetch-"
_STALE_S: Final = 3600.0
STALL_S: Final = 60.0
"""A server that sends nothing for so long is given up."""


class FetchFailed(VbError):
    """A model could not be fetched; the folder is as it was."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a voice or model lies.

    Attributes:
        url: of a file or an archive.
        sha256: of what lies there.
    """

    url: str
    sha256: str


def known_sources() -> Mapping[str, Source]:
    """Return what can be fetched by its name: further voices, as the package of the first one lists them."""
    if find_spec("hibari") is None or find_spec("onnxruntime") is None:
        return {}
    from hibari import voices

    return {
        name: Source(str(voices.BASE_URL) + str(entry["file"]), str(entry["sha256"]))
        for name, entry in voices.VOICES.items()
        if name in HIBARI_VOICES
    }


def source_of(name: str, url: str | None, sha256: str | None, known: Mapping[str, Source]) -> Source:
    """Return where a name leads.

    Raises:
        FetchFailed: nowhere, or something about it cannot be right.
    """
    if not _NAME.fullmatch(name):
        raise FetchFailed(f"{name[:80]!r} is no name: letters, digits, dots, hyphens and underscores")
    if url is None:
        if sha256 is not None:
            raise FetchFailed("--sha256 goes with --from")
        if name not in known:
            names = ", ".join(known) or "none, as hibari-tts is not installed"
            raise FetchFailed(f"{name} is not known ({names}): say --from and --sha256")
        return known[name]
    digest = (sha256 or "").lower()
    if not _SHA256.fullmatch(digest):
        raise FetchFailed("--from needs --sha256 with 64 hexadecimal digits")
    return Source(url, digest)


async def fetch(web: WebClient, name: str, source: Source, models: Path) -> Found:
    """Download a voice or model into a folder of its own, complete or not at all.

    Raises:
        FetchFailed: it is there already, cannot be fetched, is not what it should be, or cannot run here.
        OSError: the folder cannot be written.
    """
    run = ThreadRunner(1)
    target = models / name
    await run(partial(models.mkdir, parents=True, exist_ok=True))
    if await run(target.exists):
        raise FetchFailed(f"{target} is there already: remove it first")
    await run(partial(_sweep, models))
    scratch = Path(await run(partial(tempfile.mkdtemp, prefix=_SCRATCH, dir=models)))
    try:
        file = scratch / (Path(urlsplit(source.url).path).name or "model")
        await _download(web, source, file)
        found = await run(partial(_arrange, name, file, scratch))
        await run(partial(_put, scratch / name, target))
    finally:
        with trio.CancelScope(shield=True):
            await run(partial(shutil.rmtree, scratch, ignore_errors=True))
    return Found(found.ability, found.engine, target)


def _sweep(models: Path) -> None:
    """Remove what fetches have left that were killed; one at work writes to its folder again and again."""
    stale = time.time() - _STALE_S
    for scratch in models.glob(f"{_SCRATCH}*"):
        with suppress(FileNotFoundError):  # it ends just now
            if max(path.stat().st_mtime for path in (scratch, *scratch.iterdir())) < stale:
                shutil.rmtree(scratch, ignore_errors=True)


def _put(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as exc:
        if exc.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise FetchFailed(f"{target} is there already: somebody else has put it there meanwhile") from None


def _arrange(name: str, file: Path, scratch: Path) -> Found:
    """Make the folder of a model out of what was downloaded."""
    folder = scratch / name
    folder.mkdir()
    if is_archive(file):
        try:
            unpack(file, folder)
        except BadArchive as exc:
            raise FetchFailed(f"{name}: {exc}") from None
    else:
        file.rename(folder / file.name)
    found = inspect(folder)
    if found is None:
        raise FetchFailed(f"{name} is no voice or model that the installed engines can run")
    return found


async def _download(web: WebClient, source: Source, file: Path) -> None:
    try:
        with trio.fail_after(STALL_S):
            response = await web.open(
                "GET", source.url, trusted=True, headers={"Accept-Encoding": "identity"}
            )
        try:
            if response.status != 200:
                raise FetchFailed(f"{source.url}: status {response.status}")
            digest = await _take(response, file)
        finally:
            await response.aclose()
    except trio.TooSlowError:
        raise FetchFailed(f"{source.url}: nothing came for {STALL_S:g} s") from None
    except WebError as exc:
        raise FetchFailed(f"{source.url}: {exc}") from None
    if digest != source.sha256:
        raise FetchFailed(f"{source.url}: SHA-256 is {digest}, not {source.sha256}")


async def _take(response: WebResponse, file: Path) -> str:
    """Write a body to a file and return its digest."""
    digest = hashlib.sha256()
    size = 0
    chunks = response.chunks()
    try:
        async with await trio.open_file(file, "wb") as target:
            while True:
                with trio.fail_after(STALL_S):
                    chunk = await anext(chunks, b"")
                if not chunk:
                    return digest.hexdigest()
                size += len(chunk)
                if size > MAX_BYTES:
                    raise FetchFailed("it is too large")
                digest.update(chunk)
                await target.write(chunk)
    finally:
        with trio.move_on_after(0, shield=True):
            await unwind(chunks)


def run(args: argparse.Namespace, config: Config, web: WebClient, out: IO[str] | None = None) -> int:
    """Run a command of `vb models` and return its exit status.

    Args:
        args: what the parser has found.
        config: settings of the server.
        web: the way out.
        out: where to write.
    """
    out = out or sys.stdout
    settings = config.local_speech
    try:
        if args.verb == "list":
            _list(find_all(settings.models_dir, settings.voice, settings.model), out)
            return 0
        if not settings.models_dir:
            raise ConfigError("VB_MODELS_DIR: there is no such folder to put it into")
        source = source_of(args.name, args.url, args.sha256, known_sources())
        found = trio.run(_fetch, web, args.name, source, Path(settings.models_dir))
    except (VbError, OSError) as exc:
        print(f"vb: {exc}", file=sys.stderr)
        return 1
    print(f"{found.ability.name} is in {found.folder}", file=out)
    return 0


async def _fetch(web: WebClient, name: str, source: Source, models: Path) -> Found:
    async with aclosing(web):
        await web.prepare()
        return await fetch(web, name, source, models)


def _list(found: tuple[Found, ...], out: IO[str]) -> None:
    rows = [("NAME", "WHAT", "LANGUAGES", "WHERE")]
    for each in found:
        languages = ", ".join(each.ability.languages) or "any"
        where = str(each.folder) if each.folder is not None else "in its package"
        rows.append((each.ability.name, "voice" if each.is_voice else "model", languages, where))
    here = {each.ability.name for each in found}
    rows += [(name, "voice", "en", f"vb models fetch {name}") for name in known_sources() if name not in here]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)]
        print("  ".join([*cells, row[3]]), file=out)
