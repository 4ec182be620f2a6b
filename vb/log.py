"""Structured logging: JSON lines, with secrets, digits and transcripts kept out above debug.

A program around a server has its own idea of a log: what it made of structlog holds for vb, too. In a program
that made nothing of it, vb logs as libraries do, by `logging`.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from vb.limits.rate import RateLimit
from vb.log_stream import LogStream

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


class _Forward(logging.Handler):
    """Makes lines like all others of what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            text = record.getMessage()
        except Exception:  # a mistake of the library's, which must not come back to it
            text = record.msg if isinstance(record.msg, str) else "a line that cannot be read"
        structlog.get_logger().log(level, text, logger=record.name, exc_info=record.exc_info)


class _Lines:
    """What structlog hands its lines to: its own loggers hold a lock then, which no thread can take twice.

    A signal handler or a finalizer that logs while its thread does would wait for itself.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        self._write(line + "\n")

    log = debug = info = warning = error = critical = exception = msg


def configure_logging(level: str = "info", stream: TextIO | None = None) -> LogStream:
    """Send log lines as JSON to `stream` (standard error when None), those of libraries from warnings on.

    Args:
        level: one of debug, info, warn, error.
        stream: where the lines go.
    """
    target = LogStream(stream if stream is not None else sys.stderr)
    lines = _Lines(target.write)
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
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)
    return target


_METHOD_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}


class _Standard:
    """What structlog hands lines of vb to, were they not taken before.

    A program may give it other processors later and nothing else: then it is what there was without vb.
    """

    def __init__(self, name: str, others: Callable[..., Any]) -> None:
        self.target = logging.getLogger(name)
        self._others = others

    def __getattr__(self, method: str) -> Any:
        return getattr(self._others(self.target.name), method)


def _to_logging(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Hand a line of vb to `logging`, and leave others alone."""
    if not isinstance(logger, _Standard):
        return event
    level = _METHOD_LEVELS.get(method, logging.ERROR)
    if logger.target.isEnabledFor(level):
        facts = redact(logger, method, structlog.contextvars.merge_contextvars(logger, method, event))
        what, exc_info = facts.pop("event", ""), facts.pop("exc_info", None)
        text = " ".join([str(what), *(f"{name}={value!r}" for name, value in facts.items())])
        logger.target.log(level, "%s", text, exc_info=exc_info)
    raise structlog.DropEvent


def log_as_a_library() -> None:
    """Send the lines of vb to `logging`, to loggers named as its modules, until the program says otherwise.

    Nothing happens where structlog is configured. Where it is not, it prints lines of every level on standard
    output, with the local variables of errors; for others than vb it goes on with that.
    """
    if structlog.is_configured():
        return
    defaults = structlog.get_config()
    others = defaults["logger_factory"]

    def make(*names: Any) -> Any:
        of_vb = bool(names) and str(names[0]).startswith("vb.")
        return _Standard(names[0], others) if of_vb else others(*names)

    structlog.configure(processors=[_to_logging, *defaults["processors"]], logger_factory=make)
