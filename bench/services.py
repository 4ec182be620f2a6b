"""Programs of the bench in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.host import Placement

ROOT: Final = Path(__file__).resolve().parents[1]


@contextmanager
def running_service(module: str, placement: Placement) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service for the time of the block, which tells its port first; it ends when its input does."""
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            placement.apply(process.pid)
            yield process, json.loads(process.stdout.readline())["port"]
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running_callers(command: Sequence[str], placement: Placement) -> Iterator[subprocess.Popen[bytes]]:
    """Callers for the time of the block: a module and its arguments, without this process's environment."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        placement.apply(process.pid)
        yield process
    finally:
        process.kill()
        process.wait()
