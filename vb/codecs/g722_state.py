"""The state of the G722 package's coders, which that package itself gives no way to copy.

One stream that many hear is encoded once; who begins to hear something else goes on with an encoder of their
own, which has to stand exactly where the common one stands, or the listener hears a click. A coder is a small
Python object that points to one block of memory from malloc, without pointers inside. So the block is copied.

That is knowledge about somebody else's memory, and it is not trusted: the object's layout is recognised by
the two rates that it keeps right behind its pointers, and a copy has to prove itself by bytes before any is
made for a call. Where anything differs, `can_copy` is False and every listener is encoded on their own.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Final

import numpy as np
from G722 import G722

_RATES: Final = (16000, 64000)
_HEAD_BYTES: Final = object.__basicsize__
_BODY_WORDS: Final = 3
"""Pointer to the decoder's block, pointer to the encoder's, and both rates as two 32-bit numbers."""
_MOST_BYTES: Final = 4096
_PROOF_FRAMES: Final = 12


def new_coder() -> G722:
    """Return a coder for 16 kHz at 64 kbit/s."""
    return G722(*_RATES)


def copy_encoder(source: G722, target: G722) -> None:
    """Let one encoder go on where another one stands; only where `can_copy` says so."""
    size = _usable_size()
    assert size is not None, "asked for only where it can be done"
    begin, end = _encoder_block(source), _encoder_block(target)
    ctypes.memmove(end, begin, min(size(begin), size(end)))


@cache
def can_copy() -> bool:
    """Return whether encoders can be copied on this machine, with this version of the package."""
    size, coder = _usable_size(), new_coder()
    if size is None or G722.__basicsize__ < _HEAD_BYTES + 8 * _BODY_WORDS or not _is_known(coder):
        return False
    if not 0 < size(_encoder_block(coder)) <= _MOST_BYTES:
        return False
    return _proof()


def _proof() -> bool:
    """Copy a state in the midst of noise, and see both go on alike, and then each by itself."""
    noise = np.random.default_rng(722).normal(0, 4000, (3, _PROOF_FRAMES, 320)).astype(np.int16)
    one, other = new_coder(), new_coder()
    for first, second in zip(noise[0], noise[1], strict=True):
        one.encode(first)
        other.encode(second)
    copy_encoder(one, other)
    alike = all(one.encode(frame) == other.encode(frame) for frame in noise[2])
    return alike and one.encode(noise[0][0]) != other.encode(noise[1][0])


def _is_known(coder: G722) -> bool:
    _, _, rates = _body(coder)
    return rates == _RATES[0] | _RATES[1] << 32


def _encoder_block(coder: G722) -> int:
    return _body(coder)[1]


def _body(coder: G722) -> tuple[int, ...]:
    return tuple((ctypes.c_uint64 * _BODY_WORDS).from_address(id(coder) + _HEAD_BYTES))


@cache
def _usable_size() -> ctypes._NamedFuncPointer | None:
    """Return the C library's way to tell how large a block is, None where it has none."""
    try:
        found = ctypes.CDLL(None).malloc_usable_size
    except (AttributeError, OSError):
        return None
    found.restype, found.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return found
