"""Serves sound files made on the fly: WAV of every kind, MP3, and things that are no sound at all."""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import av
import numpy as np
import trio
from numpy.typing import NDArray

from conformance.peers.http_server import Request, Response, serve_http
from conformance.peers.payload import make_codec

Pcm = NDArray[np.int16]
PCM, ALAW, ULAW, EXTENSIBLE = 1, 6, 7, 0xFFFE


def tone(hertz: float, milliseconds: int, rate_hz: int, level: float = -18.0) -> Pcm:
    """A sine of ``level`` dBFS RMS."""
    t = np.arange(rate_hz * milliseconds // 1000) / rate_hz
    amplitude = 32768 * 10 ** (level / 20) * 2**0.5
    return np.round(amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def wav(
    data: bytes, rate_hz: int, *, kind: int = PCM, channels: int = 1, bits: int = 16, extra: bool = False
) -> bytes:
    """A RIFF file around sample data; ``extra`` puts a LIST chunk of odd length before the data."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", kind, channels, rate_hz, rate_hz * block, block, bits)
    if kind == EXTENSIBLE:
        fmt += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", PCM) + bytes(14)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    if extra:
        chunks += b"LIST" + struct.pack("<I", 5) + b"INFOx" + b"\0"
    chunks += b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def mp3(pcm: Pcm, rate_hz: int) -> bytes:
    """An MP3 file of one channel."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate_hz)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16p", layout="mono")
        frame.sample_rate = rate_hz
        for packet in stream.encode(frame):
            container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return target.getvalue()


def _stereo(hertz: float, milliseconds: int, rate_hz: int) -> bytes:
    left = tone(hertz, milliseconds, rate_hz, -12.0)
    return np.column_stack([left, np.zeros_like(left)]).astype("<i2").tobytes()


def _file(kind: str, hertz: float, milliseconds: int, rate_hz: int) -> tuple[bytes, str]:
    pcm = tone(hertz, milliseconds, rate_hz)
    linear = pcm.astype("<i2").tobytes()
    made: dict[str, Callable[[], tuple[bytes, str]]] = {
        "tone": lambda: (wav(linear, rate_hz), "audio/wav"),
        "extra": lambda: (wav(linear, rate_hz, extra=True), "audio/wav"),
        "short": lambda: (wav(linear, rate_hz)[: -len(linear) // 2], "audio/wav"),
        "stereo": lambda: (wav(_stereo(hertz, milliseconds, rate_hz), rate_hz, channels=2), "audio/wav"),
        "ulaw": lambda: (wav(make_codec("PCMU").encode(pcm), rate_hz, kind=ULAW, bits=8), "audio/wav"),
        "alaw": lambda: (wav(make_codec("PCMA").encode(pcm), rate_hz, kind=ALAW, bits=8), "audio/wav"),
        "raw": lambda: (linear, "application/octet-stream"),
        "mp3": lambda: (mp3(pcm, rate_hz), "audio/mpeg"),
        "bits24": lambda: (wav(bytes(len(pcm) * 3), rate_hz, bits=24), "audio/wav"),
        "untyped": lambda: (wav(linear, rate_hz), "application/octet-stream"),
    }
    return made[kind]()


class MediaServer:
    """Answers ``/<kind>/<hertz>/<ms>/<rate>/<name>`` and counts what was fetched."""

    def __init__(self) -> None:
        self.port = 0
        self.fetched: Counter[str] = Counter()
        self._added: dict[str, Response] = {}

    def add(
        self,
        path: str,
        body: bytes,
        content_type: str = "audio/wav",
        *,
        status: int = 200,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Serves these bytes at a path, which is as it stands in the request."""
        self._added[path] = Response(status, body, content_type, headers)

    def url(self, path: str) -> str:
        """The full URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def handle(self, request: Request) -> Response:
        """Serves one file."""
        self.fetched[request.path] += 1
        if request.path in self._added:
            return self._added[request.path]
        parts = request.path.partition("?")[0].strip("/").split("/")
        if parts[0] == "status":
            return Response(int(parts[1]), b"no sound here")
        if parts[0] == "text":
            return Response(200, b"this is not sound, whatever the header says", "audio/wav")
        if parts[0] == "moved":
            return Response(302, headers=(("Location", self.url("/" + "/".join(parts[1:]))),))
        if parts[0] == "never":
            await trio.sleep_forever()
        try:
            body, content_type = _file(parts[0], float(parts[1]), int(parts[2]), int(parts[3]))
        except (KeyError, IndexError, ValueError):
            return Response(404, b"no such sound")
        return Response(200, body, content_type)


@asynccontextmanager
async def open_media() -> AsyncIterator[MediaServer]:
    """A file server on a free port."""
    server = MediaServer()
    async with serve_http(server.handle) as port:
        server.port = port
        yield server
