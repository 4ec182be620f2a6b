"""The helper process: one thread that reads, and one for each kind of engine.

It lives as long as its pipe: the end of that, or a minute without a word from the server, is its own end,
whatever an engine is doing then.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from vb.children.framing import Garbage
from vb.children.inside import end_with_any_thread, resident_kb, settle_in, write_all
from vb.local_speech.engines.base import Engines
from vb.local_speech.engines.installed import Installed, find_all
from vb.local_speech.frames import Frame, FrameReader, Kind, with_fields
from vb.local_speech.tasks.trial import try_sherpa
from vb.local_speech.work import Labour, Work

NICENESS: Final = 5
"""Calls come first; but somebody waits for a voice, too, and on a busy machine 10 would be close to never."""
LIFE_S: Final = 60
"""How long it lives without a word from the server. The kernel ends it then: an engine that holds the
interpreter cannot be in the way."""
_READ_BYTES: Final = 262_144
_GARBAGE_STATUS: Final = 2


class Helper:
    """Its threads and what they share.

    Args:
        engines: what works.
        rows: how many transcripts and watched streams there may be.
        incoming: where frames come from.
        outgoing: where they go to.
    """

    def __init__(self, engines: Engines, rows: int, incoming: int, outgoing: int) -> None:
        self._work = Work(engines, rows)
        self._incoming = incoming
        self._outgoing = outgoing
        self._turn = threading.Condition()
        """Held by whoever looks at the work; a thread waits with it for something to do."""
        self._pipe = threading.Condition()
        """Held by whoever writes."""

    def run(self) -> NoReturn:
        """Work until the pipe ends; the process ends with it."""
        work = self._work
        for name, take in (
            ("voice", work.voice_job),
            ("ear", work.ear_job),
            ("activity", work.activity_job),
            ("turn", work.turn_job),
        ):
            threading.Thread(target=self._labour, args=(take,), name=name, daemon=True).start()
        self._send([work.ready()])
        reader = FrameReader()
        while True:
            signal.alarm(LIFE_S)
            data = os.read(self._incoming, _READ_BYTES)
            if not data:
                os._exit(0)
            try:
                self._take(reader.feed(data))
            except Garbage as exc:
                print(f"garbage on the pipe: {exc}", file=sys.stderr, flush=True)
                os._exit(_GARBAGE_STATUS)

    def _take(self, frames: Iterable[Frame]) -> None:
        answers: list[Frame] = []
        with self._turn:
            for frame in frames:
                if frame.kind is Kind.PING:
                    answers.append(
                        with_fields(
                            Kind.PONG,
                            frame.id,
                            rss_kb=resident_kb(),
                            busy_s=self._work.busy_s(time.monotonic()),
                            waiting=self._work.waiting,
                        )
                    )
                else:
                    answers += self._work.take(frame)
            self._turn.notify_all()
        self._send(answers)

    def _labour(self, take: Callable[[float], Labour | None]) -> None:
        """Do one thing after the other: choose it with the others kept out, do it beside them."""
        while True:
            with self._turn:
                while (job := take(time.monotonic())) is None:
                    self._turn.wait()
            finish = job()
            with self._turn:
                answers = finish()
                self._turn.notify_all()
            self._send(answers)

    def _send(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            with self._pipe:
                try:
                    write_all(self._outgoing, frame.encode())
                except BrokenPipeError:
                    os._exit(0)


def serve(engines: Engines, rows: int) -> NoReturn:
    """Serve standard input and output as frames until input ends."""
    end_with_any_thread()
    Helper(engines, rows, *settle_in(NICENESS)).run()


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the helper with the engines that are installed."""
    parser = argparse.ArgumentParser(prog="vb-local-speech")
    parser.add_argument("--models", default="")
    parser.add_argument("--voice", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--turn-model", default="")
    parser.add_argument("--rows", type=int, default=64)
    args = parser.parse_args(argv)
    found = find_all(args.models, args.voice, args.model)
    serve(Installed(found, args.turn_model, try_sherpa=try_sherpa), args.rows)


if __name__ == "__main__":
    main()
