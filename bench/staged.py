"""Runs `vb` and counts what each stage of a tick costs its main thread, and how late each tick is.

Run by its path, so that it serves any checkout: `python -P bench/staged.py FILE serve`. At SIGUSR1 it writes
what it has counted so far. It counts from the first such question on: until then the server is as it always
is, and what it costs as a whole can be read without what counting costs, which is a system call at each gate.
What a checkout does not have is left out, and its time counts as that of whatever calls it.
"""

from __future__ import annotations

import functools
import importlib
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

GATES: Final = {
    "vb.mixer.plane:Plane.tick": "tick",
    "vb.mixer.tasks.sockets:SocketIo.drain": "socket",
    "vb.mixer.tasks.sockets:SocketIo.send": "socket",
    "vb.mixer.transforms:Transforms.receive": "srtp",
    "vb.mixer.transforms:Transforms.send": "srtp",
    "vb.mixer.ingest:Ingest.receive": "receive",
    "vb.mixer.plane:decode_due": "decode",
    "vb.mixer.playback:Playback.play": "play",
    "vb.mixer.mix:Mixer.mix": "mix",
    "vb.mixer.egress:Egress.send": "packets",
    "vb.mixer.hands:OneHand.share": "encode",
    "vb.mixer.tasks.helpers:Helpers.share": "encode",
}
"""Where a stage begins, as module and name there, and the stage."""
NESTED: Final = {("decode", "encode"): "decode", ("encode", "encode"): "encode"}
"""Both ways of a codec go through the same hands; which one it is, the stage around it tells."""
TICK: Final = "tick"


class Stages:
    """What every stage has cost so far, without the stages inside it.

    Args:
        clock: CPU time of the thread.

    Attributes:
        spent_s: by stage.
        late_ms: of each tick since they were last taken.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self.spent_s: defaultdict[str, float] = defaultdict(float)
        self.late_ms: list[float] = []
        self._clock = clock
        self._open: list[str] = []
        self._since = 0.0

    def gate(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts what it costs as a stage."""

        @functools.wraps(work)
        def counted(*args: Any, **named: Any) -> Any:
            self._pass()
            around = self._open[-1] if self._open else ""
            self._open.append(NESTED.get((around, stage), stage))
            if stage == TICK:
                _, now, due = args
                self.late_ms.append((now - due) * 1000)
            try:
                return work(*args, **named)
            finally:
                self._pass()
                self._open.pop()

        return counted

    def _pass(self) -> None:
        """Charge the time since the last gate to the stage that was open."""
        now = self._clock()
        if self._open:
            self.spent_s[self._open[-1]] += now - self._since
        self._since = now

    def told(self) -> dict[str, object]:
        """Return what was counted; lateness begins anew."""
        late, self.late_ms = self.late_ms, []
        return {"spent_s": dict(self.spent_s), "late_ms": late}


def put_gates(stages: Stages) -> list[str]:
    """Count from now on; returns the gates that this checkout does not have."""
    missing = []
    for place, stage in GATES.items():
        module, _, name = place.partition(":")
        *path, last = name.split(".")
        try:
            owner: Any = importlib.import_module(module)
            for step in path:
                owner = getattr(owner, step)
            setattr(owner, last, stages.gate(stage, getattr(owner, last)))
        except (ImportError, AttributeError):
            missing.append(place)
    return missing


def main() -> int:
    """Write to the file named first; the other arguments are those of `vb`."""
    path, stages, answers = Path(sys.argv[1]), Stages(), 0

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal answers
        if not answers:
            put_gates(stages)
        answers += 1
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"answer": answers, **stages.told()}))
        fresh.replace(path)

    signal.signal(signal.SIGUSR1, answer)
    serve: Callable[[list[str]], int] = importlib.import_module("vb.cli").run
    return serve(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
