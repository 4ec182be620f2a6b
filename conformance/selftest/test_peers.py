"""Peers against peers over loopback."""

import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import pytest

from conformance.expect import Difference, check
from conformance.peers.http import HttpClient
from conformance.peers.http_server import Request, Response, serve_http
from conformance.peers.media_server import open_media
from conformance.peers.rtp_peer import RtpPeer, open_rtp
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import sdp_of
from conformance.peers.sip_ua import SipUa, open_udp, plain_request
from conformance.peers.webhook_sink import open_sink

pytestmark = pytest.mark.integration


@asynccontextmanager
async def two_uas() -> AsyncIterator[tuple[SipUa, SipUa]]:
    async with open_udp(("127.0.0.1", 9)) as one, open_udp(one.local) as two:
        one.server = two.local
        yield one, two


async def test_a_call_between_two_peers_is_set_up_and_ended() -> None:
    async with two_uas() as (alice, bob):
        call = alice.new_call("alice", "bob")
        await call.send_invite(audio_sdp(4000))
        other = await bob.next_call()
        assert other.invite is not None
        await other.reply(other.invite, 180)
        await other.reply(other.invite, 200, sdp=audio_sdp(4002))
        await call.response(180)
        answer = await call.response(200)
        assert sdp_of(answer).audio.port == 4002
        await call.ack(answer)
        await other.request("ACK")
        await other.send_request("BYE")
        bye = await call.request("BYE")
        assert bye.to_tag == call.local_tag
        await call.reply(bye, 200)
        await other.response(200, "BYE")


async def test_a_refusal_is_acknowledged_on_the_same_branch() -> None:
    async with two_uas() as (alice, bob):
        call = alice.new_call("alice", "bob")
        await call.send_invite(audio_sdp(4000))
        other = await bob.next_call()
        assert other.invite is not None
        await other.reply(other.invite, 486)
        await call.ack(await call.response(486))
        ack = await other.request("ACK")
        assert ack.header("Via") == other.invite.header("Via")


async def test_a_repeated_request_is_counted_and_answered_again_but_not_read_twice() -> None:
    async with two_uas() as (alice, bob):
        call = alice.new_call("alice", "bob")
        await call.send_invite(audio_sdp(4000))
        other = await bob.next_call()
        assert other.invite is not None
        await other.reply(other.invite, 200, sdp=audio_sdp(4002))
        answer = await call.response(200)
        await call.resend("INVITE")
        await call.wait_for_copies(answer, 2)
        assert other.copies_of(other.invite) == 2
        await bob.no_call(0.05)


async def test_a_cancel_reaches_the_call_it_cancels() -> None:
    async with two_uas() as (alice, bob):
        call = alice.new_call("alice", "bob")
        await call.send_invite(None)
        other = await bob.next_call()
        await call.cancel()
        cancel = await other.request("CANCEL")
        await other.reply(cancel, 200)
        await call.response(200, "CANCEL")


async def test_an_unexpected_status_is_a_difference() -> None:
    async with two_uas() as (alice, bob):
        call = alice.new_call("alice", "bob")
        await call.send_invite(None)
        other = await bob.next_call()
        assert other.invite is not None
        await other.reply(other.invite, 404)
        with pytest.raises(Difference):
            await call.response(200)
        with pytest.raises(Difference):
            await call.request("BYE", 0.05)


async def test_an_oddity_leaves_its_header_out() -> None:
    async with two_uas() as (alice, bob):
        data, _ = plain_request(alice, "OPTIONS", omit=("Contact",))
        assert b"Contact" not in data
        await alice.send(data)
        stray = await bob.strays.take(lambda m: m.method == "OPTIONS", 1)
        assert stray is not None


@asynccontextmanager
async def two_phones() -> AsyncIterator[tuple[RtpPeer, RtpPeer]]:
    async with open_rtp("one") as one, open_rtp("two") as two:
        one.remote, two.remote = ("127.0.0.1", two.port), ("127.0.0.1", one.port)
        yield one, two


