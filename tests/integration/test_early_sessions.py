"""What is said of the session before a call is up: by commands that come late, and by forks."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
import trio

from tests.support.raw_sip import SDP, RawSip, open_raw
from tests.support.world import Events, sip_uri, wait_for
from vb.commands.views import Leg
from vb.config import Config
from vb.errors import Conflict
from vb.rtp.packet import build_header
from vb.server import Server, open_server
from vb.sip.message import Message, Request

pytestmark = pytest.mark.integration


@pytest.fixture
def config(config: Config) -> Config:
    """A server that does not wait long for peers that have gone."""
    return config.model_copy(update={"server": config.server.model_copy(update={"stop_timeout_s": 0.3})})


def sdp(port: int, payload_type: int) -> bytes:
    return (
        "v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {payload_type}\r\n"
    ).encode()


def said(message: Message) -> tuple[int, str]:
    """The version of a description, and the types of its audio."""
    lines = message.body.decode().split("\r\n")
    (origin,) = [line for line in lines if line.startswith("o=")]
    (audio,) = [line for line in lines if line.startswith("m=audio")]
    return int(origin.split(" ")[2]), audio.partition("RTP/AVP ")[2]


async def test_a_call_that_is_answered_but_not_acknowledged_says_that_it_is_answered(config: Config) -> None:
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await raw.request("INVITE", body=SDP)
            leg_id = (await wait_for(events, "leg.ringing"))["leg_id"]
            await server.call("answer_leg", id=leg_id)
            for command in ("answer_leg", "leg_ring", "leg_early_media"):
                with pytest.raises(Conflict, match=r"^leg has been answered$"):
                    await server.call(command, id=leg_id)


async def test_early_media_asked_for_after_the_answer_leaves_the_session_alone(config: Config) -> None:
    both = SDP.replace(b"AVP 0", b"AVP 0 8")
    async with open_server(config) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events:
            await raw.request("INVITE", body=both)
            leg_id = (await wait_for(events, "leg.ringing"))["leg_id"]
            await server.call("answer_leg", id=leg_id, codec="PCMU")
            assert said(await raw.wait_status(200)) == (0, "0")
            with pytest.raises(Conflict, match="answer"):
                await server.call("leg_early_media", id=leg_id, codec="PCMA")
            await raw.request("ACK", cseq=1)
            await wait_for(events, "leg.connected")
            await server.call("hold_leg", id=leg_id)
            assert said(await raw.wait_request("INVITE")) == (1, "0")


async def test_a_digit_counts_from_our_offer_on(config: Config) -> None:
    async with forked_call(config) as call:
        await call.raw.respond(call.invite, 180, to_tag="fork-a")
        port = sdp_port(call.invite.body)
        event = bytes((5, 0x80, 0, 160))
        for number in range(8):
            packet = build_header(101, number, 4000, 7, marker=number == 0) + event
            await call.audio_a.sendto(packet, ("127.0.0.1", port))
        heard = await wait_for(call.events, "dtmf.received")
        assert (heard["leg_id"], heard["digit"], heard["seq"]) == (call.leg_id, "5", 1)
        await call.raw.respond(call.invite, 486, to_tag="fork-a")
        gone = await wait_for(call.events, "leg.disconnected")
        assert "quality" not in gone  # whoever sent that has never been agreed on


def sdp_port(offer: bytes) -> int:
    """Where an offer wants its audio."""
    (line,) = [line for line in offer.split(b"\r\n") if line.startswith(b"m=audio ")]
    return int(line.split()[1])


# -- forks --------------------------------------------------------------------------------------------


@contextmanager
def rtp_socket() -> Iterator[trio.socket.SocketType]:
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


@dataclass
class Forked:
    """A call of the server, and two forks that it has reached, which share one SIP socket."""

    server: Server
    events: Events
    raw: RawSip
    leg_id: str
    invite: Request
    audio_a: trio.socket.SocketType
    audio_b: trio.socket.SocketType

    @property
    def b_answers(self) -> bytes:
        return sdp(self.audio_b.getsockname()[1], 8)

    async def ring_at_a(self) -> None:
        """Fork A sends a reliable 183 with its answer."""
        answer = sdp(self.audio_a.getsockname()[1], 0)
        headers = {"Require": "100rel", "RSeq": "1"}
        await self.raw.respond(self.invite, 183, body=answer, headers=headers, to_tag="fork-a")
        prack = await self.raw.wait_request("PRACK")
        await self.raw.respond(prack, 200)
        await wait_for(self.events, "leg.early_media")

    async def update_from_a(self) -> None:
        """Fork A changes its session in its early dialog."""
        self.raw.become_fork(self.invite, "fork-a")
        await self.raw.request("UPDATE", body=sdp(self.audio_a.getsockname()[1], 0))
        await self.raw.wait_status(200, "UPDATE")

    async def connected_to_b(self, body: bytes) -> None:
        """Fork B takes the call."""
        await self.raw.respond(self.invite, 200, body=body, to_tag="fork-b")
        await self.raw.wait_request("ACK")
        await wait_for(self.events, "leg.connected")
        with trio.fail_after(5):
            packet = await self.audio_b.recv(2048)
        assert packet[1] & 0x7F == 8


@asynccontextmanager
async def forked_call(config: Config) -> AsyncIterator[Forked]:
    async with open_server(config, http=False) as server, open_raw(sip_uri(server)) as raw:
        with server.events() as events, rtp_socket() as audio_a, rtp_socket() as audio_b:
            await audio_a.bind(("127.0.0.1", 0))
            await audio_b.bind(("127.0.0.1", 0))
            leg = await server.call("create_leg", type="sip", to=raw.uri, codecs=["PCMU", "PCMA"])
            assert isinstance(leg, Leg)
            invite = await raw.wait_request("INVITE")
            yield Forked(server, events, raw, leg.id, invite, audio_a, audio_b)


async def test_the_answer_of_a_fork_counts_though_another_has_updated_its_session(config: Config) -> None:
    async with forked_call(config) as call:
        await call.ring_at_a()
        await call.update_from_a()
        await call.connected_to_b(call.b_answers)
        await call.server.call("hold_leg", id=call.leg_id)
        assert said(await call.raw.wait_request("INVITE"))[0] == 1


async def test_early_media_of_a_fork_does_too(config: Config) -> None:
    async with forked_call(config) as call:
        await call.ring_at_a()
        await call.update_from_a()
        await call.raw.respond(call.invite, 183, body=call.b_answers, to_tag="fork-b")
        with trio.fail_after(5):
            assert (await call.audio_b.recv(2048))[1] & 0x7F == 8


async def test_a_fork_that_answered_early_needs_no_description_in_its_200(config: Config) -> None:
    async with forked_call(config) as call:
        await call.raw.respond(call.invite, 183, body=call.b_answers, to_tag="fork-b")
        await call.ring_at_a()
        await call.update_from_a()
        await call.connected_to_b(b"")


async def test_a_fork_that_described_nothing_does_not_get_the_session_of_another(config: Config) -> None:
    async with forked_call(config) as call:
        await call.ring_at_a()
        await call.raw.respond(call.invite, 200, to_tag="fork-b")
        await call.raw.wait_request("ACK")
        await call.raw.wait_request("BYE")
        gone = await wait_for(call.events, "leg.disconnected")
        assert gone["cdr"]["reason"] == "invite_failed"
