"""Structured logging: JSON lines, with secrets, digits and transcripts kept out above debug."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from vb.limits.rate import RateLimit

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}

_SECRET_WORDS: Final = ("secret", "password", "authorization", "token", "api_key", "digits", "transcript")


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the values of fields whose names promise a secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "***"
    return event


STRANGERS_LINES_PER_S: Final = 10
"""So many of each event; at 200 bytes a line it takes them a day to write 170 MB."""


class StrangersLog:
    """Log lines that strangers can cause as often as they like, which must not fill a disk.

    Of each event so many lines a second are written; the next one tells in `left_out` how many were not.

    Args:
        name: of the module.
        clock: seconds since any moment.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger(name)
        self._clock = clock
        self._limits: dict[str, RateLimit] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, event: str, **facts: Any) -> None:
        """Write a line if there is room for it; `event` is one of few."""
        if self._may(event, facts):
            self._log.warning(event, **facts)

    def info(self, event: str, **facts: Any) -> None:
        """Do the same on a lower level."""
        if self._may(event, facts):
            self._log.info(event, **facts)

    def _may(self, event: str, facts: dict[str, Any]) -> bool:
        limit = self._limits.setdefault(event, RateLimit(STRANGERS_LINES_PER_S))
        if not limit.take(self._clock()):
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return False
        if left_out := self._left_out.pop(event, 0):
            facts["left_out"] = left_out
        return True


_AT_ONCE_BYTES: Final = 4096
"""A pipe or socket that has room at all has room for so much."""


class LogStream:
    """Where log lines go: it neither waits nor fails, because calls must do neither.

    A pipe or socket whose reader stands still has no room, nor has a full disk. What finds none is left out;
    the next line that goes through stands behind one that tells how many these were.

    Args:
        target: standard error, or what takes its place; None for nowhere.

    Attributes:
        lost: lines that were left out, since the start.
    """

    def __init__(self, target: TextIO | None) -> None:
        self.lost = 0
        self._untold = 0
        self._torn = False
        self._target = target
        try:
            self._fd = target.fileno() if target is not None else None
        except OSError:  # it is no file, as in tests
            self._fd = None
        self._poll = select.poll()
        if self._fd is not None:
            self._poll.register(self._fd, select.POLLOUT)

    def write(self, line: str) -> int:
        """Write a line with its end, or leave it out."""
        told = "\n" if self._torn else ""
        if self._untold:
            lost = {"lines": self._untold, "event": "log lines lost", "level": "warning"}
            told += json.dumps(lost) + "\n"
        if self._put(told + line):
            self._untold = 0
        else:
            self._untold += 1
            self.lost += 1
        return len(line)

    def flush(self) -> None:
        """Do nothing: nothing is kept back."""

    def readings(self) -> Iterator[tuple[str, str, float, Mapping[str, str]]]:
        """Give the figure of the log for the metrics."""
        yield (
            "log_lines_lost",
            "Log lines that whoever reads the log took too slowly, or a disk not",
            self.lost,
            {},
        )

    def _put(self, text: str) -> bool:
        written = 0
        try:
            if self._fd is None:
                return self._put_elsewhere(text)
            data = text.encode("utf-8", "backslashreplace")
            while written < len(data) and self._poll.poll(0):
                written += os.write(self._fd, data[written : written + _AT_ONCE_BYTES])
        except OSError:
            pass
        else:
            if written == len(data):
                self._torn = False
                return True
        self._torn = self._torn or written > 0
        return False

    def _put_elsewhere(self, text: str) -> bool:
        if self._target is None:
            return False
        self._target.write(text)
        self._target.flush()
        return True


class _Forward(logging.Handler):
    """Makes lines like all others of what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            text = record.getMessage()
        except Exception:  # a mistake of the library's, which must not come back to it
            text = record.msg if isinstance(record.msg, str) else "a line that cannot be read"
        structlog.get_logger().log(level, text, logger=record.name, exc_info=record.exc_info)


def configure_logging(level: str = "info", stream: TextIO | None = None) -> LogStream:
    """Send log lines as JSON to `stream` (standard error when None), those of libraries from warnings on.

    Args:
        level: one of debug, info, warn, error.
        stream: where the lines go.
    """
    target = LogStream(stream if stream is not None else sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", target)),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)
    return target
