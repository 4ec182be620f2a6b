"""How long to wait before a provider is asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow by a factor up to a cap, spread so that a thousand calls do not come back at once.

    Attributes:
        first_s: delay before the second try.
        factor: growth from one to the next.
        cap_s: the longest, before the spread.
        spread: share by which a delay may be shorter or longer.
        tries: how often is asked altogether.
        budget_s: after so long no further try begins.
    """

    first_s: float = 0.1
    factor: float = 4.0
    cap_s: float = 1.6
    spread: float = 0.25
    tries: int = 3
    budget_s: float = 5.0

    def delay_s(self, failures: int, elapsed_s: float, draw: Callable[[], float]) -> float | None:
        """Return the wait before the next try; None when there is to be none.

        Args:
            failures: tries that have failed, 1 or more.
            elapsed_s: time since the first began.
            draw: gives numbers from 0 to 1 at random.
        """
        if failures >= self.tries:
            return None
        plain_s = min(self.cap_s, self.first_s * self.factor ** (failures - 1))
        wait_s = plain_s * (1 + self.spread * (2 * draw() - 1))
        return wait_s if elapsed_s + wait_s < self.budget_s else None
