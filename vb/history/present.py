"""From what is stored of a call to what the calls API shows of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from uuid import UUID

from pydantic_core import from_json

from vb.history.mediums import (
    CallMedium,
    CallMediumSipMedium,
    CallMediumWebRtcMedium,
    CallMediumWebSocketMedium,
    SipMediumSipIncoming,
    SipMediumSipOutgoing,
)
from vb.history.model import (
    AgentBasic,
    AgentSession,
    Call,
    CallDetail,
    CallSipDetails,
    Direction,
    Entry,
    FirstSpeaker,
    FirstSpeakerSettings,
    FirstSpeakerSettingsAgentGreeting,
    FirstSpeakerSettingsUserGreeting,
    LegDetail,
    Message,
    QualitySample,
    Recording,
    RoomStay,
    SipText,
    Timespan,
)
from vb.history.quality import Row
from vb.history.reasons import billing_status, end_reason, termination_reason
from vb.history.times import SECOND_US, duration_text, event_time_us, from_us
from vb.storage.address import StoredObject, parse_object

NO_AGENT: Final = AgentBasic(agent_id=UUID(int=0), name="")
_TRANSCRIPTS: Final = {
    "stt.text": "MESSAGE_ROLE_USER",
    "agent.user_transcript": "MESSAGE_ROLE_USER",
    "agent.agent_response": "MESSAGE_ROLE_AGENT",
}
"""Events that tell what was said → who said it."""
CORRECTION: Final = "agent.response_corrected"
_SPEECH: Final = re.compile("|".join(re.escape(f'"{kind}"') for kind in (*_TRANSCRIPTS, CORRECTION)).encode())

Document = Mapping[str, Any]


def direction_of(document: Document) -> Direction:
    """Return who called whom, as the server sees it."""
    kind = str(document.get("leg_type", ""))
    return "outbound" if kind.endswith(("_outbound", "_out")) else "inbound"


def is_sip(document: Document) -> bool:
    """Whether a call was signalled by SIP."""
    return str(document.get("leg_type", "")).startswith(("sip", "whatsapp"))


def answered_us(document: Document) -> int:
    """Return how long an ended call was up; 0 when it never was, or still is."""
    joined_us, ended_us = document.get("joined_us", 0), document.get("ended_us", 0)
    return max(0, ended_us - joined_us) if joined_us and ended_us else 0


def show_call(call_id: UUID, document: Document) -> Call:
    """Return a call as the calls API shows it."""
    return Call(**_fields(call_id, document))


def show_detail(call_id: UUID, document: Document) -> CallDetail:
    """Return a call with what is known of its leg."""
    return CallDetail(**_fields(call_id, document), leg=_leg(document))


def _fields(call_id: UUID, document: Document) -> dict[str, Any]:
    joined_us, ended_us = document.get("joined_us", 0), document.get("ended_us", 0)
    reason: str | None = document.get("reason") if ended_us else None
    is_answered = bool(joined_us)
    billed = duration_text(answered_us(document)) if ended_us else None
    outgoing = direction_of(document) == "outbound"
    speaker: FirstSpeaker = "FIRST_SPEAKER_USER" if outgoing else "FIRST_SPEAKER_AGENT"
    agent_id = document.get("agent_id")
    return {
        "call_id": call_id,
        "client_version": document.get("client_version"),
        "created": from_us(document["created_us"]),
        "joined": from_us(joined_us) if joined_us else None,
        "ended": from_us(ended_us) if ended_us else None,
        "end_reason": end_reason(reason, answered=is_answered),
        "billed_duration": billed,
        "billed_side_input_tokens": None,
        "billed_side_output_tokens": None,
        "billing_status": billing_status(reason, answered=is_answered),
        "first_speaker": speaker,
        "first_speaker_settings": _speaker_settings(speaker),
        "inactivity_messages": [],
        "initial_output_medium": "MESSAGE_MEDIUM_VOICE",
        "join_timeout": _seconds(document.get("join_timeout_s"), "30s"),
        "join_url": None,
        "max_duration": _seconds(document.get("max_duration_s"), "3600s"),
        "medium": _medium(document),
        "model": document.get("model", ""),
        "recording_enabled": bool(document.get("recordings")),
        "retention_policy": "auto_delete" if document.get("auto_delete") else "retain",
        "voice": document.get("voice_id"),
        "short_summary": document.get("short_summary"),
        "summary": document.get("summary"),
        "agent": _agent(agent_id, document.get("agent_name")),
        "agent_id": agent_id,
        "experimental_settings": {},
        "metadata": document.get("metadata", {}),
        "initial_state": {},
        "request_context": {},
        "sip_details": _sip_details(document, reason, billed, is_answered=is_answered),
    }


def _seconds(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else duration_text(round(value * SECOND_US))


def _speaker_settings(speaker: FirstSpeaker) -> FirstSpeakerSettings:
    if speaker == "FIRST_SPEAKER_USER":
        return FirstSpeakerSettings(user=FirstSpeakerSettingsUserGreeting())
    return FirstSpeakerSettings(agent=FirstSpeakerSettingsAgentGreeting())


def _agent(agent_id: str | None, name: str | None) -> AgentBasic:
    try:
        return AgentBasic(agent_id=UUID(agent_id), name=name or "") if agent_id else NO_AGENT
    except ValueError:
        return AgentBasic(agent_id=UUID(int=0), name=name or agent_id or "")


def _medium(document: Document) -> CallMedium | None:
    kind = str(document.get("leg_type", ""))
    if document.get("medium"):
        return CallMedium.model_validate(document["medium"])
    if is_sip(document):
        if direction_of(document) == "inbound":
            return CallMedium(sip=CallMediumSipMedium(incoming=SipMediumSipIncoming()))
        to = document.get("uri") or document.get("to")
        return CallMedium(
            sip=CallMediumSipMedium(outgoing=SipMediumSipOutgoing(to=to, from_=document.get("from")))
        )
    if kind.startswith("websocket"):
        return CallMedium(server_web_socket=CallMediumWebSocketMedium())
    return CallMedium(web_rtc=CallMediumWebRtcMedium()) if kind == "webrtc" else None


def _sip_details(
    document: Document, reason: str | None, billed: str | None, *, is_answered: bool
) -> CallSipDetails | None:
    if not is_sip(document):
        return None
    return CallSipDetails(
        billed_duration=billed, termination_reason=termination_reason(reason, answered=is_answered)
    )


def _leg(document: Document) -> LegDetail:
    return LegDetail(
        leg_id=document["leg_id"],
        leg_type=document.get("leg_type", ""),
        direction=direction_of(document),
        from_=document.get("from"),
        to=document.get("to"),
        uri=document.get("uri"),
        app_id=document.get("app_id"),
        instance_id=document.get("instance_id", ""),
        reason=document.get("reason"),
        duration_total=document.get("duration_total"),
        duration_answered=document.get("duration_answered"),
        quality=document.get("quality"),
        rooms=[
            RoomStay(
                room_id=stay["room_id"], joined=from_us(stay["joined_us"]), left=_maybe(stay.get("left_us"))
            )
            for stay in document.get("rooms", ())
        ],
        recordings=[_recording(item) for item in document.get("recordings", ())],
        agents=[
            AgentSession(
                agent_id=item.get("agent_id"),
                name=item.get("name"),
                provider=item.get("provider"),
                conversation_id=item.get("conversation_id"),
                started=from_us(item["started_us"]),
                ended=_maybe(item.get("ended_us")),
                turns=item.get("turns", 0),
                reason=item.get("reason"),
                error=item.get("error"),
            )
            for item in document.get("agents", ())
        ],
    )


def _recording(item: Mapping[str, Any]) -> Recording:
    known = {name: value for name, value in item.items() if name != "objects"}
    stored = stored_objects(item)
    return Recording(**known, opened_by=stored[0].opened_by if stored else None)


def stored_objects(item: Mapping[str, Any]) -> list[StoredObject]:
    """Return where the files of a recording lie that are in a bucket, or on the way there."""
    texts = item.get("objects") or (item["file"],)
    return [found for text in texts if (found := parse_object(text)) is not None]


def _maybe(time_us: int | None) -> Any:
    return from_us(time_us) if time_us else None


# -- what happened -----------------------------------------------------------------------------------------


def lines_of(parts: Iterable[bytes]) -> list[bytes]:
    """Return the entries of unpacked parts, in order, each as JSON: a long call has many pages."""
    return [line for part in parts for line in part.split(b"\n")]


def entry_of(line: bytes) -> dict[str, Any]:
    """Return an entry of a call.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return cast("dict[str, Any]", from_json(line))  # a third of the time
    except ValueError:  # perhaps only halves of surrogate pairs
        return cast("dict[str, Any]", json.loads(line))


