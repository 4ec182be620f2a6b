"""Conversations of agents, at providers and of the server's own, with partners who have a fixed delay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.application import Application
from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SETTLE_S, Bed, Load, call_faults, open_bed, set_up
from bench.cases import AgentsCase, OwnAgentsCase
from bench.delay import QUIET, Arrivals
from bench.events import Message
from bench.figures import Spread, percentile
from bench.host import placements
from bench.outcome import AgentFigures, Options, Outcome, OwnAgentFigures
from bench.partner_lines import AMPLITUDE, MODEL_MS, PAUSE_S, RATE_HZ, VOICE_MS
from bench.partners import Partners, running_partners
from bench.server import Server, tick_lateness
from bench.tones import ULAW_LEVELS
from bench.window import TICK_S, measure

VOICE: Final = "21m00Tcm4TlvDq8ikWAM"
ENDPOINTING_MS: Final = 400.0
"""The silence after which an agent of the server's own takes its turn: policy, not the server's doing."""
PLAIN: Final[dict[str, object]] = {"detector": "loudness", "preemptive": False}
"""Tones are no speech to a detector of it, and a model that begins early would hide the server's share."""
_START_S: Final = 20.0
_SHORT: Final = 0.01
"""As much less audio than was said may be on its way when it is counted."""
_LOST: Final = "voiceblender_agent_audio_lost_seconds"
_MIN_SAMPLES: Final = 5
"""Fewer of what a bar is read against are a fault of the measurement."""
_AFTER_NS: Final = int(PAUSE_S * 0.75 * 1e9)


class TurnApplication(Application):
    """Notes where the time of each answer went.

    Attributes:
        turns: the events of answers that somebody had asked for.
    """

    def __init__(self, server: Server, observers: int = 0) -> None:
        super().__init__(server, observers)
        self.turns: list[Message] = []

    def react(self, message: Message) -> None:
        """Note an answer; everything else as usual."""
        super().react(message)
        if message.get("type") == "agent.turn" and message.get("first_heard_ms") is not None:
            self.turns.append(message)

    def step_ms(self, until: str, since: str | None, fixed_ms: float) -> float:
        """Return the median time of a step beyond what it takes anyway."""
        times = [
            float(str(turn[f"{until}_ms"])) - (float(str(turn[f"{since}_ms"])) if since else 0.0)
            for turn in self.turns
        ]
        return percentile(times, 50) - fixed_ms


def settings_of(partners: Partners) -> dict[str, str]:
    """Return the settings of a server whose providers are the partners."""
    return {
        "VB_FETCH_ALLOW": "127.0.0.0/8",
        "DEEPGRAM_API_KEY": "bench",
        "VB_DEEPGRAM_AGENT_BASE_URL": partners.http_url,
        "VB_DEEPGRAM_BASE_URL": partners.http_url,
        "ELEVENLABS_API_KEY": "bench",
        "VB_ELEVENLABS_BASE_URL": partners.http_url,
        "OPENAI_BASE_URL": f"{partners.http_url}/v1",
        "VB_AGENT_MODEL": "none",
        "TTS_CACHE_ENABLED": "false",
    }


def attach(bed: Bed, partners: Partners, block_ms: int, number: int, *, fault: str = "none") -> None:
    """Attach an agent to the leg of a caller: a bot at 20 ms, an agent of Deepgram's at 60 ms."""
    leg_id = bed.application.legs[number]
    if block_ms == 20:
        url = f"{partners.ws_url}/bot?leg={number}&fault={fault}"
        bed.application.command("leg_agent_pipecat", id=leg_id, websocket_url=url)
    else:
        tags = [str(number)]
        bed.application.command("leg_agent_deepgram", id=leg_id, settings={"tags": tags})


def start_own(bed: Bed, number: int, **more: object) -> None:
    """Attach an agent of the server's own to the leg of a caller."""
    bed.application.command(
        "leg_agent_local",
        id=bed.application.legs[number],
        voice=VOICE,
        voice_provider="elevenlabs",
        transcript_provider="deepgram",
        min_endpointing_ms=int(ENDPOINTING_MS),
        **(PLAIN | more),
    )


