"""RFC 4733 digits: received, sent, and passed on within a room."""

from __future__ import annotations

import time
from itertools import pairwise

import trio

from conformance.expect import between, check, one_of, require
from conformance.peers.measure import Heard, tones_of
from conformance.peers.rtp_peer import HeardDigit
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Headers, sdp_of
from conformance.phones import Phone, answered, dialled, picked_up, ringing
from conformance.registry import scenario
from conformance.world import World

ALL_DIGITS = "0123456789*#ABCD"


async def _received(phone: Phone, digit: str, seq: int, within_s: float = 3.0) -> None:
    await phone.world.event(
        "dtmf.received", leg_id=phone.leg_id, digit=digit.upper(), seq=seq, within_s=within_s
    )


@scenario(
    "Digits from the far end: all sixteen, each once, counted from 1; lost ends; reject, mute, two legs"
)
async def in_dtmf(world: World) -> None:
    phone = await answered(world)
    for seq, digit in enumerate("1*d", 1):
        await phone.rtp.send_digit(digit)
        await _received(phone, digit, seq)
    for digit in ALL_DIGITS:
        await phone.rtp.send_digit(digit, updates=2)
    for seq, digit in enumerate(ALL_DIGITS, 4):
        await _received(phone, digit, seq)
    await phone.rtp.send_digit("7", ends=0)
    await _received(phone, "7", 20, within_s=2)
    await phone.rtp.send_digit("7", ends=1)
    await _received(phone, "7", 21)
    await world.no_event("dtmf.received")
    await world.rest("POST", f"{phone.path}/dtmf/reject", status=200, expect={"status": "dtmf_rejecting"})
    await world.leg_state(phone.leg_id, accept_dtmf=False)
    await phone.rtp.send_digit("3")
    await _received(phone, "3", 22)
    await world.rest("POST", f"{phone.path}/dtmf/accept", status=200, expect={"status": "dtmf_accepting"})
    await world.leg_state(phone.leg_id, accept_dtmf=True)
    await world.rest("POST", f"{phone.path}/mute", status=200)
    await phone.rtp.send_digit("4")
    await _received(phone, "4", 23)
    other = await answered(world, "call2")
    await other.rtp.send_digit("4")
    await _received(other, "4", 1)
    for each in (phone, other):
        await each.hang_up()


def _check_shape(heard: list[HeardDigit], step: int = 160) -> None:
    """Checks each event: updates that grow, three ends, the marker, the volume, and a gap after it."""
    for event in heard:
        where = f"event {event.digit}"
        check(f"{where}: packets", len(event.durations), 7)
        check(f"{where}: end packets", event.ends, 3)
        check(f"{where}: markers", event.markers, [True] + [False] * 6)
        check(f"{where}: volume", event.volume, between(7, 13))
        growing = event.durations[:4]
        check(f"{where}: durations", growing, [step, 2 * step, 3 * step, 4 * step])
        ends = one_of([4 * step] * 3, [5 * step] * 3)
        check(f"{where}: durations of its ends", event.durations[4:], ends)
    for before, after in pairwise(heard):
        # RTP timestamps do not shake as arrival times do: 20 ms for each packet, the rest is the pause.
        between_starts_ms = ((after.timestamp - before.timestamp) & 0xFFFFFFFF) * 20 / step
        gap_ms = between_starts_ms - 20 * len(before.durations)
        require(gap_ms >= 60, f"time without packets after {before.digit}", "at least 60 ms", f"{gap_ms} ms")
    lasted, least = heard[-1].at - heard[0].at, (len(heard) - 1) * 0.2
    require(lasted >= least - 0.05, "seconds from the first digit to the last", f"at least {least}", lasted)


@scenario("Digits to the far end: shape and pauses, letters and junk, refused ones")
async def out_dtmf(world: World) -> None:
    phone = await answered(world)
    dtmf = f"{phone.path}/dtmf"
    await world.rest("POST", dtmf, {"digits": "12"}, status=200, expect={"status": "sent"})
    await phone.rtp.hears_digits("12")
    await world.rest("POST", dtmf, {"digits": "a#x9 y"}, status=200, expect={"status": "sent"})
    await phone.rtp.hears_digits("12A#9")
    await world.rest("POST", dtmf, {"digits": "xyz"}, status=200, expect={"status": "sent"})
    await world.command("send_leg_dtmf", {"id": phone.leg_id, "digits": "5*"}, {"status": "sent"})
    _check_shape(await phone.rtp.hears_digits("12A#95*"))
    for body in ({"digits": ""}, {}, {"digits": 5}, "{"):
        assert isinstance(body, dict | str)
        await world.rest("POST", dtmf, body, status=400)
    await world.command_fails("send_leg_dtmf", {"id": phone.leg_id}, 400)
    await trio.sleep(0.2)
    (await phone.hears(300)).is_steady()
    check("dtmf.received for digits that we send", world.count("dtmf.received"), 0)
    await phone.hang_up()


