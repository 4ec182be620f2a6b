"""Recordings of calls as files: where one lies that a killed process left, and those of removed calls."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_DRAWN: Final = re.compile(r"_([0-9a-f]{8})\.wav\Z")
"""How recordings are called whose name no client chose: what a start recovers of them has the same digits."""
_RECOVERED: Final = re.compile(r"recovered_.*_([0-9a-f]{8})(?:-\d+)?\.wav")


def recovered_file(file: str) -> str | None:
    """Find what a later start made of a recording that was cut off with its process.

    It lies beside the recording. Of a recording whose name a client chose, nothing tells.
    """
    drawn = _DRAWN.search(file)
    if drawn is None or "://" in file:
        return None
    found = sorted(Path(file).parent.glob(f"recovered_*_{drawn[1]}.wav"))
    return str(found[0]) if found else None


def delete_files(files: Iterable[str], folder: str | None) -> tuple[str, ...]:
    """Delete recordings that lie in a folder, or what was recovered of them.

    Returns:
        Those that lie elsewhere, or cannot be deleted.
    """
    kept: list[str] = []
    missing: dict[str, str] = {}
    root = None if folder is None else os.path.realpath(folder)
    for file in files:
        # A recording is written below the folder; any other path comes from a record that was tampered with.
        if "://" in file or root is None or os.path.dirname(os.path.realpath(file)) != root:
            kept.append(file)
            continue
        try:
            os.unlink(file)
        except FileNotFoundError:
            if (drawn := _DRAWN.search(file)) is not None:
                missing[drawn[1]] = file
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
    for name in os.listdir(root):
        recovered = _RECOVERED.fullmatch(name)
        if recovered is not None and recovered[1] in missing:
            try:
                os.unlink(os.path.join(root, name))
            except OSError:
                kept.append(missing[recovered[1]])
    return kept
