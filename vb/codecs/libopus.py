"""The few calls of libopus that vb needs, found and typed with ctypes.

Encoder and decoder states live in buffers owned by Python, so there is nothing to destroy by hand.
A call into the library releases the GIL.
"""

import ctypes
import ctypes.util
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeAlias

from vb.codecs.pcm import CodecError

OK: Final = 0
APPLICATION_VOIP: Final = 2048
SET_BITRATE: Final = 4002
SET_COMPLEXITY: Final = 4010
SET_INBAND_FEC: Final = 4012
SET_PACKET_LOSS_PERC: Final = 4014
SET_SIGNAL: Final = 4024
SIGNAL_AUTO: Final = -1000
SIGNAL_MUSIC: Final = 3002

_Argument: TypeAlias = ctypes.c_void_p | ctypes.c_char_p | ctypes.c_int | ctypes.c_int32
_ADDRESS = ctypes.c_void_p
"""States and places to write to are numbers: building a typed pointer costs more than a silent frame."""


class LibOpus:
    """A loaded libopus.

    Raises:
        OSError: the file is missing or no shared library.
        AttributeError: the library is not libopus.
    """

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self.path = path
        self.encoder_size = _declare(library, "opus_encoder_get_size", [ctypes.c_int])
        self.encoder_init = _declare(
            library, "opus_encoder_init", [_ADDRESS, ctypes.c_int32, ctypes.c_int, ctypes.c_int]
        )
        self.encoder_ctl = _declare(library, "opus_encoder_ctl", [_ADDRESS, ctypes.c_int])
        self.encode = _declare(
            library,
            "opus_encode",
            [_ADDRESS, _ADDRESS, ctypes.c_int, _ADDRESS, ctypes.c_int32],
        )
        self.decoder_size = _declare(library, "opus_decoder_get_size", [ctypes.c_int])
        self.decoder_init = _declare(library, "opus_decoder_init", [_ADDRESS, ctypes.c_int32, ctypes.c_int])
        self.decode = _declare(
            library,
            "opus_decode",
            [
                _ADDRESS,
                ctypes.c_char_p,
                ctypes.c_int32,
                _ADDRESS,
                ctypes.c_int,
                ctypes.c_int,
            ],
        )
        self._strerror = library.opus_strerror
        self._strerror.argtypes = [ctypes.c_int]
        self._strerror.restype = ctypes.c_char_p

    def check(self, result: int, what: str) -> int:
        """Return `result`, a count or zero.

        Raises:
            CodecError: `result` is one of libopus' negative error codes.
        """
        if result < OK:
            raise self.error(result, what)
        return result

    def error(self, result: int, what: str) -> CodecError:
        """Return what one of libopus' negative error codes means."""
        return CodecError(f"{what}: {self._strerror(result).decode()}")


def _declare(library: ctypes.CDLL, name: str, arguments: list[type[_Argument]]) -> Callable[..., int]:
    function = library[name]
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


@cache
def load(path: str | None = None) -> LibOpus | None:
    """Return libopus, or None when this machine has none.

    With no `path` the system's library is taken, else the copy that PyAV brings along. The answer is kept;
    finding it searches the disk, so ask once at start-up.
    """
    candidates = [path] if path is not None else [*_system_libraries(), *_pyav_libraries()]
    for candidate in candidates:
        try:
            return LibOpus(candidate)
        except (OSError, AttributeError):
            continue
    return None


def _system_libraries() -> list[str]:
    found = ctypes.util.find_library("opus")
    return [found] if found else []


def _pyav_libraries() -> list[str]:
    spec = find_spec("av")
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    linux = sorted((package.parent / "av.libs").glob("libopus-*.so*"))
    macos = sorted((package / ".dylibs").glob("libopus.*.dylib"))
    return [str(library) for library in (*linux, *macos)]
