"""S9, S10: all at once inside one dialog - storms of re-INVITE and UPDATE, races, REFER, broken SDP."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import trio

from conformance.expect import Difference
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call, sdp_of
from conformance.peers.sip_message import SipMessage
from conformance.peers.sip_ua import SipUa, open_udp
from fuzz.attack.briefing import Address, Briefing, check, figure
from fuzz.attack.rtp_garbage import S14, jumps, packets
from fuzz.attack.sip_mutations import Mutator, keep_home

ROOM_TRIES = 12
MEDIA_PORT = 19_998
"""Where our own calls take audio: below the ports that the system gives away."""
REFERS = 20
DECISION_S = 4.0
"""Longer than the app may think about a REFER."""
CALM_S = 10.0
S9, S10 = "S9 storms in one dialog", "S10 REFER from a caller"


def run(briefing: Briefing) -> None:
    """Storm calls of our own."""
    trio.run(_storm, briefing)


async def _storm(briefing: Briefing) -> None:
    random = Random(briefing.seed)
    rounds = 2 if briefing.quick else 10
    statuses: Counter[str] = Counter()
    async with open_udp(briefing.sip) as ua:
        for number in range(rounds):
            before = await _calm(briefing)
            answered = await _answered_call(briefing, ua)
            if answered is None:
                check(S9, False, "a call could not be set up")
                return
            call, media = answered
            if number == 0:
                await _garble(call, media, random, 1.0 if briefing.quick else 5.0)
            await _refer(call)
            await _broken_sdp(call, Mutator(random), statuses)
            async with trio.open_nursery() as nursery:
                over = trio.Event()
                nursery.start_soon(_count_ports, briefing, before, over)
                await _reinvites_at_once(call, statuses)
                over.set()
            await _bye_race(call, statuses)
    figure(S9, f"{rounds} calls; answers {dict(sorted(statuses.items()))}")


def _rest(briefing: Briefing, method: str, path: str, body: object = None) -> tuple[int, object]:
    data = json.dumps(body).encode() if body is not None else None
    url = f"http://{briefing.http[0]}:{briefing.http[1]}{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, None


@dataclass(frozen=True)
class Taken:
    """What a scrape of /metrics tells of one moment."""

    legs: int
    pairs_free: int


def _scrape(briefing: Briefing) -> Taken:
    url = f"http://{briefing.http[0]}:{briefing.http[1]}/metrics"
    with urllib.request.urlopen(url, timeout=5) as reply:
        text = reply.read().decode()
    found = {
        name: int(float(value))
        for name, value in re.findall(r"^voiceblender_(active_legs|rtp_port_pairs_free) (\S+)$", text, re.M)
    }
    return Taken(found["active_legs"], found.get("rtp_port_pairs_free", 0))  # absent where there is no pool


async def _taken(briefing: Briefing) -> Taken:
    return await trio.to_thread.run_sync(_scrape, briefing)


async def _calm(briefing: Briefing) -> Taken:
    """Wait until no legs are left but those of the bystanders."""
    with trio.move_on_after(CALM_S):
        while True:
            now = await _taken(briefing)
            if now.legs <= len(briefing.live):
                return now
            await trio.sleep(0.1)
    now = await _taken(briefing)
    check(S9, False, f"{now.legs} legs before a storm, {len(briefing.live)} of them bystanders")
    return now


async def _count_ports(briefing: Briefing, before: Taken, over: trio.Event) -> None:
    """Look again and again: for each leg that came since, one pair of ports is gone, whatever is offered."""
    looks = 0
    while not over.is_set() or looks == 0:
        now = await _taken(briefing)
        looks += 1
        legs, pairs = now.legs - before.legs, before.pairs_free - now.pairs_free
        check(S9, legs == 1, f"{legs} legs more in a storm of one call")
        check(S9, pairs == legs, f"{pairs} port pairs taken for {legs} legs in a storm")
    figure(S9, f"one pair of ports taken, in each of {looks} looks during a storm")


async def _leg_of(briefing: Briefing, name: str) -> str | None:
    for _ in range(20):
        _, legs = await trio.to_thread.run_sync(_rest, briefing, "GET", "/v1/legs")
        assert isinstance(legs, list)
        for leg in legs:
            if leg.get("app_id") == name:
                return str(leg["id"] if "id" in leg else leg["leg_id"])
        await trio.sleep(0.02)
    return None


async def _answered_call(briefing: Briefing, ua: SipUa) -> tuple[Call, Address] | None:
    """A call that the app has answered; after a flood there may be no room for it for a moment."""
    for _ in range(ROOM_TRIES):
        call = ua.new_call("storm")
        name = f"storm-{call.local_tag}"
        await call.send_invite(audio_sdp(MEDIA_PORT), headers=[("X-App-ID", name)])
        leg = await _leg_of(briefing, name)
        if leg is None:  # refused, or lost among the datagrams of another attack
            if call.inbox.take_now(lambda m: m.status == 503) is None:
                await call.cancel()
            await trio.sleep(0.5)
            continue
        await trio.to_thread.run_sync(_rest, briefing, "POST", f"/v1/legs/{leg}/answer", {})
        try:
            answer = await call.response(200, within_s=3)
            await call.ack(answer)
        except Difference as problem:
            figure(S9, f"no call: {problem}")
            return None
        audio = sdp_of(answer).audio
        return call, (audio.connection.split(" ")[2], audio.port)
    return None


async def _garble(call: Call, media: Address, random: Random, for_s: float) -> None:
    """The peer itself sends broken packets, jumps and far too many: its call bears it."""
    sent = 0
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", MEDIA_PORT))
        until = trio.current_time() + for_s
        while trio.current_time() < until:
            for data in (*packets(random), *jumps(random)):
                with suppress(OSError):
                    await sock.sendto(data, media)
                sent += 1
            await trio.sleep(0.05)
    figure(S14, f"{sent} broken or surplus packets from the peer of a call itself")
    await call.send_request("OPTIONS")
    response = await call.any_response("OPTIONS")
    check(S14, response.status == 200, f"after broken RTP of its peer a call answers {response.start_line}")


async def _refer(call: Call) -> None:
    """20 REFERs at once that no app decides on: each is refused, one of them after the time to decide."""
    for _ in range(REFERS):
        await call.send_request("REFER", headers=[("Refer-To", "<sip:900123@127.0.0.1:9>")])
    refused = 0
    while refused < REFERS:
        message = await call.inbox.take(lambda m: not m.is_request and m.method == "REFER", DECISION_S)
        if message is None:
            break
        refused += message.status >= 400
        check(S10, message.status < 200 or message.status >= 400, f"REFER got {message.start_line}")
    check(S10, refused == REFERS, f"{refused} of {REFERS} REFERs refused")
    dialled = call.inbox.take_now(lambda m: m.is_request and m.method == "NOTIFY")
    check(S10, dialled is None, "a REFER that nobody accepted was reported on")


async def _broken_sdp(call: Call, mutator: Mutator, statuses: Counter[str]) -> None:
    """Every kind of broken offer: an answer or a refusal, and the dialog lives."""
    for _ in range(25):
        method = mutator.random.choice(["INVITE", "UPDATE"])
        await call.send_request(
            method, headers=[("Content-Type", "application/sdp")], body=keep_home(mutator.sdp())[:60_000]
        )
        response = await call.any_response(method, 3.0)
        statuses[f"broken {response.status}"] += 1
        check(
            S9, response.status in (200, 400, 415, 488, 491, 500), f"broken offer got {response.start_line}"
        )
        if method == "INVITE":
            await call.ack(response)


async def _reinvites_at_once(call: Call, statuses: Counter[str]) -> None:
    """100 re-INVITEs and UPDATEs without waiting: each gets a final answer, one INVITE at most is accepted.

    The server gets the first ACK behind all of them, so from its first 200 to an INVITE it has to refuse the
    others.  Spec: RFC 3261 §14.2; RFC 3311 §5.2.
    """
    methods = ["INVITE" if index % 2 else "UPDATE" for index in range(100)]
    for method in methods:
        await call.send_request(
            method, headers=[("Content-Type", "application/sdp")], body=audio_sdp(MEDIA_PORT)
        )
    answered = 0
    ended: Counter[tuple[str, int]] = Counter()
    with trio.move_on_after(4):
        while answered < len(methods):
            message = await call.inbox.take(lambda m: not m.is_request and m.status >= 200, 1.0)
            if message is None:
                break
            answered += 1
            statuses[f"storm {message.method} {message.status}"] += 1
            ended[message.method, message.status] += 1
            _judge_storm(message)
            if message.method == "INVITE":
                await _ack(
                    call, message.cseq[0], message.must("Via"), message.to_tag, success=message.status < 300
                )
    check(
        S9, answered == len(methods), f"only {answered} of {len(methods)} requests of a storm were answered"
    )
    accepted = ended["INVITE", 200]
    refused = sum(count for (method, status), count in ended.items() if method == "INVITE" and status >= 300)
    check(S9, accepted <= 1, f"{accepted} re-INVITEs at once were accepted")
    check(S9, refused >= 1, f"no re-INVITE of a storm was refused: {dict(ended)}")


def _judge_storm(response: SipMessage) -> None:
    """An offer that overlaps with another is refused with 491, or with 500 and the time to come back."""
    what = f"a storm got {response.start_line}"
    check(S9, response.status in (200, 491, 500), what)
    if response.status == 500:
        retry = response.header("Retry-After")
        check(S9, retry is not None and retry.isdigit() and int(retry) <= 10, f"{what}, Retry-After {retry}")


async def _ack(call: Call, number: int, via: str, to_tag: str, *, success: bool) -> None:
    branch = via.split("branch=")[1].split(";")[0]
    await call.send_request("ACK", cseq=number, branch=None if success else branch, to_tag=to_tag)


async def _bye_race(call: Call, statuses: Counter[str]) -> None:
    """A re-INVITE, its CANCEL and BYE in one breath; then BYE again, twice."""
    await call.send_invite(audio_sdp(MEDIA_PORT + 2), within_dialog=True)
    await call.cancel()
    await call.send_request("BYE")
    response = await call.any_response("BYE", 3.0)
    statuses[f"bye {response.status}"] += 1
    check(S9, response.status == 200, f"BYE within a storm got {response.start_line}")
    for _ in range(2):
        await call.send_request("BYE")
        response = await call.any_response("BYE", 3.0)
        check(S9, response.status == 481, f"BYE of an ended call got {response.start_line}")
    while (message := call.inbox.take_now(lambda m: not m.is_request and m.method == "INVITE")) is not None:
        if message.status >= 200:
            await _ack(
                call, message.cseq[0], message.must("Via"), message.to_tag, success=message.status < 300
            )
