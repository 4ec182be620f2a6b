"""A page in Chromium that calls by itself: its microphone is a tone, and it carries out what it is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from interop.chromium import Page, open_page

ORDER_S = 20.0
_SCRIPT = Path(__file__).with_name("browser_script.js")


class BrowserFailed(Exception):
    """The page did not do what it was told, or not in time."""


class Browser:
    """One page.

    Attributes:
        leg_id: of its leg, once it has called.
    """

    def __init__(self, page: Page) -> None:
        self.leg_id = ""
        self._page = page

    async def tell(self, what: str, **fields: object) -> dict[str, Any]:
        """Give an order and return what came of it.

        Raises:
            BrowserFailed: it failed, or not in time.
        """
        with trio.move_on_after(ORDER_S):
            try:
                result = await self._page.run(f"window.orders.{what}({json.dumps(fields)})")
            except RuntimeError as error:
                raise BrowserFailed(f"{what}: {error}") from None
            assert isinstance(result, dict)
            return result
        raise BrowserFailed(f"{what}: nothing came of it within {ORDER_S:g} s")

    async def call(
        self, *, video: bool = False, first: bool = False, turn: dict[str, str] | None = None
    ) -> str:
        """Call the server; returns its answer.

        Args:
            video: also offer video and data.
            first: offer video before the audio, and gather for that alone.
            turn: go through this TURN server only, at both ends.
        """
        reply = await self.tell("call", video=video, first=first, turn=turn)
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


@asynccontextmanager
async def open_browser(folder: Path, name: str, pitch_hz: float, http_url: str) -> AsyncIterator[Browser]:
    """A browser with its page for the time of the block.

    Raises:
        NotRun: Chromium is not installed.
    """
    home = folder / name
    home.mkdir()
    async with open_page(home, f"{http_url}/healthz", pitch_hz) as page:
        await page.wait_for("document.readyState === 'complete' && location.pathname === '/healthz'")
        await page.run(await trio.Path(_SCRIPT).read_text())
        yield Browser(page)
