"""Sessions against aiortc: offers of both sides, both parts in the handshake, trickle on and off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.webrtc.leg import Leg, open_leg
from vb.sdp.parser import parse_sdp
from vb.webrtc.candidate import Candidate, parse_candidate
from vb.webrtc.dtls import SrtpProfile
from vb.webrtc.session import Closed, Connected
from vb.webrtc.srtp import SrtpCounts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PEER_HZ, OUR_HZ = 440.0, 1000.0
SCRIPT = Path(__file__).with_name("aiortc_peer.py")


class Peer:
    """The other process."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._buffer = b""

    async def say(self, **words: object) -> None:
        await self._stdin.send_all(json.dumps(words).encode() + b"\n")

    async def hear(self, key: str) -> object:
        """Returns the value of the next line with a key."""
        while True:
            line, separator, rest = self._buffer.partition(b"\n")
            if not separator:
                data = await self._stdout.receive_some()
                assert data, "the peer has ended"
                self._buffer += data
                continue
            self._buffer = rest
            words = json.loads(line)
            if key in words:
                return words[key]


@asynccontextmanager
async def peer_process(role: str) -> AsyncIterator[Peer]:
    command = [sys.executable, str(SCRIPT), role, str(PEER_HZ)]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        yield Peer(await nursery.start(run))
        nursery.cancel_scope.cancel()


async def talk(leg: Leg, peer: Peer) -> None:
    """Lets both sides talk, and checks that each hears the other; then the peer leaves."""
    await leg.until(Connected)
    while await peer.hear("state") != "connected":
        pass
    await leg.has_heard.wait()
    await peer.say(report=True)
    assert await peer.hear("pitch_hz") == pytest.approx(OUR_HZ, abs=15)
    assert leg.heard_pitch_hz() == pytest.approx(PEER_HZ, abs=15)
    assert leg.srtp is not None
    assert leg.srtp.counts == SrtpCounts()
    assert leg.session.dropped == leg.session.ice.dropped == 0
    await peer.say(close=True)
    await leg.until(Closed)


def candidates_of(sdp: str) -> tuple[bytes, list[Candidate]]:
    """Returns a description without its candidates, and these."""
    lines = sdp.splitlines()
    found = [parse_candidate(line) for line in lines if line.startswith("a=candidate")]
    kept = [line for line in lines if not line.startswith(("a=candidate", "a=end-of"))]
    return "".join(f"{line}\r\n" for line in kept).encode(), found


@pytest.mark.parametrize("trickle", [False, True], ids=["all", "trickle"])
@pytest.mark.parametrize("active", [True, False], ids=["client", "server"])
async def test_aiortc_calls(active: bool, trickle: bool) -> None:
    leg = await open_leg(controlling=False, pitch_hz=OUR_HZ)
    with leg.socket, trio.fail_after(60):
        async with peer_process("offer") as peer, trio.open_nursery() as nursery:
            nursery.start_soon(leg.run)
            text = await peer.hear("sdp")
            assert isinstance(text, str)
            data, theirs = candidates_of(text)
            offer = leg.talk.read_offer(data if trickle else text.encode())
            role = "client" if active else "server"
            leg.session.set_peer(offer.transport, "client" if active else "server", trio.current_time())
            ours = [] if trickle else [leg.candidate]
            transport = leg.session.local_transport(ours, complete=not trickle)
            answer = leg.talk.answer(offer, transport, active=active)
            assert leg.talk.agreed is not None
            assert leg.talk.agreed.role == role
            await peer.say(sdp=answer.decode(), type="answer")
            if trickle:
                taken = [leg.session.add_remote(candidate) for candidate in theirs]
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
        async with peer_process("answer") as peer, trio.open_nursery() as nursery:
            nursery.start_soon(leg.run)
            offer = leg.talk.offer(leg.session.local_transport([leg.candidate], complete=True))
            await peer.say(sdp=offer.decode(), type="offer")
            answer = await peer.hear("sdp")
            assert isinstance(answer, str)
            assert parse_sdp(answer.encode()).media[0].port
            agreed = leg.talk.read_answer(answer.encode())
            leg.session.set_peer(agreed.transport, agreed.role, trio.current_time())
            await leg.step()
            await talk(leg, peer)
            (connected,) = [event for event in leg.told if isinstance(event, Connected)]
            assert connected.keys.profile is profile
            nursery.cancel_scope.cancel()
