"""Blocking work without a thread, for tests whose clock would run on while a thread works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio


async def at_once(work: Callable[..., Any], *args: object) -> Any:
    """Do the work here and now."""
    await trio.lowlevel.checkpoint()
    return work(*args)