def run_agents(case: AgentsCase, checkout: Path, options: Options) -> Outcome:
    """Let everybody talk with a partner who speaks, is interrupted, and speaks again."""
    _, load_place = placements(realtime=options.realtime)
    with (
        running_partners(load_place) as partners,
        open_bed(checkout, Load(case.legs, probes=1), settings_of(partners), options) as bed,
    ):
        faults = set_up(bed, [f"room-{leg}" for leg in range(case.legs)], RAMP_RATE, RAMP_MOST_UNFINISHED)
        for number in range(case.legs):
            attach(bed, partners, case.block_ms, number)
        faults += _all_connected(bed, case.legs)
        bed.wait(SETTLE_S)
        cuts = len(partners.counted().cuts)
        bed.generator.capture(round(options.window_s / TICK_S))
        before = partners.counted()
        window = measure(bed, case.legs, options)
        after = partners.counted()
        bed.wait(PAUSE_S)
        metrics, captured = bed.server.metrics(), bed.generator.captured()
        missing = 1 - (after.bytes - before.bytes) / (case.legs * RATE_HZ * 2 * options.window_s)
        if missing > _SHORT:
            faults.append(f"{missing:.1%} of the audio did not reach the partners")
        for name, lost_s in metrics.items():
            if name.startswith(_LOST) and lost_s:
                faults.append(f"{lost_s:.2f} s of audio were given up: {name}")
        faults += _told(bed, ("agent.disconnected",), 0)
        silenced = [
            last
            for leg, at_ns in after.cuts[cuts:]
            if (last := last_voiced_ms(captured.legs[leg], at_ns, _AFTER_NS)) is not None
        ]
        faults += _enough(silenced, "interruptions")
        faults += _silent(captured.legs)
        bed.hang_up(case.legs)
        faults += call_faults(bed, case.legs, bed.generator.counts())
        figures = AgentFigures(
            window,
            tick_lateness(metrics),
            silenced=Spread.of(silenced),
            messages_per_s=(after.messages - before.messages) / options.window_s,
            partners_late_ms=after.late_ms,
        )
    return Outcome(figures, tuple(faults))


def run_own_agents(case: OwnAgentsCase, checkout: Path, options: Options) -> Outcome:
    """Let everybody speak to an agent of the server's own, and over its answers."""
    _, load_place = placements(realtime=options.realtime)
    period_s = (case.burst_packets + case.pause_packets) * TICK_S
    burst = (case.burst_packets, case.pause_packets, True)
    load = Load(case.legs, probes=1, burst=burst, application=TurnApplication)
    with (
        running_partners(load_place) as partners,
        open_bed(checkout, load, settings_of(partners), options) as bed,
    ):
        faults = set_up(bed, [f"room-{leg}" for leg in range(case.legs)], RAMP_RATE, RAMP_MOST_UNFINISHED)
        for number in range(case.legs):
            start_own(bed, number)
        faults += _all_connected(bed, case.legs)
        bed.wait(max(SETTLE_S, 2 * period_s))
        bed.generator.capture(round((options.window_s + period_s) / TICK_S))
        application = bed.application
        assert isinstance(application, TurnApplication)
        application.turns.clear()
        partners.counted()
        window = measure(bed, case.legs, options)
        counted = partners.counted()
        metrics = bed.server.metrics()
        bed.wait(period_s)
        captured = bed.generator.captured()
        faults += _told(bed, ("agent.disconnected", "agent.error"), 0)
        onsets: dict[int, list[int]] = defaultdict(list)
        for leg, at_ns in captured.onsets_ns.tolist():
            onsets[leg].append(at_ns)
        share, ducked = _own_times(case, captured.legs, onsets)
        faults += _enough(share, "answers") + _enough(ducked, "interruptions") + _silent(captured.legs)
        bed.hang_up(case.legs)
        faults += call_faults(bed, case.legs, bed.generator.counts())
        figures = OwnAgentFigures(
            window,
            tick_lateness(metrics),
            server_share=Spread.of(share),
            ducked=Spread.of(ducked),
            steps_ms={
                "turn judged over": application.step_ms("endpointing", None, ENDPOINTING_MS),
                "model's first words": application.step_ms("first_words", "endpointing", MODEL_MS),
                "voice's first sample": application.step_ms("first_audio", "first_words", VOICE_MS),
                "first frame out": application.step_ms("first_heard", "first_audio", 0.0),
            },
            answers=len(share),
            partners_late_ms=counted.late_ms,
            partners_late_p95_ms=counted.late_p95_ms,
        )
    return Outcome(figures, tuple(faults))


