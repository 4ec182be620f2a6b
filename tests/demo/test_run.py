from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio

from tests.history.keepers import keeper
from tests.history.making import change
from vb.demo.phone import Phone
from vb.demo.problem import DemoFailed
from vb.ids import SystemIds
from vb.sip.tasks.endpoint import SipEndpoint, SipSettings

COMMAND = (sys.executable, "-W", "error", "-m", "vb", "demo", "--keep")
ROOT = Path(__file__).parents[2]


def recordings(folder: Path) -> list[Path]:
    return list(folder.glob("*.wav"))


def store_a_call(folder: Path) -> None:
    """Leave a call in the folder's history, as a demonstration of another day does."""
    folder.mkdir()
    one, _ = keeper(f"sqlite:///{folder}/calls.db", folder / "queue")
    one.round([change(1)])
    one.close(calls_left=False)


@pytest.mark.integration
async def test_demo_passes_within_twenty_five_seconds_and_keeps_the_recording(tmp_path: Path) -> None:
    store_a_call(tmp_path / "history")
    begun = time.monotonic()
    done = await trio.run_process(
        [*COMMAND, str(tmp_path)], capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT
    )
    text = done.stdout.decode()
    assert done.returncode == 0, text + done.stderr.decode()
    assert time.monotonic() - begun < 25
    assert done.stderr == b""
    assert text.count("  ok ") == 21
    assert "GET /api/calls lists every call" in text
    (recording,) = recordings(tmp_path)
    assert f"recording: {recording}" in text


@pytest.mark.integration
async def test_interrupt_hangs_up_and_ends_quickly(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [*COMMAND, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
            cwd=ROOT,
        )
        process: trio.Process = await nursery.start(start)
        assert process.stdout is not None
        assert process.stderr is not None
        text = b""
        while b"packets sent" not in text:
            text += await process.stdout.receive_some()
        process.send_signal(signal.SIGINT)
        with trio.fail_after(5):
            async for chunk in process.stdout:
                text += chunk
            errors = await process.stderr.receive_some()
            assert await process.wait() == 130
    assert text.endswith(b"vb demo: interrupted\n")
    assert errors == b""
    (recording,) = recordings(tmp_path)
    assert f"recording: {recording}\n".encode() in text


@pytest.mark.integration
async def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = await trio.run_process(
        [*COMMAND, str(blocked)], capture_stdout=True, capture_stderr=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"vb demo: FAILED: ")
    assert done.stdout.count(b"\n") == 1


@pytest.mark.integration
async def test_refused_call_fails_the_phone() -> None:
    busy = SipEndpoint(SipSettings(port=0), SystemIds(), lambda call: call.reject(486))
    async with trio.open_nursery() as nursery:
        ((_, host, port),) = await nursery.start(busy.run)
        with pytest.RaisesGroup(
            pytest.RaisesExc(DemoFailed, match="the call of phone A was refused: 486 Busy Here"),
            flatten_subgroups=True,
        ):
            await Phone("A", np.zeros(160, np.int16)).run(f"sip:demo@{host}:{port}")
        nursery.cancel_scope.cancel()
