"""A body that is read while it still arrives: memory first, an unnamed temporary file after that.

One task appends on the event loop, which never blocks; what has become too much for memory is written to
the file by `Spool.flush` in a worker thread, while other threads go on reading. The parts are replaced
as a whole and never changed except at their end, so a reader needs no lock: whatever it takes hold of is
consistent. The file has no name, so nothing is left behind even by a killed process.
"""

import os
import tempfile
from dataclasses import dataclass
from typing import BinaryIO, Final

FLUSH_BYTES: Final = 65_536
"""How much is written to the file at a time."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """``on_disk`` bytes are in the file, what follows them is in ``tail``."""

    on_disk: int
    tail: bytearray


class Spool:
    """Bytes that only grow in number.

    Args:
        memory_bytes: bodies up to this size never touch the disk.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._file: BinaryIO | None = None
        self._parts = _Parts(0, bytearray())
        self.size = 0

    def append(self, data: bytes) -> None:
        """Add bytes at the end, in memory; not while a `flush` runs."""
        self._parts.tail.extend(data)
        self.size += len(data)

    @property
    def flush_due(self) -> bool:
        """Whether memory holds so much that `flush` is to be called."""
        return self.size > self._memory_bytes and len(self._parts.tail) >= FLUSH_BYTES

    def flush(self) -> None:
        """Move what is in memory to the file; blocks.

        Raises:
            OSError: the disk does not take it.
        """
        if self._file is None:
            # Without a buffer of its own: readers look past it into the file itself.
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed by close()
        parts = self._parts
        left = memoryview(bytes(parts.tail))
        while left:
            left = left[self._file.write(left) :]
        self._parts = _Parts(self.size, bytearray())

    def read(self, position: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``position`` on, less where they end; blocks.

        Raises:
            OSError: the disk does not give them.
        """
        parts = self._parts
        found = b""
        if position < parts.on_disk and self._file is not None:
            descriptor, end = self._file.fileno(), min(position + size, parts.on_disk)
            while position + len(found) < end:
                more = os.pread(descriptor, end - position - len(found), position + len(found))
                if not more:
                    raise OSError("the temporary file is cut short")
                found += more
        start = position + len(found) - parts.on_disk
        return found + bytes(parts.tail[start : start + size - len(found)])

    def close(self) -> None:
        """Give memory and file back; nothing may run in a thread any more."""
        self._parts = _Parts(0, bytearray())
        self.size = 0
        if self._file is not None:
            self._file.close()
            self._file = None
