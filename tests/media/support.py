"""Signals and files for the tests of this package."""

import struct
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import trio
from numpy.typing import NDArray

from vb.codecs.pcm import Pcm

T = TypeVar("T")


async def inline(function: Callable[[], T], /) -> T:
    """Run what would block right here: a `Blocking` without threads."""
    await trio.lowlevel.checkpoint()
    return function()


def sine(frequency_hz: float, rate_hz: int, duration_s: float, amplitude: float = 10_000.0) -> Pcm:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


def spectrum(pcm: NDArray[np.int16], rate_hz: int) -> dict[int, float]:
    """Amplitude per Hz of exactly one second of audio."""
    assert pcm.size == rate_hz
    amplitudes = np.abs(np.fft.rfft(pcm.astype(float))) * 2 / rate_hz
    return dict(enumerate(amplitudes.tolist()))


def peaks_hz(pcm: NDArray[np.int16], rate_hz: int, above: float) -> set[int]:
    """The frequencies louder than ``above`` in one second of audio."""
    return {hz for hz, amplitude in spectrum(pcm, rate_hz).items() if amplitude > above}


def wav_bytes(
    data: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate_hz: int = 8000,
    bits: int = 16,
    data_size: int | None = None,
    riff_size: int | None = None,
    before_format: bytes = b"",
    before_data: bytes = b"",
) -> bytes:
    """Build a WAV file in which every field may be wrong."""
    frame = channels * bits // 8
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate_hz, rate_hz * frame, frame, bits)
    size = len(data) if data_size is None else data_size
    body = b"WAVE" + before_format + fmt + before_data + struct.pack("<4sI", b"data", size) + data
    return struct.pack("<4sI", b"RIFF", len(body) if riff_size is None else riff_size) + body


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", name, len(content)) + content + b"\0" * (len(content) & 1)
