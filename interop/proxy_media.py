"""Two servers that call each other through the proxy: reliable early media, and tones both ways."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import trio

from conformance.expect import Difference
from conformance.peers.measure import Pcm, tones_of
from interop.proxy_world import End, Scenario, World

LISTEN_S = 2.5
JUDGED_S = 1.0
TONES_HZ = {"us_dial": (350, 440), "jp_dial": (400,), "au_dial": (400, 450)}


def _near(found: list[int], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(
        abs(got - hz) <= 8 for got, hz in zip(found, sorted(wanted), strict=True)
    )


def _last_second(path: Path, channel: int) -> tuple[Pcm, int]:
    with wave.open(str(path)) as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, channels)
    return pcm[-int(rate_hz * JUDGED_S) :, channel], rate_hz


async def _pair(world: World, caller: End, callee: End, to: str, name: str, **fields: object) -> list[str]:
    """A connected call between the servers, with reliable early media before the answer."""
    leg_id = await caller.dial(to, **fields)
    other = await callee.rung(name)
    await callee.app.command("leg_early_media", id=other)
    await caller.event(leg_id, "leg.early_media")
    await callee.app.command("answer_leg", id=other)
    await caller.event(leg_id, "leg.connected")
    await callee.event(other, "leg.connected")
    return [leg_id, other]


async def _check_prack(world: World, what: str, name: str, transport: str) -> None:
    """The caller's PRACK came over the caller's side; the INVITE in the dialog had been answered reliably."""
    await world.kamailio.catch_up()
    pracks = world.kamailio.of_call(world.kamailio.call_id(name), "PRACK")
    found = [(seen.transport, bool(seen.route)) for seen in pracks]
    world.report.equal(found, [(transport, True)], f"{what}: PRACK by its route")


async def _heard(end: End, leg_id: str) -> list[int]:
    """What a leg's far end gets to hear: the right channel of its recording."""
    await end.app.command("leg_record_stop", id=leg_id)
    event = await end.event(leg_id, "recording.finished")
    pcm, rate_hz = await trio.to_thread.run_sync(_last_second, Path(str(event["file"])), 0)
    return tones_of(pcm, rate_hz)


async def tones(world: World) -> None:
    """Two calls from west meet in a room there; each end in the east sends a tone and hears the other's."""
    west, east, ports = world.west, world.east, world.kamailio.ports
    room = world.name("mix")
    await west.app.command("create_room", id=room, sample_rate=16000)
    proxy = f"sip:localhost:{ports.tls};transport=tls;lr"
    sent = ("us_dial", "jp_dial")
    legs = []
    for tone in sent:
        name = world.name("east")
        to = f"sip:{name}@127.0.0.1:{east.tls_port};transport=tls"
        leg_id, other = await _pair(world, west, east, to, name, outbound_proxy=proxy)
        await west.app.command("add_leg_to_room", room_id=room, leg_id=leg_id)
        await east.app.command("leg_play_start", id=other, tone=tone)
        await east.app.command("leg_record_start", id=other)
        await _check_prack(world, f"west to east, {tone}", name, "tls")
        legs.append((leg_id, other))
    await west.app.command("room_record_start", id=room)
    await trio.sleep(LISTEN_S)
    for number, (_, other) in enumerate(legs):
        heard, wanted = await _heard(east, other), TONES_HZ[sent[1 - number]]
        what = f"the end that sends {sent[number]} hears {wanted} Hz and nothing of its own"
        world.report.check(_near(heard, wanted), what, heard)
    await west.app.command("room_record_stop", id=room)

    def finished() -> list[str]:
        return [
            str(event["file"])
            for event in west.app.events
            if event["type"] == "recording.finished" and event.get("room_id") == room
        ]

    if not await west.app.wait(lambda: bool(finished()), 5):
        raise Difference("room", "recording.finished", "nothing")
    mixed = tones_of(*await trio.to_thread.run_sync(_last_second, Path(finished()[0]), 0))
    world.report.check(_near(mixed, (350, 400, 440)), "the room in the west hears both", mixed)
    await _both_ways(world, room, legs)


async def _both_ways(world: World, room: str, legs: list[tuple[str, str]]) -> None:
    """East calls west over its own proxy: the caller's tone and the callee's cross; then everybody leaves."""
    west, east = world.west, world.east
    name = world.name("west")
    to = f"sip:{name}@{west.server.sip_host}:{west.server.sip_port}"
    caller, callee = await _pair(world, east, west, to, name)
    await _check_prack(world, "east to west", name, "tls")
    await east.app.command("leg_play_start", id=caller, tone="au_dial")
    await west.app.command("leg_play_start", id=callee, tone="us_dial")
    await east.app.command("leg_record_start", id=caller)
    await west.app.command("leg_record_start", id=callee)
    await trio.sleep(LISTEN_S)
    for what, end, leg_id, tone in (("caller", east, caller, "us_dial"), ("callee", west, callee, "au_dial")):
        heard = await _heard(end, leg_id)
        world.report.check(_near(heard, TONES_HZ[tone]), f"east to west: the {what} hears {tone}", heard)
    await west.app.command("delete_leg", id=callee)
    world.report.equal(await east.end(caller), "remote_bye", "east to west: the callee hangs up")
    await west.app.command("delete_room", id=room)
    reasons = [await east.end(other) for _, other in legs]
    world.report.equal(reasons, ["remote_bye"] * 2, "west to east: the room is deleted")


SCENARIOS: dict[str, Scenario] = {"tones": tones}
