"""Recordings of calls as files: where one lies that a killed process left, and those of removed calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from vb.media.recording_names import drawn_token, recovered_token, temporary_token
from vb.media.wav_file import hold_orphan

HOLD_S: Final = 1.0
"""How long a start that completes recordings right now is waited for, in all."""
_AGAIN_S: Final = 0.02


def recovered_file(file: str) -> str | None:
    """Find what a later start made of a recording that was cut off with its process.

    It lies beside the recording. Of a recording whose name a client chose, nothing tells.
    """
    folder, name = os.path.split(file)
    token = drawn_token(name)
    if token is None or "://" in file:
        return None
    found = (os.path.join(folder, each) for each in _names_in(folder) if recovered_token(each) == token)
    return next(filter(os.path.isfile, found), None)


def delete_files(files: Iterable[str], folder: str | None) -> tuple[str, ...]:
    """Delete recordings that lie in a folder, or what was recovered of them, or would be by the next start.

    Of one that went from there into a bucket nothing was cut off, so nothing of it is looked for. Of one that
    is not there, in a folder that cannot be read, there may be something or not: it counts as gone.

    Returns:
        Those that lie elsewhere, or cannot be deleted.
    """
    kept: list[str] = []
    missing: dict[str, str] = {}
    root = None if folder is None else os.path.realpath(folder)
    names = list(files)
    stored = {os.path.basename(name) for name in names if "://" in name}
    for file in names:
        # A recording is written below the folder; any other path comes from a record that was tampered with.
        if "://" in file or root is None or os.path.dirname(os.path.realpath(file)) != root:
            kept.append(file)
            continue
        try:
            os.unlink(file)
        except FileNotFoundError:
            name = os.path.basename(file)
            if name not in stored and (token := drawn_token(name)) is not None:
                missing[token] = file
        except OSError:
            kept.append(file)
    if root is not None and missing:
        # In this order: what a start completes meanwhile is found under its new name.
        until = time.monotonic() + HOLD_S
        kept += _delete_rest(root, missing, temporary_token, lambda path: _unlink_orphan(path, until))
        kept += _delete_rest(root, missing, recovered_token, os.unlink)
        kept += _delete_finished(missing.values())
    return tuple(dict.fromkeys(kept))


def _delete_finished(files: Iterable[str]) -> list[str]:
    """Delete what was finished while its rest was waited for; returns what could not be deleted."""
    kept: list[str] = []
    for file in files:
        try:
            os.unlink(file)
        except FileNotFoundError:
            pass
        except OSError:
            kept.append(file)
    return kept


def _delete_rest(
    root: str,
    missing: Mapping[str, str],
    token_of: Callable[[str], str | None],
    unlink: Callable[[str], None],
) -> list[str]:
    """Delete what is left of recordings that are not there; returns those of which it was not possible.

    Args:
        root: where it lies.
        missing: the digits in their names → what they were to be called.
        token_of: returns the token of a name of the kind that is looked for.
        unlink: deletes one such file.
    """
    kept: list[str] = []
    for name in _names_in(root):
        planned = missing.get((token_of(name) or "").partition("-")[0])
        if planned is not None:
            try:
                unlink(os.path.join(root, name))
            except FileNotFoundError:
                pass
            except OSError:
                kept.append(planned)
    return kept


def _unlink_orphan(path: str, until: float) -> None:
    """Delete what a killed process has left of a recording before a start makes a file of it.

    Raises:
        OSError: it is not there any more, or somebody writes it.
    """
    while (fd := hold_orphan(Path(path))) is None:
        os.lstat(path)
        if time.monotonic() >= until:
            raise BlockingIOError
        time.sleep(_AGAIN_S)  # noqa: TID251 -- a worker waits, never the loop
    try:
        os.unlink(path)
    finally:
        os.close(fd)


def _names_in(folder: str) -> list[str]:
    """List a folder; one that is away or cannot be read has nothing."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
