"""Those who must not notice: calls that exchange tones, a client that awaits its events, OPTIONS probes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from conformance.expect import Difference
from conformance.peers.http import HttpClient
from conformance.peers.rtp_peer import RtpPeer, open_rtp
from conformance.peers.sdp_text import audio_sdp
from conformance.peers.sip_call import Call, sdp_of
from conformance.peers.sip_ua import SipUa, open_udp
from conformance.peers.vsi import Vsi, open_vsi
from conformance.targets import Target
from fuzz.attack.briefing import LiveCall
from fuzz.hearing import CONTEXT_S, GIVEN_BACK, LATE, LEVEL_DB, PAUSE, PUT_IN, Heard
from fuzz.report import Report
from fuzz.watch import Starved

APP = "fuzz-bystander"
TONES_HZ = (410, 690, 1130, 1570)
CODECS = ("PCMU", "PCMU", "PCMA", "PCMU")
MAX_OWN_DB = -45.0
FIRST_CSEQ = 1000
PROBE_INTERVAL_S = 0.1
MAX_ANSWER_S = 0.5
EVENT_INTERVAL_S = 0.5
MAX_EVENT_S = 1.0
MAX_GAP_S = 0.2
MIN_RATE, MAX_RATE = 46, 52
MAX_STARVED_S = 0.2


@dataclass
class Caller:
    """One bystander's call."""

    call: Call
    rtp: RtpPeer
    leg_id: str
    tone_hz: int
    partner_hz: int
    codec: str

    def as_live(self) -> LiveCall:
        """What somebody who read the signalling would know."""
        branch = self.call._sent["INVITE"][1]
        assert self.rtp.remote is not None
        return LiveCall(
            call_id=self.call.call_id,
            caller_tag=self.call.local_tag,
            server_tag=self.call.remote_tag,
            branch=branch,
            cseq=FIRST_CSEQ + 1,
            caller_uri=self.call.local_uri.strip("<>"),
            server_uri=self.call.remote_uri.strip("<>"),
            media=self.rtp.remote,
        )


