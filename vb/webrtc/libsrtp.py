"""The part of libsrtp that is used here, by pylibsrtp's own handle on the library.

pylibsrtp's `Session` copies every packet twice and makes a bytes object of it; the functions below work in
place on memory that is ours. They free the interpreter's lock, so that nothing they write to may be shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pylibsrtp
from numpy.typing import NDArray
from pylibsrtp import Policy

from vb.webrtc.dtls import SrtpProfile

_ffi: Final[Any] = pylibsrtp.ffi
_lib: Final[Any] = pylibsrtp.lib

Function = Callable[[Any, Any, Any], int]
"""Takes a context, a pointer to a packet and one to its length; returns 0 or an error. Works in place."""

protect: Final[Function] = _lib.srtp_protect
unprotect: Final[Function] = _lib.srtp_unprotect
protect_rtcp: Final[Function] = _lib.srtp_protect_rtcp
unprotect_rtcp: Final[Function] = _lib.srtp_unprotect_rtcp

AUTHENTICATION_FAILED: Final = 7
CIPHER_FAILED: Final = 8
REPLAYED: Final = 9
TOO_OLD: Final = 10

_PROFILES: Final = {
    SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AEAD_AES_256_GCM: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    SrtpProfile.AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpProfile.AES128_CM_SHA1_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_REPLAY_WINDOW: Final = 256
"""Packets by which one may be late: seconds, more than play-out waits. Each packet moves all of its bits."""


class Context:
    """One direction of one session, for any SSRC.

    Args:
        key: master key and salt, of exactly the profile's size.

    Attributes:
        handle: first argument of the functions.

    Raises:
        ValueError: the key has another size.
    """

    __slots__ = ("_owner", "handle")

    def __init__(self, profile: SrtpProfile, key: bytes, *, inbound: bool) -> None:
        if len(key) != profile.key_bytes + profile.salt_bytes:
            raise ValueError(f"{profile.name} needs a key of {profile.key_bytes + profile.salt_bytes} bytes")
        kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
        policy = Policy(key=key, ssrc_type=kind, srtp_profile=_PROFILES[profile])
        policy.window_size = _REPLAY_WINDOW
        # One number is never used for two packets: with AES-GCM that would give the keys away.
        policy.allow_repeat_tx = False
        session = _ffi.new("srtp_t *")
        status = _lib.srtp_create(session, policy._policy)
        if status:
            raise ValueError(f"libsrtp refuses the key: error {status}")
        self._owner = _ffi.gc(session, _release)
        self.handle = session[0]

    def forget(self, ssrc_word: int) -> None:
        """Drop what is known of a source, given as the four bytes of the packet read as a native number."""
        _lib.srtp_remove_stream(self.handle, ssrc_word)


def new_length() -> Any:
    """Returns a place for a length, for one caller at a time; `[0]` reads and writes it."""
    return _ffi.new("int *")


def pointer(address: int) -> Any:
    """Returns a pointer for the functions; whoever owns the memory must keep it."""
    return _ffi.cast("void *", address)


def number_pointers(numbers: NDArray[np.intc]) -> list[Any]:
    """Returns a place for a length in each element; whoever owns the array must keep it."""
    start = numbers.ctypes.data
    return [_ffi.cast("int *", start + at * numbers.itemsize) for at in range(numbers.size)]


def lent(memory: memoryview) -> Any:
    """Returns a pointer to writable memory, which it keeps; packets begin at multiples of four bytes."""
    return _ffi.from_buffer(memory, require_writable=True)


def buffer(data: bytes, size: int) -> Any:
    """Returns memory of its own that begins with `data`."""
    memory = _ffi.new("unsigned char[]", size)
    _ffi.memmove(memory, data, len(data))
    return memory


def read(memory: Any, size: int) -> bytes:
    """Returns the first bytes of such memory."""
    data: bytes = _ffi.buffer(memory, size)[:]
    return data


def _release(session: Any) -> None:
    _lib.srtp_dealloc(session[0])
