"""Routing by role, with real calls and tones: a supervisor listens to an agent and a customer."""

from __future__ import annotations

import pytest

from tests.support.phone import Phone, open_phone
from tests.support.world import Events, call_in, rest_of, sip_uri, wait_for
from vb.config import Config
from vb.server import Server, open_server
from vb.sip import call_events as sip

pytestmark = pytest.mark.integration

AGENT, CUSTOMER, SUPERVISOR = 500, 800, 1100
MATRIX = {"agent": ["customer"], "customer": ["agent"], "supervisor": ["agent", "customer"]}


async def hearing(*phones: Phone) -> list[set[int]]:
    """The tones that each phone hears from now on."""
    for phone in phones:
        await phone.hear(55)
    return [phone.tones() for phone in phones]


async def join(server: Server, phone: Phone, events: Events, role: str) -> str:
    leg_id = await call_in(server, phone, events)
    await server.call("add_leg_to_room", room_id="r", leg_id=leg_id, role=role)
    return leg_id


async def test_a_supervisor_hears_all_and_the_customer_hears_it_only_as_an_agent(config: Config) -> None:
    async with (
        open_server(config) as server,
        open_phone(AGENT) as agent,
        open_phone(CUSTOMER) as customer,
        open_phone(SUPERVISOR) as supervisor,
    ):
        with server.events() as events:
            await server.call("create_room", id="r")
            await server.call("room_routing_set", room_id="r", matrix=MATRIX)
            await join(server, agent, events, "agent")
            await join(server, customer, events, "customer")
            await customer.hear(20)
            so_far = len(customer.heard)
            listener = await join(server, supervisor, events, "supervisor")
            assert await hearing(agent, customer, supervisor) == [{CUSTOMER}, {AGENT}, {AGENT, CUSTOMER}]
            assert customer.tones(len(customer.heard) - so_far) == {AGENT}

            await server.call("set_leg_role", leg_id=listener, role="agent")
            assert await hearing(agent, customer, supervisor) == [{CUSTOMER}, {AGENT, SUPERVISOR}, {CUSTOMER}]

            await server.call(
                "room_routing_update",
                room_id="r",
                updates=[
                    {"listener_role": "customer", "sources": []},
                    {"listener_role": "agent", "sources": None},
                ],
            )
            assert await hearing(agent, customer) == [{CUSTOMER, SUPERVISOR}, set()]

            await server.call("room_routing_set", room_id="r", matrix=MATRIX)
            await server.call("remove_leg_from_room", room_id="r", leg_id=listener)
            assert await hearing(agent, customer, supervisor) == [{CUSTOMER}, {AGENT}, set()]


async def test_a_ringing_call_that_is_answered_into_a_room_takes_its_role_along(config: Config) -> None:
    async with open_server(config) as server, open_phone(AGENT) as agent, open_phone(SUPERVISOR) as silent:
        with server.events() as events:
            await server.call("create_room", id="r")
            await server.call("room_routing_set", room_id="r", matrix={"agent": []})
            await call_in(server, silent, events, "r")
            call = agent.dial(sip_uri(server))
            leg_id = (await wait_for(events, "leg.ringing"))["leg_id"]
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id, role="agent")
            agent.use_answer((await agent.wait_for(call, sip.Answered)).sdp)
            kinds = [item["type"] for item in await rest_of(events)]
            assert kinds == ["leg.connected", "leg.joined_room", "room.routing_changed"]
            assert await hearing(agent, silent) == [set(), {AGENT}]


async def test_a_held_leg_contributes_nothing_to_its_room(config: Config) -> None:
    async with open_server(config) as server, open_phone(AGENT) as one, open_phone(CUSTOMER) as two:
        with server.events() as events:
            leg_id = await call_in(server, one, events, "r")
            await call_in(server, two, events, "r")
            assert await hearing(two) == [{AGENT}]
            leg = server.engine.legs.get(leg_id)
            leg.set_holds(remote=True)
            assert await hearing(two) == [set()]
            leg.set_holds(remote=False)
            assert await hearing(two) == [{AGENT}]
