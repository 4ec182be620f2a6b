"""Real-time text with real calls: in, out, across a room, refused, lost."""

from __future__ import annotations

import pytest
import trio

from tests.support.phone import Phone, open_phone
from tests.support.text_phone import RED, T140, TextLine, open_text_phone
from tests.support.world import Events, call_in, rest_of, sip_uri, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import BadRequest, Conflict, NotFound
from vb.sdp import Agreed
from vb.server import Server, open_server
from vb.sip import call_events as sip
from vb.sip.tasks.endpoint import DialRequest

pytestmark = pytest.mark.integration


def agreed(phone: Phone) -> Agreed:
    assert phone.negotiation is not None
    assert phone.negotiation.agreed is not None
    return phone.negotiation.agreed


async def received(events: Events) -> tuple[str, int, bool | None]:
    found = await wait_for(events, "rtt.received")
    return found["text"], found["seq"], found.get("loss_marker")


async def dial_out(server: Server, phone: Phone, events: Events) -> str:
    """Let the server call the phone with text; returns the leg's id."""
    leg = await server.call("create_leg", type="sip", to=phone.uri, rtt=True)
    assert isinstance(leg, Leg)
    with trio.fail_after(5):
        await phone.arrived.wait()
    phone.answer(phone.calls[0])
    await wait_for(events, "leg.connected", leg_id=leg.id)
    return leg.id


async def types_of(events: Events) -> list[object]:
    """The types of everything that still comes."""
    return [event["type"] for event in await rest_of(events)]


