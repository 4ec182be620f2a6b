"""Answering machine detection and speaking events through a server in this process, over loopback."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
import trio

from tests.support.phone import Phone, in_use
from tests.support.world import rest_of, sip_uri, wait_for
from vb.channels import Channel
from vb.codecs.g711 import PCM_TO_ULAW
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotFound
from vb.events.base import Published
from vb.rtp.packet import build_header
from vb.server import Server, open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration

Events = Channel[Published]


class ScriptedPhone(Phone):
    """A phone that says (Hz or None, milliseconds) in turn from its answer on, and silence after that."""

    def __init__(self, *script: tuple[float | None, int]) -> None:
        super().__init__(0)
        self.script = [hz for hz, ms in script for _ in range(ms // 20)]
        self.said = 0

    def say(self, hz: float | None) -> None:
        """Say this for ever, from now on."""
        self.script = [hz] * 10_000
        self.said = 0

    async def _send(self) -> None:
        assert self.negotiation is not None
        agreed = self.negotiation.agreed
        assert agreed is not None
        assert agreed.remote_rtp is not None
        target = (agreed.remote_rtp.host, agreed.remote_rtp.port)
        due = trio.current_time()
        for index in range(10_000):
            hz = self.script[self.said] if self.said < len(self.script) else None
            self.said += 1
            phase = 2 * np.pi * (hz or 0) * np.arange(index * 160, (index + 1) * 160) / 8000
            pcm = (8000 * np.sin(phase)).astype(np.int16)
            payload = PCM_TO_ULAW[pcm.view(np.uint16)].tobytes()
            await self._socket.sendto(build_header(0, index & 0xFFFF, index * 160, 7) + payload, target)
            due += 0.02
            await trio.sleep_until(due)


def scripted(*script: tuple[float | None, int]) -> AbstractAsyncContextManager[ScriptedPhone]:
    return in_use(ScriptedPhone(*script))


async def call_out(server: Server, phone: Phone, events: Events, **fields: Any) -> str:
    """Call the phone, which answers at once."""
    leg = await server.call("create_leg", type="sip", to=phone.uri, **fields)
    assert isinstance(leg, Leg)
    with trio.fail_after(5):
        await phone.arrived.wait()
    phone.answer(phone.calls[0])
    await wait_for(events, "leg.connected")
    return leg.id


async def call_in(server: Server, phone: Phone, events: Events, **answer: Any) -> str:
    """Let the phone call, and answer it."""
    call = phone.dial(sip_uri(server))
    leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
    await server.call("answer_leg", id=leg_id, **answer)
    answered = await phone.wait_for(call, sip.Answered)
    phone.use_answer(answered.sdp)
    await wait_for(events, "leg.connected")
    return leg_id


class TestAmd:
    async def test_a_short_greeting_is_a_person(self, config: Config) -> None:
        async with open_server(config) as server, scripted((None, 400), (400, 500)) as phone:
            with server.events() as events:
                leg_id = await call_out(server, phone, events, amd={}, app_id="shop")
                found = await wait_for(events, "amd.result")
        assert (found["leg_id"], found["app_id"], found["result"]) == (leg_id, "shop", "human")
        assert found["greeting_duration_ms"] == pytest.approx(540, abs=60)
        assert found["total_analysis_ms"] == pytest.approx(420 + 540 + 800, abs=120)
        assert all(value % 20 == 0 for name, value in found.items() if name.endswith("_ms"))

    async def test_a_machine_and_its_beep_are_found_across_a_move(self, config: Config) -> None:
        script = ((None, 200), (400, 2000), (None, 300), (1000, 400))
        async with open_server(config) as server, scripted(*script) as phone:
            with server.events() as events:
                await server.call("create_room", id="wide", sample_rate=48000)
                leg_id = await call_out(server, phone, events, amd={"beep_timeout": 3000}, room_id="narrow")
                await server.call("mute_leg", id=leg_id)
                await server.call("add_leg_to_room", room_id="wide", leg_id=leg_id)
                found = await wait_for(events, "amd.result")
                assert found["result"] == "machine"
                assert found["greeting_duration_ms"] == 1500
                beep = await wait_for(events, "amd.beep")
                assert beep["leg_id"] == leg_id
                assert beep["beep_ms"] == pytest.approx(500 + 300 + 80, abs=140)
                assert [item["type"] for item in await rest_of(events)] == []

    async def test_early_media_is_not_looked_at(self, config: Config) -> None:
        async with open_server(config) as server, scripted((400, 600)) as phone:
            with server.events() as events:
                limits = {"initial_silence_timeout": 700}
                await server.call("create_leg", type="sip", to=phone.uri, amd=limits)
                with trio.fail_after(5):
                    await phone.arrived.wait()
                call = phone.calls[0]
                assert phone.negotiation is not None
                assert call.offer is not None
                answer = phone.negotiation.receive_offer(call.offer)
                call.progress(answer)
                phone.talk()
                await wait_for(events, "leg.early_media")
                await phone.hear(45)  # by then it has said all of it
                call.accept(answer)
                await wait_for(events, "leg.connected")
                found = await wait_for(events, "amd.result")
        assert (found["result"], found["initial_silence_ms"]) == ("no_speech", 700)

    async def test_it_can_be_started_on_an_incoming_call_and_replaces_the_one_before(
        self, config: Config
    ) -> None:
        async with open_server(config) as server, scripted() as phone:
            with server.events() as events:
                leg_id = await call_in(server, phone, events)
                for limit in (400, 600):
                    started = await server.call("leg_amd_start", id=leg_id, initial_silence_timeout=limit)
                    assert started.model_dump() == {"status": "started"}  # type: ignore[union-attr]  # no list
                found = await wait_for(events, "amd.result")
                assert (found["result"], found["total_analysis_ms"]) == ("no_speech", 600)
                assert await rest_of(events, 0.5) == []

    async def test_hanging_up_in_the_middle_says_nothing(self, config: Config) -> None:
        async with open_server(config) as server, scripted((400, 900)) as phone:
            with server.events() as events:
                await call_out(server, phone, events, amd={})
                await phone.hear(20)
                phone.calls[0].hangup()
                kinds = [item["type"] for item in await rest_of(events, 1.0)]
        assert kinds == ["leg.disconnected"]

    async def test_without_amd_nothing_is_told(self, config: Config) -> None:
        async with open_server(config) as server, scripted((400, 2000)) as phone:
            with server.events() as events:
                await call_out(server, phone, events)
                assert await rest_of(events, 2.0) == []

    @pytest.mark.parametrize(
        "amd", [{"greeting_duration": -1}, {"total_analysis_time": 100}, {"beep_timeout": "soon"}]
    )
    async def test_values_that_cannot_be_used_create_nothing(
        self, config: Config, amd: dict[str, object]
    ) -> None:
        async with open_server(config) as server, scripted() as phone:
            with server.events() as events:
                with pytest.raises(BadRequest, match=next(iter(amd))):
                    await server.call("create_leg", type="sip", to=phone.uri, room_id="new", amd=amd)
                assert await rest_of(events) == []
                assert list(server.engine.rooms) == []
                assert phone.calls == []

    async def test_what_cannot_be_analysed_is_refused(self, config: Config) -> None:
        async with open_server(config) as server, scripted() as phone:
            with server.events() as events:
                with pytest.raises(NotFound):
                    await server.call("leg_amd_start", id="nobody")
                phone.dial(sip_uri(server))
                leg_id = (await wait_for(events, "leg.ringing"))["leg_id"]
                with pytest.raises(Conflict, match="ringing"):
                    await server.call("leg_amd_start", id=leg_id)
                with pytest.raises(BadRequest, match="after_greeting_silence"):
                    await server.call("leg_amd_start", id=leg_id, after_greeting_silence=-20)


class TestSpeaking:
    async def test_an_answer_may_ask_for_it_and_the_end_is_told_in_its_room(self, config: Config) -> None:
        async with open_server(config) as server, scripted() as phone:
            with server.events() as events:
                leg_id = await call_in(server, phone, events, speech_detection=True)
                phone.say(400)
                first = await wait_for(events, "speaking.started")
                assert "room_id" not in first
                phone.say(None)
                assert "room_id" not in await wait_for(events, "speaking.stopped")
                await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
                phone.say(400)
                assert (await wait_for(events, "speaking.started"))["room_id"] == "r"
                phone.calls[0].hangup()
                seen = await rest_of(events)
        assert [(item["type"], item.get("room_id")) for item in seen] == [
            ("speaking.stopped", "r"),
            ("leg.left_room", "r"),
            ("leg.disconnected", None),
        ]

    async def test_mute_ends_it_at_once(self, config: Config) -> None:
        async with open_server(config) as server, scripted((400, 60_000)) as phone:
            with server.events() as events:
                leg_id = await call_in(server, phone, events, speech_detection=True)
                await wait_for(events, "speaking.started")
                await server.call("mute_leg", id=leg_id)
                kinds = [item["type"] for item in await rest_of(events, 0.3)]
                assert kinds == ["leg.muted", "speaking.stopped"]
                await server.call("unmute_leg", id=leg_id)
                await wait_for(events, "speaking.started")

    @pytest.mark.parametrize(
        ("server_setting", "call_setting", "told"),
        [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
    )
    @pytest.mark.parametrize("direction", ["in", "out"])
    async def test_a_calls_own_setting_beats_the_servers(
        self,
        config: Config,
        server_setting: bool,
        call_setting: bool | None,
        told: bool,
        direction: str,
    ) -> None:
        speech = config.speech.model_copy(update={"detection": server_setting})
        config = config.model_copy(update={"speech": speech})
        async with open_server(config) as server, scripted((400, 60_000)) as phone:
            with server.events() as events:
                place = call_in if direction == "in" else call_out
                await place(server, phone, events, speech_detection=call_setting)
                kinds = [item["type"] for item in await rest_of(events, 0.4)]
        assert kinds == (["speaking.started"] if told else [])
