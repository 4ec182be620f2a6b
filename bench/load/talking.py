"""What callers of a run have in common: they come up, talk on a grid of their own, and tell how it went."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final, Protocol

TICK_S: Final = 0.02
START_LIMIT_S: Final = 60.0
STEP_S: Final = 0.005
KEPT: Final = 250
"""Packets that each keeps, five seconds: where the machine did something else there is another to judge."""


class Callers(Protocol):
    """All of a run."""

    @property
    def is_up(self) -> bool:
        """Whether everybody can talk."""

    def serve(self, wait_s: float) -> bool:
        """Take what has come, once something has or the time is up; False when nothing came."""

    def expire(self) -> None:
        """Do what is due."""


def wait_until(reached: Callable[[], bool], callers: Callers) -> None:
    """Serve callers until something is reached.

    Raises:
        SystemExit: it takes too long.
    """
    deadline = time.monotonic() + START_LIMIT_S
    while not reached():
        if time.monotonic() > deadline:
            sys.exit("not all legs have connected")
        callers.serve(STEP_S)
        callers.expire()


def talk(callers: Callers, speak: Callable[[int], None], *, once_a_tick: bool = False) -> dict[str, object]:
    """Say that all are up, and talk until a byte of standard input comes; returns how it went.

    Args:
        callers: who talk.
        speak: sends the packets of a tick, which it is given.
        once_a_tick: take what has come then only. Sockets hold much more than that, and to be woken by each
            packet costs more than to read it, at the server's end as well.
    """
    print("up", flush=True)
    os.set_blocking(0, False)
    lateness_ms: list[float] = []
    began, used, at = time.monotonic(), time.process_time(), 0
    while not sys.stdin.buffer.read(1):
        lateness_ms.append((time.monotonic() - began - at * TICK_S) * 1000)
        speak(at)
        at += 1
        while callers.serve(0.0):
            pass
        callers.expire()
        while (left := began + at * TICK_S - time.monotonic()) > 0:
            if once_a_tick:
                time.sleep(left)  # noqa: TID251 - this process has no event loop
            else:
                callers.serve(left)
    took_s, cpu_s = time.monotonic() - began, time.process_time() - used
    return {"lateness_ms": lateness_ms, "cpu_s": cpu_s, "took_s": took_s}


def post(url: str, path: str, body: Mapping[str, object]) -> dict[str, str]:
    """Return the answer of a route of the server's REST."""
    request = urllib.request.Request(
        f"{url}/v1{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        found: dict[str, str] = json.loads(reply.read())
    return found