class Bystanders:
    """Four callers in two rooms, and what they perceive."""

    def __init__(self, target: Target, vsi: Vsi, ua: SipUa, probe: trio.socket.SocketType) -> None:
        self.target = target
        self.vsi = vsi
        self.ua = ua
        self.callers: list[Caller] = []
        self.rooms: list[str] = []
        self.http = HttpClient(*target.http)
        self.latencies_s: list[float] = []
        self.event_delays_s: list[float] = []
        self.problems: list[str] = []
        self._probe = probe
        self._waiting: dict[str, float] = {}
        self._quiet = False

    # -- setting up and leaving ---------------------------------------------------------------------------

    async def rest(
        self, method: str, path: str, body: dict[str, object] | None, status: int
    ) -> dict[str, object]:
        """Ask the server.

        Raises:
            Difference: when it answers otherwise.
        """
        reply = await self.http.ask(method, path, body)
        if reply.status != status:
            raise Difference(f"{method} {path}", status, f"{reply.status} {reply.body[:200]!r}")
        value = reply.json
        return value if isinstance(value, dict) else {}

    async def gather(self, stack: AsyncExitStack) -> None:
        """Set up the calls, two to a room."""
        for number, (tone_hz, codec) in enumerate(zip(TONES_HZ, CODECS, strict=True)):
            rtp = await stack.enter_async_context(open_rtp(f"caller {number}"))
            partner_hz = TONES_HZ[number ^ 1]
            self.callers.append(await self._call(rtp, tone_hz, partner_hz, codec))
        for pair in (self.callers[:2], self.callers[2:]):
            room = str((await self.rest("POST", "/v1/rooms", {"app_id": APP}, 201))["id"])
            self.rooms.append(room)
            for caller in pair:
                await self.rest("POST", f"/v1/rooms/{room}/legs", {"leg_id": caller.leg_id}, 200)

    async def _call(self, rtp: RtpPeer, tone_hz: int, partner_hz: int, codec: str) -> Caller:
        call = self.ua.new_call(f"bystander{tone_hz}")
        call.cseq = FIRST_CSEQ
        await call.send_invite(audio_sdp(rtp.port, codecs=(codec,)), headers=[("X-App-ID", APP)])
        ringing = await self.vsi.frame("leg.ringing", 5.0)
        leg_id = str(ringing["leg_id"])
        await self.rest("POST", f"/v1/legs/{leg_id}/answer", {}, 202)
        answer = await call.response(200, within_s=5.0)
        sdp = sdp_of(answer)
        rtp.remote = (sdp.audio.connection.split(" ")[2], sdp.audio.port)
        rtp.talk(tone_hz, level=LEVEL_DB, codec=codec)
        await call.ack(answer)
        await self.vsi.frame("leg.connected", 5.0)
        return Caller(call, rtp, leg_id, tone_hz, partner_hz, codec)

    async def leave(self, report: Report, case: str) -> None:
        """Hang up every call and delete the rooms."""
        self._quiet = True
        for caller in self.callers:
            try:
                await caller.call.bye(5.0)
            except Difference as problem:
                report.check(case, False, f"hanging up: {problem}")
        for room in self.rooms:
            await self.rest("DELETE", f"/v1/rooms/{room}", None, 200)

    async def clear_strangers(self) -> int:
        """Hang up every leg and delete every room that an attack has left; returns how many there were."""
        ours = {caller.leg_id for caller in self.callers} | set(self.rooms)
        found = 0
        for kind in ("legs", "rooms"):
            listing = (await self.http.ask("GET", f"/v1/{kind}")).json
            assert isinstance(listing, list)
            async with self.http.connection() as connection:
                for item in listing:
                    if item["id"] not in ours:
                        found += 1
                        await connection.ask("DELETE", f"/v1/{kind}/{item['id']}")
        return found

    # -- perceiving ---------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """Send an OPTIONS every 100 ms, over UDP and without a second try."""
        host, port = self._probe.getsockname()[:2]
        server = self.target.sip_address()
        while True:
            call_id = secrets.token_hex(8)
            self._waiting[call_id] = trio.current_time()
            await self._probe.sendto(
                (
                    f"OPTIONS sip:probe@{server[0]}:{server[1]} SIP/2.0\r\n"
                    f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{call_id};rport\r\nMax-Forwards: 70\r\n"
                    f"From: <sip:probe@{host}>;tag={call_id}\r\nTo: <sip:probe@{server[0]}>\r\n"
                    f"Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
                ).encode(),
                server,
            )
            await trio.sleep(PROBE_INTERVAL_S)

    async def take_answers(self) -> None:
        """Note when each probe was answered."""
        while True:
            try:
                data, _ = await self._probe.recvfrom(65536)
            except ConnectionRefusedError:
                continue
            _, _, rest = data.partition(b"Call-ID: ")
            began = self._waiting.pop(rest.partition(b"\r\n")[0].decode("ascii", "replace"), None)
            if began is not None:
                self.latencies_s.append(trio.current_time() - began)

    async def cause_events(self) -> None:
        """Mute and unmute a caller's deaf side now and then: the client must see each event once, in time."""
        leg_id = self.callers[3].leg_id
        while True:
            for method, kind in (("POST", "leg.deaf"), ("DELETE", "leg.undeaf")):
                await trio.sleep(EVENT_INTERVAL_S)
                if self._quiet:
                    return
                began = trio.current_time()
                try:
                    await self.rest(method, f"/v1/legs/{leg_id}/deaf", None, 200)
                    await self.vsi.frame(kind, MAX_EVENT_S)
                except Difference as problem:
                    self.problems.append(f"event: {problem}")
                self.event_delays_s.append(trio.current_time() - began)

    def judge_events(self, report: Report, case: str) -> None:
        """Report events that were late, missing, double, foreign or dropped."""
        for problem in self.problems:
            report.check(case, False, problem)
        self.problems.clear()
        strange = [f for f in self.vsi.frames.unread() if f.get("app_id") not in (APP, None)]
        dropped = [f for f in self.vsi.frames.items() if f.get("type") == "events_dropped"]
        ended = [f for f in self.vsi.frames.unread() if f.get("type") == "leg.disconnected"]
        reasons = [cdr.get("reason") for f in ended if isinstance(cdr := f.get("cdr"), dict)]
        report.check(case, not ended, f"{len(ended)} calls of bystanders were ended: {reasons}")
        report.check(case, not strange, f"{len(strange)} events of others, first {strange[:1]}")
        report.check(case, not dropped, f"events were dropped: {dropped[:2]}")
        report.check(
            case, not self.vsi.closed.is_set(), f"the event client was closed: {self.vsi.close_code}"
        )
        if self.event_delays_s:
            report.figure(case, f"commands with their events within {max(self.event_delays_s) * 1000:.0f} ms")
        self.event_delays_s.clear()

    def judge_probes(self, report: Report, case: str, starved: Starved) -> None:
        """Report probes without an answer, or with a late one."""
        now, limit_s = trio.current_time(), MAX_ANSWER_S + starved.longest_s
        late = [key for key, began in self._waiting.items() if now - began > limit_s]
        for key in late:
            del self._waiting[key]
        slowest = max(self.latencies_s, default=0.0)
        lost = f"{len(late)} OPTIONS without an answer within {limit_s * 1000:.0f} ms"
        # While the server is kept from running its socket may overflow.
        report.check(case, not late or starved.longest_s > MAX_STARVED_S, lost)
        report.check(case, slowest < limit_s, f"OPTIONS answered after {slowest * 1000:.0f} ms")
        figure = f"{len(self.latencies_s)} OPTIONS answered, the slowest after {slowest * 1000:.0f} ms"
        report.figure(case, figure)
        self.latencies_s.clear()

    async def judge_audio(
        self, report: Report, case: str, span: tuple[float, float], starved: Starved, left_out: float
    ) -> None:
        """Report gaps, broken tones and echoes between two monotonic times, the later a while ago.

        `left_out` are the ticks that the server says it skipped.

        In a thread, or it would itself hold up what everybody says.
        """
        everyone = []
        for number, caller in enumerate(self.callers):
            # A peer remembers the last few minutes.
            oldest = caller.rtp.received[0].at if caller.rtp.received else 0.0
            began = max(span[0] - CONTEXT_S, min(oldest, span[1] - 1))
            ended = span[1] + CONTEXT_S
            packets = [p for p in caller.rtp.received if began <= p.at <= ended]
            late = list(self.callers[number ^ 1].rtp.late)
            heard = await trio.to_thread.run_sync(
                Heard.of, packets, late, caller.codec, caller.partner_hz, caller.tone_hz
            )
            self._judge_stream(report, case, caller, heard, ended - began, starved)
            unsaid = f"{caller.rtp.who}: {heard.left_out} frames left out, the server tells of {left_out:.0f}"
            report.check(case, heard.left_out <= left_out, unsaid)
            # One of them is made deaf now and then.
            if caller is not self.callers[3]:
                _judge_tone(report, case, caller, heard)
                everyone.append(heard)
        ours = (one for caller in self.callers for one in caller.rtp.late)
        late_s = [one.by_s for one in ours if span[0] <= one.at <= span[1]]
        worst = max((heard.worst_level_db for heard in everyone), key=abs)
        report.figure(
            case,
            f"audio: longest gap {max(heard.longest_gap_s for heard in everyone) * 1000:.0f} ms, "
            f"worst window {worst:+.1f} dB, own voice {max(heard.own_db for heard in everyone):.0f} dB, "
            f"our own sending at most {max(late_s, default=0.0) * 1000:.0f} ms late",
        )
        kinds = (GIVEN_BACK, PUT_IN, LATE, PAUSE)
        counts = {kind: sum(heard.count(kind) for heard in everyone) for kind in kinds}
        report.figure(
            case,
            f"dents excused: {counts[GIVEN_BACK]} frames that playout gave back, {counts[PUT_IN]} put in, "
            f"{counts[LATE]} while our own sending was late, {counts[PAUSE]} where ticks were skipped",
        )

    @staticmethod
    def _judge_stream(
        report: Report, case: str, caller: Caller, heard: Heard, seconds: float, starved: Starved
    ) -> None:
        who = f"{caller.rtp.who} ({caller.codec})"
        rate, gap_s = heard.packets / seconds, heard.longest_gap_s
        least = MIN_RATE - 50 * starved.total_s / seconds
        report.check(case, heard.missing == 0, f"{who}: {heard.missing} packets missing")
        report.check(case, heard.strange == 0, f"{who}: {heard.strange} packets of another stream or type")
        report.check(case, least < rate < MAX_RATE, f"{who}: {rate:.1f} packets/s")
        late = f"{who}: {gap_s * 1000:.0f} ms between packets"
        report.check(case, gap_s < MAX_GAP_S + starved.longest_s, late)


