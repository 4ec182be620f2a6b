"""eSpeak NG by its C library: robotic, but it speaks whatever has an alphabet."""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np

from vb.codecs.pcm import Pcm
from vb.local_speech.engines.base import EngineFailed

_SYNCHRONOUS: Final = 2
_NO_EXIT: Final = 0x8000
"""Without it, the library ends the process when its data are missing."""
_UTF8: Final = 1
_END_PAUSE: Final = 0x1000
_BUFFER_MS: Final = 500
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, which there is one of in a process.

    Raises:
        EngineFailed: it cannot be loaded.
    """

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        self._parts: list[Pcm] = []
        self._callback = _Callback(self._take)
        data = str(espeakng_loader.get_data_path()).encode()
        self._rate_hz = int(self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _NO_EXIT))
        if self._rate_hz <= 0:
            raise EngineFailed("eSpeak NG cannot be loaded")
        self._library.espeak_SetSynthCallback(self._callback)
        self._language = ""
        self.set_language("en-us")

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int) -> int:
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        return 0

    def set_language(self, tag: str) -> None:
        """Speak another language from now on.

        Raises:
            EngineFailed: it is unknown.
        """
        wanted = tag.lower().replace("_", "-") or "en-us"
        if wanted == self._language:
            return
        for name in (wanted, wanted.partition("-")[0]):
            if self._library.espeak_SetVoiceByName(name.encode()) == 0:
                self._language = wanted
                return
        raise EngineFailed(f"eSpeak NG does not know the language {tag}")

    def speak(self, text: str) -> tuple[int, Pcm]:
        """Return rate and samples of a piece of text."""
        raw = text.encode() + b"\0"
        self._parts = []
        failed = self._library.espeak_Synth(
            raw, ctypes.c_size_t(len(raw)), 0, 1, 0, _UTF8 | _END_PAUSE, None, None
        )
        if failed or not self._parts:
            raise EngineFailed("eSpeak NG cannot speak that")
        return self._rate_hz, np.concatenate(self._parts)
