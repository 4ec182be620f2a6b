"""The files of a durable queue in a folder, which any number of processes may share.

Each process owns one file. What a process that is gone has left goes to one of the next: its file is taken
over whole, or emptied into the own one. Opening and removing files happens under a lock on the folder, which
ends with the process that has it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from vb.durable.store import Record, Store, StoreBusy, StoreDamaged, salvage, set_aside

log = structlog.get_logger(__name__)

MAX_FILES: Final = 256
"""Processes that may share a folder: each has a file of its own."""


@contextmanager
def folder_lock(directory: Path, *, wait: bool = True) -> Iterator[bool]:
    """Be the only process that opens or removes files of the folder inside the block.

    Args:
        directory: the folder.
        wait: whether others are waited for; if not, and there is one, it gives False.

    Raises:
        OSError: the folder cannot be opened.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def open_own(directory: Path, name: str) -> tuple[Store, int]:
    """Take over what processes that are gone have left, in one file that is ours from now on.

    Args:
        directory: made when missing.
        name: of the files, without number and suffix.

    Returns:
        The file, and how many files were damaged; what could be read of those is in it.

    Raises:
        OSError: the folder cannot be used, or there is no room for a file.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    own: Store | None = None
    rescued: list[Record] = []
    damaged = 0
    with folder_lock(directory):
        try:
            for path in _candidates(directory, name):
                if own is not None and not path.exists():
                    continue
                try:
                    store, records = _open(path)
                except StoreBusy:
                    continue
                except OSError as error:
                    if error.errno != errno.EINVAL:  # this says that it is no file; others concern the folder
                        raise
                    damaged += 1
                    log.error("file of a queue cannot be read", file=path.name, problem=str(error))
                    continue
                damaged += records is not None
                rescued += records or ()
                if own is None:
                    own = store
                else:
                    _empty_into(own, store)
            if own is None:
                raise OSError(f"{MAX_FILES} processes use the folder")
            own.adopt(rescued)
        except BaseException:
            if own is not None:
                own.close()
            raise
    return own, damaged


def take_over(directory: Path, name: str, own: Store) -> bool:
    """Empty files of processes that have ended meanwhile into the own one; returns whether there were any.

    It does nothing while another process does so: that may take long, and the own file is needed.

    Raises:
        OSError: the folder cannot be used.
    """
    found = False
    if not any(path != own.path for path in directory.glob(f"{name}*.db")):
        return False
    with folder_lock(directory, wait=False) as alone:
        for path in _candidates(directory, name) if alone else ():
            if path == own.path or not path.exists():
                continue
            try:
                store = Store(path)
            except (StoreBusy, StoreDamaged, OSError):  # the next start looks at what is damaged
                continue
            _empty_into(own, store)
            found = True
    return found


def _candidates(directory: Path, name: str) -> Iterator[Path]:
    yield directory / f"{name}.db"
    for number in range(2, MAX_FILES + 1):
        yield directory / f"{name}-{number}.db"


def _open(path: Path) -> tuple[Store, list[Record] | None]:
    """Open a file; a damaged one is set aside for a new one, and what can be read of it is returned."""
    try:
        return Store(path), None
    except StoreDamaged as error:
        aside = set_aside(path)
        records = salvage(aside)
        log.error(
            "damaged file of a queue was set aside", file=aside.name, problem=str(error), rescued=len(records)
        )
        return Store(path), records


def _empty_into(own: Store, other: Store) -> None:
    """Move everything from a file that was left behind; what cannot be moved stays for a later start."""
    try:
        own.adopt(other.records())
        other.clear()
    except (OSError, StoreBusy, StoreDamaged) as error:
        log.error("what an earlier run left cannot be moved", file=other.path.name, problem=str(error))
    finally:
        other.close()