@pytest.mark.parametrize(
    ("codec", "payload_type", "step"),
    [("PCMU", 0, 160), ("PCMA", 8, 160), ("G722", 9, 160), ("opus", 111, 960)],
)
async def test_a_tone_is_heard_at_its_pace_pitch_and_level(codec: str, payload_type: int, step: int) -> None:
    async with two_phones() as (one, two):
        one.talk(600.0, codec=codec)
        heard = await two.listen(400)
        heard.is_steady(payload_type, step)
        heard.has_tones(600, level=-18)
        with pytest.raises(Difference):
            heard.has_tones(700)
        with pytest.raises(Difference):
            heard.is_quiet()


async def test_a_phone_that_does_not_talk_sends_nothing() -> None:
    async with two_phones() as (_, two):
        (await two.listen(100)).is_nothing()


async def test_a_digit_is_one_event_with_one_marker_and_three_ends() -> None:
    async with two_phones() as (one, two):
        await one.send_digit("5")
        await one.send_digit("6")
        packets = list(two.received)[:-7]
        assert len(packets) == 7
        assert [p.marker for p in packets] == [True] + [False] * 6
        assert [p.payload[1] >> 7 for p in packets] == [0, 0, 0, 0, 1, 1, 1]
        assert len({p.timestamp for p in packets}) == 1
        assert {p.payload[0] for p in packets} == {5}


async def test_packets_of_10_ms_are_half_as_long() -> None:
    async with two_phones() as (one, two):
        one.talk(None, packet_ms=10)
        heard = await two.listen(300)
        heard.is_steady(step=80, packets_per_s=100)
        assert heard.payload_bytes == [80]


async def test_the_client_reads_what_the_server_answers_and_keeps_the_connection() -> None:
    async def handler(request: Request) -> Response:
        return Response(201, request.method.encode() + b" " + request.path.encode() + b" " + request.body)

    async with serve_http(handler) as port, HttpClient("127.0.0.1", port).connection() as connection:
        for body in ({"a": 1}, "{", None):
            reply = await connection.ask("POST", "//odd/path", body)
            assert reply.status == 201
            assert reply.body.startswith(b"POST //odd/path")


async def test_a_refused_connection_is_a_difference() -> None:
    with pytest.raises(Difference):
        await HttpClient("127.0.0.1", 9).ask("GET", "/")


async def test_the_sink_keeps_deliveries_and_checks_signatures() -> None:
    import hashlib
    import hmac

    async with open_sink() as sink:
        body = b'{"type":"leg.ringing","leg_id":"x"}'
        signature = "sha256=" + hmac.new(b"s", body, hashlib.sha256).hexdigest()
        sink.fail_next("/hook", 500)
        client = HttpClient("127.0.0.1", sink.port)
        first = await client.ask("POST", "/hook", body, (("X-Signature-256", signature),))
        second = await client.ask("POST", "/hook", body)
        assert (first.status, second.status) == (500, 200)
        delivery = await sink.delivery("leg.ringing", leg_id="x")
        assert delivery.is_signed_with("s")
        assert not delivery.is_signed_with("t")
        with pytest.raises(Difference):
            await sink.delivery("leg.connected", within_s=0.05)


async def test_served_files_are_what_they_claim_to_be() -> None:
    async with open_media() as media:
        client = HttpClient("127.0.0.1", media.port)
        reply = await client.ask("GET", "/tone/440/100/16000/x.wav")
        with wave.open(io.BytesIO(reply.body)) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (16000, 1, 1600)
        reply = await client.ask("GET", "/stereo/440/100/8000/x.wav")
        with wave.open(io.BytesIO(reply.body)) as sound:
            assert sound.getnchannels() == 2
        reply = await client.ask("GET", "/mp3/440/500/44100/x.mp3")
        with av.open(io.BytesIO(reply.body)) as container:
            assert container.streams.audio[0].rate == 44100
        check("status", (await client.ask("GET", "/status/404")).status, 404)
        check("fetches", media.fetched["/tone/440/100/16000/x.wav"], 1)
