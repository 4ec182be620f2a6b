"""Whether a process is there and answers."""

from __future__ import annotations

from typing import Final

PING_S: Final = 2.0
START_S: Final = 60.0
"""How long a process may take to say that it is ready."""
SILENCE_S: Final = 15.0
"""One that does not answer for so long hangs."""


class ChildFault(Exception):
    """A process has to be ended; the text says why."""


class Pulse:
    """When a process is asked how it is, and when it has been silent for too long.

    Attributes:
        ready: whether it has said that it is.
    """

    def __init__(self) -> None:
        self.ready = False
        self._heard_at = 0.0
        self._ping_at = 0.0

    def begin(self, now: float) -> None:
        """Note that the process was started."""
        self._heard_at = now

    def heard(self, now: float) -> None:
        """Note that it has said something."""
        self._heard_at = now

    def became_ready(self, now: float) -> None:
        """Note that it has started; from now on it is asked how it is."""
        self.ready, self._ping_at = True, now + PING_S

    def deadline(self) -> float:
        """Return when `tick` is due at the latest."""
        if not self.ready:
            return self._heard_at + START_S
        return min(self._ping_at, self._heard_at + SILENCE_S)

    def tick(self, now: float) -> bool:
        """Return whether it is to be asked now.

        Raises:
            ChildFault: it hangs.
        """
        if not self.ready:
            if now >= self._heard_at + START_S:
                raise ChildFault("it does not become ready")
            return False
        if now >= self._heard_at + SILENCE_S:
            raise ChildFault("it does not answer")
        if now < self._ping_at:
            return False
        self._ping_at = now + PING_S
        return True
