"""WhatsApp legs of two servers that are each other's provider: one calls out, the other takes it in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.support.phone import Phone, open_phone
from tests.support.world import Events, call_in, wait_for
from vb.config import Config
from vb.errors import BadRequest, Conflict, Forbidden, Unavailable, VbError
from vb.server import Server, open_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

ROOM = "r"
CALL = {"type": "whatsapp", "to": "+4930123456", "from": "+4930654321", "auth": {"password": "secret"}}


@dataclass
class Side:
    """One server, what it tells, and its leg towards the other."""

    server: Server
    events: Events
    leg_id: str = ""

    async def do(self, command: str, **fields: object) -> Any:
        return await self.server.call(command, id=self.leg_id, **fields)

    async def told(self, kind: str, **fields: object) -> dict[str, Any]:
        return await wait_for(self.events, kind, leg_id=self.leg_id, **fields)

    async def in_room(self, stack: AsyncExitStack, hertz: int) -> Phone:
        """Bring a phone and the leg into one room."""
        phone = await stack.enter_async_context(open_phone(hertz))
        await call_in(self.server, phone, self.events, ROOM)
        if (await self.do("get_leg")).room_id is None:
            await self.server.call("add_leg_to_room", room_id=ROOM, leg_id=self.leg_id)
        return phone


@pytest.fixture
def tls(config: Config, tmp_path: Path) -> Config:
    """Settings of a server with TLS that trusts the authority of its own certificate."""
    authority = trustme.CA()
    both, trusted = str(tmp_path / "both.pem"), str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(trusted)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(both)
    update = {"tls_port": 0, "tls_cert": both, "tls_key": both, "tls_ca_file": trusted}
    return config.model_copy(
        update={
            "sip": config.sip.model_copy(update=update),
            "whatsapp": config.whatsapp.model_copy(update={"domain": "127.0.0.1"}),
        }
    )


def towards(config: Config, server: Server) -> Config:
    """Settings of a server whose provider is another server."""
    (address,) = [found for found in server.addresses.sip if found.startswith("tls:")]
    edge = address.removeprefix("tls:")
    return config.model_copy(update={"whatsapp": config.whatsapp.model_copy(update={"edge": edge})})


@asynccontextmanager
async def two_sides(tls: Config, **fields: object) -> AsyncIterator[tuple[Side, Side, AsyncExitStack]]:
    """The side that calls and the side that rings."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(open_server(tls))
        caller = await stack.enter_async_context(open_server(towards(tls, provider)))
        ours = Side(caller, stack.enter_context(caller.events()))
        theirs = Side(provider, stack.enter_context(provider.events()))
        leg: Any = await caller.call("create_leg", **{**CALL, **fields})
        assert (leg.type, leg.state) == ("whatsapp_out", "ringing")
        ours.leg_id = leg.id
        theirs.leg_id = (await wait_for(theirs.events, "leg.ringing", leg_type="whatsapp_in"))["leg_id"]
        yield ours, theirs, stack


async def connect(ours: Side, theirs: Side) -> None:
    await theirs.do("answer_leg")
    for side, kind in ((ours, "whatsapp_out"), (theirs, "whatsapp_in")):
        told = await side.told("leg.connected")
        assert (told["leg_type"], told["srtp"]) == (kind, "dtls")


async def hear_each_other(ours: Phone, theirs: Phone, first_hz: int, second_hz: int) -> None:
    with trio.fail_after(10):
        while True:
            await ours.hear(5)
            await theirs.hear(5)
            if (ours.tones(20), theirs.tones(20)) == ({second_hz}, {first_hz}):
                return


async def refusal(action: Awaitable[object]) -> VbError:
    with pytest.raises(VbError) as caught:
        await action
    return caught.value