KEYS = ("123A", "456B", "789C", "*0#D")
ROWS_HZ, COLUMNS_HZ = (697, 770, 852, 941), (1209, 1336, 1477, 1633)


def _keys_in(heard: Heard) -> str:
    """The keys whose tones were heard, in order: each a stretch of two tones with silence behind it."""
    keys, last = "", ""
    window = heard.rate_hz // 20
    for start in range(0, len(heard.pcm) - window, window // 5):
        found = tones_of(heard.pcm[start : start + window], heard.rate_hz)
        row = [n for n, hertz in enumerate(ROWS_HZ) if any(abs(hertz - tone) < 20 for tone in found)]
        column = [n for n, hertz in enumerate(COLUMNS_HZ) if any(abs(hertz - tone) < 20 for tone in found)]
        key = KEYS[row[0]][column[0]] if len(found) == len(row) + len(column) == 2 and row and column else ""
        if key != last:
            keys += key
            last = key
    return keys


async def _without_events(world: World, name: str, headers: Headers = ()) -> Phone:
    rtp = await world.rtp(name)
    phone = await ringing(
        world, name, rtp=rtp, sdp=audio_sdp(rtp.port, telephone_event=None), headers=headers
    )
    await world.rest("POST", f"{phone.path}/dtmf", {"digits": "1"}, status=409)
    answer = sdp_of(await phone.answer())
    check("formats of the answer", answer.audio.formats, ["0"])
    return phone


@scenario(
    "Without telephone-events digits go as tones, in order and in place of audio; a held call takes none"
)
async def dtmf_as_tones(world: World) -> None:
    phone, other = await _without_events(world, "call1"), await answered(world, "call2", tone=500.0)
    for each in (phone, other):
        await each.join("sc-tones")
    (await phone.hears(200)).has_tones(500, level=-18)
    since = time.monotonic()
    await world.rest("POST", f"{phone.path}/dtmf", {"digits": "19"}, status=200, expect={"status": "sent"})
    await world.command("send_leg_dtmf", {"id": phone.leg_id, "digits": "x#9d"}, {"status": "sent"})
    await trio.sleep(1.3)
    heard = phone.rtp.heard_since(since, 1.3)
    check("keys heard", _keys_in(heard), "19#9D")
    heard.is_steady()
    (await phone.hears(200)).has_tones(500, level=-18)
    await phone.reinvite(audio_sdp(phone.rtp.port, telephone_event=None, direction="sendonly"))
    await world.event("leg.hold", leg_id=phone.leg_id)
    await world.rest("POST", f"{phone.path}/dtmf", {"digits": "1"}, status=409)
    for each in (phone, other):
        await each.hang_up()


@scenario(
    "With VB_DTMF_INFO and no telephone-events digits go in INFO to who allows it, as tones if it refuses",
    env={"VB_DTMF_INFO": "true"},
)
async def dtmf_as_info(world: World) -> None:
    phone = await _without_events(world, "call1", [("Allow", "INVITE, ACK, BYE, CANCEL, INFO")])
    await world.rest("POST", f"{phone.path}/dtmf", {"digits": "7*"}, status=200, expect={"status": "sent"})
    for digit in "7*":
        info = await phone.call.request("INFO")
        check("type of the INFO", info.must("Content-Type"), "application/dtmf-relay")
        check("signal", info.body.split(b"\r\n")[0].decode(), f"Signal={digit}")
        await phone.call.silence(0.1)
        await phone.call.reply(info, 200)
    since = time.monotonic()
    await world.rest("POST", f"{phone.path}/dtmf", {"digits": "80"}, status=200)
    await phone.call.reply(await phone.call.request("INFO"), 415)
    await trio.sleep(0.8)
    check("keys heard", _keys_in(phone.rtp.heard_since(since, 0.8)), "80")
    await phone.hang_up()
    events = await answered(world, "call2", headers=[("Allow", "INVITE, ACK, BYE, CANCEL, INFO")])
    await world.rest("POST", f"{events.path}/dtmf", {"digits": "5"}, status=200)
    await events.rtp.hears_digits("5")
    await events.call.silence(0.2)
    await events.hang_up()


@scenario("A key that comes as telephone-event and as INFO counts once", env={"VB_DTMF_INFO": "true"})
async def dtmf_both_ways(world: World) -> None:
    phone = await answered(world)
    seq = 0

    async def inform(code: str) -> None:
        body = f"Signal={code}\r\nDuration=160\r\n".encode()
        await phone.call.send_request("INFO", headers=[("Content-Type", "application/dtmf-relay")], body=body)
        await phone.call.response(200, "INFO")

    for digit, code in (("5", "5"), ("5", "05"), ("#", "11")):
        seq += 1
        await phone.rtp.send_digit(digit)
        await inform(code)
        await _received(phone, digit, seq)
    await world.no_event("dtmf.received", for_s=0.3)
    for digit in "11":
        seq += 1
        await phone.rtp.send_digit(digit)
        await _received(phone, digit, seq)
    for code, digit in (("12", "A"), ("12", "A"), ("10", "*")):
        seq += 1
        await inform(code)
        await _received(phone, digit, seq)
    await world.no_event("dtmf.received", for_s=0.3)
    await phone.hang_up()


@scenario(
    "Digits while others talk: no audio between them, the stream goes on at pace; a long string is queued"
)
async def out_dtmf_and_audio(world: World) -> None:
    phone, other = await answered(world, "call1"), await answered(world, "call2", tone=700.0)
    for each in (phone, other):
        await each.join("sc-digits")
    (await phone.hears(200)).has_tones(700, level=-18)
    await world.rest("POST", f"{phone.path}/dtmf", {"digits": "123456"}, status=200)
    heard = await phone.rtp.hears_digits("123456", within_s=4)
    _check_shape(heard)
    for event in heard:
        inside = [p for p in phone.rtp.received if event.at < p.at < event.ended_at and p.payload_type == 0]
        check(f"audio packets within event {event.digit}", len(inside), 0)
    (await phone.hears(300)).has_tones(700, level=-18)
    check("accept_dtmf is no matter", world.count("dtmf.received"), 0)
    for each in (phone, other):
        await each.hang_up()


async def _members(world: World, room_id: str) -> list[Phone]:
    phones = [await answered(world, f"call{number}") for number in (1, 2, 3)]
    for phone in phones:
        await phone.join(room_id)
    return phones


@scenario("A digit of one leg goes to the others in its room, never back, as far as each accepts digits")
async def room_dtmf(world: World) -> None:
    first, second, third = await _members(world, "sc-dtmf")
    await first.rtp.send_digit("5")
    await _received(first, "5", 1)
    for other in (second, third):
        await other.rtp.hears_digits("5")
    await world.command("reject_leg_dtmf", {"id": second.leg_id}, {"status": "dtmf_rejecting"})
    await first.rtp.send_digit("6")
    await third.rtp.hears_digits("56")
    await second.rtp.send_digit("7")
    await _received(second, "7", 1)
    await first.rtp.hears_digits("7")
    await third.rtp.hears_digits("567")
    await world.command("accept_leg_dtmf", {"id": second.leg_id}, {"status": "dtmf_accepting"})
    await world.rest("DELETE", f"/v1/rooms/sc-dtmf/legs/{third.leg_id}", status=200)
    await first.rtp.send_digit("8")
    await second.rtp.hears_digits("58")
    await trio.sleep(0.3)
    await third.rtp.hears_digits("567")
    await third.join("sc-dtmf", accept_dtmf=False)
    await first.rtp.send_digit("9")
    await second.rtp.hears_digits("589")
    await trio.sleep(0.3)
    await third.rtp.hears_digits("567")
    check("dtmf.received", world.count("dtmf.received"), 5)
    for phone in (first, second, third):
        await phone.hang_up()


@scenario("accept_dtmf false in the create body: the room's digits stay away from that leg")
async def room_dtmf_refused_at_creation(world: World) -> None:
    talker = await answered(world)
    await talker.join("sc-dtmf2")
    phone, _ = await dialled(world, {"room_id": "sc-dtmf2", "accept_dtmf": False, "codecs": ["PCMU"]})
    await picked_up(phone)
    await world.event("leg.joined_room", leg_id=phone.leg_id)
    await world.leg_state(phone.leg_id, accept_dtmf=False)
    await talker.rtp.send_digit("1")
    await _received(talker, "1", 1)
    await trio.sleep(0.4)
    await phone.rtp.hears_digits("")
    await world.rest("POST", f"{phone.path}/dtmf/accept", status=200)
    await talker.rtp.send_digit("2")
    await phone.rtp.hears_digits("2")
    for each in (phone, talker):
        await each.hang_up()


@scenario("Digits both ways over G722 count in 8 kHz, over opus in the clock that was agreed for it")
async def dtmf_codecs(world: World) -> None:
    for name in ("G722", "opus"):
        phone, _ = await dialled(world, {"codecs": [name]})
        assert phone.call.invite is not None
        offered = sdp_of(phone.call.invite).audio
        wide = next((n for n, form in offered.rtpmaps.items() if form == "telephone-event/48000"), None)
        check(f"{name}: events at 48 kHz offered", wide is not None, name == "opus")
        number, step = (wide, 960) if wide is not None else (101, 160)
        extra = [f"a=rtpmap:{number} telephone-event/{step * 50}", f"a=fmtp:{number} 0-16"]
        sdp = audio_sdp(phone.rtp.port, codecs=[name], telephone_event=None, extra=extra)
        sdp = sdp.replace(b"RTP/AVP ", b"RTP/AVP " + str(number).encode() + b" ", 1)
        phone.rtp.talk(None, codec=name)
        await picked_up(phone, sdp)
        await world.rest("POST", f"{phone.path}/dtmf", {"digits": "4#"}, status=200)
        _check_shape(await phone.rtp.hears_digits("4#", payload_type=number), step)
        for seq, digit in enumerate("7*", 1):
            await phone.rtp.send_digit(digit, payload_type=number, step=step)
            await _received(phone, digit, seq)
        await phone.hang_up()
