"""Runs `vb` and writes the names of its tasks to a file whenever it gets SIGUSR1."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType


def task_names() -> list[str]:
    """Return the name of every task of the event loop that runs in this thread."""
    import trio

    names, waiting = [], [trio.lowlevel.current_root_task()]
    while waiting:
        task = waiting.pop()
        if task is not None:
            names.append(task.name)
            waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return names


class Watch:
    """Answers a signal with a file; between signals it costs nothing.

    Args:
        path: the file, which is replaced as a whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers = 0

    def install(self) -> None:
        """Take the signal over."""
        signal.signal(signal.SIGUSR1, self._answer)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self._answers += 1
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"answer": self._answers, "tasks": task_names()}))
        fresh.replace(self._path)


def main() -> int:
    """Watch from the file named first; the other arguments are those of `vb`."""
    from vb.cli import run as serve

    Watch(Path(sys.argv[1])).install()
    return serve(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