async def test_both_sides_are_heard_and_a_bye_ends_the_call(tls: Config) -> None:
    async with two_sides(tls, app_id="shop") as (ours, theirs, stack):
        ringing = await ours.told("leg.ringing")
        assert ringing["to"] == "+4930123456"
        assert ringing["from"] == "+4930654321"
        assert ringing["app_id"] == "shop"
        await connect(ours, theirs)
        first, second = await ours.in_room(stack, 500), await theirs.in_room(stack, 900)
        await hear_each_other(first, second, 500, 900)
        await theirs.do("delete_leg")
        ended = await ours.told("leg.disconnected")
        assert ended["cdr"]["reason"] == "remote_bye"
        assert "quality" not in ended
        assert (await theirs.told("leg.disconnected"))["cdr"]["reason"] == "api_hangup"


async def test_the_call_that_comes_in_shows_who_calls_and_what_is_offered(tls: Config) -> None:
    async with two_sides(tls, headers={"X-Order": "7"}) as (ours, theirs, _):
        leg = await theirs.do("get_leg")
        assert leg.sip_headers["X-Order"] == "7"
        await ours.do("delete_leg")
        ended = await theirs.told("leg.disconnected")
        assert ended["cdr"]["reason"] == "caller_cancel"
        assert (await ours.told("leg.disconnected"))["cdr"]["reason"] == "api_hangup"


async def test_digits_go_both_ways(tls: Config) -> None:
    async with two_sides(tls) as (ours, theirs, stack):
        await connect(ours, theirs)
        await ours.in_room(stack, 500)
        await theirs.in_room(stack, 900)
        await ours.do("send_leg_dtmf", digits="4")
        assert (await theirs.told("dtmf.received"))["digit"] == "4"
        await theirs.do("send_leg_dtmf", digits="#")
        assert (await ours.told("dtmf.received"))["digit"] == "#"


async def test_early_media_flows_before_the_answer(tls: Config) -> None:
    async with two_sides(tls, room_id=ROOM) as (ours, theirs, stack):
        await theirs.do("leg_ring")
        await theirs.do("leg_early_media")
        assert (await ours.told("leg.early_media"))["leg_type"] == "whatsapp_out"
        assert (await theirs.told("leg.early_media"))["leg_type"] == "whatsapp_in"
        await ours.told("leg.joined_room", room_id=ROOM)
        assert isinstance(await refusal(theirs.do("leg_early_media")), Conflict)
        await connect(ours, theirs)
        first, second = await ours.in_room(stack, 500), await theirs.in_room(stack, 900)
        await hear_each_other(first, second, 500, 900)


async def test_there_is_no_hold_no_transfer_no_codec_and_no_second_answer(tls: Config) -> None:
    async with two_sides(tls) as (ours, theirs, _):
        assert isinstance(await refusal(theirs.do("answer_leg", codec="opus")), BadRequest)
        await connect(ours, theirs)
        for side in (ours, theirs):
            assert isinstance(await refusal(side.do("hold_leg")), Conflict)
            assert isinstance(await refusal(side.do("leg_transfer", target="sip:x@127.0.0.1")), Conflict)
        assert isinstance(await refusal(theirs.do("answer_leg")), Conflict)
        assert isinstance(await refusal(theirs.do("leg_ring")), Conflict)
        assert isinstance(await refusal(ours.do("answer_leg")), BadRequest)


@pytest.mark.parametrize(
    ("reason", "theirs_says", "ours_says"),
    [("busy", "busy", "busy"), ("declined", "declined", "declined"), (None, "caller_cancel", "unavailable")],
)
async def test_a_refusal_is_told_by_its_reason(
    tls: Config, reason: str | None, theirs_says: str, ours_says: str
) -> None:
    async with two_sides(tls) as (ours, theirs, _):
        await theirs.do("delete_leg", **({} if reason is None else {"reason": reason}))
        assert (await theirs.told("leg.disconnected"))["cdr"]["reason"] == theirs_says
        ended = await ours.told("leg.disconnected")
        assert ended["cdr"]["reason"] == ours_says
        assert ended["cdr"]["duration_answered"] == 0


