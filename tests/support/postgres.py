"""A PostgreSQL server of one's own: in a folder that goes with it, on a socket that nobody else can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSIONS = Path("/usr/lib/postgresql")
_START_S = 60
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 4 << 30


def find_binaries() -> Path | None:
    """Return where initdb and pg_ctl are, the newest of several; None when there are none."""
    found = sorted(_VERSIONS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


def why_not() -> str | None:
    """Return why no server can be started, None when one can."""
    if find_binaries() is None:
        return "PostgreSQL is not installed: no initdb in /usr/lib/postgresql or on the path"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL refuses to run as root, and there is no user postgres"
    return None


@contextmanager
def running_postgres(*, settings: tuple[str, ...] = ()) -> Iterator[str]:
    """Run a server inside the block; gives the URL of a database.

    Raises:
        RuntimeError: it cannot be started.
    """
    problem, binaries = why_not(), find_binaries()
    if problem is not None or binaries is None:
        raise RuntimeError(problem)
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="vb-pg-", dir=_memory()))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        initdb: list[str | Path] = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "vb", "-E", "UTF8"]
        _run(user, [*initdb, "--locale=C", "-N"])
        options = [f"-k {folder}", "-h ''", "-c fsync=off", "-c max_connections=40", *settings]
        start: list[str | Path] = [
            binaries / "pg_ctl",
            "-D",
            data,
            "-w",
            "-t",
            str(_START_S),
            "-l",
            folder / "log",
        ]
        _run(user, [*start, "-o", " ".join(options), "start"])
        try:
            yield f"postgresql://vb@/postgres?host={folder}"
        finally:
            _run(user, [binaries / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """Return a folder in memory: a slow disk takes a minute for the files of some hundred databases."""
    roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES
    return _MEMORY if roomy else None


def _run(user: str | None, command: list[str | Path]) -> None:
    result = subprocess.run(
        command,
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=2 * _START_S,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {result.stderr.strip()[-500:]}")
