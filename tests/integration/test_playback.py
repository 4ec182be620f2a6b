"""Playbacks of sources that are still sending, on real calls."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
import trio

from tests.media.support import sine, wav_bytes
from tests.support.phone import Phone, open_phone
from tests.support.world import Events, call_in, sip_uri, wait_for
from vb.build import DECODER_THREADS, DISK_THREADS
from vb.commands.views import PlaybackStart
from vb.config import Config
from vb.server import Server, open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration

BYTES_PER_S = 16_000
TONE_HZ = 700
OK = b"HTTP/1.1 200 OK\r\n\r\n"


def tone(seconds: float) -> bytes:
    return wav_bytes(sine(TONE_HZ, 8000, seconds).tobytes())


class Station:
    """A web server whose bodies arrive as a test says; the path chooses the pace."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0
        self.open = 0
        self.closed = trio.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    async def serve(self, stream: trio.SocketStream) -> None:
        self.asked += 1
        self.open += 1
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive_some(4096)
            await self._answer(stream, request.split(b" ")[1].decode().removeprefix("/"))
        except trio.BrokenResourceError:
            pass
        finally:
            self.open -= 1
            self.closed.set()
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream, path: str) -> None:
        name, _, seconds = path.partition("/")
        body = tone(float(seconds or 20))
        match name:
            case "quick":
                await stream.send_all(OK + body)
            case "paced":
                await self._pace(stream, body, 2 * BYTES_PER_S)
            case "broken":
                await stream.send_all(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:40_000])
                )
            case "paused":
                await stream.send_all(OK + body[:24_000])
                await trio.sleep(2.0)
                await stream.send_all(body[24_000:])
            case "dribble":
                await self._pace(stream, body, 2_000)

    async def _pace(self, stream: trio.SocketStream, body: bytes, bytes_per_s: int) -> None:
        await stream.send_all(OK)
        due = trio.current_time()
        for start in range(0, len(body), bytes_per_s // 50):
            await stream.send_all(body[start : start + bytes_per_s // 50])
            due += 0.02
            await trio.sleep_until(due)


@asynccontextmanager
async def open_station() -> AsyncIterator[Station]:
    station = Station()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        station.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, station.serve, [listener])
        yield station
        nursery.cancel_scope.cancel()


class Scene:
    """A server with one call, and a station to play from."""

    def __init__(self, server: Server, events: Events, phone: Phone, leg: str, station: Station) -> None:
        self.server, self.events, self.phone, self.leg, self.station = server, events, phone, leg, station

    async def play(self, path: str, **fields: object) -> str:
        started = await self.server.call("leg_play_start", id=self.leg, url=self.station.url(path), **fields)
        assert isinstance(started, PlaybackStart)
        return started.playback_id

    async def told(self, kind: str, playback_id: str) -> dict[str, object]:
        return await wait_for(self.events, f"playback.{kind}", playback_id=playback_id)

    def silent_ms(self, since: int) -> int:
        """How much of what the phone heard since a frame was silence."""
        return sum(20 for frame in self.phone.heard[since:] if np.abs(frame.astype(int)).max() < 100)


@asynccontextmanager
async def open_scene(config: Config, room: str | None = None) -> AsyncIterator[Scene]:
    async with open_station() as station, open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events, room)
            yield Scene(server, events, phone, leg, station)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_source_at_twice_its_pace_is_heard_after_a_second_and_repeated(config: Config) -> None:
    async with open_scene(config) as scene:
        asked_at = trio.current_time()
        playback = await scene.play("paced/4", repeat=2)
        await scene.told("started", playback)
        assert trio.current_time() - asked_at < 1.5
        await scene.phone.hear(10)
        begun = len(scene.phone.heard)
        finished = await scene.told("finished", playback)
        assert (finished["reason"], finished["played_ms"]) == ("completed", 8000)
        assert scene.station.asked == 1
        assert scene.silent_ms(begun) <= 60
        assert scene.phone.tones() == {TONE_HZ}


async def test_a_pause_of_the_source_is_silence_and_the_rest_follows(config: Config) -> None:
    async with open_scene(config) as scene:
        playback = await scene.play("paused/3")
        await scene.told("started", playback)
        await scene.phone.hear(10)
        begun = len(scene.phone.heard)
        finished = await scene.told("finished", playback)
        assert (finished["reason"], finished["played_ms"]) == ("completed", 3000)
        assert 200 < scene.silent_ms(begun) < 1500


async def test_a_connection_that_breaks_is_an_error_after_what_had_arrived(config: Config) -> None:
    async with open_scene(config) as scene:
        playback = await scene.play("broken/20")
        await scene.told("started", playback)
        started_at = trio.current_time()
        told = await scene.told("error", playback)
        assert told["error"] == "fetch failed: the server broke the protocol"
        assert trio.current_time() - started_at == pytest.approx(2.5, abs=0.4)


async def test_a_playback_to_a_ringing_call_ends_in_its_time_and_is_not_heard_after_the_answer(
    config: Config,
) -> None:
    async with open_station() as station, open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            call = phone.dial(sip_uri(server))
            leg = str((await wait_for(events, "leg.ringing"))["leg_id"])
            started = await server.call("leg_play_start", id=leg, url=station.url("quick/1.5"))
            assert isinstance(started, PlaybackStart)
            await wait_for(events, "playback.started", playback_id=started.playback_id)
            started_at = trio.current_time()
            finished = await wait_for(events, "playback.finished", playback_id=started.playback_id)
            assert (finished["reason"], finished["played_ms"]) == ("completed", 1500)
            assert trio.current_time() - started_at == pytest.approx(1.5, abs=0.3)
            await server.call("answer_leg", id=leg)
            phone.use_answer((await phone.wait_for(call, sip.Answered)).sdp)
            await phone.hear(40)
            assert phone.tones() == set()


async def test_a_stop_in_the_middle_closes_the_connection(config: Config) -> None:
    async with open_scene(config) as scene:
        before = descriptors()
        playback = await scene.play("paced/60")
        await scene.told("started", playback)
        await scene.phone.hear(20)
        await scene.server.call("leg_play_stop", id=scene.leg, playback_id=playback)
        with trio.fail_after(0.5):
            finished = await scene.told("finished", playback)
            await scene.station.closed.wait()
        assert finished["reason"] == "stopped"
        assert 200 <= int(str(finished["played_ms"])) < 1000
        assert descriptors() <= before


@pytest.mark.parametrize("owner", ["leg", "room"])
async def test_the_end_of_the_owner_closes_the_connection(config: Config, owner: str) -> None:
    async with open_scene(config, "r") as scene:
        before = descriptors()
        name = scene.leg if owner == "leg" else "r"
        started = await scene.server.call(f"{owner}_play_start", id=name, url=scene.station.url("paced/60"))
        assert isinstance(started, PlaybackStart)
        await scene.told("started", started.playback_id)
        await scene.server.call(f"delete_{owner}", id=name)
        with trio.fail_after(1):
            finished = await scene.told("finished", started.playback_id)
            await scene.station.closed.wait()
        assert finished["reason"] == "stopped"
        await wait_for(scene.events, "leg.disconnected")
        assert descriptors() <= before


async def test_twenty_slow_sources_do_not_hold_up_a_quick_one(config: Config) -> None:
    idle = threading.active_count()  # threads of tests before wait for a while for more work
    async with open_scene(config) as scene, open_phone(900) as other:
        second = await call_in(scene.server, other, scene.events)
        for leg in (scene.leg, second):
            for _ in range(10):
                await scene.server.call("leg_play_start", id=leg, url=scene.station.url("dribble/30"))
        await scene.phone.hear(50)
        assert scene.station.open == 20
        asked_at = trio.current_time()
        playback = await scene.play("quick/1.5")
        await scene.told("started", playback)
        assert trio.current_time() - asked_at < 0.5
        finished = await scene.told("finished", playback)
        assert finished["played_ms"] == 1500
        assert threading.active_count() <= idle + DECODER_THREADS + DISK_THREADS + 4
