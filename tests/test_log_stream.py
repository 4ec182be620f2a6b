"""Where log lines go: readers that stand still, bursts, full disks, terminals, and the end of the process."""

from __future__ import annotations

import gc
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from vb.log_stream import BUFFER_BYTES, FINISH_S, LogStream


def line(number: int, size: int = 200) -> str:
    return json.dumps({"number": number, "pad": "x" * size}) + "\n"


def numbers(text: bytes) -> list[int]:
    """The lines, in order; -n for one that tells of n lost ones."""
    lines = [json.loads(one) for one in text.decode().splitlines()]
    return [-one["lines"] if one.get("event") == "log lines lost" else one["number"] for one in lines]


@contextmanager
def pipe() -> Iterator[tuple[LogStream, Callable[[], bytes]]]:
    """A stream into a pipe, and how to read all that was written until it is finished."""
    reading, writing = os.pipe()
    stream = LogStream(os.fdopen(os.dup(writing), "w"))

    def read_all() -> bytes:
        read = bytearray()

        def read_on() -> None:
            while not read.endswith(b"\0"):
                read.extend(os.read(reading, 65_536))

        reader = threading.Thread(target=read_on)
        reader.start()
        stream.finish()
        os.write(writing, b"\0")
        reader.join(5)
        return bytes(read[:-1])

    yield stream, read_all
    read_all()
    os.close(writing)
    os.close(reading)


def test_a_burst_that_a_pipe_has_no_room_for_is_kept_whole_and_in_order() -> None:
    with pipe() as (stream, read_all):
        for number in range(300):
            stream.write(line(number, 1000))
        stream.write(line(300, 100_000))
        stream.write(line(301))
        assert numbers(read_all()) == list(range(302))
        assert stream.lost == 0


def test_a_reader_that_stands_still_holds_nobody_up_and_is_told_of_what_it_missed() -> None:
    with pipe() as (stream, read_all):
        for number in range(10_000):
            stream.write(line(number))
        lost = stream.lost
        assert 10_000 - (BUFFER_BYTES + 100_000) // 200 < lost < 10_000 - BUFFER_BYTES // 300
        assert numbers(read_all()) == list(range(10_000 - lost))
        stream.write(line(1))
        stream.write(line(2))
        assert numbers(read_all()) == [-lost, 1, 2]
        assert stream.lost == lost


def test_a_line_longer_than_the_buffer_is_written_when_nothing_waits() -> None:
    with pipe() as (stream, read_all):
        stream.write(line(1, 2 * BUFFER_BYTES))
        stream.write(line(2))
        assert numbers(read_all()) == [1, 2]


def test_a_terminal_that_nobody_reads_holds_nobody_up() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as target:
        stream = LogStream(target)
        writer = threading.Thread(target=lambda: [stream.write(line(n)) for n in range(1000)], daemon=True)
        writer.start()
        writer.join(5)
        held_up, lost = writer.is_alive(), stream.lost
        os.close(master)
        stream.finish()
        assert (held_up, lost) == (False, 0)


@pytest.mark.parametrize("where", ["a finalizer", "a signal handler"])
def test_who_logs_in_the_middle_of_a_line_does_not_wait_for_itself(where: str) -> None:
    with pipe() as (stream, read_all):
        inner: list[int] = []

        def log_too(*_: object) -> None:
            inner.append(1_000_000 + len(inner))
            stream.write(line(inner[-1]))

        class Finalized:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                log_too()

        threshold, handler = gc.get_threshold(), signal.signal(signal.SIGALRM, log_too)
        try:
            if where == "a finalizer":
                gc.set_threshold(1)
            else:
                signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
            for number in range(1000):
                if where == "a finalizer":
                    Finalized()
                stream.write(line(number))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            gc.set_threshold(*threshold)
            gc.collect()
        written = numbers(read_all())
        assert inner
        assert stream.lost == 0
        assert [number for number in written if number < 1_000_000] == list(range(1000))
        assert sorted(number for number in written if number >= 1_000_000) == inner


def test_threads_that_log_at_once_lose_and_tear_nothing() -> None:
    with pipe() as (stream, read_all):
        threads = [
            threading.Thread(target=lambda first=first: [stream.write(line(first + n)) for n in range(500)])
            for first in (0, 1000, 2000)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        written = numbers(read_all())
        for first in (0, 1000, 2000):
            ours = [number for number in written if first <= number < first + 1000]
            assert ours == list(range(first, first + 500))


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


def test_a_disk_that_has_room_again_has_each_lost_line_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    write, free, disk = os.write, 0, b""

    def write_to_disk(fd: int, data: bytes) -> int:
        nonlocal free, disk
        if fd != target.fileno():
            return write(fd, data)
        if not free:
            raise OSError("full")
        taken = bytes(data[:free])
        free -= len(taken)
        disk += taken
        return len(taken)

    with open(os.devnull, "w") as target:
        stream = LogStream(target)
        monkeypatch.setattr(os, "write", write_to_disk)
        notice = len('{"lines": 1, "event": "log lines lost", "level": "warning"}\n')
        for number, room in enumerate((0, notice + 10, 5, 1000, 20, 0, 1000)):
            free = room
            stream.write(line(number))
        monkeypatch.undo()
    whole = []
    for one in disk.splitlines(keepends=True):
        try:
            whole += numbers(one)
        except json.JSONDecodeError:
            assert len(one) < notice  # what was torn stands alone
    assert stream.lost == 5
    assert -sum(number for number in whole if number < 0) == stream.lost
    assert [number for number in whole if number > 0] == [3, 6]


def test_without_standard_error_lines_go_nowhere() -> None:
    stream = LogStream(None)
    stream.write("a line\n")
    assert stream.lost == 1


ENDS = {
    "return": "",
    "exit": "sys.exit(3)",
    "fault": "sys.stderr = None; 1 / 0",
}


def start(end: str, count: int = 1000) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from vb.log_stream import LogStream; from tests.test_log_stream import line\n"
        f"stream = LogStream(sys.stderr)\nfor number in range({count}): stream.write(line(number))\n"
        f"print('written', flush=True)\n{end}"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("end", ENDS)
def test_what_waits_at_the_end_of_the_process_is_written(end: str) -> None:
    with start(ENDS[end]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"written\n"
        assert numbers(process.stderr.read()) == list(range(1000))


def test_a_reader_that_stands_still_holds_the_end_up_for_a_moment_only() -> None:
    with start("") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        since = time.monotonic()
        process.wait(FINISH_S + 5)
        assert time.monotonic() - since < FINISH_S + 2
        written = process.stderr.read()
        assert written.endswith(b"\n")
        assert numbers(written) == list(range(written.count(b"\n")))


def test_while_there_is_room_no_thread_has_to_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    writers: list[str] = []
    write = os.write

    def noted(fd: int, data: bytes) -> int:
        writers.append(threading.current_thread().name)
        return write(fd, data)

    with pipe() as (stream, read_all):
        monkeypatch.setattr(os, "write", noted)
        for number in range(100):
            stream.write(line(number))
        monkeypatch.undo()
        assert numbers(read_all()) == list(range(100))
        assert writers == [threading.current_thread().name] * 100
