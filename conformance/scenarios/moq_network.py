"""MoQ legs over a network that loses, doubles and reorders datagrams."""

from __future__ import annotations

import numpy as np
import trio

from conformance.expect import check, require
from conformance.peers.measure import tones_of
from conformance.peers.moq_peer import RATE_HZ, SERVER_SETUP, SUBSCRIBE_OK, VERSION, open_moq
from conformance.peers.payload import make_codec
from conformance.peers.udp_relay import Network, open_relay
from conformance.phones import answered
from conformance.registry import scenario
from conformance.scenarios.moq import ON, listener_of
from conformance.world import World

BAD = Network(loss=0.05, doubled=0.05, late=0.1, delay_s=0.01, late_s=0.02, seed=5)
GROUP = 50
"""Objects in a group of the server."""


@scenario(
    "MoQ leg whose network loses 5 %, doubles and reorders: heard both ways, nothing is missing", env=ON
)
async def moq_network(world: World) -> None:
    phone = await answered(world, tone=500.0)
    await phone.join("sc-net")
    relay = await world.open(open_relay(listener_of(world), BAD))
    peer = await world.open(open_moq(relay.address, "room_id=sc-net"))
    peer.set_up(VERSION)
    await peer.message(SERVER_SETUP)
    peer.ask(b"audio", alias=7)
    await peer.message(SUBSCRIBE_OK)
    await peer.until(lambda: b"audio" in peer.wanted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.talk, 900.0)
        await trio.sleep(3.0)
        heard = await phone.hears()
        require(
            len(heard.tones) == 1 and abs(heard.tones[0] - 900) <= 10, "tones at the phone", 900, heard.tones
        )
        nursery.cancel_scope.cancel()
    objects = sorted(peer.objects, key=lambda item: (item.group, item.number))[:100]
    places = [GROUP * item.group + item.number for item in objects]
    check("objects of the first seconds", places, list(range(places[0], places[0] + len(places))))
    codec = make_codec("opus")
    pcm = np.concatenate([codec.decode(item.payload) for item in objects])
    found = tones_of(pcm[RATE_HZ // 2 :], RATE_HZ)
    require(len(found) == 1 and abs(found[0] - 500) <= 10, "tones at the program", 500, found)
    require(relay.lost > 5, "datagrams that were lost", "some", relay.lost)
