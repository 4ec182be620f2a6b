"""Taking a model out of the archive that it comes in."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Final

MAX_BYTES: Final = 8 * 1_073_741_824
"""Files of one model together; an archive that promises more is refused before it is unpacked."""
MAX_FILES: Final = 10_000


class BadArchive(Exception):
    """An archive is damaged, or no model is in it."""


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive that `unpack` knows."""
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def unpack(path: Path, folder: Path) -> None:
    """Write the files that lie beside the largest file of an archive into a folder, without the way to them.

    Only the last parts of names are used and only plain files are written, so nothing leaves the folder.

    Raises:
        BadArchive: it is damaged, too large, or has no files.
        OSError: the folder cannot be written.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                _unpack(
                    {info.filename: info.file_size for info in packed.infolist() if not info.is_dir()},
                    packed.open,
                    folder,
                )
        else:
            with tarfile.open(path) as tape:
                members = {member.name: member for member in tape if member.isfile()}
                sizes = {name: member.size for name, member in members.items()}
                _unpack(sizes, lambda name: tape.extractfile(members[name]), folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError, ValueError) as exc:
        raise BadArchive(f"the archive is damaged: {exc}") from None


def _unpack(sizes: dict[str, int], read: Callable[[str], IO[bytes] | None], folder: Path) -> None:
    if not sizes:
        raise BadArchive("the archive has no files")
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_BYTES:
        raise BadArchive("the archive is too large")
    home = PurePosixPath(max(sizes, key=lambda name: sizes[name])).parent
    for name in sizes:
        found = PurePosixPath(name)
        if found.parent != home or found.name in ("", ".", ".."):
            continue
        source = read(name)
        if source is not None:
            with source, (folder / found.name).open("wb") as target:
                shutil.copyfileobj(source, target)
