"""Answering machine detection on a leg: a task in the leg's slot that listens to what the leg says."""

from __future__ import annotations

from typing import Final

import structlog
import trio

from vb.channels import Channel
from vb.errors import BadRequest, Conflict
from vb.events.speech import AmdBeep, AmdResult
from vb.legs.leg import Leg
from vb.legs.requests import AmdParams
from vb.media.one_rate import OneRate
from vb.mixer.frames import Pcm
from vb.slots import SlotsClosed
from vb.speech import amd
from vb.speech.amd_parameters import AmdParameters, AmdParametersError
from vb.speech.frames import RATE_HZ

log = structlog.get_logger(__name__)

AMD_SLOT: Final = "amd"
WAITING_FRAMES: Final = 100
"""Two seconds of audio that an analysis may lag behind."""


class _Ear:
    """A tap that leaves frames for the analysis, and brings them to its rate."""

    def __init__(self, name: str) -> None:
        self.frames: Channel[tuple[Pcm, int]] = Channel(WAITING_FRAMES, overflow="drop_oldest", name=name)
        self._rate = OneRate(RATE_HZ)

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms from the mixer."""
        self.frames.put((frame.copy(), rate_hz))

    def convert(self, frame: Pcm, rate_hz: int) -> Pcm:
        """Return a frame at the analysis's rate."""
        return self._rate.convert(frame, rate_hz)


def amd_parameters(p: AmdParams) -> AmdParameters:
    """Return the limits that a client asked for.

    Raises:
        BadRequest: no verdict could ever be reached with them.
    """
    try:
        return AmdParameters.from_request(p.model_dump(include=set(AmdParams.model_fields)))
    except AmdParametersError as exc:
        raise BadRequest(f"invalid AMD params: {exc}") from None


def start_amd(leg: Leg, parameters: AmdParameters) -> None:
    """Start an analysis on a leg that runs none.

    Raises:
        Conflict: the leg is ending.
        SlotTaken: one runs.
    """

    async def analyse() -> None:
        await _analyse(leg, parameters)

    try:
        leg.slots.start(AMD_SLOT, analyse)
    except SlotsClosed:
        raise Conflict("leg is ending") from None


async def replace_amd(leg: Leg, parameters: AmdParameters) -> None:
    """Start an analysis on a leg; one that runs ends without a word.

    Raises:
        Conflict: the leg is ending.
    """
    while (running := leg.slots.get(AMD_SLOT)) is not None:
        await running.stop()
    start_amd(leg, parameters)


async def _analyse(leg: Leg, parameters: AmdParameters) -> None:
    """Listen until nothing more can come.

    Cancellation: nothing is published from then on.
    """
    port = leg.port
    if port is None:
        return
    analyser = amd.AmdAnalyser(parameters, trio.current_time())
    ear = _Ear(f"amd of leg {leg.id}")
    port.add_tap_in(ear)
    try:
        while not analyser.finished:
            outcomes = await _next_outcomes(analyser, ear)
            if outcomes:
                # A replaced analysis, or that of a leg that ends, may still have got audio: it says nothing.
                await trio.lowlevel.checkpoint_if_cancelled()
                for outcome in outcomes:
                    _publish(leg, outcome)
    finally:
        port.remove_tap(ear)
        if ear.frames.dropped:
            log.warning("amd missed audio", leg_id=leg.id, frames=ear.frames.dropped)


async def _next_outcomes(analyser: amd.AmdAnalyser, ear: _Ear) -> list[amd.AmdVerdict | amd.AmdBeep]:
    """Wait for audio or for the deadline, whichever comes first."""
    with trio.move_on_at(analyser.deadline):
        return analyser.feed(ear.convert(*await ear.frames.get()))
    outcomes: list[amd.AmdVerdict | amd.AmdBeep] = []
    for frame, rate_hz in ear.frames.drain():
        outcomes += analyser.feed(ear.convert(frame, rate_hz))
    late = analyser.expire(trio.current_time())
    return [*outcomes, late] if late is not None else outcomes


def _publish(leg: Leg, outcome: amd.AmdVerdict | amd.AmdBeep) -> None:
    if isinstance(outcome, amd.AmdBeep):
        leg.publish(AmdBeep(leg_id=leg.id, app_id=leg.app_id, beep_ms=outcome.beep_ms))
        return
    leg.publish(
        AmdResult(
            leg_id=leg.id,
            app_id=leg.app_id,
            result=outcome.result,
            initial_silence_ms=outcome.initial_silence_ms,
            greeting_duration_ms=outcome.greeting_duration_ms,
            total_analysis_ms=outcome.total_analysis_ms,
        )
    )
