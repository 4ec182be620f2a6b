"""The process's limits: open files, and how near the server is to them."""

from __future__ import annotations

import resource
from typing import Final

FILES_PER_LEG: Final = 2
"""RTP and RTCP; real-time text takes as many again and counts as one more leg."""
RESERVED_FILES: Final = 64
"""Descriptors that are kept for HTTP, recordings and everything else that is not a leg's socket."""


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft
    return hard


def legs_that_fit() -> int:
    """Return how many legs the limit of open files has room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1_000_000
    return max(0, (soft - RESERVED_FILES) // FILES_PER_LEG)