async def test_text_comes_in_with_its_own_count_and_a_mark_where_it_was_lost(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            await call_in(server, phone, events)
            await line.send(0, b"", b"", "h\u00e9llo".encode())
            assert await received(events) == ("h\u00e9llo", 1, None)
            await line.send(1, b" you", red=False)
            assert await received(events) == (" you", 2, None)
            await line.send(7, b"", b"b", b"c")
            assert await received(events) == ("\ufffdbc", 3, True)
            assert await types_of(events) == []


async def test_a_lost_packet_is_repaired_and_a_repeated_one_not_told_again(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            await call_in(server, phone, events)
            await line.send(0, b"a", red=False)
            await line.send(2, b"a", b"b", b"c")
            await line.send(2, b"a", b"b", b"c")
            assert await received(events) == ("a", 1, None)
            assert await received(events) == ("bc", 2, None)
            assert await types_of(events) == []


async def test_sent_text_carries_its_history_and_is_repeated_after_its_end(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await line.quiet(3)
            opening, *trailers = line.packets
            assert (opening.payload_type, opening.marker) == (RED, True)
            assert opening.blocks == [b"", b"", b"\xef\xbb\xbf"]
            assert [packet.marker for packet in trailers] == [False, False]
            line.packets.clear()
            await server.call("send_leg_rtt", id=leg_id, text="hi \b\r\n")
            await line.read("hi \b\r\n")
            await server.call("send_leg_rtt", id=leg_id, text="there")
            await line.quiet(4)
        blocks = [packet.blocks for packet in line.packets]
        assert blocks[0] == [b"", b"", b"hi \b\r\n"]
        assert blocks[-3:] == [
            [blocks[-3][0], blocks[-3][1], b"there"],
            [blocks[-3][1], b"there", b""],
            [b"there", b"", b""],
        ]
        numbers = [packet.sequence for packet in line.packets]
        assert [number - numbers[0] & 0xFFFF for number in numbers] == list(range(len(numbers)))
        assert line.packets[0].marker


async def test_a_call_out_asks_for_text_and_talks_both_ways(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            leg_id = await dial_out(server, phone, events)
            offer = phone.calls[0].offer
            assert offer is not None
            assert b"m=text " in offer
            assert b"a=fmtp:98 99/99/99" in offer
            await server.call("send_leg_rtt", id=leg_id, text="\u20ac\U0001f600")
            await line.read("\u20ac\U0001f600")
            await line.send(0, b"", b"", b"ok")
            assert await received(events) == ("ok", 1, None)


async def test_a_far_end_without_text_gets_audio_and_the_command_is_refused(config: Config) -> None:
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            leg_id = await dial_out(server, phone, events)
            await phone.hear(5)
            with pytest.raises(Conflict):
                await server.call("send_leg_rtt", id=leg_id, text="x")
            with pytest.raises(BadRequest):
                await server.call("send_leg_rtt", id=leg_id, text="")
            with pytest.raises(NotFound):
                await server.call("send_leg_rtt", id="nobody", text="x")


async def test_a_far_end_without_redundancy_gets_plain_text(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            assert phone.negotiation is not None
            text = b"m=text %d RTP/AVP 99\r\na=rtpmap:99 t140/1000\r\n" % line.port
            offer = phone.negotiation.offer().partition(b"m=text")[0] + text
            call = phone.endpoint.dial(DialRequest(to=sip_uri(server), sdp=offer, from_="tester"))
            phone.calls.append(call)
            leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
            await server.call("answer_leg", id=leg_id)
            answered = await phone.wait_for(call, sip.Answered)
            phone.use_answer(answered.sdp)
            await server.call("send_leg_rtt", id=leg_id, text="plain")
            await line.read("plain")
            assert {packet.payload_type for packet in line.packets} == {T140}


async def test_rejected_text_is_neither_told_nor_passed_on_until_accepted_again(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_text_phone(600) as (one, line_of_one),
        open_text_phone(900) as (two, line_of_two),
    ):
        with server.events() as events:
            sender = await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            await server.call("reject_leg_rtt", id=sender)
            await line_of_one.send(0, b"", b"", b"no")
            assert "rtt.received" not in await types_of(events)
            await server.call("accept_leg_rtt", id=sender)
            await line_of_one.send(1, b"", b"no", b"yes")
            assert await received(events) == ("yes", 1, None)
            await line_of_two.read("yes")
            assert line_of_one.text == ""


async def test_text_reaches_room_mates_with_text_that_take_it(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_text_phone(600) as (one, line_of_one),
        open_text_phone(900) as (two, line_of_two),
        open_text_phone(1200) as (three, line_of_three),
        open_phone(1500) as without_text,
    ):
        with server.events() as events:
            await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            rejecting = await call_in(server, three, events, "r")
            await call_in(server, without_text, events, "r")
            await server.call("reject_leg_rtt", id=rejecting)
            await line_of_one.send(0, b"", b"", b"to all")
            await line_of_two.read("to all")
            await line_of_two.send(0, b"", b"", b"back")
            await line_of_one.read("back")
            assert line_of_three.text == ""


async def test_text_does_not_cross_a_bridge(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_text_phone(600) as (one, line_of_one),
        open_text_phone(900) as (two, line_of_two),
    ):
        with server.events() as events:
            await call_in(server, one, events, "a")
            await call_in(server, two, events, "b")
            await server.call("bridge_create", room_id="a", peer_room_id="b")
            await line_of_one.send(0, b"", b"", b"hello")
            assert await received(events) == ("hello", 1, None)
            await line_of_two.quiet(3)
            assert line_of_two.text == ""


async def test_text_is_told_during_early_media(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            call = phone.dial(sip_uri(server))
            leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
            await server.call("leg_early_media", id=leg_id)
            early = await phone.wait_for(call, sip.EarlyMedia)
            phone.use_answer(early.sdp)
            await line.send(0, b"", b"", b"early")
            assert await received(events) == ("early", 1, None)


async def answer_to(phone: Phone, offer: bytes) -> bytes:
    """The server's answer to an offer inside the call."""
    phone.calls[0].reoffer(lambda: offer)
    answer: sip.OfferAnswered = await phone.wait_for(phone.calls[0], sip.OfferAnswered)
    assert answer.sdp is not None
    return answer.sdp


async def test_text_offered_in_the_middle_of_a_call_is_taken_and_may_go_again(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            assert phone.negotiation is not None
            phone.negotiation.text_port = None
            leg_id = await call_in(server, phone, events)
            audio = phone.negotiation.offer().rstrip()
            phone.negotiation.withdraw_offer()
            added, removed = (
                b"%s\r\nm=text %d RTP/AVP 99\r\na=rtpmap:99 t140/1000\r\n" % (audio, port)
                for port in (line.port, 0)
            )
            assert b"m=text 0 " not in await answer_to(phone, added)
            await server.call("send_leg_rtt", id=leg_id, text="now")
            await line.read("now")
            assert b"m=text 0 " in await answer_to(phone, removed)
            with pytest.raises(Conflict):
                await server.call("send_leg_rtt", id=leg_id, text="gone")


async def test_text_goes_on_while_the_call_is_held(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            await server.call("hold_leg", id=leg_id)
            offer: sip.OfferReceived = await phone.wait_for(phone.calls[0], sip.OfferReceived)
            assert phone.negotiation is not None
            phone.calls[0].answer_offer(phone.negotiation.receive_offer(offer.sdp))
            await wait_for(events, "leg.hold")
            text = agreed(phone).text
            assert text is not None
            assert text.direction == "sendrecv"
            await server.call("send_leg_rtt", id=leg_id, text="please wait")
            await line.read("please wait")


async def test_malformed_text_is_ignored(config: Config) -> None:
    async with open_server(config) as server, open_text_phone(600) as (phone, line):
        with server.events() as events:
            await call_in(server, phone, events)
            text = agreed(phone).text
            assert text is not None
            assert text.remote_rtp is not None
            await send_rubbish(line, (text.remote_rtp.host, text.remote_rtp.port))
            await line.send(0, b"", b"", b"still here")
            assert await received(events) == ("still here", 1, None)
            phone.calls[0].hangup()
            await wait_for(events, "leg.disconnected")
            with trio.fail_after(5):
                await server.engine.legs.wait_idle()
            lost = server.engine.metrics.registry.get_sample_value
            assert lost("voiceblender_rtt_lost_total", {"reason": "malformed"}) == 3
            assert lost("voiceblender_rtt_lost_total", {"reason": "overflow"}) == 0


async def send_rubbish(line: TextLine, target: tuple[str, int]) -> None:
    header = bytes((0x80, RED)) + bytes(10)
    for datagram in (b"", b"\x00", bytes(3000), header, header + b"\xe3", header + b"\xe3\xff\xff\xff" * 5):
        await line.send_raw(datagram, target)


async def test_the_sockets_of_text_count_for_the_limit_of_open_files(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vb.legs.registry.has_room", lambda legs: legs < 2)
    async with open_server(config) as server, open_text_phone(600) as (phone, _), open_phone(900) as other:
        with server.events() as events:
            leg_id = await call_in(server, phone, events)
            refused = await other.wait_for(other.dial(sip_uri(server)), sip.Refused)
            assert refused.status == 503
            await server.call("delete_leg", id=leg_id)
            await wait_for(events, "leg.disconnected", leg_id=leg_id)
            while server.engine.legs.running:
                await trio.lowlevel.checkpoint()
            await call_in(server, other, events)
