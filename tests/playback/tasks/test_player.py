from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx
import numpy as np
import pytest
import trio
import trio.testing

from tests.media.support import inline, sine, wav_bytes
from tests.support.web import FakeWeb
from vb.blocking import ThreadRunner
from vb.media.errors import DecodeError, FetchError, UnknownTone
from vb.playback.player import Finished, Playback, PlaybackRequest
from vb.playback.tasks.fetch import Fetcher
from vb.playback.tasks.player import run_playback

T = TypeVar("T")
URL = "http://files.example/prompt.wav"
PROMPT = wav_bytes(sine(600, 8000, 0.4).tobytes())


async def public(host: str, port: int) -> Sequence[str]:
    return ["8.8.8.8"]


class Stage:
    """A playback with its web server (in memory), the plane that takes its frames, and what happened."""

    def __init__(self, request: PlaybackRequest, body: bytes = PROMPT, status: int = 200) -> None:
        self.playback = Playback(request)
        self.requests = 0
        self.started_at_ms: list[int] = []
        self.heard = [np.zeros(0, np.int16)]
        self._body = body
        self._status = status
        self.fetcher = Fetcher(FakeWeb(self._answer, public), blocking=inline)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(self._status, content=self._body)

    async def plane(self, rate_hz: int = 8000) -> None:
        while not self.playback.finished:
            frame = self.playback.take(rate_hz)
            if frame is not None:
                self.heard.append(frame)
            await trio.sleep(0.02)

    async def run(self, after: Callable[[], Awaitable[None]] | None = None, rate_hz: int = 8000) -> Finished:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.plane, rate_hz)
            if after is not None:
                nursery.start_soon(after)
            return await run_playback(
                self.playback, fetcher=self.fetcher, blocking=inline, on_started=self._on_started
            )

    def _on_started(self) -> None:
        self.started_at_ms.append(self.playback.played_ms)


