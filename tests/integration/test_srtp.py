"""SRTP between two servers, each with a plain phone behind it: the call between them is what is protected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from structlog.testing import capture_logs

from tests.support.phone import Phone, open_phone
from tests.support.world import Events, call_in, sip_uri, wait_for
from vb.choices import SrtpKeying, SrtpPolicy
from vb.commands.views import Leg
from vb.config import Config
from vb.server import Server, open_server
from vb.sipleg.leg import SipLeg

pytestmark = pytest.mark.integration

ROOM = "r"


@dataclass
class Side:
    """One server with a room in which a phone is."""

    server: Server
    events: Events
    phone: Phone

    def trunk(self) -> SipLeg:
        """Its leg towards the other server."""
        legs = [leg for leg in self.server.engine.legs if isinstance(leg, SipLeg)]
        (found,) = [
            leg for leg in legs if leg.type == "sip_outbound" or leg.call.source[1] != self.phone.port
        ]
        return found

    def is_secure(self) -> bool:
        """Whether packets are protected next to the socket."""
        return self.trunk().media.port.transform is not None

    def sdes_calls(self, transport: str) -> float | None:
        """How many calls had keys in their descriptions over a transport."""
        registry = self.server.engine.metrics.registry
        return registry.get_sample_value("voiceblender_sip_sdes", {"transport": transport})

    def dtls_streams(self) -> float | None:
        """How many streams have had keys by a handshake."""
        return self.server.engine.metrics.registry.get_sample_value("voiceblender_sip_dtls")

    def refused(self) -> int:
        """Packets that were no SRTP of the other side."""
        dropped = self.server.engine.plane.statistics.dropped
        return dropped["transform_in"] + dropped["transform_out"]


def with_policy(config: Config, policy: SrtpPolicy) -> Config:
    return config.model_copy(update={"sip": config.sip.model_copy(update={"srtp": policy})})


@asynccontextmanager
async def two_sides(config: Config, ours: SrtpPolicy, theirs: SrtpPolicy) -> AsyncIterator[tuple[Side, Side]]:
    """Two servers with a phone each; ours plays 500 Hz, theirs 900 Hz."""
    async with AsyncExitStack() as stack:
        sides: list[Side] = []
        for policy, hertz in ((ours, 500), (theirs, 900)):
            server = await stack.enter_async_context(open_server(with_policy(config, policy)))
            phone = await stack.enter_async_context(open_phone(hertz))
            events = stack.enter_context(server.events())
            await call_in(server, phone, events, ROOM)
            sides.append(Side(server, events, phone))
        yield sides[0], sides[1]


async def connect(one: Side, other: Side, **options: object) -> None:
    """Let one server call the other; both rooms are in one call then."""
    await one.server.call("create_leg", type="sip", to=sip_uri(other.server), room_id=ROOM, **options)
    leg_id = (await wait_for(other.events, "leg.ringing"))["leg_id"]
    await other.server.call("add_leg_to_room", room_id=ROOM, leg_id=leg_id)
    await wait_for(one.events, "leg.connected")
    await wait_for(other.events, "leg.joined_room", leg_id=leg_id)


async def hear_each_other(one: Side, other: Side) -> None:
    """Wait until each phone hears the other's tone, and nothing else."""
    with trio.fail_after(10):
        while True:
            await one.phone.hear(5)
            await other.phone.hear(5)
            if (one.phone.tones(20), other.phone.tones(20)) == ({900}, {500}):
                return


@pytest.mark.parametrize(
    ("ours", "theirs", "secure"),
    [
        ("required", "off", True),
        ("preferred", "off", True),
        ("required", "preferred", True),
        ("off", "preferred", False),
    ],
)
async def test_calls_are_protected_as_the_caller_asks(
    config: Config, ours: SrtpPolicy, theirs: SrtpPolicy, *, secure: bool
) -> None:
    async with two_sides(config, "off", theirs) as (one, other):
        await connect(one, other, srtp=ours)
        await hear_each_other(one, other)
        assert (one.is_secure(), other.is_secure()) == (secure, secure)
        assert (one.refused(), other.refused()) == (0, 0)
        assert one.sdes_calls("udp") == other.sdes_calls("udp") == int(secure)
        assert one.sdes_calls("tls") == 0


async def test_the_setting_of_the_server_holds_where_a_request_says_nothing(config: Config) -> None:
    async with two_sides(config, "preferred", "off") as (one, other):
        await connect(one, other)
        await hear_each_other(one, other)
        assert one.is_secure()
        assert other.is_secure()


