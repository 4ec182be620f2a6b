"""Chromium without a screen, driven over its debugging protocol."""

from __future__ import annotations

import base64
import itertools
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

import httpx
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from interop.processes import end, reaped
from interop.report import NotRun

START_S = 60.0
ANSWER_S = 30.0
WAIT_S = 20.0
POLL_S = 0.1
MAX_MESSAGE_BYTES = 64 << 20
NAMES = ("chromium", "chromium-headless-shell", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)
MICROPHONE_FLAGS = (
    "--mute-audio",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
)
RATE_HZ = 48_000
TONE_S = 10
KEYS = {"Enter": 13, "Tab": 9, "Escape": 27}


def find_chromium() -> str:
    """Where the browser is.

    Raises:
        NotRun: it is not installed.
    """
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise NotRun(f"none of {', '.join(NAMES)} is installed")


def write_tone(path: Path, pitch_hz: float) -> None:
    """Write whole periods of a sine, so that it goes on without a seam when it is repeated."""
    frames = (round(8000 * math.sin(2 * math.pi * pitch_hz * at / RATE_HZ)) for at in range(RATE_HZ * TONE_S))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(b"".join(struct.pack("<h", frame) for frame in frames))


class Page:
    """One page of a running browser.

    Attributes:
        problems: errors that scripts or the page's policy have raised.
        requested: the address of everything that it has asked for.
    """

    def __init__(self, socket: WebSocketConnection) -> None:
        self.problems: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._arrived = trio.Event()

    async def listen(self) -> None:
        """Take what the browser says, until cancelled."""
        while True:
            said = json.loads(await self._socket.get_message())
            if "id" in said:
                self._answers[said["id"]] = said
                self._arrived.set()
                self._arrived = trio.Event()
                continue
            values = said["params"]
            match said["method"]:
                case "Network.requestWillBeSent":
                    self.requested.append(values["request"]["url"])
                case "Runtime.exceptionThrown":
                    details = values["exceptionDetails"]
                    self.problems.append(details.get("exception", {}).get("description", details["text"]))
                case "Log.entryAdded" if values["entry"]["level"] == "error":
                    self.problems.append(values["entry"]["text"])

    async def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """Give an order and return its result.

        Raises:
            RuntimeError: the browser refuses it.
        """
        number = next(self._numbers)
        await self._socket.send_message(json.dumps({"id": number, "method": method, "params": values}))
        with trio.fail_after(ANSWER_S):
            while number not in self._answers:
                await self._arrived.wait()
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def run(self, script: str) -> Any:
        """Evaluate an expression in the page and return its value.

        Raises:
            RuntimeError: it threw.
        """
        found = await self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def wait_for(self, script: str) -> bool:
        """Wait until an expression is true; False when that takes too long."""
        with trio.move_on_after(WAIT_S):
            while not await self.run(f"Boolean({script})"):  # noqa: ASYNC110 - the page has no event
                await trio.sleep(POLL_S)
            return True
        return False

    async def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    async def press(self, key: str) -> None:
        """Press a key."""
        code = KEYS[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            values = {
                "key": key,
                "code": key,
                "windowsVirtualKeyCode": code,
                **(text if kind == "keyDown" else {}),
            }
            await self.ask("Input.dispatchKeyEvent", type=kind, **values)

    async def click(self, x: float, y: float) -> None:
        """Click at a place."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def shoot(self, path: Path) -> None:
        """Take a picture of the whole page, once it is laid out: before that it has no width."""
        await self.wait_for("document.readyState === 'complete' && document.documentElement.scrollWidth > 0")
        found = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await trio.Path(path).write_bytes(base64.b64decode(found["data"]))


@asynccontextmanager
async def open_page(
    folder: Path, url: str, microphone_hz: float = 0, microphone: Path | None = None
) -> AsyncIterator[Page]:
    """Open a page in a browser of its own.

    Args:
        folder: gets its profile and its log.
        url: of the page.
        microphone_hz: the tone that its microphone hears; 0 = none.
        microphone: a WAV file that its microphone hears instead; it has none without either.

    Raises:
        NotRun: there is no browser.
        TimeoutError: it does not start.
    """
    profile = folder / "profile"
    flags = list(FLAGS)
    if microphone_hz:
        microphone = folder / "microphone.wav"
        await trio.to_thread.run_sync(write_tone, microphone, microphone_hz)
    if microphone is not None:
        flags += [*MICROPHONE_FLAGS, f"--use-file-for-fake-audio-capture={microphone}"]
    command = [find_chromium(), *flags, f"--user-data-dir={profile}", "about:blank"]
    with (folder / "browser.log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=log)
    async with reaped(process):
        port = await _port(profile / "DevToolsActivePort")
        async with httpx.AsyncClient(trust_env=False) as client:
            targets = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
        address = next(item["webSocketDebuggerUrl"] for item in targets if item["type"] == "page")
        async with (
            open_websocket_url(address, max_message_size=MAX_MESSAGE_BYTES) as socket,
            trio.open_nursery() as nursery,
        ):
            page = Page(socket)
            nursery.start_soon(page.listen)
            for domain in ("Page", "Runtime", "Network", "Log"):
                await page.ask(f"{domain}.enable")
            await page.ask("Page.navigate", url=url)
            yield page
            nursery.cancel_scope.cancel()
        await end(process, ANSWER_S)


async def _port(path: Path) -> int:
    """Return the port of the debugging protocol, which the browser writes down once it listens."""
    with trio.fail_after(START_S):
        while True:
            try:
                return int((await trio.Path(path).read_text()).split()[0])
            except (OSError, IndexError):
                await trio.sleep(POLL_S)
