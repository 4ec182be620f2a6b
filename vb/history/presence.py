"""Which servers are there, for others that share their folder: each has a file locked as long as it lives.

The process that writes a history may end while its server goes on, so that what it leaves in the folder does
not say that its calls are over. The lock belongs to the server, and the kernel takes it away with that.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)


class Presence:
    """The lock of one run. All of it blocks on the disk for a moment.

    Args:
        folder: that of the durable queue; made when missing.
        run_id: of this server.
    """

    def __init__(self, folder: Path, run_id: UUID) -> None:
        self._path = _path(folder, run_id)
        self._fd = -1
        self._over = False

    def begin(self) -> None:
        """Be there. Where nothing can be written that is only logged: there is no queue to be taken then."""
        fd = -1
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if fd >= 0:
                os.close(fd)
            log.warning("others cannot see that this server is there", problem=exc.strerror)
            return
        self._fd = fd
        if self._over:  # the disk took longer than the server lived
            self.end()

    def end(self) -> None:
        """Be there no longer, and leave no file."""
        self._over = True
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        os.close(fd)


def is_there(folder: Path, run_id: UUID) -> bool:
    """Return whether the server of a run lives, as far as its folder tells; it does while none can tell."""
    try:
        fd = os.open(_path(folder, run_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # no file can be opened now, or the disk is away: to close calls is not to be undone
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks at the same time does not see this
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def forget(folder: Path, run_id: UUID) -> None:
    """Remove what a server that is gone has left of that."""
    with suppress(OSError):
        _path(folder, run_id).unlink(missing_ok=True)


def _path(folder: Path, run_id: UUID) -> Path:
    return folder / f"history-run-{run_id}.lock"
