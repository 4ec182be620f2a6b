"""The process's limits: open files, and how near the server is to them."""

from __future__ import annotations

import os
import resource
from typing import Final

FILES_PER_LEG: Final = 2
"""RTP and RTCP; real-time text takes as many again and counts as one more leg."""
RESERVED_FILES: Final = 64
"""Descriptors that are kept for HTTP, recordings and everything else that is not a leg's socket."""
_FOLDER: Final = "/proc/self/fd"
_LISTED_LIMIT: Final = 4096
"""Counting one by one is for old kernels, and takes too long where more may be open."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft
    return hard


def has_room(legs: int) -> bool:
    """Whether the limit of open files has room for one more leg beside so many.

    Sockets of legs that are about to open theirs count, and whatever else is open.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return True
    return legs < legs_that_fit(soft) and open_files(soft) + RESERVED_FILES <= soft


def legs_fit(legs: int) -> bool:
    """Whether the limit has room for one more leg beside so many; what else is open does not count."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft == resource.RLIM_INFINITY or legs < legs_that_fit(soft)


def legs_that_fit(soft: int) -> int:
    """Return how many legs a limit has room for if hardly anything else is open."""
    return max(0, (soft - RESERVED_FILES) // FILES_PER_LEG)


def open_files(soft: int) -> int:
    """Return how many files are open; 0 where the system does not tell, or not fast enough for that limit."""
    try:
        count = os.stat(_FOLDER).st_size  # Linux since 6.2
        return count if count or soft > _LISTED_LIMIT else len(os.listdir(_FOLDER)) - 1
    except OSError:
        return 0
