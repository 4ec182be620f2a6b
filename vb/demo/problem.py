"""Failures that end the demonstration with one line instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class DemoFailed(Exception):
    """Something did not happen as it should; the message is one line for the user."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Give the block a limited time.

    Args:
        seconds: the limit.
        what: what is waited for, as the end of "waited 5 s for ...".

    Raises:
        DemoFailed: the time is up.
    """
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise DemoFailed(f"waited {seconds:g} s for {what}") from None
