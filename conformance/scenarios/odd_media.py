"""Media of senders that do not keep to the letter: timestamps, payload types, addresses, reports."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import trio

from conformance.expect import Difference, check, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

_STEPS = {"PCMU": 160, "G722": 160, "opus": 960}


def _shaken(codec: str) -> Callable[[int], int]:
    most = _STEPS[codec] // 20
    return lambda number: 7000 + _STEPS[codec] * number + secrets.randbelow(2 * most + 1) - most


def _times(codec: str, factor: int) -> Callable[[int], int]:
    return lambda number: 7000 + factor * _STEPS[codec] * number


async def _speaker(world: World, codec: str) -> Phone:
    """A phone that talks in one codec, and another one in its room that listens."""
    phone, _ = await dialled(world, {"codecs": [codec]}, user=codec.lower())
    await picked_up(phone, audio_sdp(phone.rtp.port, codecs=[codec]))
    phone.rtp.talk(500.0, codec=codec)
    return phone


async def _is_pure(listener: Phone, hertz: float = 500.0) -> None:
    """Checks that a tone arrives without seams; the machine may spoil a window or two."""
    for tries in range(4):
        heard = await listener.rtp.listen(300, settle_ms=400)
        try:
            heard.is_pure(hertz)
            return
        except Difference:
            if tries == 3:
                raise


@scenario(
    "Timestamps that shake, stand still or step wrongly: consecutive packets are heard whole",
    timeout_s=40,
)
async def rtp_odd_stamps(world: World) -> None:
    listener = await answered(world, "listener")
    await listener.join("sc-stamps")
    for codec in ("PCMU", "opus"):
        phone = await _speaker(world, codec)
        await phone.join("sc-stamps")
        await _is_pure(listener)
        for stamp_as in (_shaken(codec), lambda number: 7000, _times(codec, 2), lambda number: number):
            phone.rtp.stamp_as = stamp_as
            await _is_pure(listener)
        await phone.hang_up()
    await listener.hang_up()


@scenario(
    "After a G.722 phone that counts 16 kHz a right one is clean: the same, another SSRC, a re-INVITE",
    timeout_s=40,
)
async def rtp_wideband_clocks(world: World) -> None:
    listener = await answered(world, "listener")
    await listener.join("sc-wideband")
    phone = await _speaker(world, "G722")
    await phone.join("sc-wideband")
    phone.rtp.stamp_as = _times("G722", 2)
    await _is_pure(listener)
    phone.rtp.stamp_as = None
    await _is_pure(listener)
    phone.rtp.stamp_as = _times("G722", 2)
    await _is_pure(listener)
    phone.rtp.stamp_as = None
    phone.rtp.become_another_source()
    await _is_pure(listener)
    phone.rtp.stamp_as = _times("G722", 2)
    await _is_pure(listener)
    phone.rtp.stop_talking()
    other = await world.rtp("other phone")
    other.remote = phone.rtp.remote
    await phone.reinvite(audio_sdp(other.port, codecs=["G722"], version=2))
    other.talk(500.0, codec="G722")
    await _is_pure(listener)
    other.stop_talking()
    for each in (phone, listener):
        await each.hang_up()


@scenario(
    "One digit for each key, though its end packets, all its packets or all keys are stamped alike or anew",
    timeout_s=30,
)
async def dtmf_odd_stamps(world: World) -> None:
    phone = await answered(world)
    sent = ""

    async def press(digits: str, stamp_as: Callable[[int, int], int], ends: int = 3) -> None:
        nonlocal sent
        for digit in digits:
            await phone.rtp.send_digit(digit, stamp_as=stamp_as, ends=ends)
            await trio.sleep(0.08)
        for digit in digits:
            sent += digit
            await world.event("dtmf.received", leg_id=phone.leg_id, digit=digit, seq=len(sent))
        await world.no_event("dtmf.received", for_s=0.2)

    await press("5", lambda index, started: started + 160 * index if index >= 4 else started)
    await press("55", lambda index, started: started + 160 * index)
    await press("1223", lambda index, started: 4711)
    await press("112", lambda index, started: started, ends=0)
    await press("3", lambda index, started: started + 77_777 * index if index >= 5 else started)
    await phone.hang_up()


@scenario("b=RS:0 and b=RR:0: no RTCP goes there, not even at the end; without them it does", timeout_s=30)
async def rtcp_unwanted(world: World) -> None:
    for unwanted in (True, False):
        rtp = await world.rtp("call1")
        sdp = audio_sdp(rtp.port, extra=["a=rtcp-mux"])
        if unwanted:
            sdp = sdp.replace(b"a=rtpmap:0 ", b"b=RS:0\r\nb=RR:0\r\na=rtpmap:0 ", 1)
        phone = await ringing(world, rtp=rtp, sdp=sdp)
        await phone.answer()
        rtp.talk(500.0)
        await trio.sleep(4.5)
        await phone.hang_up()
        await trio.sleep(0.2)
        require(bool(rtp.rtcp) is not unwanted, "RTCP", "none" if unwanted else "some", len(rtp.rtcp))
        require(len(rtp.received) > 150, "audio", "as ever", len(rtp.received))


@scenario(
    "A far end that sends the payload types of its own answer instead of ours is heard, unknown ones not"
)
async def own_payload_types(world: World) -> None:
    listener = await answered(world, "listener")
    await listener.join("sc-types")
    phone, _ = await dialled(world, {"codecs": ["opus"]})
    assert phone.call.invite is not None
    check("our opus", sdp_of(phone.call.invite).audio.rtpmaps.get(111), "opus/48000/2")
    lines = [
        f"m=audio {phone.rtp.port} RTP/AVP 96 97",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:97 telephone-event/8000",
    ]
    template = audio_sdp(phone.rtp.port)
    head = template[: template.index(b"m=audio")]
    await picked_up(phone, head + "".join(f"{line}\r\n" for line in lines).encode())
    await phone.join("sc-types")
    phone.rtp.talk(700.0, codec="opus")
    for send_as in (96, 111):
        phone.rtp.send_as = send_as
        await _is_pure(listener, 700.0)
    for seq, payload_type in enumerate((97, 101), 1):
        await phone.rtp.send_digit("6", payload_type=payload_type)
        await world.event("dtmf.received", leg_id=phone.leg_id, digit="6", seq=seq)
    phone.rtp.send_as = 98
    (await listener.rtp.listen(300, settle_ms=400)).is_quiet()
    for each in (phone, listener):
        await each.hang_up()