def show_entry(number: int, entry: dict[str, Any]) -> Entry:
    """Return an entry as the API shows it."""
    kind, timestamp = entry["type"], entry["timestamp"]
    if kind == "sip.message":
        sip = SipText(direction=entry["direction"], text=entry["text"], cut=entry.get("cut", False))
        return Entry(number=number, timestamp=timestamp, type=kind, sip=sip)
    return Entry(number=number, timestamp=timestamp, type=kind, event=entry)


def show_quality(document: Document, row: Row) -> QualitySample:
    """Return a row of how a call sounded as the API shows it."""
    trip, far = row.round_trip_us, row.far_lost_permille
    return QualitySample(
        time=from_us(document["created_us"] + row.at_ms * 1_000),
        packets_received=row.received,
        packets_lost=row.lost,
        jitter_ms=row.jitter_us / 1_000,
        round_trip_ms=None if trip is None else trip / 1_000,
        far_lost_percent=None if far is None else far / 10,
        mos_score=row.mos,
    )


def said_in(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    """Return the entries of lines that tell what was said, as far as it was heard."""
    said: list[dict[str, Any]] = []
    for line in lines:
        if _SPEECH.search(line) is None:  # most lines tell of something else, and are not read for that
            continue
        entry = entry_of(line)
        if entry["type"] == CORRECTION:
            _correct(said, entry)
        elif entry["type"] in _TRANSCRIPTS and entry.get("is_final", entry["type"] != "stt.text"):
            said.append(entry)
    return said


def show_message(document: Document, entry: dict[str, Any]) -> Message:
    """Return what was said as the API shows it."""
    return Message(
        role=cast("Any", _TRANSCRIPTS[entry["type"]]),
        text=entry.get("text", ""),
        medium="MESSAGE_MEDIUM_VOICE",
        created=from_us(event_time_us(entry["timestamp"])),
        timespan=_timespan(entry, document.get("joined_us", 0)),
    )


def _correct(said: list[dict[str, Any]], correction: Mapping[str, Any]) -> None:
    """Put what was heard of a response in its place."""
    for entry in reversed(said):
        of_agent = _TRANSCRIPTS[entry["type"]] == "MESSAGE_ROLE_AGENT"
        if of_agent and entry.get("text", "") == correction.get("original"):
            entry["text"] = correction.get("text", "")
            break


def _timespan(entry: Mapping[str, Any], joined_us: int) -> Timespan | None:
    """Return when something was said: it ended when it was told, and took as long as its audio.

    Where the audio stands is no help: that counts from the start of its transcription, and without holds.
    """
    if not joined_us:
        return None
    end_us = max(0, event_time_us(entry["timestamp"]) - joined_us)
    start_ms, stop_ms = entry.get("audio_start_ms"), entry.get("audio_end_ms")
    length_us = 0 if start_ms is None or stop_ms is None else 1_000 * max(0, stop_ms - start_ms)
    return Timespan(start=duration_text(max(0, end_us - length_us)), end=duration_text(end_us))
