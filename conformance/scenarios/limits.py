"""What the server refuses so that running calls stay well: caps, empty pools, stalls; stop and drain."""

from __future__ import annotations

import os
import signal
import time

import trio

from conformance.expect import Matcher, between, check, require
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call
from conformance.phones import answered, ringing
from conformance.registry import scenario
from conformance.targets import command
from conformance.world import World


async def _invited(world: World, name: str) -> tuple[Call, int]:
    """An INVITE and its first response but 100: the status, 0 when it rings silently."""
    call = world.ua.new_call(name)
    await call.send_invite(audio_sdp(40000))
    final = await call.inbox.take(lambda m: not m.is_request and m.status >= 200, 0.5)
    if final is None:
        return call, 0
    if final.status == 503:
        retry = final.header("Retry-After") or ""
        require(retry.isdigit() and int(retry) > 0, "503: Retry-After", "seconds", retry)
    await call.ack(final)
    return call, final.status


async def _asked(world: World) -> int:
    """What the server says to OPTIONS, by which proxies find out whether to send it calls."""
    call = await world.ua.outside_dialog("OPTIONS", [])
    return (await call.any_response("OPTIONS")).status


SOME = between(1, 1_000_000)


async def _shows(world: World, **expected: float | Matcher) -> None:
    """Checks what ``/metrics`` says of these; a server that has no such line is not asked."""
    samples = await world.metrics()
    for name, value in expected.items():
        if samples.lists(name):
            check(f"/metrics: {name}", samples.find(name), value)


@scenario(
    "VB_MAX_LEGS: one call more gets 503 with Retry-After, on SIP and REST; after one ended there is room",
    needs=("servers",),
)
async def max_legs(world: World) -> None:
    async with world.server({"VB_MAX_LEGS": "2"}) as there:
        first, second = await answered(there, "call1"), await ringing(there, "call2")
        check("a third call", (await _invited(there, "call3"))[1], 503)
        await there.no_event("leg.ringing", for_s=0.1)
        body: dict[str, object] = {"type": "sip", "to": f"sip:bob@{there.ua.host_port}"}
        reply = await there.http.ask("POST", "/v1/legs", body)
        check("POST /v1/legs", reply.status, 503)
        require((reply.header("retry-after") or "").isdigit(), "Retry-After", "seconds", reply.headers)
        await there.command_fails("create_leg", body, 503)
        (await first.hears(200)).is_steady()
        await first.hang_up()
        third = await ringing(there, "call4")
        for phone in (second, third):
            await there.rest("DELETE", phone.path, status=202)
            await phone.call.ack(await phone.call.any_response("INVITE"))


@scenario(
    "VB_MAX_CPS: a burst of calls beyond the rate gets 503 with Retry-After; a second later there is room",
    needs=("servers",),
)
async def max_calls_per_second(world: World) -> None:
    async with world.server({"VB_MAX_CPS": "5"}) as there:
        calls = [there.ua.new_call(f"call{number}") for number in range(20)]
        for call in calls:
            await call.send_invite(audio_sdp(40000))
        await trio.sleep(0.5)
        refused = [c for c in calls if any(m.status == 503 for m in c.inbox.items() if not m.is_request)]
        require(10 <= len(refused) <= 16, "calls of 20 at once that got 503", "10 to 16", len(refused))
        for call in refused:
            final = next(m for m in call.inbox.items() if m.status == 503)
            require(
                (final.header("Retry-After") or "").isdigit(), "503: Retry-After", "seconds", final.headers
            )
            await call.ack(final)
        for _ in range(len(calls) - len(refused)):
            await there.event("leg.ringing")
        await trio.sleep(1.1)
        phone = await ringing(there, "later")
        await phone.answer()
        await phone.hang_up()


@scenario(
    "No RTP port is left: 503 for new calls, those that are up go on, and a port given back is used",
    needs=("servers",),
    timeout_s=60,
)
async def rtp_ports_exhausted(world: World) -> None:
    async with world.server({"RTP_PORT_MIN": "21300", "RTP_PORT_MAX": "21402"}) as there:
        phone = await answered(there, "first", tone=500.0)
        await phone.join("sc-full")
        calls = []
        for number in range(60):
            call, status = await _rings_or_not(there, f"call{number}")
            if status == 503:
                break
            calls.append(call)
        check("status once no port is left", status, 503)
        await _shows(there, rtp_port_pairs_free=0, sip_refused=SOME)
        require(20 < len(calls) <= 52, "calls until then", "about 50", len(calls))
        heard = await phone.hears(300)
        heard.is_steady()
        await calls[0].cancel()
        await calls[0].ack(await calls[0].response(487))
        await there.event("leg.disconnected", cdr={"reason": "caller_cancel"})
        await trio.sleep(0.3)
        await _shows(there, rtp_port_pairs_free=1)
        check("a call into the gap", (await _rings_or_not(there, "again"))[1], 183)
        await _shows(there, rtp_port_pairs_free=0)
        await phone.hang_up()


@scenario(
    "VB_RING_TIMEOUT: an incoming call that nobody answers gets 480; one that was answered goes on",
    needs=("servers",),
)
async def ring_limit(world: World) -> None:
    async with world.server({"VB_RING_TIMEOUT": "1s"}) as there:
        up, waits = await answered(there, "call1"), await ringing(there, "call2")
        await there.disconnected(waits.leg_id, "ring_timeout")
        final = await waits.call.any_response("INVITE")
        check("the final answer", final.status, 480)
        await waits.call.ack(final)
        (await up.hears(200)).is_steady()
        await up.hang_up()


