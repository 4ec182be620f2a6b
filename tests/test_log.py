"""Log lines: what strangers can write into a log."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator

import pytest
import structlog
import structlog.testing

from vb.log import STRANGERS_LINES_PER_S, LogStream, StrangersLog, configure_logging


@pytest.fixture
def as_before() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def drain(fd: int) -> list[str]:
    os.set_blocking(fd, False)
    data = b""
    try:
        while part := os.read(fd, 65_536):
            data += part
    except BlockingIOError:
        pass
    return data.decode().splitlines()


def test_a_reader_that_stands_still_holds_nobody_up_and_is_told_of_what_it_missed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as target, os.fdopen(reading):
        stream = LogStream(target)
        for number in range(10_000):
            stream.write(f'{{"event": "{"x" * 200}", "number": {number}}}\n')
        assert 9_000 < stream.lost < 10_000
        written = [json.loads(line)["number"] for line in drain(reading)]
        assert written == list(range(10_000 - stream.lost))
        stream.write('{"event": "again"}\n')
        told, again = [json.loads(line) for line in drain(reading)]
        assert (told["event"], told["lines"], again["event"]) == ("log lines lost", stream.lost, "again")


def test_a_line_that_found_room_for_its_beginning_only_does_not_spoil_the_next() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as target, os.fdopen(reading):
        stream = LogStream(target)
        stream.write("x" * 1_000_000 + "\n")
        drain(reading)
        stream.write('{"event": "whole"}\n')
        assert [json.loads(line)["event"] for line in drain(reading) if line] == ["log lines lost", "whole"]


def full_disk() -> io.TextIOBase:
    return open("/dev/full", "w")


def closed_pipe() -> io.TextIOBase:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.parametrize("open_target", [full_disk, closed_pipe])
def test_a_disk_or_a_reader_that_is_gone_costs_lines_and_nothing_else(
    open_target: Callable[[], io.TextIOWrapper],
) -> None:
    with open_target() as target:
        stream = LogStream(target)
        for _ in range(3):
            stream.write("a line\n")
        assert stream.lost == 3
        assert [reading[2] for reading in stream.readings()] == [3]


def test_without_standard_error_lines_go_nowhere() -> None:
    stream = LogStream(None)
    stream.write("a line\n")
    assert stream.lost == 1


@pytest.mark.usefixtures("as_before")
def test_what_libraries_log_is_a_line_of_json_like_every_other_one() -> None:
    out = io.StringIO()
    configure_logging("info", out)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("some.library").exception("it %s", "failed")
    logging.getLogger("some.library").info("chatter")
    structlog.get_logger().info("ours")
    theirs, ours = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("it failed", "error", "some.library")
    assert "two\nlines" in theirs["exception"]
    assert ours["event"] == "ours"


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.usefixtures("as_before")
def test_a_library_that_logs_wrongly_is_not_told_of_it() -> None:
    out = io.StringIO()
    configure_logging("info", out)
    for message, *args in (("%d of %d", "a"), ("it is %s", Unreadable()), (Unreadable(),)):
        logging.getLogger("some.library").warning(message, *args)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["%d of %d", "it is %s", "a line that cannot be read"]


def test_strangers_write_so_many_lines_a_second_and_the_next_tells_of_the_rest() -> None:
    now = 100.0
    log = StrangersLog("test", clock=lambda: now)
    with structlog.testing.capture_logs() as lines:
        for number in range(1000):
            log.warning("call refused", number=number)
    assert [line["number"] for line in lines] == list(range(STRANGERS_LINES_PER_S))
    now += 1.0
    with structlog.testing.capture_logs() as lines:
        log.warning("call refused")
        log.info("call refused")
    assert [line.get("left_out") for line in lines] == [1000 - STRANGERS_LINES_PER_S, None]


def test_a_flood_of_one_event_takes_no_room_from_another() -> None:
    log = StrangersLog("test", clock=lambda: 0.0)
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            log.warning("call refused")
        log.info("peer_vanished", peer="192.0.2.1")
    assert lines[-1] == {"event": "peer_vanished", "peer": "192.0.2.1", "log_level": "info"}
