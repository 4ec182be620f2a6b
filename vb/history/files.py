"""Recordings of calls as files: where one lies that a killed process left, and those of removed calls."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vb.media.recording_names import drawn_token, recovered_token


def recovered_file(file: str) -> str | None:
    """Find what a later start made of a recording that was cut off with its process.

    It lies beside the recording. Of a recording whose name a client chose, nothing tells.
    """
    token = drawn_token(os.path.basename(file))
    if token is None or "://" in file:
        return None
    found = Path(file).parent.glob(f"recovered_*_{token}.wav")
    return next((str(path) for path in sorted(found) if recovered_token(path.name) == token), None)


def delete_files(files: Iterable[str], folder: str | None) -> tuple[str, ...]:
    """Delete recordings that lie in a folder, or what was recovered of them.

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
        kept += _delete_recovered(root, missing)
    return tuple(kept)


def _delete_recovered(root: str, missing: dict[str, str]) -> list[str]:
    """Delete what was recovered of recordings that are not there; returns those of which it was not possible.

    Args:
        root: where they lie.
        missing: the digits in their names → what they were to be called.
    """
    kept: list[str] = []
    for name in _names_in(root):
        planned = missing.get((recovered_token(name) or "").partition("-")[0])
        if planned is not None:
            try:
                os.unlink(os.path.join(root, name))
            except OSError:
                kept.append(planned)
    return kept


def _names_in(folder: str) -> list[str]:
    """List a folder; one that is away or cannot be read has nothing."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
