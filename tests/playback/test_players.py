"""What a playback says when it cannot go on; whole playbacks are in tests/integration/test_playback.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
import trio.testing

from tests.media.support import inline, sine, wav_bytes
from tests.support.engine import Observed, open_engine
from tests.support.ids import SequentialIds
from tests.support.web import FakeWeb
from vb.config import Config
from vb.playback.player import PlaybackRequest
from vb.playback.players import Players
from vb.playback.tasks.fetch import Fetcher

URL = "http://files.example/a.wav"
LOCATIONS = ["http://[bad", "//[x", "http://a]b/", "http://10.0.0.1/"]
PROMPT = wav_bytes(sine(600, 8000, 1.0).tobytes())


class Stage:
    """A room in which playbacks run, and their web server in memory."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self.owner = observed.engine.rooms.open("r")
        self.location = ""
        self.lookup_error: Exception | None = None
        fetcher = Fetcher(FakeWeb(self._answer, self._resolve), blocking=inline)
        self._players = Players(SequentialIds(), fetcher, inline)
        observed.events()

    async def _resolve(self, host: str, port: int) -> Sequence[str]:
        if self.lookup_error is not None:
            raise self.lookup_error
        return ["8.8.8.8"]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.location:
            return httpx.Response(302, headers={"Location": self.location})
        return httpx.Response(200, content=PROMPT)

    async def play(self, **request: str) -> list[tuple[object, ...]]:
        """Start a playback, wait until nothing moves, and return what was published."""
        self._players.start(self.owner, PlaybackRequest(**request))  # type: ignore[arg-type]  # text fields
        await trio.testing.wait_all_tasks_blocked()
        return self._observed.told("room_id", "error", "reason")


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    async with open_engine(Config()) as observed:
        yield Stage(observed)


@pytest.mark.parametrize("location", LOCATIONS)
async def test_a_redirect_to_nowhere_is_an_error_alone(location: str) -> None:
    async with open_stage() as stage:
        stage.location = location
        ((kind, room_id, error, reason),) = await stage.play(url=URL)
    assert (kind, room_id, reason) == ("playback.error", "r", None)
    assert error in ("malformed URL", "host 10.0.0.1 is not allowed")


async def test_a_fault_of_ours_is_an_error_and_not_a_stop() -> None:
    async with open_stage() as stage:
        stage.lookup_error = RuntimeError("secret detail")
        told = await stage.play(url=URL)
        stage.lookup_error = None
        ended_slots = stage.owner.slots.names()
        assert await stage.play(url=URL) == [("playback.started", "r", None, None)]
    assert told == [("playback.error", "r", "internal error", None)]
    assert ended_slots == []


async def test_the_end_of_the_owner_is_a_stop() -> None:
    async with open_engine(Config()) as observed:
        stage = Stage(observed)
        assert await stage.play(tone="dial") == [("playback.started", "r", None, None)]
        await observed.engine.rooms.close("r")
        await trio.testing.wait_all_tasks_blocked()
        assert ("playback.finished", "r", None, "stopped") in observed.told("room_id", "error", "reason")
