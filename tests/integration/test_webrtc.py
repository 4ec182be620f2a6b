"""WebRTC calls through a server in this process, over loopback sockets and the real clock."""

from __future__ import annotations

import gc
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from weakref import ref

import pytest
import trio
import trio.testing
import trustme
from pydantic import SecretStr

from tests.support.browser import EVENT_TYPE, FORMATS, open_browser
from tests.support.phone import open_phone
from tests.support.world import call_in, wait_for
from tests.webrtc.coturn import PASSWORD, USER, coturn
from vb.commands.views import WebRtcAnswer, WebRtcCandidates
from vb.config import Config
from vb.errors import BadRequest, Conflict, InternalError, NotFound
from vb.rtcleg import relay
from vb.server import Server, open_server
from vb.webrtc.candidate import parse_candidate
from vb.webrtc.session import Closed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def metric(server: Server, reason: str) -> float:
    """Return how many packets of WebRTC legs were dropped for a reason."""
    kind = server.engine.kinds.get("webrtc")
    return next(value for _, _, value, labels in kind.readings() if labels.get("reason") == reason)


async def test_a_browser_and_a_phone_hear_each_other_and_not_themselves(config: Config) -> None:
    async with (
        open_server(config, http=False) as server,
        open_phone(600) as phone,
        open_browser(1000) as browser,
    ):
        with server.events() as events:
            leg_id = await browser.call(server, app_id="shop")
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
            connected = await wait_for(events, "leg.connected", leg_id=leg_id)
            assert (connected["leg_type"], connected["app_id"]) == ("webrtc", "shop")
            await call_in(server, phone, events, "r")
            await phone.hear(60)
            await browser.hear(60)
            assert phone.tones() == {1000}
            assert browser.leg.heard_pitch_hz() == pytest.approx(600, abs=15)
            assert all(
                metric(server, reason) == 0 for reason in ("transport", "unauthentic", "replayed", "unsent")
            )


async def test_a_leg_joins_a_room_before_its_media_is_up(config: Config) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        offer = browser.offer(candidates=False)
        reply = cast("WebRtcAnswer", await server.call("webrtc_offer", sdp=offer))
        shown: Any = await server.call("get_leg", id=reply.leg_id)
        assert (shown.type, shown.state) == ("webrtc", "ringing")
        await server.call("add_leg_to_room", room_id="r", leg_id=reply.leg_id)
        room: Any = await server.call("get_room", id="r")
        assert [leg.id for leg in room.participants] == [reply.leg_id]


async def test_candidates_that_trickle_both_ways_connect(config: Config) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        with server.events() as events:
            offer = browser.offer(candidates=False)
            reply = cast("WebRtcAnswer", await server.call("webrtc_offer", sdp=offer))
            lines = [line for line in reply.sdp.splitlines() if not line.startswith("a=candidate")]
            await browser.use("\r\n".join([*lines, ""]))
            ours = cast("WebRtcCandidates", await server.call("webrtc_get_candidates", id=reply.leg_id))
            assert ours.done
            (candidate,) = ours.candidates
            assert (candidate.sdpMid, candidate.sdpMLineIndex) == ("0", 0)
            browser.leg.session.add_remote(parse_candidate(candidate.candidate))
            again = cast("WebRtcCandidates", await server.call("webrtc_get_candidates", id=reply.leg_id))
            assert again.candidates == []
            text = f"candidate:{browser.leg.candidate.to_text()}"
            other = {"candidate": text.replace("127.0.0.1", "127.0.0.9"), "sdpMid": "1"}
            for init in (other, {"candidate": text, "sdpMid": "0"}, {"candidate": ""}):
                await server.call("webrtc_add_candidate", id=reply.leg_id, candidate=init)
            await browser.leg.step()
            await wait_for(events, "leg.connected", leg_id=reply.leg_id)


