"""Runs `vb` and traces where its main thread spends time, between SIGUSR1 and SIGUSR2.

A tick makes few calls for many legs, so tracing them costs little; a sampler inside the process would charge
C code to whatever Python line comes next.
"""

from __future__ import annotations

import cProfile
import signal
import sys
from types import FrameType


class Tracer:
    """A profile that signals start and finish.

    Args:
        path: where the profile goes at SIGUSR2, in the format of pstats.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._profile = cProfile.Profile()

    def install(self) -> None:
        """Take the signals over."""
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._finish)

    def _start(self, number: int, frame: FrameType | None) -> None:
        self._profile.enable()

    def _finish(self, number: int, frame: FrameType | None) -> None:
        self._profile.disable()
        self._profile.dump_stats(self._path)


def main() -> int:
    """Trace into the file named first; the other arguments are those of `vb`."""
    from vb.cli import run as serve

    Tracer(sys.argv[1]).install()
    return serve(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