async def test_a_file_is_played_once_and_completes(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(PlaybackRequest(url=URL))
    assert await stage.run() == Finished("completed", 400)
    assert stage.started_at_ms == [0]
    assert np.array_equal(np.concatenate(stage.heard), sine(600, 8000, 0.4))


async def test_three_passes_need_one_download_and_one_start(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(PlaybackRequest(url=URL, repeat=3))
    assert await stage.run() == Finished("completed", 1200)
    assert (stage.requests, len(stage.started_at_ms)) == (1, 1)


async def test_passes_follow_each_other_without_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    body = wav_bytes(np.full(200, 5, "<i2").tobytes())
    stage = Stage(PlaybackRequest(url=URL, repeat=4), body)
    assert await stage.run() == Finished("completed", 100)
    assert np.concatenate(stage.heard).tolist() == [5] * 800


async def test_endless_repetition_ends_with_stop(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(PlaybackRequest(url=URL, repeat=-1))

    async def stop() -> None:
        await trio.sleep(10.01)
        stage.playback.stop()

    finished = await stage.run(stop)
    assert finished.reason == "stopped"
    assert 9_900 <= finished.played_ms <= 10_020
    assert stage.requests == 1


async def test_a_single_sample_repeated_for_ever_is_decoded_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(PlaybackRequest(url=URL, repeat=-1), wav_bytes(b"\x07\x00"))
    calls = 0

    async def counting(function: Callable[[], T], /) -> T:
        nonlocal calls
        calls += 1
        return await inline(function)

    with trio.move_on_after(10.01):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.plane)
            await run_playback(
                stage.playback, fetcher=stage.fetcher, blocking=counting, on_started=lambda: None
            )
    assert calls == 2
    assert stage.playback.played_ms > 9_900
    assert set(np.concatenate(stage.heard).tolist()) == {7}


async def test_a_long_file_is_played_whole_at_another_rate(autojump_clock: trio.testing.MockClock) -> None:
    body = wav_bytes(sine(1000, 44100, 5.0).tobytes(), rate_hz=44100)
    stage = Stage(PlaybackRequest(url=URL), body)
    assert await stage.run(rate_hz=16000) == Finished("completed", 5000)
    assert np.concatenate(stage.heard).size == 80_000


async def test_a_plane_that_starts_late_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    body = wav_bytes(np.arange(20_000, dtype="<i2").tobytes())
    stage = Stage(PlaybackRequest(url=URL), body)
    async with trio.open_nursery() as nursery:

        async def late() -> None:
            await trio.sleep(30)
            await stage.plane()

        nursery.start_soon(late)
        finished = await run_playback(
            stage.playback, fetcher=stage.fetcher, blocking=inline, on_started=lambda: None
        )
    assert finished == Finished("completed", 2500)
    assert np.array_equal(np.concatenate(stage.heard), np.arange(20_000))


async def test_a_tone_plays_until_stopped_and_ignores_repeat(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(PlaybackRequest(tone="us_dial", repeat=1))

    async def stop() -> None:
        await trio.sleep(60.01)
        stage.playback.stop()

    finished = await stage.run(stop)
    assert (finished.reason, stage.requests, len(stage.started_at_ms)) == ("stopped", 0, 1)
    assert finished.played_ms == pytest.approx(60_000, abs=40)


async def test_an_unknown_tone_is_an_error_without_start() -> None:
    stage = Stage(PlaybackRequest(tone="xx_dial"))
    with pytest.raises(UnknownTone):
        await run_playback(
            stage.playback, fetcher=stage.fetcher, blocking=inline, on_started=stage._on_started
        )
    assert stage.started_at_ms == []
    assert stage.playback.finished


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", wav_bytes(b""), wav_bytes(b"\0" * 8, bits=8)])
async def test_a_200_that_is_not_audio_is_an_error_without_start(body: bytes) -> None:
    stage = Stage(PlaybackRequest(url=URL, repeat=-1), body)
    with pytest.raises(DecodeError):
        await run_playback(
            stage.playback, fetcher=stage.fetcher, blocking=inline, on_started=stage._on_started
        )
    assert stage.started_at_ms == []


async def test_a_failed_download_is_an_error_without_start() -> None:
    stage = Stage(PlaybackRequest(url=URL), status=404)
    with pytest.raises(FetchError, match="status 404"):
        await run_playback(
            stage.playback, fetcher=stage.fetcher, blocking=inline, on_started=stage._on_started
        )
    assert stage.started_at_ms == []
    assert stage.playback.finished


async def test_stop_before_the_start_ends_without_start(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(PlaybackRequest(url=URL))
    stage.playback.stop()
    assert await stage.run() == Finished("stopped", 0)
    assert (stage.started_at_ms, stage.requests) == ([], 0)


async def test_stop_during_the_download_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await trio.sleep(20)
        return httpx.Response(200, content=PROMPT)

    stage = Stage(PlaybackRequest(url=URL))
    stage.fetcher = Fetcher(FakeWeb(hang, public), blocking=inline)

    async def stop() -> None:
        await trio.sleep(1)
        stage.playback.stop()

    assert await stage.run(stop) == Finished("stopped", 0)
    assert trio.current_time() < 5
    assert stage.started_at_ms == []


async def test_cancelling_the_caller_stops_the_playback(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(PlaybackRequest(url=URL, repeat=-1))
    with trio.move_on_after(3) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.plane)
            await run_playback(
                stage.playback, fetcher=stage.fetcher, blocking=inline, on_started=lambda: None
            )
    assert scope.cancelled_caught
    assert stage.playback.end_reason == "stopped"
    assert stage.playback.played_ms > 2000


@pytest.mark.integration
async def test_the_decoder_runs_in_threads() -> None:
    stage = Stage(PlaybackRequest(url=URL))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.plane)
        finished = await run_playback(
            stage.playback, fetcher=stage.fetcher, blocking=ThreadRunner(2), on_started=lambda: None
        )
    assert finished == Finished("completed", 400)
