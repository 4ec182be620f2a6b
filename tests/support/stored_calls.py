"""Calls that a history has before its server starts: what events tell of them, without anybody talking."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from vb.events.agent import AgentConnected, AgentDisconnected, AgentResponse, AgentTurn, AgentUserTranscript
from vb.events.base import Event, Published
from vb.events.bus import EventBus
from vb.events.leg import Cdr, LegConnected, LegDisconnected, LegRinging
from vb.events.speech import SpeakingStarted, SpeakingStopped
from vb.history.collector import Collector
from vb.history.store import Store
from vb.history.writer import prepare
from vb.ids import SystemIds

FIRST_HEARD_MS = 812
PLAYED_MS = 2_400
ASKED = "What time is it?"
ANSWERED = "It is a quarter past nine."
CUT_SHORT = "One, two, three, four"


def _said(leg_id: str) -> Iterator[tuple[float, Event]]:
    """Give what happens in the call, each after so many seconds."""
    leg = {"leg_id": leg_id}
    yield 0.0, LegRinging(leg_id=leg_id, leg_type="sip_inbound", from_="caller", to="help")
    yield 0.4, LegConnected(leg_id=leg_id, leg_type="sip_inbound")
    yield 0.1, AgentConnected(**leg, conversation_id="talk-1", provider="local")
    yield 2.0, AgentResponse(**leg, text="Hello.")
    yield 0.0, AgentTurn(**leg, turn=1, played_ms=900, interrupted=False, text="Hello.", heard="Hello.")
    yield 1.0, SpeakingStarted(**leg)
    yield 1.2, SpeakingStopped(**leg)
    yield 0.2, AgentUserTranscript(**leg, text=ASKED)
    yield FIRST_HEARD_MS / 1000 - 0.2 + PLAYED_MS / 1000, AgentResponse(**leg, text=ANSWERED)
    yield (
        0.0,
        AgentTurn(
            **leg,
            turn=2,
            transcript_ms=210,
            endpointing_ms=420,
            first_words_ms=560,
            first_audio_ms=790,
            first_heard_ms=FIRST_HEARD_MS,
            played_ms=PLAYED_MS,
            interrupted=False,
            text=ANSWERED,
            heard=ANSWERED,
        ),
    )
    yield 0.8, SpeakingStarted(**leg)
    yield 1.4, SpeakingStopped(**leg)
    yield 0.1, AgentUserTranscript(**leg, text="Please count to twelve.")
    yield 2.4, SpeakingStarted(**leg)
    yield 0.3, AgentResponse(**leg, text=CUT_SHORT)
    yield (
        0.0,
        AgentTurn(
            **leg,
            turn=3,
            transcript_ms=180,
            endpointing_ms=400,
            first_words_ms=510,
            first_audio_ms=680,
            first_heard_ms=700,
            played_ms=1_900,
            interrupted=True,
            text="One, two, three, four, five, six, seven, eight.",
            heard=CUT_SHORT,
        ),
    )
    yield 0.7, SpeakingStopped(**leg)
    yield 0.5, AgentDisconnected(**leg, reason="hangup", conversation_id="talk-1", provider="local")
    cdr = Cdr(reason="remote_bye", duration_total=18.0, duration_answered=17.6)
    yield 0.1, LegDisconnected(leg_id=leg_id, cdr=cdr)


def store_agent_call(database: Path) -> str:
    """Put a call with an agent of the server's own into a database; returns its id."""
    leg_id = str(uuid.uuid4())
    now_ns = [time.time_ns() - 60 * 10**9]
    bus = EventBus("interop", SystemIds(), lambda: now_ns[0])
    collector = Collector("interop")

    def take_note(published: Published) -> None:
        collector.observe(published)

    bus.subscribe(take_note)
    for after_s, event in _said(leg_id):
        now_ns[0] += round(after_s * 1e9)
        bus.publish(event)
    store = Store(f"sqlite:///{database}", run_id=uuid.uuid4(), instance_id="interop")
    store.open()
    store.write([prepare(change) for change in collector.take()])
    store.close()
    return leg_id
