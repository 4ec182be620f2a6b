"""Programs that hear a room without being a leg."""

from __future__ import annotations

import pytest
import trio
from trio_websocket import ConnectionRejected

from tests.support.phone import open_phone
from tests.support.program import open_program
from tests.support.world import call_in, rest_of
from vb.config import Config
from vb.mixer.columns import PlaneFull
from vb.mixer.port import StreamPort
from vb.server import open_server
from vb.wsleg.kind import WebSocketLegs

pytestmark = pytest.mark.integration


async def test_listeners_and_a_phone_hear_each_other_and_nobody_himself(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            await server.call("create_room", id="r", sample_rate=48000)
            await call_in(server, phone, events, room="r")
            url = f"{server.url}/v1/rooms/r/ws"
            async with (
                open_program(url, rate_hz=48000, json_audio=True) as one,
                open_program(url, rate_hz=48000, json_audio=True) as other,
                trio.open_nursery() as nursery,
            ):
                welcome = await one.frame("connected")
                assert welcome.pop("participant_id").startswith("ws-")
                assert welcome == {"type": "connected", "sample_rate": 48000, "format": "pcm_s16le"}
                nursery.start_soon(one.talk, 900, 1.0)
                nursery.start_soon(other.talk, 1300, 1.0)
                await trio.sleep(0.8)
                assert set(one.sizes) == {1920}
                for heard, own, mate in ((one, 900, 1300), (other, 1300, 900)):
                    assert heard.level(500) > 0.05
                    assert heard.level(mate) > 0.05
                    assert heard.level(own) < 0.005
                assert phone.tones(20) == {900, 1300}
                room = await server.call("get_room", id="r")
                assert len(room.participants) == 1  # type: ignore[union-attr]
                await one.send({"type": "ping", "event_id": 3})
                assert await one.frame("pong") == {"type": "pong", "event_id": 3}
                await one.send({"type": "stop"})
                with trio.fail_after(3):
                    await one.closed.wait()
                assert one.close_code == 1000
                nursery.cancel_scope.cancel()
            assert await rest_of(events) == []


async def test_many_listeners_share_one_encoding_of_the_mix(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            await call_in(server, phone, events, room="r")
            kind = server.engine.kinds.get("websocket")
            assert isinstance(kind, WebSocketLegs)
            room = server.engine.rooms.get("r")
            async with trio.open_nursery() as nursery:
                programs = []

                async def listen() -> None:
                    async with open_program(f"{server.url}/v1/rooms/r/ws", json_audio=True) as program:
                        programs.append(program)
                        await trio.sleep_forever()

                for _ in range(8):
                    nursery.start_soon(listen)
                await trio.sleep(0.5)
                frames = kind.audience(room).frames
                made, heard = frames.made, sum(len(program.sizes) for program in programs)
                await trio.sleep(0.5)
                made = frames.made - made
                heard = sum(len(program.sizes) for program in programs) - heard
                assert heard >= 8 * 20
                assert made <= heard / 7
                assert all(program.level(500) > 0.05 for program in programs)
                nursery.cancel_scope.cancel()


async def test_alone_in_a_room_a_listener_hears_nothing(config: Config) -> None:
    async with open_server(config) as server:
        await server.call("create_room", id="r")
        async with (
            open_program(f"{server.url}/v1/rooms/r/ws", json_audio=True) as one,
            open_program(f"{server.url}/v1/rooms/r/ws", json_audio=True) as other,
        ):
            await one.talk(900, 0.3)
            assert (one.sizes, other.sizes) == ([], [])


async def test_the_room_s_end_closes_it_with_1001(config: Config) -> None:
    async with open_server(config) as server:
        await server.call("create_room", id="r")
        async with open_program(f"{server.url}/v1/rooms/r/ws") as one:
            await one.frame("connected")
            await server.call("delete_room", id="r")
            with trio.fail_after(3):
                await one.closed.wait()
            assert one.close_code == 1001
            assert server.engine.plane.ports == 0


async def test_a_listener_that_fails_in_the_mixer_is_told_and_is_gone_alone(config: Config) -> None:
    class Broken:
        finished = False

        def take(self, rate_hz: int) -> None:
            raise RuntimeError("broken")

    async with open_server(config) as server:
        await server.call("create_room", id="r")
        async with (
            open_program(f"{server.url}/v1/rooms/r/ws") as one,
            open_program(f"{server.url}/v1/rooms/r/ws") as other,
        ):
            await one.frame("connected")
            await other.frame("connected")
            kind = server.engine.kinds.get("websocket")
            assert isinstance(kind, WebSocketLegs)
            port = next(iter(kind.listeners))
            assert isinstance(port, StreamPort)
            port.source = Broken()
            with trio.fail_after(3):
                await one.closed.wait()
            assert one.close_code == 1011
            assert not other.closed.is_set()
            assert len(kind.listeners) == 1


async def test_a_listener_for_whom_the_mixer_has_no_place_is_told_to_come_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_server(config) as server:
        await server.call("create_room", id="r")

        def full(*given: object, **named: object) -> StreamPort:
            raise PlaneFull("all media slots are in use")

        with monkeypatch.context() as patched:
            patched.setattr(server.engine.plane, "open_stream", full)
            async with open_program(f"{server.url}/v1/rooms/r/ws") as refused:
                with trio.fail_after(3):
                    await refused.closed.wait()
            assert refused.close_code == 1013
        kind = server.engine.kinds.get("websocket")
        assert isinstance(kind, WebSocketLegs)
        assert not kind.listeners
        async with open_program(f"{server.url}/v1/rooms/r/ws") as one:
            await one.frame("connected")


async def test_a_room_that_is_not_there_is_404(config: Config) -> None:
    async with open_server(config) as server:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with open_program(f"{server.url}/v1/rooms/nowhere/ws"):
                pass
        found: BaseException = caught.value
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        assert isinstance(found, ConnectionRejected)
        assert found.status_code == 404
