from __future__ import annotations

import os
import subprocess
import sys
import threading

from bench.host import move_children


def test_children_are_moved_whichever_thread_has_started_them() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    start()
    place = frozenset({max(os.sched_getaffinity(0))})
    try:
        assert move_children(os.getpid(), place) >= 2
        assert [frozenset(os.sched_getaffinity(each.pid)) for each in started] == [place, place]
    finally:
        for each in started:
            each.communicate()