def _own_times(
    case: OwnAgentsCase, legs: Sequence[Arrivals], onsets: dict[int, list[int]]
) -> tuple[list[float], list[float]]:
    """Return the server's share of each answer's time, and how soon each interrupted agent was silent.

    From the last voiced packet to the first of the answer, without what policy and partners take; the ears'
    words come while the silence is waited for.
    """
    packet_ns = int(TICK_S * 1e9)
    fixed_ms = ENDPOINTING_MS + MODEL_MS + VOICE_MS
    share, ducked = [], []
    for leg, begun in onsets.items():
        for onset_ns in begun:
            ended_ns = onset_ns + (case.burst_packets - 1) * packet_ns
            next_ns = onset_ns + (case.burst_packets + case.pause_packets) * packet_ns
            last_ms = last_voiced_ms(legs[leg], onset_ns, ended_ns - onset_ns, was_heard=True)
            if last_ms is not None:
                ducked.append(last_ms)
            first_ms = first_voiced_ms(legs[leg], ended_ns, next_ns - ended_ns)
            if first_ms is not None:
                share.append(first_ms - fixed_ms)
    return share, ducked


def _voiced(leg: Arrivals) -> NDArray[np.bool_]:
    voiced: NDArray[np.bool_] = np.abs(ULAW_LEVELS[leg.payloads]).max(axis=1) > AMPLITUDE * QUIET
    return voiced


def first_voiced_ms(leg: Arrivals, since_ns: int, within_ns: int) -> float | None:
    """Return how long after a moment the first packet with speech came; None when none came in time."""
    found = leg.arrival_ns[_voiced(leg) & (leg.arrival_ns > since_ns)]
    if not found.size or found[0] > since_ns + within_ns:
        return None
    return (int(found[0]) - since_ns) / 1e6


def last_voiced_ms(leg: Arrivals, since_ns: int, within_ns: int, *, was_heard: bool = False) -> float | None:
    """Return how long after a moment the last packet with speech came, 0 when none came.

    Args:
        leg: what the caller received.
        since_ns: the moment.
        within_ns: until when it counts.
        was_heard: return None unless there was speech in the 100 ms before.

    Returns:
        None when not all of the time was captured.
    """
    times = leg.arrival_ns
    if not times.size or times[0] > since_ns or times[-1] < since_ns + within_ns:
        return None
    loud = times[_voiced(leg)]
    if was_heard and not ((loud > since_ns - 100_000_000) & (loud <= since_ns)).any():
        return None
    found = loud[(loud > since_ns) & (loud <= since_ns + within_ns)]
    return (int(found[-1]) - since_ns) / 1e6 if found.size else 0.0


def _all_connected(bed: Bed, legs: int) -> list[str]:
    counts = bed.application.counts
    if bed.application.pump_until(lambda: counts["agent.connected"] >= legs, _START_S):
        return []
    return [f"{counts['agent.connected']} of {legs} agents are connected"]


def _told(bed: Bed, kinds: Iterable[str], wanted: int) -> list[str]:
    counts = bed.application.counts
    return [f"{counts[kind]} {kind} events, not {wanted}" for kind in kinds if counts[kind] != wanted]


def _enough(found: Sequence[float], what: str) -> list[str]:
    return [] if len(found) >= _MIN_SAMPLES else [f"only {len(found)} {what} were seen"]


def _silent(legs: Sequence[Arrivals]) -> list[str]:
    deaf = [number for number, leg in enumerate(legs) if not leg.payloads.size or not _voiced(leg).any()]
    return [f"callers who hear nothing of their agents: {deaf[:5]}"] if deaf else []
