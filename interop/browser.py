"""A Chromium without a window: its microphone is a tone, and a page carries out what it is told."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from interop.processes import reaped
from interop.report import NotRun

RATE_HZ = 48_000
TONE_S = 10
ORDER_S = 20.0
START_S = 40.0
_PAGE = Path(__file__).with_name("browser_page.html")
_NAMES = ("chromium", "chromium-headless-shell", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
)


class BrowserFailed(Exception):
    """The page did not do what it was told, or not in time."""


def find_browser() -> str:
    """Look for Chromium.

    Raises:
        NotRun: it is not installed.
    """
    for name in _NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise NotRun("Chromium is not installed (Debian: chromium)")


def write_tone(path: Path, pitch_hz: float) -> None:
    """Write whole periods of a sine, so that it goes on without a seam when it is repeated."""
    frames = (round(8000 * math.sin(2 * math.pi * pitch_hz * at / RATE_HZ)) for at in range(RATE_HZ * TONE_S))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(b"".join(struct.pack("<h", frame) for frame in frames))


class Browser:
    """One page.

    Attributes:
        leg_id: of its leg, once it has called.
    """

    def __init__(self) -> None:
        self.leg_id = ""
        self._orders_in, self._orders = trio.open_memory_channel[dict[str, object]](1)
        self._results_in, self._results = trio.open_memory_channel[dict[str, Any]](1)

    async def tell(self, what: str, **fields: object) -> dict[str, Any]:
        """Give an order and return what came of it.

        Raises:
            BrowserFailed: it failed, or not in time.
        """
        with trio.move_on_after(ORDER_S):
            await self._orders_in.send({"what": what, **fields})
            result = await self._results.receive()
            if "error" in result:
                raise BrowserFailed(f"{what}: {result['error']}")
            return result
        raise BrowserFailed(f"{what}: nothing came of it within {ORDER_S:g} s")

    async def call(self, *, video: bool = False) -> str:
        """Call the server; returns its answer."""
        reply = await self.tell("call", video=video)
        self.leg_id = str(reply["leg_id"])
        return str(reply["sdp"])

    async def hears(self, pitch_hz: float, others: tuple[float, ...] = (), within_s: float = 10.0) -> bool:
        """Wait until it hears a tone, and none of the others."""
        with trio.move_on_after(within_s):
            while True:
                heard = await self.tell("hear", pitches=[pitch_hz, *others])
                level, *rest = [float("-inf") if value is None else value for value in heard["levels_db"]]
                near = abs(heard["loudest_hz"] - pitch_hz) < 10
                if near and level > -70 and all(other < level - 30 for other in rest):
                    return True
                await trio.sleep(0.2)
        return False

    async def is_still(self, pitch_hz: float, within_s: float = 10.0) -> bool:
        """Wait until it hears nothing of a tone."""
        with trio.move_on_after(within_s):
            while True:
                (level,) = (await self.tell("hear", pitches=[pitch_hz]))["levels_db"]
                if level is None or level < -80:
                    return True
                await trio.sleep(0.2)
        return False

    async def reaches(self, *states: str, within_s: float = 10.0) -> bool:
        """Wait until its connection is in one of these states."""
        with trio.move_on_after(within_s):
            while True:
                if (await self.tell("state"))["state"] in states:
                    return True
                await trio.sleep(0.1)
        return False

    async def answer_request(self, stream: trio.SocketStream) -> None:
        """Serve one request of the page."""
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some()
                if not data:
                    return
                head += data
            head, _, body = head.partition(b"\r\n\r\n")
            path = head.split(b" ")[1].partition(b"?")[0]
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            while len(body) < length:
                body += await stream.receive_some()
            reply, kind = b"{}", "application/json"
            if path == b"/":
                reply, kind = _PAGE.read_bytes(), "text/html; charset=utf-8"
            elif path == b"/next":
                reply = json.dumps(await self._orders.receive()).encode()
            elif path == b"/done":
                await self._results_in.send(json.loads(body))
            text = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(reply)}\r\n"
            await stream.send_all(f"{text}Connection: close\r\n\r\n".encode() + reply)


@asynccontextmanager
async def open_browser(folder: Path, name: str, pitch_hz: float, rest_url: str) -> AsyncIterator[Browser]:
    """A browser with its page for the time of the block.

    Raises:
        NotRun: Chromium is not installed.
    """
    program, browser = find_browser(), Browser()
    tone, profile = folder / f"{name}.wav", folder / f"{name}.profile"
    await trio.to_thread.run_sync(write_tone, tone, pitch_hz)
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            try:
                await browser.answer_request(stream)
            except trio.BrokenResourceError:
                return

        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(trio.serve_listeners, serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        command = [program, *_FLAGS, f"--user-data-dir={profile}"]
        command += [f"--use-file-for-fake-audio-capture={tone}", f"http://127.0.0.1:{port}/?api={rest_url}"]
        with (folder / f"{name}.log").open("wb") as log:
            process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=log)
        async with reaped(process):
            yield browser
            process.terminate()
        nursery.cancel_scope.cancel()
