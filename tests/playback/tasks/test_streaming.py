"""Playbacks of sources that send while they are played."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import httpx
import numpy as np
import pytest
import trio
import trio.testing

from tests.media.support import inline, sine, wav_bytes
from tests.media.test_decode import mp3_bytes
from tests.support.web import FakeWeb
from vb.blocking import Blocking
from vb.codecs.pcm import Pcm
from vb.media.errors import DecodeError, FetchError, FetchLimit
from vb.playback.player import Finished, Playback, PlaybackRequest
from vb.playback.tasks.download import FetchLimits
from vb.playback.tasks.fetch import Fetcher
from vb.playback.tasks.player import run_playback

T = TypeVar("T")
URL = "http://station.example/live"
BYTES_PER_S = 16_000


async def public(host: str, port: int) -> Sequence[str]:
    return ["8.8.8.8"]


class Source:
    """A server that sends bytes at a steady pace, may pause, break, or never end."""

    def __init__(
        self,
        data: bytes,
        bytes_per_s: float,
        *,
        pause_at: int = -1,
        pause_s: float = 0.0,
        breaks: bool = False,
        then_silent: bool = False,
        goes_on: bool = False,
    ) -> None:
        self.data = data
        self.bytes_per_s = bytes_per_s
        self.pause_at, self.pause_s = pause_at, pause_s
        self.breaks, self.then_silent, self.goes_on = breaks, then_silent, goes_on
        self.sent = self.requests = 0
        self.closed_at: float | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(200, content=self._body())

    async def _body(self) -> AsyncIterator[bytes]:
        portion = max(1, int(self.bytes_per_s * 0.02))
        try:
            while self.sent < len(self.data) or self.goes_on:
                if self.sent <= self.pause_at < self.sent + portion:
                    await trio.sleep(self.pause_s)
                await trio.sleep(portion / self.bytes_per_s)
                chunk = self.data[self.sent : self.sent + portion] or bytes(portion)
                self.sent += len(chunk)
                yield chunk
            if self.breaks:
                raise httpx.ReadError("reset")
            if self.then_silent:
                await trio.sleep_forever()
        finally:
            self.closed_at = trio.current_time()


class Stage:
    """A playback of a source, with the plane that takes its frames."""

    def __init__(
        self,
        source: Source,
        *,
        repeat: int = 0,
        mime_type: str | None = None,
        limits: FetchLimits | None = None,
        blocking: Blocking = inline,
    ) -> None:
        self.playback = Playback(PlaybackRequest(url=URL, repeat=repeat, mime_type=mime_type))
        self.starts: list[float] = []
        self.ended_at = 0.0
        self.silences = 0
        self._heard: list[Pcm] = [np.zeros(0, np.int16)]
        self._fetcher = Fetcher(FakeWeb(source.answer, public), blocking=blocking, limits=limits)
        self._blocking = blocking

    @property
    def heard(self) -> Pcm:
        return np.concatenate(self._heard)

    async def _plane(self) -> None:
        silent = True
        for tick in range(10**9):
            frame = self.playback.take(8000)
            if frame is not None:
                self._heard.append(frame)
            self.silences += frame is None and not silent
            silent = frame is None
            await trio.sleep_until((tick + 1) * 0.02)

    async def run(self, stop_at: float = 1e9) -> Finished:
        """Play to the end.

        Raises:
            PlaybackError: as `run_playback`.
        """
        error: FetchError | DecodeError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._plane)
            nursery.start_soon(self._stop, stop_at)
            try:
                return await run_playback(
                    self.playback, fetcher=self._fetcher, blocking=self._blocking, on_started=self._on_started
                )
            except (FetchError, DecodeError) as failed:
                error = failed
            finally:
                self.ended_at = trio.current_time()
                nursery.cancel_scope.cancel()
        assert error is not None
        raise error

    async def _stop(self, at: float) -> None:
        await trio.sleep_until(at)
        self.playback.stop()

    def _on_started(self) -> None:
        self.starts.append(trio.current_time())


def ramp(seconds: float) -> Pcm:
    """Audio in which every sample of a few seconds is another."""
    return (np.arange(int(8000 * seconds)) % 32_000 + 1).astype(np.int16)


def raw(seconds: float) -> bytes:
    return ramp(seconds).tobytes()


RAW = "audio/pcm;rate=8000"


async def test_it_starts_when_a_second_is_there(autojump_clock: trio.testing.MockClock) -> None:
    source = Source(wav_bytes(raw(20)), 2 * BYTES_PER_S)
    stage = Stage(source)
    assert await stage.run() == Finished("completed", 20_000, 0)
    assert stage.starts == [pytest.approx(0.53, abs=0.1)]
    assert np.array_equal(stage.heard, ramp(20))


async def test_a_source_at_the_pace_of_the_audio_is_played_whole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(wav_bytes(raw(30)), BYTES_PER_S))
    assert await stage.run() == Finished("completed", 30_000, 0)
    assert stage.starts == [pytest.approx(1.03, abs=0.1)]
    assert np.array_equal(stage.heard, ramp(30))


async def test_an_mp3_is_known_by_its_first_bytes_and_played_while_it_arrives(
    autojump_clock: trio.testing.MockClock,
) -> None:
    data = mp3_bytes(sine(1000, 44_100, 20.0), 44_100)
    stage = Stage(Source(data, len(data) / 20))
    finished = await stage.run()
    assert (finished.reason, finished.underruns) == ("completed", 0)
    assert finished.played_ms == pytest.approx(20_000, abs=100)
    assert stage.starts[0] < 2


async def test_a_body_shorter_than_the_start_takes_is_played_when_it_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(0.7), BYTES_PER_S), mime_type=RAW)
    assert await stage.run() == Finished("completed", 700)
    assert stage.starts == [pytest.approx(0.7, abs=0.05)]


async def test_a_pause_is_heard_as_silence_and_nothing_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(10), BYTES_PER_S, pause_at=5 * BYTES_PER_S, pause_s=7.0), mime_type=RAW)
    finished = await stage.run()
    assert (finished.reason, finished.played_ms) == ("completed", 10_000)
    assert 20 * finished.underruns == pytest.approx(6_500, abs=600)
    assert stage.ended_at == pytest.approx(18, abs=0.6)
    assert len(stage.starts) == 1
    assert np.array_equal(stage.heard, ramp(10))


async def test_after_a_pause_it_goes_on_with_half_a_second_at_least(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(10), BYTES_PER_S / 2), mime_type=RAW)
    finished = await stage.run()
    assert finished.played_ms == 10_000
    assert 10 < stage.silences <= 10_000 / 500 + 1


async def test_what_arrived_before_a_failure_is_played_before_the_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(6.3), 4 * BYTES_PER_S, breaks=True), mime_type=RAW, repeat=5)
    with pytest.raises(FetchError, match="connection lost"):
        await stage.run()
    assert len(stage.starts) == 1
    assert stage.ended_at == pytest.approx(6.3 + stage.starts[0], abs=0.1)
    assert np.array_equal(stage.heard[: 8000 * 6], ramp(6.3)[: 8000 * 6])
    assert stage.playback.played_ms == 6300


async def test_a_source_that_falls_silent_for_good_is_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(6), 4 * BYTES_PER_S, then_silent=True), mime_type=RAW)
    with pytest.raises(FetchError, match="too slowly"):
        await stage.run()
    assert (len(stage.starts), stage.playback.played_ms) == (1, 6000)
    assert 15 < stage.ended_at < 18


@pytest.mark.parametrize("data", [b"", b"RIFF", wav_bytes(raw(0.9), data_size=100_000)])
async def test_a_failure_before_the_start_is_an_error_alone(
    autojump_clock: trio.testing.MockClock, data: bytes
) -> None:
    stage = Stage(Source(data, BYTES_PER_S, breaks=True))
    with pytest.raises(FetchError, match="connection lost"):
        await stage.run()
    assert (stage.starts, stage.playback.played_ms) == ([], 0)


async def test_what_is_no_audio_is_an_error_alone_and_not_taken_to_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = Source(b"<html>", BYTES_PER_S, goes_on=True)
    stage = Stage(source)
    with pytest.raises(DecodeError, match="not a WAV file"):
        await stage.run()
    assert stage.starts == []
    assert source.closed_at is not None
    assert source.sent < 5000


async def test_damage_after_the_start_is_an_error_after_it(autojump_clock: trio.testing.MockClock) -> None:
    frame = bytes.fromhex("fffb50c4") + b"\xff" * 204
    stage = Stage(Source(mp3_bytes(sine(500, 44_100, 5.0), 44_100) + frame * 300, 8000))
    with pytest.raises(DecodeError, match="damaged MP3"):
        await stage.run()
    assert len(stage.starts) == 1


async def test_a_station_plays_until_the_cap_on_its_size(autojump_clock: trio.testing.MockClock) -> None:
    source = Source(b"", BYTES_PER_S, goes_on=True)
    stage = Stage(source, mime_type=RAW, limits=FetchLimits(max_bytes=60 * BYTES_PER_S))
    with pytest.raises(FetchLimit, match="larger than 960000 bytes"):
        await stage.run()
    assert len(stage.starts) == 1
    assert stage.ended_at == pytest.approx(60, abs=0.5)
    assert stage.playback.played_ms == pytest.approx(59_000, abs=600)


async def test_a_flood_beyond_the_cap_is_not_played_for_hours(autojump_clock: trio.testing.MockClock) -> None:
    source = Source(b"", 10_000_000, goes_on=True)
    stage = Stage(source, mime_type=RAW, limits=FetchLimits(max_bytes=30_000_000))
    with pytest.raises(FetchLimit):
        await stage.run()
    assert stage.ended_at == pytest.approx(3, abs=0.5)


async def test_a_source_at_its_pace_may_take_longer_than_a_download(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(60), BYTES_PER_S), mime_type=RAW, limits=FetchLimits(total_timeout_s=5.0))
    assert await stage.run() == Finished("completed", 60_000)


async def test_a_source_slower_than_its_audio_has_its_time_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stage = Stage(Source(raw(600), BYTES_PER_S / 2), mime_type=RAW, limits=FetchLimits(total_timeout_s=30.0))
    with pytest.raises(FetchLimit, match="not complete after"):
        await stage.run()
    assert stage.ended_at == pytest.approx(60, abs=2)


async def test_stop_in_the_middle_closes_the_connection_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = Source(raw(60), BYTES_PER_S)
    stage = Stage(source, mime_type=RAW)
    finished = await stage.run(stop_at=5.01)
    assert finished.reason == "stopped"
    assert finished.played_ms == pytest.approx(4_000, abs=100)
    assert source.closed_at == pytest.approx(5.01, abs=0.05)


async def test_stop_during_a_pause_is_obeyed_at_once(autojump_clock: trio.testing.MockClock) -> None:
    stage = Stage(Source(raw(60), BYTES_PER_S, pause_at=3 * BYTES_PER_S, pause_s=10.0), mime_type=RAW)
    finished = await stage.run(stop_at=9.01)
    assert finished.reason == "stopped"
    assert finished.played_ms == pytest.approx(2750, abs=250)
    assert stage.ended_at == pytest.approx(9.01, abs=0.05)


async def test_repetition_of_a_streamed_source_has_no_gap_and_one_request(
    autojump_clock: trio.testing.MockClock,
) -> None:
    source = Source(wav_bytes(raw(7)), 2 * BYTES_PER_S)
    stage = Stage(source, repeat=3)
    assert await stage.run() == Finished("completed", 21_000, 0)
    assert (source.requests, len(stage.starts)) == (1, 1)
    assert np.array_equal(stage.heard, np.tile(ramp(7), 3))


@pytest.mark.parametrize("repeat", [0, 3])
@pytest.mark.parametrize("ending", ["goes_on", "breaks", "then_silent"])
async def test_what_follows_the_audio_of_a_wav_does_not_matter(
    autojump_clock: trio.testing.MockClock, ending: str, repeat: int
) -> None:
    source = Source(wav_bytes(raw(3)) + bytes(2000), BYTES_PER_S, **{ending: True})
    stage = Stage(source, repeat=repeat)
    assert await stage.run() == Finished("completed", 3000 * max(1, repeat), 0)
    assert source.closed_at is not None
    assert source.closed_at < 3.5


@pytest.mark.parametrize("promised", [0, 1_000_000, 0xFFFF_FFFF])
async def test_a_wav_with_a_wrong_size_is_played_as_far_as_it_goes(
    autojump_clock: trio.testing.MockClock, promised: int
) -> None:
    data = wav_bytes(raw(3), data_size=promised, riff_size=0)
    assert await Stage(Source(data, BYTES_PER_S)).run() == Finished("completed", 3000, 0)


async def test_waiting_for_a_source_costs_no_calls(autojump_clock: trio.testing.MockClock) -> None:
    calls: list[float] = []

    async def counted(function: Callable[[], T], /) -> T:
        calls.append(trio.current_time())
        return await inline(function)

    source = Source(raw(10), BYTES_PER_S, pause_at=5 * BYTES_PER_S, pause_s=10.0)
    await Stage(source, mime_type=RAW, blocking=counted).run()
    assert len(calls) <= 10 / 0.5 + 4
    assert not [at for at in calls if 6 < at < 14.9]