def _judge_tone(report: Report, case: str, caller: Caller, heard: Heard) -> None:
    who = f"{caller.rtp.who} ({caller.codec})"
    broken = heard.broken
    text = f"{who}: tone broken {len(broken)} times without an excuse: " + ", ".join(
        dent.text for dent in broken[:3]
    )
    report.check(case, not broken, text)
    report.check(case, heard.own_db < MAX_OWN_DB, f"{who}: hears itself at {heard.own_db:.0f} dB")


@asynccontextmanager
async def open_bystanders(target: Target) -> AsyncIterator[Bystanders]:
    """Bystanders with their calls up, while the block runs."""
    async with AsyncExitStack() as stack:
        vsi = await stack.enter_async_context(open_vsi(f"{target.vsi_url}?app_id=^{APP}$", "bystander"))
        ua = await stack.enter_async_context(open_udp(target.sip_address()))
        probe = stack.enter_context(trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM))
        await probe.bind(("127.0.0.1", 0))
        bystanders = Bystanders(target, vsi, ua, probe)
        await bystanders.gather(stack)
        await trio.sleep(1.0)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for task in (bystanders.probe, bystanders.take_answers, bystanders.cause_events):
            nursery.start_soon(task)
        yield bystanders
        nursery.cancel_scope.cancel()
