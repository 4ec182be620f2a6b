"""A stand-in for the edge of WhatsApp: SIP over TLS that asks for a digest, with aiortc for the media."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from conformance.expect import check, require
from conformance.peers.certificates import Authority
from conformance.peers.digest import challenge, is_right, parameters_of
from conformance.peers.sip_call import Call
from conformance.peers.sip_message import SipMessage
from conformance.peers.sip_stream import open_listener, open_tls
from conformance.peers.sip_ua import SipUa
from conformance.peers.webrtc_peer import WebRtcPeer
from conformance.world import World

DOMAIN = "meta.vc"
US, THEM, PASSWORD = "4930654321", "4930123456", "open sesame"


@dataclass
class Edge:
    """The edge, and the server that has it for its provider.

    Attributes:
        world: around that server.
        ua: takes what the server sends.
        authority: of both sides' certificates.
    """

    world: World
    ua: SipUa
    authority: Authority

    async def dialled(self, **fields: object) -> tuple[Call, str]:
        """Has the server call a user, and challenges it; returns the call after that, and the leg."""
        call, leg_id = await self.unchallenged(**fields)
        await self.challenge(call)
        return call, leg_id

    async def unchallenged(self, **fields: object) -> tuple[Call, str]:
        """Has the server call a user; returns the call with its first INVITE, and the leg."""
        body = {"type": "whatsapp", "to": f"+{THEM}", "from": US, "auth": {"password": PASSWORD}, **fields}
        view = await self.world.rest("POST", "/v1/legs", body, status=201)
        check("type and state", (view["type"], view["state"]), ("whatsapp_out", "ringing"))
        leg_id = str(view["id"])
        await self.world.event("leg.ringing", leg_id=leg_id, leg_type="whatsapp_out")
        return await self.ua.next_call(5.0), leg_id

    async def challenge(
        self, call: Call, nonce: str = "n1", *, status: int = 407, user: str = US, stale: bool = False
    ) -> SipMessage:
        """Asks for a digest as a proxy (407) or a callee (401), and checks the one of the next INVITE."""
        assert call.invite is not None
        asks, proves = (
            ("Proxy-Authenticate", "Proxy-Authorization")
            if status == 407
            else ("WWW-Authenticate", "Authorization")
        )
        await call.reply(call.invite, status, headers=[(asks, challenge(nonce, stale=stale))])
        await call.request("ACK")
        invite = await call.request("INVITE")
        proof = invite.header(proves) or ""
        require(is_right(proof, "INVITE", PASSWORD), "digest", "right", proof)
        given = parameters_of(proof)
        check("user and nonce of the digest", (given.get("username"), given.get("nonce")), (user, nonce))
        call.invite = invite
        return invite

    async def connected(self, peer: WebRtcPeer, **fields: object) -> tuple[Call, str]:
        """Has the server call a user, who takes the call; returns the call and the leg."""
        call, leg_id = await self.dialled(**fields)
        await self.take(call, peer)
        await self.world.event("leg.connected", leg_id=leg_id)
        return call, leg_id

    async def take(self, call: Call, peer: WebRtcPeer) -> None:
        """Answers a call with the media of a peer."""
        assert call.invite is not None
        sdp = await peer.answer(call.invite.body.decode())
        await call.reply(call.invite, 200, sdp=sdp.encode())
        await call.request("ACK")

    @asynccontextmanager
    async def calling(self, name: str = THEM) -> AsyncIterator[Call]:
        """A call of a user that is about to be placed, on a connection of its own."""
        server = self.world.target.sip_address("tls")
        async with open_tls(server, self.authority.client_context()) as ua:
            call = ua.new_call(name, US)
            call.local_uri = f"<sip:+{name}@wa.{DOMAIN}>"
            yield call


@asynccontextmanager
async def open_edge(world: World, name: str, settings: Mapping[str, str]) -> AsyncIterator[Edge]:
    """An edge, and a server that calls it and is called by it.

    Args:
        world: the surroundings.
        name: of the setting that tells the server where the edge is.
        settings: the server's others.
    """
    authority = await trio.to_thread.run_sync(Authority, world.home / f"edge-{world.name}")
    certificate, key = authority.issue("127.0.0.1")
    async with open_listener(("127.0.0.1", 0), authority.server_context("127.0.0.1")) as ua:
        tls = {
            "SIP_TLS_PORT": "0",
            "SIP_TLS_CERT": str(certificate),
            "SIP_TLS_KEY": str(key),
            "SIP_TLS_CA_FILE": str(authority.ca_file),
            name: ua.host_port,
        }
        async with world.server({**tls, **settings}) as there:
            ua.server = there.target.sip_address("tls")
            yield Edge(there, ua, authority)
