"""Legs of an engine whose media plane stands still, under a clock of the test's own."""

from __future__ import annotations

import datetime
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.engine import Observed, open_engine
from tests.webrtc.offers import CHROME_AUDIO, CHROME_HEAD, CHROME_VIDEO, PASSWORD, UFRAG
from tests.webrtc.test_negotiation import behind
from vb.codecs.base import OPUS
from vb.commands.registry import call
from vb.config import Config
from vb.errors import BadRequest, ConfigError, Conflict
from vb.legs.requests import CreateLeg
from vb.webrtc.candidate import local_candidate
from vb.webrtc.certificate import make_identity
from vb.webrtc.dtls import DtlsContext
from vb.webrtc.negotiation import WebRtcNegotiation
from vb.webrtc.session import Session, SessionEvent

OFFER = "".join(f"{line}\r\n" for line in (*CHROME_HEAD, *CHROME_AUDIO))
SETTINGS = {"RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"}


@asynccontextmanager
async def engine_with(settings: dict[str, str] | None = None) -> AsyncIterator[Observed]:
    async with (
        open_engine(Config.from_env({**SETTINGS, **(settings or {})})) as observed,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(observed.engine.kinds.get("webrtc").run)
        yield observed
        nursery.cancel_scope.cancel()


async def offer(observed: Observed, **fields: object) -> Any:
    return await call(observed.engine, "webrtc_offer", {"sdp": OFFER, **fields})


async def test_a_peer_that_never_comes_ends_the_leg_after_thirty_seconds(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        await offer(observed)
        await wait_all_tasks_blocked()
        mock_clock.jump(29.9)
        await wait_all_tasks_blocked()
        assert observed.told("leg_id") == []
        mock_clock.jump(0.2)
        await observed.engine.legs.wait_idle()
        (ended,) = [event.as_dict() for event in observed.events()]
        assert ended["type"] == "leg.disconnected"
        assert ended["cdr"] == {"reason": "ice_failure", "duration_total": 30.1, "duration_answered": 0.0}
        assert (observed.engine.plane.ports, len(observed.engine.legs)) == (0, 0)


async def test_a_fresh_leg_rings_and_its_answer_says_what_it_takes(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        reply = await offer(observed, app_id="shop")
        leg = observed.engine.legs.get(reply.leg_id)
        assert (leg.type, leg.shown_state, leg.app_id) == ("webrtc", "ringing", "shop")
        for line in ("a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "a=setup:passive", "a=end-of-candidates"):
            assert line in reply.sdp
        assert "telephone-event/8000" in reply.sdp
        assert "useinbandfec=1" in reply.sdp


async def test_two_legs_share_one_certificate_and_no_credentials(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        one, two = (await offer(observed)).sdp, (await offer(observed)).sdp
        assert _line(one, "a=fingerprint") == _line(two, "a=fingerprint")
        assert _line(one, "a=ice-pwd") != _line(two, "a=ice-pwd")
        assert _line(one, "a=ssrc") != _line(two, "a=ssrc")


@pytest.mark.parametrize(
    ("default_hz", "named_hz", "limited"),
    [("8000", None, True), ("16000", None, True), ("48000", None, False),
     ("16000", 48000, False), ("48000", 16000, True)],
)  # fmt: skip
async def test_a_browser_is_told_how_high_it_will_be_heard(
    mock_clock: MockClock, default_hz: str, named_hz: int | None, limited: bool
) -> None:
    async with engine_with({"DEFAULT_SAMPLE_RATE": default_hz}) as observed:
        sdp = (await offer(observed, max_playback_rate=named_hz)).sdp
        assert ("maxplaybackrate=16000" in sdp) == limited


async def test_a_further_offer_follows_the_room_upwards_and_never_down_unasked(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        leg_id = (await offer(observed)).leg_id
        assert "maxplaybackrate" in (await offer(observed, leg_id=leg_id)).sdp
        await call(observed.engine, "create_room", {"id": "music", "sample_rate": 48000})
        await call(observed.engine, "add_leg_to_room", {"room_id": "music", "leg_id": leg_id})
        assert "maxplaybackrate" not in (await offer(observed, leg_id=leg_id)).sdp
        await call(observed.engine, "remove_leg_from_room", {"room_id": "music", "leg_id": leg_id})
        assert "maxplaybackrate" not in (await offer(observed, leg_id=leg_id)).sdp
        lower = await offer(observed, leg_id=leg_id, max_playback_rate=16000)
        assert "maxplaybackrate" in lower.sdp


async def test_candidates_are_of_the_audio_line_once_video_before_it_is_gone(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        first = behind(CHROME_VIDEO).decode()
        leg_id = (await offer(observed, sdp=first)).leg_id
        leg = observed.engine.legs.get(leg_id)
        assert {(found.mid, found.line_index) for found in leg.take_candidates()[0]} == {("v", 0)}
        without = behind(CHROME_VIDEO, "0").decode().replace("m=video 9", "m=video 0")
        restarted = without.replace(f"a=ice-ufrag:{UFRAG}", "a=ice-ufrag:NEWu").replace(
            PASSWORD, f"zz{PASSWORD}"
        )
        await offer(observed, sdp=restarted, leg_id=leg_id)
        assert {(found.mid, found.line_index) for found in leg.take_candidates()[0]} == {("0", 1)}


async def test_digits_before_media_are_a_conflict(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        leg = observed.engine.legs.get((await offer(observed)).leg_id)
        with pytest.raises(Conflict, match="no audio"):
            leg.send_digits("1")


async def test_an_offer_for_a_leg_of_another_kind_is_refused(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        observed.leg("a")
        with pytest.raises(BadRequest, match="not a WebRTC leg"):
            await offer(observed, leg_id="a")


async def test_such_a_leg_is_not_created_by_a_request(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        with pytest.raises(BadRequest, match="webrtc_offer"):
            await observed.engine.kinds.get("webrtc").create(CreateLeg(type="sip"))


async def test_addresses_outside_take_the_place_of_our_own(mock_clock: MockClock) -> None:
    settings = {"WEBRTC_EXTERNAL_IPS": "198.51.100.7,198.51.100.8"}
    async with engine_with(settings) as observed:
        sdp = (await offer(observed)).sdp
        hosts = [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate")]
        assert hosts == ["198.51.100.7", "198.51.100.8"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ICE_SERVERS", "turn:turn.example.org"),
        ("WEBRTC_EXTERNAL_IPS", "auto,198.51.100.7"),
        ("WEBRTC_EXTERNAL_IPS", "host.example.org"),
        ("WEBRTC_EXTERNAL_IPS", "0.0.0.0"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises((ConfigError, BaseExceptionGroup)) as refused:
        async with engine_with({name: value}):
            raise AssertionError("it was taken")
    problem: BaseException = refused.value
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    assert isinstance(problem, ConfigError)
    assert name in problem.message


class Peer:
    """A far end in memory: its datagrams go straight into the leg's transport, and the leg's into it.

    Attributes:
        away: whether the network between the two has broken down.
        told: what its own session has told.
    """

    address = ("127.0.0.1", 40_000)

    def __init__(self) -> None:
        self.away = False
        self.told: list[SessionEvent] = []
        self._sent: list[bytes] = []
        context = DtlsContext(make_identity(datetime.datetime.now(datetime.UTC), 1))
        self.session = Session(controlling=True, context=context, random_bytes=os.urandom)
        self._candidate = local_candidate("host", self.address)
        self.session.add_local(self._candidate, self.address)
        self._talk = WebRtcNegotiation(codecs=[OPUS], session_id=1, ssrc=1, cname="peer")

    async def call(self, observed: Observed) -> Any:
        """Offer, and take the answer; returns the leg."""
        transport = self.session.local_transport([self._candidate], complete=True)
        reply: Any = await call(
            observed.engine, "webrtc_offer", {"sdp": self._talk.offer(transport).decode()}
        )
        leg: Any = observed.engine.legs.get(reply.leg_id)
        leg.connection.transport._bases[leg.connection.gathering.base] = self
        agreed = self._talk.read_answer(reply.sdp.encode())
        self.session.set_peer(agreed.transport, agreed.role, trio.current_time())
        return leg

    def send(self, data: bytes, destination: object) -> None:
        """Take what the leg sends."""
        self._sent.append(data)

    async def exchange(self, leg: Any) -> None:
        """Do what both have to do now."""
        for _ in range(20):
            await wait_all_tasks_blocked()
            self.session.expire(trio.current_time())
            arrived, self._sent = self._sent, []
            left = [data for data, _, _ in self.session.outgoing()]
            self.told += self.session.events()
            if self.away or not (arrived or left):
                return
            for data in arrived:
                self.session.receive(data, leg.connection.gathering.base, self.address, trio.current_time())
            for data in left:
                leg.connection.transport.receive(data, self.address, leg.connection.gathering.base)

    async def pass_time(self, leg: Any, clock: MockClock, seconds: float) -> None:
        """Let time pass, in steps in which both do what is due."""
        for _ in range(round(seconds / 0.5)):
            clock.jump(0.5)
            await self.exchange(leg)


async def test_a_peer_that_falls_silent_for_a_while_keeps_its_leg(mock_clock: MockClock) -> None:
    async with engine_with() as observed:
        peer = Peer()
        leg = await peer.call(observed)
        await peer.pass_time(leg, mock_clock, 1)
        assert observed.told("leg_id") == [("leg.connected", leg.id)]
        for _ in range(2):
            peer.away = True
            # With a check before it and one behind it, each up to six seconds away, it is less than 30 s.
            await peer.pass_time(leg, mock_clock, 17)
            peer.away = False
            await peer.pass_time(leg, mock_clock, 10)
        assert observed.told("leg_id") == []
        assert leg.shown_state == "connected"


async def test_a_peer_that_does_not_come_back_ends_its_leg_after_thirty_seconds(
    mock_clock: MockClock,
) -> None:
    async with engine_with() as observed:
        peer = Peer()
        leg = await peer.call(observed)
        await peer.pass_time(leg, mock_clock, 20)
        assert observed.told("leg_id") == [("leg.connected", leg.id)]
        peer.away = True
        await peer.pass_time(leg, mock_clock, 23)
        assert observed.told("leg_id") == []
        # The last sign of life is up to six seconds older than the silence.
        await peer.pass_time(leg, mock_clock, 7.5)
        await observed.engine.legs.wait_idle()
        ended = observed.events()[-1].as_dict()
        assert (ended["type"], ended["cdr"]["reason"]) == ("leg.disconnected", "ice_failure")
        assert ended["cdr"]["duration_answered"] == pytest.approx(47, abs=4)
        assert (observed.engine.plane.ports, len(observed.engine.legs)) == (0, 0)


def _line(sdp: str, start: str) -> str:
    return next(line for line in sdp.splitlines() if line.startswith(start))
