"""How rooms sound: rates that differ, comfort noise and its switch, playback across a change of rate."""

from __future__ import annotations

import time

import trio

from conformance.expect import check, require
from conformance.peers.measure import Heard
from conformance.peers.sdp_text import audio_sdp
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

SPOKEN_DB = -18.0
ALIAS_DB = SPOKEN_DB - 20.0
"""What a filter may leave of a tone, and of its mirror image, where no such tone belongs."""
STEPS = {"PCMU": (0, 160), "G722": (9, 160), "opus": (111, 960)}


async def _in_codec(world: World, codec: str) -> Phone:
    """A call in this codec alone, silent so far."""
    rtp = await world.rtp(codec)
    sdp = audio_sdp(rtp.port, codecs=[codec], telephone_event=None)
    phone = await ringing(world, codec.lower(), rtp=rtp, sdp=sdp, offered=[{"name": codec}])
    rtp.talk(None, codec=codec)
    await phone.answer()
    return phone


def _is_below(heard: Heard, db: float, what: str) -> None:
    """Checks that a stream comes, and that it is no louder than this."""
    require(heard.packets_per_s > 20, f"media at {heard.who}", "a stream", heard.summary())
    require(heard.level_db < db, f"{what} at {heard.who}", f"below {db:.0f} dBFS", heard.summary())


@scenario("A room of 8 kHz between wideband legs: what it cannot carry leaves no alias, what it can no image")
async def room_aliases(world: World) -> None:
    await world.rest("POST", "/v1/rooms", {"id": "sc-narrow", "sample_rate": 8000}, status=201)
    speaker, listener = await _in_codec(world, "G722"), await _in_codec(world, "G722")
    for phone in (speaker, listener):
        await phone.join("sc-narrow")
    for hertz in (6000.0, 5000.0, 7000.0):
        speaker.rtp.talk(hertz, codec="G722")
        heard = await listener.rtp.listen(300, settle_ms=200)
        _is_below(heard, ALIAS_DB, f"the alias of {hertz:.0f} Hz")
    for hertz in (1000, 3300):
        speaker.rtp.talk(float(hertz), codec="G722")
        heard = await listener.rtp.listen(300, settle_ms=200)
        heard.has_tones(hertz, level=SPOKEN_DB, within_db=2 if hertz == 1000 else 3)
    for phone in (speaker, listener):
        await phone.hang_up()


@scenario("A tone of 3.3 kHz comes through a room of 16 kHz at its level; silence is comfort noise")
async def room_sound_quality(world: World) -> None:
    await world.rest("POST", "/v1/rooms", {"id": "sc-made"}, status=201)
    first = await answered(world, "call1", tone=3300.0)
    second = await answered(world, "call2")
    for room_id in ("sc-made", "sc-unmade"):
        for phone in (first, second):
            await _moved(phone, room_id)
        (await second.hears()).has_tones(3300, level=SPOKEN_DB, within_db=3)
        noise = await first.hears()
        noise.is_quiet()
        require(noise.level_db > -80, f"silence in {room_id}", "about -65 dBFS", f"{noise.level_db:.1f} dBFS")
    await first.hang_up()
    await second.hang_up()


async def _moved(phone: Phone, room_id: str) -> None:
    """Puts a leg into a room, from wherever it is."""
    body: dict[str, object] = {"leg_id": phone.leg_id}
    await phone.world.rest("POST", f"/v1/rooms/{room_id}/legs", body, status=200)
    await phone.world.event("leg.joined_room", leg_id=phone.leg_id, room_id=room_id)


async def _hears_no_noise(phone: Phone, where: str) -> None:
    _is_below(await phone.hears(300), -75, f"silence of {where}")


@scenario(
    "COMFORT_NOISE_ENABLED=false: digital silence in rooms that were made, joined, dialled into, moved to",
    env={"COMFORT_NOISE_ENABLED": "false"},
)
async def comfort_noise_off(world: World) -> None:
    for room_id, app_id in (("sc-made", None), ("sc-shop", "shop")):
        body = {"id": room_id, **({"app_id": app_id} if app_id else {})}
        await world.rest("POST", "/v1/rooms", body, status=201)
    plain = await answered(world, "call1")
    shop = await answered(world, "call2", headers=[("X-App-ID", "shop")])
    for phone, rooms in (
        (plain, ("sc-made", "sc-new1", "sc-new2")),
        (shop, ("sc-shop", "sc-new3", "sc-new4")),
    ):
        for room_id in rooms:
            await _moved(phone, room_id)
            await _hears_no_noise(phone, room_id)
    await world.command("add_leg_to_room", {"room_id": "sc-new5", "leg_id": shop.leg_id})
    await _hears_no_noise(shop, "a room joined over VSI")
    dialling: dict[str, object] = {"room_id": "sc-new6", "app_id": "shop", "codecs": ["PCMU"]}
    called, _ = await dialled(world, dialling)
    await picked_up(called)
    await world.event("leg.joined_room", leg_id=called.leg_id, room_id="sc-new6")
    await _hears_no_noise(called, "a room dialled into")
    for phone in (plain, shop, called):
        await phone.hang_up()


async def _play(world: World, path: str, hertz: int, rate_hz: int) -> None:
    url = world.media.url(f"/tone/{hertz}/3000/{rate_hz}/x.wav")
    answer = await world.rest("POST", f"{path}/play", {"url": url, "repeat": -1}, status=200)
    await world.event("playback.started", playback_id=answer["playback_id"])


@scenario(
    "Playback keeps pitch and level while its leg, of any rate, joins rooms of any rate; so does a room's",
    timeout_s=60,
)
async def play_across_rates(world: World) -> None:
    legs = [
        (await _in_codec(world, codec), hertz) for codec, hertz in zip(STEPS, (700, 1000, 1300), strict=True)
    ]
    stayer = await answered(world, "stayer")
    for (phone, hertz), rate in zip(legs, (48000, 8000, 16000), strict=True):
        await _play(world, phone.path, hertz, rate)
    await _all_hear(legs)
    for rate, file_rate in ((8000, 48000), (48000, 16000), (16000, 8000)):
        room_id = f"sc-{rate}"
        await world.rest("POST", "/v1/rooms", {"id": room_id, "sample_rate": rate}, status=201)
        await _moved(stayer, room_id)
        await _play(world, f"/v1/rooms/{room_id}", 2100, file_rate)
        for phone, _ in legs:
            await _moved(phone, room_id)
        await _all_hear(legs, 2100)
        (await stayer.rtp.listen(200, settle_ms=0)).has_tones(2100, level=SPOKEN_DB)
    for phone in (*(phone for phone, _ in legs), stayer):
        await phone.hang_up()


async def _all_hear(legs: list[tuple[Phone, int]], *more: int) -> None:
    """Each leg hears its own playback and what else is played, at pitch and level, and without a gap."""
    await trio.sleep(0.25)
    start = time.monotonic()
    await trio.sleep(0.5)
    for (phone, hertz), (payload_type, step) in zip(legs, STEPS.values(), strict=True):
        heard = phone.rtp.heard_since(start, 0.5)
        heard.is_steady(payload_type, step)
        heard.has_tones(hertz, *more, level=SPOKEN_DB + 3 * len(more))
        check(f"rate of {phone.rtp.who}", heard.rate_hz, phone.rtp.codec.pcm_rate_hz)
