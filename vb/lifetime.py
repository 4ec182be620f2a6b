"""Where a server stands between its start and its end."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vb.errors import Unavailable

STOPPING_RETRY_AFTER_S = 10


@dataclass(slots=True)
class Lifetime:
    """The stages of one server.

    Attributes:
        ready: everything is up.
        stopping: no new call is taken.
        over: its parts end or have ended, and none can start anything.
        stop_deadline: when legs and recordings have to be over, of Trio's clock; infinite until the server
            stops. What they publish at their end is delivered after it.
    """

    ready: bool = False
    stopping: bool = False
    over: bool = False
    stop_deadline: float = math.inf

    def check_running(self) -> None:
        """Refuse something new when the server stops.

        Raises:
            Unavailable: it does.
        """
        if self.stopping:
            raise Unavailable("server is shutting down", retry_after_s=STOPPING_RETRY_AFTER_S)

    def check_up(self) -> None:
        """Refuse everything when the server is over.

        Raises:
            Unavailable: it is.
        """
        if self.over:
            raise Unavailable("server has stopped", retry_after_s=STOPPING_RETRY_AFTER_S)
