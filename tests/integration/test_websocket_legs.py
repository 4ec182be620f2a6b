"""WebSocket legs with real sockets: beside phones in rooms, alone, refused and lost."""

from __future__ import annotations

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.program import open_program
from tests.support.world import call_in, wait_for
from vb.config import Config
from vb.server import open_server

pytestmark = pytest.mark.integration


async def test_a_program_and_a_phone_hear_each_other_in_a_room(config: Config) -> None:
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            await call_in(server, phone, events, room="r")
            url = f"{server.url}/v1/legs/websocket?room_id=r&app_id=shop"
            async with open_program(url) as program:
                ringing = await wait_for(events, "leg.ringing", leg_type="websocket_in", app_id="shop")
                leg_id = ringing["leg_id"]
                await wait_for(events, "leg.connected", leg_id=leg_id, leg_type="websocket_in")
                await wait_for(events, "leg.joined_room", leg_id=leg_id, room_id="r")
                assert await program.frame("connected") == {
                    "type": "connected",
                    "leg_id": leg_id,
                    "participant_id": leg_id,
                    "sample_rate": 16000,
                    "format": "pcm_s16le",
                }
                await program.talk(900, 1.0)
                assert set(program.sizes) == {640}
                assert program.level(500) > 0.05
                assert program.level(900) < 0.005
                assert phone.tones(20) == {900}
                await server.call("delete_leg", id=leg_id)
                with trio.fail_after(5):
                    await program.closed.wait()
                assert program.close_code == 1000
            await wait_for(events, "leg.disconnected", leg_id=leg_id)
