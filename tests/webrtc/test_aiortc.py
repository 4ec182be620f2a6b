"""Sessions against aiortc: offers of both sides, both parts in the handshake, trickle on and off."""

from __future__ import annotations

import pytest
import trio

from conformance.peers.webrtc_peer import WebRtcPeer, open_webrtc
from tests.webrtc.leg import Leg, open_leg
from vb.sdp.parser import parse_sdp
from vb.webrtc.candidate import parse_candidate
from vb.webrtc.dtls import SrtpProfile
from vb.webrtc.session import Closed, Connected
from vb.webrtc.srtp import SrtpCounts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PEER_HZ, OUR_HZ = 440.0, 1000.0


async def talk(leg: Leg, peer: WebRtcPeer) -> None:
    """Lets both sides talk, and checks that each hears the other; then the peer leaves."""
    await leg.until(Connected)
    await peer.reaches("connected")
    await leg.has_heard.wait()
    assert await peer.hears() == [pytest.approx(OUR_HZ, abs=15)]
    assert leg.heard_pitch_hz() == pytest.approx(PEER_HZ, abs=15)
    assert leg.srtp is not None
    assert leg.srtp.counts == SrtpCounts()
    assert leg.session.dropped == leg.session.ice.dropped == 0
    await peer.say(close=True)
    await leg.until(Closed)


@pytest.mark.parametrize("trickle", [False, True], ids=["all", "trickle"])
@pytest.mark.parametrize("active", [True, False], ids=["client", "server"])
async def test_aiortc_calls(active: bool, trickle: bool) -> None:
    leg = await open_leg(controlling=False, pitch_hz=OUR_HZ)
    with leg.socket, trio.fail_after(60):
        async with open_webrtc(PEER_HZ) as peer, trio.open_nursery() as nursery:
            nursery.start_soon(leg.run)
            text, theirs = peer.without_candidates()
            offer = leg.talk.read_offer((text if trickle else peer.offer).encode())
            role = "client" if active else "server"
            leg.session.set_peer(offer.transport, "client" if active else "server", trio.current_time())
            ours = [] if trickle else [leg.candidate]
            transport = leg.session.local_transport(ours, complete=not trickle)
            answer = leg.talk.answer(offer, transport, active=active)
            assert leg.talk.agreed is not None
            assert leg.talk.agreed.role == role
            await peer.say(answer=answer.decode())
            if trickle:
                taken = [leg.session.add_remote(parse_candidate(line)) for line in theirs]
                assert any(taken)
                await peer.say(candidate=leg.candidate.to_text(), mid=leg.talk.agreed.mid)
            await leg.step()
            await talk(leg, peer)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("lite", [False, True], ids=["full", "lite"])
@pytest.mark.parametrize(
    "profile", [SrtpProfile.AEAD_AES_128_GCM, SrtpProfile.AEAD_AES_256_GCM, SrtpProfile.AES128_CM_SHA1_80]
)
async def test_we_call_aiortc(profile: SrtpProfile, lite: bool) -> None:
    leg = await open_leg(controlling=True, pitch_hz=OUR_HZ, profiles=(profile,), lite=lite)
    with leg.socket, trio.fail_after(60):
        async with open_webrtc(PEER_HZ, answers=True) as peer, trio.open_nursery() as nursery:
            nursery.start_soon(leg.run)
            offer = leg.talk.offer(leg.session.local_transport([leg.candidate], complete=True))
            answer = await peer.answer(offer.decode())
            assert parse_sdp(answer.encode()).media[0].port
            agreed = leg.talk.read_answer(answer.encode())
            leg.session.set_peer(agreed.transport, agreed.role, trio.current_time())
            await leg.step()
            await talk(leg, peer)
            (connected,) = [event for event in leg.told if isinstance(event, Connected)]
            assert connected.keys.profile is profile
            nursery.cancel_scope.cancel()
