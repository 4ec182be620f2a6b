"""Recordings of removed calls, as files."""

from __future__ import annotations

import os
from collections.abc import Iterable


def delete_files(files: Iterable[str], folder: str | None) -> tuple[str, ...]:
    """Delete recordings that lie in a folder; returns those that do not, or cannot be deleted."""
    kept: list[str] = []
    root = None if folder is None else os.path.realpath(folder)
    for file in files:
        # A recording is written below the folder; any other path comes from a record that was tampered with.
        if "://" in file or root is None or os.path.dirname(os.path.realpath(file)) != root:
            kept.append(file)
            continue
        try:
            os.unlink(file)
        except FileNotFoundError:
            continue
        except OSError:
            kept.append(file)
    return tuple(kept)
