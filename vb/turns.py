"""Long work in steps, between which the media's tick and everybody else find their place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

TURN_S: Final = 0.001
"""How long steps are taken in a row: a tick that comes due meanwhile is late by this."""


async def spread(steps: Iterable[object]) -> None:
    """Take the steps of a generator, and let others run whenever `TURN_S` have passed.

    Cancellation: no further step is taken.
    """
    begun = trio.current_time()
    for _ in steps:
        if trio.current_time() - begun >= TURN_S:
            await trio.lowlevel.checkpoint()
            begun = trio.current_time()
