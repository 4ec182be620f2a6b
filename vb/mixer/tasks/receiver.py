"""Receiving straight into columns: one system call a packet, and no object but its length.

`socket.recvmsg_into` makes a tuple, two lists, ancillary data and an address of every packet. Here the kernel
writes all that into arrays, which are read as columns, and an address is made only of a packet that is looked
at by itself.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Sequence
from itertools import islice, repeat, takewhile
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from vb.mixer.batch import ROW_BYTES, ROW_PITCH_BYTES, Batch

_NAME_BYTES: Final = 28
"""A sockaddr_in6, the longest address that a media socket has."""
_NAME_ROW_BYTES: Final = 32
_CONTROL_BYTES: Final = socket.CMSG_SPACE(16)
_NS_PER_S: Final = 1_000_000_000
_IS_SIZE: Final = (0).__le__
# Plain numbers: numpy and ctypes take several times as long over a member of an enumeration.
_DONT_WAIT: Final = int(socket.MSG_DONTWAIT)
_CUT_OFF: Final = int(socket.MSG_TRUNC)


class _MessageHeader(ctypes.Structure):
    """struct msghdr of recvmsg(2); pointers are plain numbers, so that the array of them can be a column."""

    _fields_ = (
        ("name", ctypes.c_size_t),
        ("name_bytes", ctypes.c_uint32),
        ("parts", ctypes.c_size_t),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_size_t),
        ("control_bytes", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


# The calls never block, so the interpreter's lock is kept: giving it up and taking it back costs more.
_libc = ctypes.PyDLL(None, use_errno=True)
_recvmsg = _libc.recvmsg
_recvmsg.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
_recvmsg.restype = ctypes.c_ssize_t

Address = tuple[str, int]


class Receiver:
    """Room for what the kernel tells of the packets of one batch.

    Args:
        batch: whose rows are filled.
    """

    def __init__(self, batch: Batch) -> None:
        rows = batch.rows
        self._batch = batch
        self._names = np.zeros((rows, _NAME_ROW_BYTES), np.uint8)
        self._control = np.zeros((rows, _CONTROL_BYTES), np.uint8)
        self._headers = np.zeros(rows, np.dtype(_MessageHeader))
        place = np.arange(rows, dtype=np.uint64)
        # struct iovec: where a packet goes and how much of it.
        self._parts = np.zeros((rows, 2), np.dtype(ctypes.c_size_t))
        self._parts[:, 0] = batch.matrix.ctypes.data + place * np.uint64(ROW_PITCH_BYTES)
        self._parts[:, 1] = ROW_BYTES
        headers = self._headers
        headers["name"] = self._names.ctypes.data + place * np.uint64(_NAME_ROW_BYTES)
        headers["parts"] = self._parts.ctypes.data + place * np.uint64(self._parts.strides[0])
        headers["part_count"] = 1
        headers["control"] = self._control.ctypes.data + place * np.uint64(_CONTROL_BYTES)
        self._pointers: list[int] = (headers.ctypes.data + np.arange(rows) * headers.itemsize).tolist()
        self._times = self._control[:, _CONTROL_BYTES - 16 :].view(np.int64)
        # Looking up a column by its name costs as much as reading it.
        self._name_bytes, self._control_bytes = headers["name_bytes"], headers["control_bytes"]
        self._flags = headers["flags"]
        self._reset(rows)
        batch.sources = Sources(self._names)

    def _reset(self, count: int) -> None:
        """Say again how much room there is, the kernel wrote how much it used, and that nothing has come."""
        self._name_bytes[:count] = _NAME_BYTES
        self._control_bytes[:count] = _CONTROL_BYTES
        self._times[:count] = 0

    def receive(self, handles: list[int], row: int) -> list[int]:
        """Take a packet of each of some sockets into rows, until one of them gives none.

        Args:
            handles: the sockets, as many as there are rows left at most.
            row: first row to fill.

        Returns:
            The lengths of the packets; when they are fewer than the sockets, the next one failed: `errno`.
        """
        # The loop is one of the interpreter's own iterators; in bytecode it would cost half as much again.
        sizes = map(_recvmsg, handles, islice(self._pointers, row, None), repeat(_DONT_WAIT))
        return list(takewhile(_IS_SIZE, sizes))

    @property
    def errno(self) -> int:
        """Why the last socket gave no packet."""
        return ctypes.get_errno()

    def tabulate(self, count: int) -> NDArray[np.int64]:
        """Write when the packets of the first rows came; return the rows of those that were cut off."""
        # There is room for a time stamp only, and no socket of the plane asks for anything else.
        stamps_ns = self._batch.stamps_ns[:count]
        np.multiply(self._times[:count, 0], _NS_PER_S, out=stamps_ns)
        stamps_ns += self._times[:count, 1]
        cut: NDArray[np.int64] = (self._flags[:count] & _CUT_OFF).nonzero()[0]
        self._reset(count)
        return cut


class Sources(Sequence[Address]):
    """The address of each packet, made when it is asked for.

    Args:
        names: (rows, bytes) socket addresses as the kernel wrote them.
    """

    def __init__(self, names: NDArray[np.uint8]) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, row: int) -> Address: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[Address]: ...

    def __getitem__(self, row: int | slice) -> Address | Sequence[Address]:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        name = self._names[row].tobytes()
        port = int.from_bytes(name[2:4], "big")
        if int(np.frombuffer(name, np.uint16, 1)[0]) == socket.AF_INET6:
            return socket.inet_ntop(socket.AF_INET6, name[8:24]), port
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