async def test_a_hold_and_its_end_go_on_with_the_same_keys(config: Config) -> None:
    async with two_sides(config, "off", "off") as (one, other):
        await connect(one, other, srtp="required")
        await hear_each_other(one, other)
        before = one.trunk().media.negotiation.agreed
        await one.server.call("hold_leg", id=one.trunk().id)
        await wait_for(other.events, "leg.hold")
        await one.server.call("unhold_leg", id=one.trunk().id)
        await wait_for(other.events, "leg.unhold")
        await hear_each_other(one, other)
        after = one.trunk().media.negotiation.agreed
        assert before is not None
        assert after is not None
        assert before.srtp == after.srtp
        assert (one.refused(), other.refused()) == (0, 0)


async def test_plain_calls_are_refused_where_srtp_is_required(config: Config) -> None:
    async with open_server(config) as caller, open_server(with_policy(config, "required")) as callee:
        with caller.events() as events:
            leg = await caller.call("create_leg", type="sip", to=sip_uri(callee))
            assert isinstance(leg, Leg)
            ended = await wait_for(events, "leg.disconnected", leg_id=leg.id)
            assert ended["cdr"]["reason"] == "not_acceptable"


@pytest.mark.parametrize("policy", ["preferred", "required"])
@pytest.mark.parametrize("keys", ["sdes", "dtls"])
async def test_text_is_protected_as_the_audio_beside_it(
    config: Config, policy: SrtpPolicy, keys: SrtpKeying
) -> None:
    async with two_sides(config, "off", "off") as (one, other):
        await connect(one, other, srtp=policy, srtp_keying=keys, rtt=True)
        await hear_each_other(one, other)
        ours, theirs = one.trunk(), other.trunk()
        assert ours.media.text.keying == theirs.media.text.keying == keys
        with trio.fail_after(10):
            while not (ours.has_text and theirs.has_text):
                await one.phone.hear(1)
        await one.server.call("send_leg_rtt", id=ours.id, text="höre")
        assert (await wait_for(other.events, "rtt.received"))["text"] == "höre"
        await other.server.call("send_leg_rtt", id=theirs.id, text="gut")
        assert (await wait_for(one.events, "rtt.received"))["text"] == "gut"


@pytest.mark.parametrize("policy", ["preferred", "required"])
async def test_dtls_makes_the_keys_where_it_is_asked_for(config: Config, policy: SrtpPolicy) -> None:
    async with two_sides(config, "off", "off") as (one, other):
        with one.server.events() as events:
            await connect(one, other, srtp=policy, srtp_keying="dtls")
            await hear_each_other(one, other)
            assert one.is_secure()
            assert other.is_secure()
            leg = await one.server.call("get_leg", id=one.trunk().id)
            assert isinstance(leg, Leg)
            assert leg.srtp == "dtls"
            assert one.sdes_calls("udp") == 0
            assert one.dtls_streams() == other.dtls_streams() == 1
            early = one.refused(), other.refused()  # the first to have keys may be a packet ahead
            await one.server.call("hold_leg", id=leg.id)
            await wait_for(other.events, "leg.hold")
            await one.server.call("unhold_leg", id=leg.id)
            await wait_for(other.events, "leg.unhold")
            await hear_each_other(one, other)
            assert (one.refused(), other.refused()) == early
            await other.server.call("delete_leg", id=other.trunk().id)
            assert (await wait_for(events, "leg.connected", leg_id=leg.id))["srtp"] == "dtls"
            assert (await wait_for(events, "leg.disconnected", leg_id=leg.id))["quality"]["srtp"] == "dtls"


async def test_the_kind_of_keys_is_a_setting_too(config: Config) -> None:
    update = {"srtp": "required", "srtp_keying": "dtls"}
    secure = config.model_copy(update={"sip": config.sip.model_copy(update=update)})
    async with open_server(secure) as server, open_server(config) as callee:
        with callee.events() as events:
            leg = await server.call("create_leg", type="sip", to=sip_uri(callee))
            assert isinstance(leg, Leg)
            ringing = await wait_for(events, "leg.ringing")
            await callee.call("answer_leg", id=ringing["leg_id"])
            assert (await wait_for(events, "leg.connected"))["srtp"] == "dtls"


async def test_no_key_is_in_the_log_or_the_events(config: Config) -> None:
    debugging = config.model_copy(update={"sip": config.sip.model_copy(update={"debug": True})})
    with capture_logs() as logs:
        async with two_sides(debugging, "off", "off") as (one, other):
            with one.server.events() as events, other.server.events() as others:
                await connect(one, other, srtp="required")
                agreed = one.trunk().media.negotiation.agreed
                assert agreed is not None
                assert agreed.srtp is not None
                seen = [(await events.get()).as_dict(), (await others.get()).as_dict()]
    text = f"{logs}{seen}"
    assert "a=crypto:***" in text
    assert "inline:" not in text
