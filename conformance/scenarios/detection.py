"""What is told from how legs sound: answering machines, their beep, and who speaks."""

from __future__ import annotations

import time

import trio

from conformance.expect import ABSENT, UUID, between, check, containing
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.vsi import Frame
from conformance.phones import Phone, answered, dialled, picked_up, refused, ringing
from conformance.registry import scenario
from conformance.world import World


async def verdict(world: World, leg_id: str, result: str, within_s: float = 4.0, **fields: object) -> Frame:
    frame = await world.event("amd.result", fields, leg_id=leg_id, result=result, within_s=within_s)
    for name in ("initial_silence_ms", "greeting_duration_ms", "total_analysis_ms"):
        value = frame[name]
        check(f"amd.result.{name}", value, between(0, 6000))
        check(f"amd.result.{name} in frames", isinstance(value, int) and value % 20, 0)
    return frame


async def _dialled(world: World, amd: Frame | None) -> Phone:
    phone, _ = await dialled(world, {"codecs": ["PCMU"], **({"amd": amd} if amd is not None else {})})
    await picked_up(phone)
    return phone


async def _greeted(world: World) -> None:
    """A short greeting and then silence: a person."""
    phone = await _dialled(world, {})
    await trio.sleep(0.4)
    phone.rtp.talk(400.0)
    await trio.sleep(0.6)
    phone.rtp.talk(None)
    await verdict(
        world,
        phone.leg_id,
        "human",
        initial_silence_ms=between(300, 540),
        greeting_duration_ms=between(600, 760),
        total_analysis_ms=between(1700, 2100),
    )
    await phone.hang_up()


async def _machine(world: World) -> None:
    """A long greeting and a beep: a machine."""
    phone = await _dialled(world, {"beep_timeout": 3000})
    phone.rtp.talk(400.0)
    await verdict(world, phone.leg_id, "machine", greeting_duration_ms=1500)
    start = time.monotonic()
    await trio.sleep(0.5)
    phone.rtp.talk(1000.0)
    beep = await world.event("amd.beep", leg_id=phone.leg_id)
    heard_ms = (time.monotonic() - start) * 1000
    check("beep_ms", beep["beep_ms"], between(520, heard_ms + 60))
    await world.no_event("amd.beep", for_s=0.4)
    await phone.hang_up()


async def _silent(world: World) -> Phone:
    """Silence; a run that another takes the place of tells nothing."""
    phone = await _dialled(world, {"initial_silence_timeout": 800})
    fields = {"initial_silence_ms": 800, "greeting_duration_ms": 0, "total_analysis_ms": 800}
    await verdict(world, phone.leg_id, "no_speech", **fields)
    await world.rest("POST", f"{phone.path}/amd", {}, status=200, expect={"status": "started"})
    again: Frame = {"id": phone.leg_id, "initial_silence_timeout": 500}
    await world.command("leg_amd_start", again, {"status": "started"})
    await verdict(world, phone.leg_id, "no_speech", initial_silence_ms=500)
    await world.no_event("amd.result", for_s=0.3)
    return phone


@scenario(
    "AMD: short burst then silence, long tone and a beep, silence, a superseded run, bad values, states"
)
async def amd(world: World) -> None:
    await _greeted(world)
    await _machine(world)
    phone = await _silent(world)
    uri = f"sip:bob@{world.ua.host_port}"
    for bad in ({"greeting_duration": -1}, {"total_analysis_time": 100}, {"greeting_duration": "x"}, "{"):
        assert isinstance(bad, dict | str)
        await world.rest("POST", f"{phone.path}/amd", bad, status=400)
        if isinstance(bad, dict):
            await world.rest("POST", "/v1/legs", {"type": "sip", "to": uri, "amd": bad}, status=400)
            await world.command_fails("leg_amd_start", {"id": phone.leg_id, **bad}, 400)
    await world.ua.no_call(0.2)
    await phone.hang_up()
    waiting = await ringing(world)
    body = containing("connected")
    await world.rest("POST", f"{waiting.path}/amd", {}, status=409, expect={"error": body})
    await waiting.call.cancel()
    await waiting.call.ack(await waiting.call.response(487))
    await world.disconnected(waiting.leg_id, "caller_cancel")


