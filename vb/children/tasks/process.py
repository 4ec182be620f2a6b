"""Starting and ending a process of the server's own, with pipes to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from typing import Final, Protocol, TypeAlias

import trio

END_S: Final = 1.0
"""How long a helper may take to end by itself once its pipe is closed."""
_TAIL_BYTES: Final = 4096
"""What is kept of what it says on standard error."""
_WORDS: Final = 200
"""Characters of its last line there."""
_WORDS_S: Final = 0.2
"""How long the rest of it is waited for once the process has ended."""


class HelperProcess(Protocol):
    """A running helper."""

    @property
    def incoming(self) -> trio.abc.ReceiveStream:
        """Return where its frames come from."""
        ...

    @property
    def outgoing(self) -> trio.abc.SendStream:
        """Return where frames to it go."""
        ...

    async def listen(self) -> str:
        """Take what it says on standard error until it ends, and return the last of it."""
        ...

    @property
    def last_words(self) -> str:
        """Return the last line of that so far, cut short; all of it once the process has been ended."""
        ...

    async def end(self) -> int:
        """End it for sure and return its status.

        Cancellation: to be shielded; takes a second or so, and two if even the kernel cannot end it at once.
        """
        ...


Launch: TypeAlias = Callable[[], Awaitable[HelperProcess]]
"""Starts a helper; raises OSError if it cannot."""


class _Process:
    def __init__(self, process: trio.Process, errors: trio.abc.ReceiveStream) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a helper without pipes")
        self._process = process
        self._errors = errors
        self._tail = b""
        self.outgoing: trio.abc.SendStream = process.stdin
        self.incoming: trio.abc.ReceiveStream = process.stdout

    async def listen(self) -> str:
        async for part in self._errors:
            self._tail = (self._tail + part)[-_TAIL_BYTES:]
        return self._tail.decode(errors="replace")

    @property
    def last_words(self) -> str:
        return self._tail.decode(errors="replace").strip().rpartition("\n")[2][:_WORDS]

    async def end(self) -> int:
        await self.outgoing.aclose()
        with trio.move_on_after(END_S):
            await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
            with trio.move_on_after(END_S):  # one that waits for a disk which is away ends when that is back
                await self._process.wait()
        with trio.move_on_after(_WORDS_S):  # whoever has inherited the pipe may keep it open
            await self.listen()
        await self.incoming.aclose()
        await self._errors.aclose()
        return -signal.SIGKILL if self._process.returncode is None else self._process.returncode


def launcher(command: Sequence[str], pass_on: Sequence[str] = ()) -> Launch:
    """Return what starts a command as a helper.

    It gets neither the server's environment, where keys lie, nor any file of it but the pipes.

    Args:
        command: program and arguments.
        pass_on: patterns of the variables of the environment that it gets all the same.
    """

    async def launch() -> HelperProcess:
        return await start(command, pass_on)

    return launch


async def start(command: Sequence[str], pass_on: Sequence[str] = ()) -> HelperProcess:
    """Start a command as a helper; see `launcher`.

    Raises:
        OSError: it cannot be started.
    """
    environment = {
        **{
            name: value
            for name, value in os.environ.items()  # noqa: TID251 - handed on, not read
            if any(fnmatchcase(name, pattern) for pattern in pass_on)
        },
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path if isinstance(path, str)),
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = await trio.lowlevel.open_process(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    if process.stderr is None:
        raise RuntimeError("a helper without standard error")
    return _Process(process, process.stderr)