async def test_digits_come_and_go_as_telephone_events(config: Config) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        with server.events() as events:
            leg_id = await browser.call(server)
            await wait_for(events, "leg.connected")
            await browser.connected()
            await browser.hear(3)
            browser.leg.quiet = True
            for end in (0x00, 0x80, 0x80):
                await browser.send_rtp(EVENT_TYPE, 90_000, bytes([5, end | 10, 3, 0x20]))
            browser.leg.quiet = False
            digit = await wait_for(events, "dtmf.received", leg_id=leg_id)
            assert (digit["digit"], digit["seq"]) == ("5", 1)
            await server.call("send_leg_dtmf", id=leg_id, digits="7")
            with trio.fail_after(5):
                while not browser.leg.events:
                    await browser.leg.changed.wait()
            assert browser.leg.events[0][0] == 7


async def test_digits_are_refused_where_the_browser_takes_none(config: Config) -> None:
    async with open_server(config, http=False) as server, open_browser(1000, FORMATS[:1]) as browser:
        with server.events() as events:
            leg_id = await browser.call(server)
            await wait_for(events, "leg.connected")
            with pytest.raises(InternalError, match="not supported"):
                await server.call("send_leg_dtmf", id=leg_id, digits="7")


async def test_what_the_leg_cannot_do_is_refused(config: Config) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        leg_id = await browser.call(server)
        for error, command, fields in (
            (BadRequest, "hold_leg", {}),
            (BadRequest, "answer_leg", {}),
            (Conflict, "leg_transfer", {"target": "sip:a@127.0.0.1"}),
            (Conflict, "send_leg_rtt", {"text": "hello"}),
            (BadRequest, "webrtc_add_candidate", {"candidate": {"candidate": "nonsense"}}),
        ):
            with pytest.raises(error):
                await server.call(command, id=leg_id, **fields)
        with pytest.raises(NotFound):
            await server.call("webrtc_get_candidates", id="nobody")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sdp: "nonsense",
        lambda sdp: sdp.replace("opus/48000/2", "PCMU/8000"),
        lambda sdp: sdp.replace("a=rtcp-mux\r\n", ""),
        lambda sdp: sdp.replace("a=ice-ufrag", "a=ice-ufrog"),
        lambda sdp: sdp.replace("m=audio", "m=video"),
        lambda sdp: "",
    ],
)
async def test_an_offer_that_cannot_be_answered_makes_nothing(config: Config, spoil: Any) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        with pytest.raises(BadRequest, match="sdp"):
            await server.call("webrtc_offer", sdp=spoil(browser.offer()))
        assert (len(server.engine.legs), server.engine.plane.ports, server.engine.legs.running) == (0, 0, 0)


async def test_a_browser_that_leaves_ends_its_leg(config: Config, no_collector: None) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        with server.events() as events:
            leg_id = await browser.call(server)
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
            await wait_for(events, "leg.connected")
            await browser.hear(3)
            gone = ref(server.engine.legs.get(leg_id))
            browser.leg.session.close()
            await browser.leg.flush()
            ended = await wait_for(events, "leg.disconnected", leg_id=leg_id)
            assert ended["cdr"]["reason"] == "ice_failure"
            with trio.fail_after(5):
                await server.engine.legs.wait_idle()
            await trio.testing.wait_all_tasks_blocked()
            assert server.engine.plane.ports == 0
            assert gone() is None


async def test_a_hang_up_says_goodbye_to_the_browser(config: Config) -> None:
    async with open_server(config, http=False) as server, open_browser(1000) as browser:
        with server.events() as events:
            leg_id = await browser.call(server)
            await wait_for(events, "leg.connected")
            await browser.connected()
            await server.call("delete_leg", id=leg_id)
            ended = await wait_for(events, "leg.disconnected", leg_id=leg_id)
            assert ended["cdr"]["reason"] == "api_hangup"
            with trio.fail_after(5):
                await browser.leg.until(Closed)


