"""A SIGTERM that comes before the server can take it.

The first process of a container has no default action for it: without a handler it would be lost. This
module needs nothing that takes long to load, so that it can be imported first.
"""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def _remember(_number: int, _frame: FrameType | None) -> None:
    global _asked
    _asked = True


def watch() -> None:
    """Remember a SIGTERM from now on."""
    signal.signal(signal.SIGTERM, _remember)


def was_asked() -> bool:
    """Say whether a SIGTERM has come."""
    return _asked


def give_up() -> None:
    """Let SIGTERM end the process again as it does by default, at once if it has come already."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if _asked:
        signal.raise_signal(signal.SIGTERM)
