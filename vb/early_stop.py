"""A signal to stop that comes before the server can take it.

The first process of a container has no default action for SIGTERM: without a handler it would be lost. This
module needs nothing that takes long to load, so that it can be imported first.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What asks the server to stop; SIGHUP is what comes when its terminal goes."""
_come: list[int] = []
_before: dict[int, signal._HANDLER] = {}


def _remember(number: int, _frame: FrameType | None) -> None:
    _come.append(number)


def heeded() -> tuple[signal.Signals, ...]:
    """Return the signals that stop the server: all of them, but SIGHUP not where `nohup` has it ignored."""
    return tuple(
        number
        for number in STOPPING
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    )


def watch() -> None:
    """Remember a signal to stop from now on."""
    for number in heeded():
        _before.setdefault(number, signal.signal(number, _remember))


def was_asked() -> bool:
    """Say whether a signal to stop has come."""
    return bool(_come)


def give_up() -> None:
    """Let signals act again as they did before, at once if one has come already.

    Raises:
        KeyboardInterrupt: SIGINT has come.
    """
    for number, handler in _before.items():
        signal.signal(number, handler)
    for come in _come:
        signal.raise_signal(come)