async def test_a_call_that_nobody_answers_ends_when_it_was_told_to(tls: Config) -> None:
    async with two_sides(tls, ring_timeout=1) as (ours, theirs, _):
        assert (await ours.told("leg.disconnected"))["cdr"]["reason"] == "ring_timeout"
        assert (await theirs.told("leg.disconnected"))["cdr"]["reason"] == "caller_cancel"


async def test_fields_of_the_request_act(tls: Config) -> None:
    fields = {
        "max_duration": 3,
        "accept_dtmf": False,
        "speech_detection": True,
        "amd": {"greeting_duration": 300},
        "metadata": {"order": "7"},
    }
    async with two_sides(tls, **fields) as (ours, theirs, stack):
        assert not (await ours.do("get_leg")).accept_dtmf
        await connect(ours, theirs)
        await theirs.in_room(stack, 900)
        await ours.told("amd.result")
        assert (await ours.told("leg.disconnected"))["cdr"]["reason"] == "max_duration"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", None),
        ("to", "bob"),
        ("to", "+0123456"),
        ("from", None),
        ("from", "sip:x@y"),
        ("auth", None),
        ("auth", {"password": ""}),
        ("codecs", ["PCMU"]),
        ("srtp", "required"),
        ("rtt", True),
        ("outbound_proxy", "sip:127.0.0.1"),
        ("url", "ws://127.0.0.1/"),
        ("room_id", "no/room"),
        ("headers", {"Via": "x"}),
        ("headers", {"X-Order": "7\r\nVia: x"}),
        ("auth", {"username": "a\r\nVia: x", "password": "secret"}),
        ("auth", {"username": "a", "password": "x\0y"}),
        ("to", "+4930123456\n"),
        ("to", "+\u0664\u0669\u0663\u0660\u0661\u0662"),
        ("privacy", "id"),
    ],
)
async def test_a_field_that_cannot_be_used_is_named(tls: Config, field: str, value: object) -> None:
    async with open_server(tls, http=False) as server:
        with pytest.raises(BadRequest, match="Via|X-Order" if field == "headers" else field):
            await server.call("create_leg", **{**CALL, field: value})
        assert await server.call("list_legs") == []


async def test_without_tls_there_are_no_whatsapp_calls(config: Config) -> None:
    async with open_server(config, http=False) as server:
        with pytest.raises(Unavailable, match="SIP_TLS_PORT"):
            await server.call("create_leg", **CALL)


async def test_the_operators_destinations_hold_for_numbers_too(tls: Config) -> None:
    closed = tls.model_copy(update={"server": tls.server.model_copy(update={"dial_allow": ("example.org",)})})
    async with open_server(closed, http=False) as server:
        with pytest.raises(Forbidden, match="to"):
            await server.call("create_leg", **CALL)


async def test_a_provider_that_is_not_there_fails_the_invite(tls: Config) -> None:
    nowhere = tls.model_copy(update={"whatsapp": tls.whatsapp.model_copy(update={"edge": "127.0.0.1:9"})})
    async with open_server(nowhere, http=False) as server:
        with server.events() as events:
            await server.call("create_leg", **CALL)
            assert (await wait_for(events, "leg.disconnected"))["cdr"]["reason"] == "invite_failed"
            assert server.engine.plane.ports == 0


async def test_calls_of_others_over_tls_are_plain_sip(tls: Config) -> None:
    others = tls.model_copy(update={"whatsapp": tls.whatsapp.model_copy(update={"domain": "meta.vc"})})
    async with open_server(others) as provider, open_server(towards(tls, provider)) as caller:
        with caller.events() as events, provider.events() as theirs:
            await caller.call("create_leg", **CALL)
            told = await wait_for(theirs, "leg.ringing")
            assert told["leg_type"] == "sip_inbound"
            await provider.call("delete_leg", id=told["leg_id"], reason="busy")
            assert (await wait_for(events, "leg.disconnected"))["cdr"]["reason"] == "busy"
