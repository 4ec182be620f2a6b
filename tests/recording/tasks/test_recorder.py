import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import trio
import trio.testing

from tests.media.support import inline
from vb.blocking import ThreadRunner
from vb.media.errors import RecordingError
from vb.recording.recorder import Recorder
from vb.recording.recording_writer import RecordingWriter
from vb.recording.tasks.recorder import run_recorder

T = TypeVar("T")
NAME = "20260304_050607_0a1b2c3d.wav"


def start(directory: Path, channels: int = 2) -> tuple[Recorder, RecordingWriter]:
    recorder = Recorder(channels=channels, clock=trio.current_time)
    return recorder, RecordingWriter(directory / NAME, token="0a1b2c3d", recorder=recorder)


async def plane(recorder: Recorder, ticks: int) -> None:
    """Push a tick of every channel each 20 ms."""
    for tick in range(ticks):
        for sink in recorder.sinks:
            sink.push(np.full(160, tick, np.int16), 8000)
        await trio.sleep(0.02)


def frames_in(path: Path) -> int:
    with wave.open(str(path)) as file:
        return int(file.getnframes())


async def test_a_recording_is_written_while_it_runs_and_finished_by_stop(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    recorder, writer = start(tmp_path)
    async with trio.open_nursery() as nursery:

        async def drive() -> None:
            await plane(recorder, 500)
            assert len(recorder.queue) < 30
            (temporary,) = os.scandir(tmp_path)
            assert temporary.stat().st_size > 9 * 8000 * 4
            recorder.stop()

        nursery.start_soon(drive)
        result = await run_recorder(recorder, writer, blocking=inline)
    assert result.file == str(tmp_path / NAME)
    assert result.duration_ms == 10_000
    assert recorder.result == result
    assert frames_in(tmp_path / NAME) == 80_000
    assert os.listdir(tmp_path) == [NAME]


async def test_cancellation_still_finishes_the_file(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    recorder, writer = start(tmp_path)
    with trio.move_on_after(3.01):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plane, recorder, 1000)
            await run_recorder(recorder, writer, blocking=inline)
    assert recorder.result is not None
    assert recorder.result.file == str(tmp_path / NAME)
    assert recorder.result.duration_ms == pytest.approx(3000, abs=40)
    assert os.listdir(tmp_path) == [NAME]


async def test_nothing_captured_gives_no_file(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    recorder, writer = start(tmp_path)
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await trio.sleep(60)
            recorder.stop()

        nursery.start_soon(stop)
        result = await run_recorder(recorder, writer, blocking=inline)
    assert (result.file, result.error) == ("", None)
    assert os.listdir(tmp_path) == []


async def test_a_directory_that_cannot_be_made_is_reported_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recorder, writer = start(tmp_path / "file" / "recordings")
    with pytest.raises(RecordingError, match="cannot create"):
        await run_recorder(recorder, writer, blocking=inline)
    assert recorder.ended


async def test_it_is_started_when_the_temporary_file_exists(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    recorder, writer = start(tmp_path)

    async def run(task_status: trio.TaskStatus[None]) -> None:
        await run_recorder(recorder, writer, blocking=inline, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        (temporary,) = os.listdir(tmp_path)
        assert temporary.startswith(".rec-")
        recorder.stop()


async def test_a_write_error_ends_the_recording_by_itself(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, writer = start(tmp_path)
    real_write = os.pwrite

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        if offset > 100_000:
            raise OSError(28, "No space left on device")
        return real_write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(plane, recorder, 1000)
        result = await run_recorder(recorder, writer, blocking=inline)
        assert trio.current_time() < 10
        nursery.cancel_scope.cancel()
    assert result.file == str(tmp_path / NAME)
    assert "No space left" in (result.error or "")
    assert frames_in(tmp_path / NAME) > 24_000


async def test_a_hanging_disk_ends_with_an_error_and_never_stalls_the_tick(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    recorder, writer = start(tmp_path)
    calls = 0

    async def hanging(function: Callable[[], T], /) -> T:
        nonlocal calls
        calls += 1
        if calls > 1:
            await trio.sleep_forever()
        return await inline(function)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(plane, recorder, 500)
        with trio.move_on_after(20) as scope:
            await run_recorder(recorder, writer, blocking=hanging)
    assert scope.cancelled_caught
    assert "cannot keep up" in (recorder.error or "")
    assert recorder.result is not None
    assert recorder.result.file == ""
    assert "does not answer" in (recorder.result.error or "")
    assert trio.current_time() == pytest.approx(25, abs=0.5)
    writer.finish()


@pytest.mark.integration
async def test_cancellation_during_a_write_in_a_thread_loses_nothing(tmp_path: Path) -> None:
    recorder, writer = start(tmp_path)
    runner = ThreadRunner(2, abandon_on_cancel=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run_recorder(recorder, writer, blocking=runner))
        await trio.testing.wait_all_tasks_blocked(0.05)
        for tick in range(17):
            for sink in recorder.sinks:
                sink.push(np.full(160, tick, np.int16), 8000)
        recorder.on_ready()
        nursery.cancel_scope.cancel()
    assert recorder.result is not None
    assert frames_in(tmp_path / NAME) == 17 * 160
    assert os.listdir(tmp_path) == [NAME]