async def _rings_or_not(world: World, name: str) -> tuple[Call, int]:
    """A call for which early media is started, so that it takes a port: 183, or the refusal."""
    call = world.ua.new_call(name)
    await call.send_invite(audio_sdp(40000))
    event = await world.vsi.frames.take(
        lambda f: f.get("type") == "leg.ringing" and f.get("from") == name, 0.5
    )
    if event is not None:
        await world.http.ask("POST", f"/v1/legs/{event['leg_id']}/early-media")
    found = await call.inbox.take(lambda m: not m.is_request and m.status != 100, 2)
    if found is None:
        return call, 0
    if found.status >= 300:
        await call.ack(found)
    return call, found.status


@scenario(
    "File descriptors run out: new calls get 503, the call that is up and the API go on", needs=("servers",)
)
async def descriptors_exhausted(world: World) -> None:
    argv = ["/bin/sh", "-c", 'ulimit -n 96; exec "$@"', "sh", *command()]
    async with world.server({}, argv=argv) as there:
        await _shows(there, sip_refused=0)
        phone = await answered(there, "first")
        statuses = []
        for number in range(50):
            statuses.append((await _rings_or_not(there, f"call{number}"))[1])
            if statuses[-1] not in (0, 183):
                break
        check("status near the limit", statuses[-1], 503)
        check("GET /healthz", (await there.http.ask("GET", "/healthz")).status, 200)
        await _shows(there, sip_refused=SOME)
        (await phone.hears(300)).is_steady()
        await phone.hang_up()


@scenario(
    "The whole process stands still for 0.4 s: audio comes back whole, with no delay that stays",
    needs=("servers",),
)
async def process_stalls(world: World) -> None:
    async with world.server({}) as there:
        first, second = await answered(there, "call1", tone=500.0), await answered(there, "call2", tone=800.0)
        for phone in (first, second):
            await phone.join("sc-stall")
        (await second.hears(200)).has_tones(500, level=-18)
        before = await there.metrics()
        process = there.target.process
        assert process is not None
        for _ in range(2):
            os.kill(process.pid, signal.SIGSTOP)
            await trio.sleep(0.4)
            os.kill(process.pid, signal.SIGCONT)
            await trio.sleep(0.8)
        for name, least in (("ticks_late", 2), ("ticks_skipped", 20)):
            if before.lists(name):
                grown = (await there.metrics()).get(name) - before.get(name)
                check(f"/metrics: growth of {name} in two stalls", grown, between(least, 200))
        for phone, tone in ((first, 800), (second, 500)):
            heard = await phone.hears(400)
            heard.is_steady()
            heard.has_tones(tone, level=-18)
        first.rtp.talk(None)
        start = time.monotonic()
        await trio.sleep(0.35)
        late = second.rtp.heard_since(start + 0.2, 0.15)
        require(not late.tones, "the tone 200 ms after it ended", "gone", late.summary())
        for phone in (first, second):
            await phone.hang_up()


@scenario(
    "Drain: SIGTERM refuses new calls, OPTIONS and readiness, lets the call finish, then stops with 0",
    needs=("servers",),
    timeout_s=60,
)
async def drain(world: World) -> None:
    async with world.server({"VB_DRAIN_TIMEOUT": "20s"}) as there:
        phone = await answered(there, tone=500.0)
        check("OPTIONS", await _asked(there), 200)
        process = there.target.process
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        await trio.sleep(0.3)
        check("a new call", (await _invited(there, "late"))[1], 503)
        check("OPTIONS", await _asked(there), 503)
        for path, status in (("/readyz", 503), ("/healthz", 200)):
            check(path, (await there.http.ask("GET", path)).status, status)
        (await phone.hears(300)).is_steady()
        await phone.hang_up()
        with trio.move_on_after(5):
            await process.wait()
        check("exit code", process.returncode, 0)


@scenario("Drain that takes too long: after VB_DRAIN_TIMEOUT the calls are hung up", needs=("servers",))
async def drain_times_out(world: World) -> None:
    async with world.server({"VB_DRAIN_TIMEOUT": "1s", "VB_STOP_TIMEOUT": "3s"}) as there:
        phone = await answered(there)
        process = there.target.process
        assert process is not None
        start = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        await phone.is_hung_up("server_shutdown", within_s=3)
        took = time.monotonic() - start
        require(0.9 < took < 2.5, "seconds until the BYE", "about 1", f"{took:.1f}")
        check("exit code", await process.wait(), 0)


@scenario(
    "A second SIGTERM ends the stop at once, a far end that never answers the BYE does not hold it up",
    needs=("servers",),
)
async def stop_twice(world: World) -> None:
    async with world.server({"VB_DRAIN_TIMEOUT": "30s"}) as there:
        await answered(there)
        process = there.target.process
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        await trio.sleep(0.3)
        start = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        await process.wait()
        require(time.monotonic() - start < 1.5, "seconds after the second signal", "below 1.5", "more")
    async with world.server({"VB_STOP_TIMEOUT": "1s"}) as there:
        await answered(there)
        start = time.monotonic()
        check("exit code", await there.target.stop(6), 0)
        require(time.monotonic() - start < 3, "seconds until the exit", "about 1", time.monotonic() - start)
