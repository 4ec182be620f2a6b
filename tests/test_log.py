"""Log lines: what strangers can write into a log."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import structlog.testing
import structlog.typing

import vb
from vb.log import STRANGERS_LINES_PER_S, StrangersLog, configure_logging, log_as_a_library


@pytest.fixture
def as_before() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


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


class Interrupted(io.StringIO):
    """Is interrupted in its first line by somebody who logs, too."""

    def write(self, text: str) -> int:
        if "outer" in text:
            structlog.get_logger().warning("inner")
        return super().write(text)


@pytest.mark.usefixtures("as_before")
def test_who_logs_in_the_middle_of_a_line_does_not_wait_for_itself() -> None:
    out = Interrupted()
    configure_logging("info", out)
    thread = threading.Thread(target=lambda: structlog.get_logger().info("outer"), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["inner", "outer"]


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical", "exception", "fatal"])
def test_lines_of_each_level_are_written(level: str) -> None:
    out = io.StringIO()
    configure_logging("debug", out)
    getattr(structlog.get_logger(), level)("it was so")
    structlog.get_logger().log(logging.WARNING, "and so")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["it was so", "and so"]


@pytest.fixture
def unconfigured() -> Iterator[None]:
    """Have structlog as a program finds it that knows nothing of it."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("unconfigured")
def test_in_a_program_without_structlog_lines_are_those_of_a_library(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log_as_a_library()
    log = structlog.get_logger("vb.some.module")
    log.debug("heard", text="my card number is")
    log.warning("call refused", peer="192.0.2.1\n", api_key="hush")
    try:
        raise ValueError("100%")
    except ValueError:
        log.exception("command failed")
    log.error("leg failed", exc_info=KeyError("x"))
    lines = [(each.name, each.levelname, each.getMessage()) for each in caplog.records]
    assert lines == [
        ("vb.some.module", "WARNING", "call refused peer='192.0.2.1\\n' api_key='***'"),
        ("vb.some.module", "ERROR", "command failed"),
        ("vb.some.module", "ERROR", "leg failed"),
    ]
    kinds = [each.exc_info[0] for each in caplog.records if each.exc_info]
    assert kinds == [ValueError, KeyError]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("unconfigured")
def test_others_log_by_structlog_as_before(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log_as_a_library()
    structlog.get_logger().debug("mine", number=1)
    structlog.get_logger("my.module").info("mine too")
    assert caplog.records == []
    first, second = capsys.readouterr().out.splitlines()
    assert "mine" in first
    assert "mine too" in second


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("first", [True, False])
def test_what_a_program_made_of_structlog_holds(first: bool, caplog: pytest.LogCaptureFixture) -> None:
    if first:
        log_as_a_library()
    lines: list[str] = []

    def keep(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
        lines.append(event["event"])
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    log_as_a_library()
    structlog.get_logger("vb.some.module").warning("call refused")
    assert lines == ["call refused"]
    assert caplog.records == []


@pytest.mark.usefixtures("unconfigured")
def test_a_program_that_changes_nothing_but_the_processors_gets_its_lines(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    log_as_a_library()
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    structlog.get_logger("vb.some.module").warning("call refused")
    assert json.loads(capsys.readouterr().out) == {"event": "call refused"}
    assert caplog.records == []


def test_every_logger_is_named_as_its_module() -> None:
    """In a program around a server the others are not told from loggers of the program."""
    nameless = re.compile(r"^\w+ = structlog\.get_logger\((?!__name__\))", re.MULTILINE)
    folder = Path(vb.__file__).parent
    assert [path for path in folder.rglob("*.py") if nameless.search(path.read_text("utf-8"))] == []


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


@pytest.mark.parametrize(
    ("module", "event"),
    [
        ("waleg/leg", "offer refused"),
        ("waleg/leg", "answer cannot be used"),
        ("waleg/outbound", "answer cannot be used"),
        ("sipleg/inband", "digits lost"),
    ],
)
def test_what_a_far_end_does_wrong_in_a_call_is_logged_as_what_strangers_cause(
    module: str, event: str
) -> None:
    text = (Path(vb.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
    assert re.findall(rf'(\w+)\.\w+\(\s*"{event}"', text) == ["strangers"]