@scenario(
    "AMD: not_sure when time is up, nothing during early media, nothing after the hang-up, inbound legs"
)
async def amd_edges(world: World) -> None:
    phone = await answered(world, tone=400.0)
    limits = {"total_analysis_time": 1000, "greeting_duration": 5000, "initial_silence_timeout": 900}
    await world.rest("POST", f"{phone.path}/amd", limits, status=200)
    await verdict(world, phone.leg_id, "not_sure", total_analysis_ms=1000)
    await world.rest("POST", f"{phone.path}/mute", status=200)
    await world.rest("POST", f"{phone.path}/amd", {"greeting_duration": 400}, status=200)
    await verdict(world, phone.leg_id, "machine", greeting_duration_ms=400)
    await world.rest("POST", f"{phone.path}/amd", {}, status=200)
    await phone.hang_up()

    early, _ = await dialled(world, {"codecs": ["PCMU"], "amd": {"initial_silence_timeout": 300}})
    assert early.call.invite is not None
    early.rtp.talk(None)
    await early.call.reply(early.call.invite, 183, sdp=audio_sdp(early.rtp.port))
    await world.event("leg.early_media", leg_id=early.leg_id)
    await world.no_event("amd.result", for_s=0.7)
    await picked_up(early)
    await verdict(world, early.leg_id, "no_speech")
    world.order(("leg.connected", early.leg_id), ("amd.result", early.leg_id))
    await early.hang_up()
    none = await _dialled(world, None)
    none.rtp.talk(400.0)
    await world.no_event("amd.result", for_s=2.0)
    await none.hang_up()


async def _speaks(phone: Phone, on: bool, room_id: object = ABSENT) -> None:
    kind = "speaking.started" if on else "speaking.stopped"
    await phone.world.event(kind, {"room_id": room_id}, leg_id=phone.leg_id)


async def _talks(phone: Phone, on: bool, room_id: object = ABSENT) -> None:
    """Starts or stops a tone and waits for the event."""
    phone.rtp.talk(400.0 if on else None)
    await _speaks(phone, on, room_id)


@scenario(
    "Speaking: asked for at answer, tone on and off, mute while speaking, in a room, end while speaking"
)
async def speaking(world: World) -> None:
    phone = await ringing(world)
    await phone.answer({"speech_detection": True})
    await _talks(phone, True)
    start = time.monotonic()
    await _talks(phone, False)
    check("seconds from silence to speaking.stopped", time.monotonic() - start, between(0.2, 0.6))
    await _talks(phone, True)
    await world.rest("POST", f"{phone.path}/mute", status=200)
    await _speaks(phone, False)
    await world.no_event("speaking.started", for_s=0.3)
    await world.rest("DELETE", f"{phone.path}/mute", status=200)
    await _speaks(phone, True)
    await phone.join("sc-speak")
    await _talks(phone, False, "sc-speak")
    await _talks(phone, True, "sc-speak")
    await phone.call.bye()
    await _speaks(phone, False, "sc-speak")
    await world.event("leg.left_room", leg_id=phone.leg_id)
    await world.disconnected(phone.leg_id, "remote_bye", answered=True)
    world.order(
        ("speaking.stopped", "sc-speak"), ("leg.left_room", phone.leg_id), ("leg.disconnected", phone.leg_id)
    )


async def _one_word(world: World, phone: Phone, *, told: bool) -> None:
    phone.rtp.talk(400.0)
    if told:
        await _speaks(phone, True)
        await _talks(phone, False)
    else:
        await world.no_event("speaking.started", for_s=0.4)
    await phone.hang_up()


@scenario("Speaking: off unless asked for; a click of 40 ms is no speech; asked for in the create body")
async def speaking_asked(world: World) -> None:
    await _one_word(world, await answered(world), told=False)
    phone, event = await dialled(world, {"codecs": ["PCMU"], "speech_detection": True})
    check("leg.ringing", event, {"leg_id": UUID})
    await picked_up(phone)
    await trio.sleep(0.2)
    phone.rtp.talk(400.0)
    await trio.sleep(0.03)
    phone.rtp.talk(None)
    await world.no_event("speaking.started", for_s=0.4)
    await _one_word(world, phone, told=True)
    phone, _ = await dialled(world, {"codecs": ["PCMU"], "speech_detection": True})
    await refused(phone, 486, "busy")


@scenario(
    "Speaking: on for all by a setting, and turned off by a call; the answer's word wins over the setting",
    env={"SPEECH_DETECTION_ENABLED": "true"},
)
async def speaking_by_setting(world: World) -> None:
    await _one_word(world, await answered(world), told=True)
    phone = await ringing(world, "call2")
    await phone.answer({"speech_detection": False})
    await _one_word(world, phone, told=False)
    outbound, _ = await dialled(world, {"codecs": ["PCMU"], "speech_detection": False})
    await picked_up(outbound)
    await _one_word(world, outbound, told=False)
