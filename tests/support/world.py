"""Verbs for integration tests: wait for events, bring phones into calls."""

from __future__ import annotations

from typing import Any

import trio

from tests.support.phone import Phone
from vb.channels import Channel
from vb.events.base import Published
from vb.server import Server
from vb.sip import call_events as sip

Events = Channel[Published]


async def wait_for(events: Events, kind: str, **fields: object) -> dict[str, Any]:
    """The next event of a type whose fields have these values; others are skipped."""
    with trio.fail_after(10):
        while True:
            found = (await events.get()).as_dict()
            if found["type"] == kind and all(found.get(name) == value for name, value in fields.items()):
                return found


async def rest_of(events: Events, quiet_s: float = 0.2) -> list[dict[str, Any]]:
    """Everything that still comes until nothing does for a while."""
    found: list[dict[str, Any]] = []
    while True:
        with trio.move_on_after(quiet_s) as scope:
            found.append((await events.get()).as_dict())
        if scope.cancelled_caught:
            return found


def sip_uri(server: Server) -> str:
    """Where the server takes calls."""
    transport, host, port = server.addresses.sip[0].split(":")
    assert transport == "udp"
    return f"sip:room@{host}:{port}"


async def call_in(server: Server, phone: Phone, events: Events, room: str | None = None) -> str:
    """Let a phone call in and answer it, into a room if one is named; returns the leg's id."""
    call = phone.dial(sip_uri(server))
    leg_id = str((await wait_for(events, "leg.ringing"))["leg_id"])
    if room is None:
        await server.call("answer_leg", id=leg_id)
    else:
        await server.call("add_leg_to_room", room_id=room, leg_id=leg_id)
    answered = await phone.wait_for(call, sip.Answered)
    phone.use_answer(answered.sdp)
    await wait_for(events, "leg.connected" if room is None else "leg.joined_room", leg_id=leg_id)
    return leg_id