async def test_a_restart_of_ice_is_answered_and_the_tone_goes_on(config: Config) -> None:
    async with (
        open_server(config, http=False) as server,
        open_phone(600) as phone,
        open_browser(1000) as browser,
    ):
        with server.events() as events:
            leg_id = await browser.call(server)
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
            await wait_for(events, "leg.connected", leg_id=leg_id)
            await call_in(server, phone, events, "r")
            before = server.engine.legs.get(leg_id)
            first = browser.answer
            browser.leg.session.ice.restart()
            reply = cast(
                "WebRtcAnswer", await server.call("webrtc_offer", sdp=browser.offer(), leg_id=leg_id)
            )
            assert reply.leg_id == leg_id
            assert _line(reply.sdp, "a=ice-ufrag") != _line(first, "a=ice-ufrag")
            assert _line(reply.sdp, "a=fingerprint") == _line(first, "a=fingerprint")
            await browser.use(reply.sdp)
            with trio.fail_after(10):
                while browser.leg.session.ice.restarting:
                    await browser.leg.changed.wait()
            await browser.hear(60)
            assert browser.leg.heard_pitch_hz() == pytest.approx(600, abs=15)
            assert server.engine.legs.get(leg_id) is before


async def test_replayed_and_foreign_packets_move_nothing_but_counters(config: Config) -> None:
    async with (
        open_server(config, http=False) as server,
        open_phone(600) as phone,
        open_browser(1000) as browser,
    ):
        with server.events() as events:
            leg_id = await browser.call(server)
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
            await wait_for(events, "leg.connected", leg_id=leg_id)
            await browser.connected()
            await call_in(server, phone, events, "r")
            port = server.engine.legs.get(leg_id).port
            route = browser.leg.session.ice.route
            assert route is not None
            sent = await browser.send_rtp(EVENT_TYPE, 1, bytes([1, 0x8A, 3, 0x20]))
            stranger = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
            with stranger:
                for packet in (sent, bytes([0x80, 111]) + bytes(60), bytes([22, 254, 253]) + bytes(60)):
                    for _ in range(5):
                        await stranger.sendto(packet, route[1])
                await phone.hear(60)
            assert phone.tones() == {1000}
            assert metric(server, "replayed") >= 4
            assert metric(server, "unauthentic") >= 1
            assert metric(server, "transport") >= 5
            assert server.engine.legs.get(leg_id).port is port


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed")
@pytest.mark.parametrize(("scheme", "transport"), [("turn", "udp"), ("turn", "tcp"), ("turns", "tcp")])
async def test_media_goes_through_a_relay(
    config: Config, tmp_path: Path, scheme: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = None
    if scheme == "turns":
        identity = own_authority(tmp_path, "127.0.0.1", monkeypatch)
    with coturn(tmp_path, identity) as port:
        url = f"{scheme}:{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}?transport={transport}"
        settings = config.webrtc.model_copy(update={"ice_servers": _secrets(url)})
        async with (
            open_server(config.model_copy(update={"webrtc": settings}), http=False) as server,
            open_phone(600) as phone,
            open_browser(1000) as browser,
        ):
            with server.events() as events:
                offer = browser.offer()
                reply = cast("WebRtcAnswer", await server.call("webrtc_offer", sdp=offer))
                relayed = await _relayed(server, reply.leg_id)
                lines = [line for line in reply.sdp.splitlines() if not line.startswith("a=candidate")]
                await browser.use("\r\n".join([*lines, f"a={relayed}", ""]))
                leg: Any = server.engine.legs.get(reply.leg_id)
                host = leg.connection.gathering.base
                leg.connection.session.ice._generations.bases.pop(host)
                for generation in leg.connection.session.ice._generations:
                    for route in [route for route in generation.checklist.pairs if route[0] == host]:
                        del generation.checklist.pairs[route]
                await server.call("add_leg_to_room", room_id="r", leg_id=reply.leg_id)
                await wait_for(events, "leg.connected", leg_id=reply.leg_id)
                await call_in(server, phone, events, "r")
                assert leg.connection.session.ice.route[0] != host
                await phone.hear(60)
                await browser.hear(60)
                assert phone.tones() == {1000}
                assert browser.leg.heard_pitch_hz() == pytest.approx(600, abs=15)


async def test_a_browser_that_has_ipv6_only_hears_and_is_heard(config: Config) -> None:
    sip = config.sip.model_copy(update={"bind_ipv6": "::1"})
    async with (
        open_server(config.model_copy(update={"sip": sip}), http=False) as server,
        open_phone(600) as phone,
        open_browser(1000, host="::1") as browser,
        open_browser(1400) as other,
    ):
        with server.events() as events:
            leg_id = await browser.call(server)
            hosts = [line.split()[4] for line in browser.answer.splitlines() if "typ host" in line]
            assert hosts == ["127.0.0.1", "::1"]
            await server.call("add_leg_to_room", room_id="r", leg_id=leg_id)
            await wait_for(events, "leg.connected", leg_id=leg_id)
            await call_in(server, phone, events, "r")
            leg: Any = server.engine.legs.get(leg_id)
            assert ":" in leg.connection.session.ice.route[0][0]
            await phone.hear(60)
            await browser.hear(60)
            assert phone.tones() == {1000}
            assert browser.leg.heard_pitch_hz() == pytest.approx(600, abs=15)
            # One that has both takes the way that costs less.
            leg_id = await other.call(server)
            await wait_for(events, "leg.connected", leg_id=leg_id)
            both: Any = server.engine.legs.get(leg_id)
            assert both.connection.session.ice.route[0][0] == "127.0.0.1"


async def test_a_leg_gives_its_ports_of_both_families_back(config: Config) -> None:
    sip = config.sip.model_copy(update={"bind_ipv6": "::1"})
    rtp = config.rtp.model_copy(update={"port_min": 34_000, "port_max": 34_100})
    async with (
        open_server(config.model_copy(update={"sip": sip, "rtp": rtp}), http=False) as server,
        open_browser(1000, host="::1") as browser,
    ):
        free = server.engine.ports.free
        with server.events() as events:
            leg_id = await browser.call(server)
            assert server.engine.ports.free == free - 2
            await wait_for(events, "leg.connected", leg_id=leg_id)
            await server.call("delete_leg", id=leg_id)
            await wait_for(events, "leg.disconnected", leg_id=leg_id)
        await server.engine.legs.wait_idle()
        assert server.engine.ports.free == free


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed")
async def test_a_relay_whose_certificate_has_another_name_is_not_used(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with coturn(tmp_path, own_authority(tmp_path, "turn.example.org", monkeypatch)) as port:
        url = f"turns:{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}"
        settings = config.webrtc.model_copy(update={"ice_servers": _secrets(url)})
        async with (
            open_server(config.model_copy(update={"webrtc": settings}), http=False) as server,
            open_browser(1000) as browser,
        ):
            reply = cast("WebRtcAnswer", await server.call("webrtc_offer", sdp=browser.offer()))
            found: list[str] = []
            with trio.fail_after(10):
                while True:
                    told = cast(
                        "WebRtcCandidates", await server.call("webrtc_get_candidates", id=reply.leg_id)
                    )
                    found += [candidate.candidate for candidate in told.candidates]
                    if told.done:
                        break
                    await trio.sleep(0.05)
            assert not any("typ relay" in candidate for candidate in found)


def own_authority(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Trust an authority of our own, and return a certificate of it with its key."""
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(relay, "trusted", lambda: context)
    return certificate, key


def _secrets(*urls: str) -> tuple[SecretStr, ...]:
    return tuple(SecretStr(url) for url in urls)


async def _relayed(server: Server, leg_id: str) -> str:
    with trio.fail_after(10):
        while True:
            found = cast("WebRtcCandidates", await server.call("webrtc_get_candidates", id=leg_id))
            for item in found.candidates:
                if " typ relay" in item.candidate:
                    return item.candidate
            await trio.sleep(0.05)


def _line(sdp: str, start: str) -> str:
    return next(line for line in sdp.splitlines() if line.startswith(start))
