"""S9, S10: all at once inside one dialog - storms of re-INVITE and UPDATE, races, REFER, broken SDP."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from contextlib import suppress
from random import Random

import trio

from conformance.expect import Difference
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call, sdp_of
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
            answered = await _answered_call(briefing, ua)
            if answered is None:
                check(S9, False, "a call could not be set up")
                return
            call, media = answered
            if number == 0:
                await _garble(call, media, random, 1.0 if briefing.quick else 5.0)
            await _refer(call)
            await _broken_sdp(call, Mutator(random), statuses)
            await _reinvites_at_once(call, statuses)
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
    """100 re-INVITEs and UPDATEs without waiting: each gets a final answer, at most one is under way."""
    methods = ["INVITE" if index % 2 else "UPDATE" for index in range(100)]
    for method in methods:
        await call.send_request(
            method, headers=[("Content-Type", "application/sdp")], body=audio_sdp(MEDIA_PORT)
        )
    answered = 0
    with trio.move_on_after(4):
        while answered < len(methods):
            message = await call.inbox.take(lambda m: not m.is_request and m.status >= 200, 1.0)
            if message is None:
                break
            answered += 1
            statuses[f"storm {message.status}"] += 1
            if message.method == "INVITE":
                await _ack(
                    call, message.cseq[0], message.must("Via"), message.to_tag, success=message.status < 300
                )
    check(
        S9, answered == len(methods), f"only {answered} of {len(methods)} requests of a storm were answered"
    )


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
