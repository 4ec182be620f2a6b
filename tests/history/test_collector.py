from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from pydantic import create_model

from tests.history.making import entries_of, messages_of
from tests.history.told import LEG, MATE, Told, ended
from vb.events.agent import (
    AgentConnected,
    AgentDisconnected,
    AgentInterrupted,
    AgentLatency,
    AgentResponse,
    AgentResponseCorrected,
    AgentUserTranscript,
)
from vb.events.base import LegEvent, Published
from vb.events.leg import (
    Cdr,
    DtmfReceived,
    LegConnected,
    LegDisconnected,
    LegJoinedRoom,
    LegLeftRoom,
    LegRinging,
)
from vb.events.media import ChannelInfo, RecordingFinished, RecordingStarted
from vb.events.room import RoomDeleted
from vb.history import collector as module
from vb.history.change import Change
from vb.history.collector import HANDLERS, Collector
from vb.history.present import show_detail
from vb.history.record import PART_ENTRIES, call_id_of, call_key
from vb.history.sip_trace import SipMessage
from vb.history.times import event_time_us
from vb.legs.facts import LegFacts


def ended_calls(told: Told, count: int) -> list[str]:
    """Tell of calls that are over; returns their legs, the oldest first."""
    leg_ids = [str(uuid.UUID(int=number, version=4)) for number in range(count)]
    for leg_id in leg_ids:
        told(LegConnected(leg_id=leg_id, leg_type="sip_inbound"))
        told(ended(leg_id))
    return leg_ids


def test_every_event_of_a_leg_is_kept_in_order_with_what_it_means() -> None:
    told = Told(headers=("X-*",))
    headers = {"X-Order": "17", "x-team": "red", "X-Auth-Token": "hidden", "P-Charge": "no"}
    assert told(LegRinging(leg_id=LEG, leg_type="sip_inbound", from_="a", to="b", sip_headers=headers))
    assert told(LegConnected(leg_id=LEG, leg_type="sip_inbound", app_id="shop"))
    assert not told(DtmfReceived(leg_id=LEG, digit="5", seq=1))
    assert not told(LegJoinedRoom(leg_id=LEG, room_id="hall"))
    assert not told(LegLeftRoom(leg_id=LEG, room_id="hall"))
    assert not told(LegJoinedRoom(leg_id=LEG, room_id="bar"))
    assert told(ended())
    change = told.one()
    detail = show_detail(change.call_id, change.document)
    assert [entry["type"] for entry in entries_of(data for _, data in change.parts)] == [
        "leg.ringing",
        "leg.connected",
        "dtmf.received",
        "leg.joined_room",
        "leg.left_room",
        "leg.joined_room",
        "leg.disconnected",
    ]
    assert detail.metadata == {"X-Order": "17", "x-team": "red"}
    assert detail.leg.app_id == "shop"
    assert [(stay.room_id, stay.left is not None) for stay in detail.leg.rooms] == [
        ("hall", True),
        ("bar", True),
    ]
    assert detail.leg.quality is not None
    assert detail.leg.quality["mos_score"] == 4.4
    assert (detail.end_reason, detail.billed_duration) == ("hangup", "2s")
    assert change.key == call_key(change.call_id, event_time_us("2026-11-29T08:00:01.5Z"))


def test_a_call_ends_when_it_is_hung_up_and_not_when_its_recording_is_stored() -> None:
    told = Told()
    told(LegRinging(leg_id=LEG, leg_type="sip_inbound"))
    told(RecordingStarted(leg_id=LEG, file="/r/a.wav"))
    told(RecordingFinished(leg_id=LEG, file="s3://b/a.wav"))
    told(LegDisconnected(leg_id=LEG, cdr=Cdr(reason="busy", duration_total=1.25, duration_answered=0)))
    told(LegConnected(leg_id=MATE, leg_type="sip_inbound"))
    told(RecordingFinished(leg_id=MATE, file="s3://b/b.wav"))
    told(LegDisconnected(leg_id=MATE, cdr=Cdr(reason="busy", duration_total=9, duration_answered=0.5)))
    unanswered, answered = [show_detail(change.call_id, change.document) for change in told.collector.take()]
    assert unanswered.ended is not None
    assert (unanswered.ended - unanswered.created).total_seconds() == 1.25
    assert unanswered.billed_duration == "0s"
    assert answered.ended is not None
    assert answered.joined is not None
    assert (answered.ended - answered.joined).total_seconds() == 0.5
    assert answered.billed_duration == "0.500s"


@pytest.mark.parametrize("step", [-3_600, -30, 3_600], ids=lambda step: f"{step} s")
@pytest.mark.parametrize("when", ["ringing", "talking"])
def test_a_call_lasts_as_long_as_is_told_though_the_clock_is_set_meanwhile(when: str, step: int) -> None:
    collector = Collector("edge-1")
    answered = 1 + (step if when == "ringing" else 0)
    over = LegDisconnected(leg_id=LEG, cdr=Cdr(reason="x", duration_total=61, duration_answered=60))
    for second, event in (
        (0, LegRinging(leg_id=LEG, leg_type="sip_inbound")),
        (answered, LegConnected(leg_id=LEG, leg_type="sip_inbound")),
        (61 + step, over),
    ):
        stamp = (datetime(2026, 11, 29, 8) + timedelta(seconds=second)).isoformat()
        collector.observe(Published(event, "x", f"{stamp}Z", "edge-1"))
    (change,) = collector.take()
    shown = show_detail(change.call_id, change.document)
    assert shown.billed_duration == "60s"
    assert shown.joined is not None
    assert shown.ended is not None
    assert shown.created <= shown.joined <= shown.ended
    collector.forget(event_time_us("2026-11-29T07:02:00Z" if step == -3_600 else "2026-11-29T12:00:00Z"))
    assert collector._find(LEG) is None


def test_counts_of_packets_are_shown_as_whole_numbers() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="sip_inbound"))
    told(ended())
    change = told.one()
    shown = json.loads(show_detail(change.call_id, change.document).model_dump_json())["leg"]["quality"]
    assert repr(shown["rtp_packets_received"]) == "9"
    assert repr(shown["mos_score"]) == "4.4"


def test_an_event_of_a_leg_that_nobody_knows_makes_no_call() -> None:
    told = Told()
    told(DtmfReceived(leg_id=LEG, digit="5", seq=1))
    told(ended())
    assert told.collector.take() == []


def test_what_comes_late_still_belongs_to_its_call_and_one_that_is_long_over_is_forgotten() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="webrtc"))
    told(ended())
    first = told.one()
    told(DtmfReceived(leg_id=LEG, digit="1", seq=1))
    second = told.one()
    assert second.version > first.version
    assert second.parts[0][0] == first.parts[0][0]
    assert len(second.parts[0][1]) > len(first.parts[0][1])
    told.collector.forget(event_time_us("2026-11-29T09:00:00Z"))
    told(DtmfReceived(leg_id=LEG, digit="2", seq=2))
    assert told.collector.take() == []


def test_a_recording_of_a_room_belongs_to_everybody_in_it() -> None:
    told = Told()
    for leg_id in (LEG, MATE):
        told(LegConnected(leg_id=leg_id, leg_type="sip_outbound"))
    told(LegJoinedRoom(leg_id=LEG, room_id="hall"))
    told(RecordingStarted(room_id="hall", file="/r/a.wav"))
    told(LegLeftRoom(leg_id=LEG, room_id="hall"))
    channels = {
        LEG: ChannelInfo(channel=0, start_ms=0, end_ms=9),
        MATE: ChannelInfo(channel=1, start_ms=0, end_ms=9),
    }
    told(RecordingFinished(room_id="hall", file="/r/a.wav", multi_channel_file="/r/m.wav", channels=channels))
    told(RoomDeleted(room_id="hall"))
    for change in told.collector.take():
        (item,) = show_detail(change.call_id, change.document).leg.recordings
        assert (item.file, item.multi_channel_file, item.room_id) == ("/r/a.wav", "/r/m.wav", "hall")
        assert item.finished


def test_an_end_that_uploads_a_recording_tells_where_it_went() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="sip_inbound"))
    told(RecordingStarted(leg_id=LEG, file="/r/a.wav"))
    told(RecordingFinished(leg_id=LEG, file="s3://bucket/a.wav", error=None))
    (item,) = told.one().document["recordings"]
    assert item == {"file": "s3://bucket/a.wav", "finished": True}


def test_a_long_call_is_written_in_parts_of_which_only_the_last_is_written_again() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="sip_inbound"))
    for number in range(PART_ENTRIES + 9):
        told(DtmfReceived(leg_id=LEG, digit="5", seq=number))
    assert [number for number, _ in told.one().parts] == [1, 2]
    told(DtmfReceived(leg_id=LEG, digit="6", seq=99))
    change = told.one()
    assert [number for number, _ in change.parts] == [2]
    assert len(list(entries_of(data for _, data in change.parts))) == 11


def test_what_is_given_back_comes_again_whole() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="sip_inbound"))
    for number in range(2 * PART_ENTRIES):
        told(DtmfReceived(leg_id=LEG, digit="5", seq=number))
    first = told.one()
    for number in range(PART_ENTRIES):
        told(DtmfReceived(leg_id=LEG, digit="6", seq=number))
    told.collector.give_back([first])
    again = told.one()
    assert [number for number, _ in again.parts] == [1, 2, 3, 4]
    assert len(list(entries_of(data for _, data in again.parts))) == 3 * PART_ENTRIES + 1
    assert again.texts is not None
    assert told.collector.take() == []


def test_too_many_unwritten_calls_cost_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 3)
    told = Told()
    ended_calls(told, 5)
    told.collector.shed()
    assert told.collector.lost == 2
    assert len(told.collector.take()) == 3


def test_calls_for_which_there_was_no_room_while_they_were_on_their_way_are_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 1)
    told = Told()
    first, *_ = ended_calls(told, 3)
    on_their_way = told.collector.take()
    told(DtmfReceived(leg_id=first, digit="6", seq=1))
    told.collector.shed()
    assert told.collector.lost == 1
    told.collector.give_back(on_their_way)
    assert told.collector.lost == 2
    assert len(told.collector.take()) == 1


def test_facts_that_no_event_tells_come_from_the_leg() -> None:
    told = Told()
    told.collector.tell(
        LegFacts(
            LEG,
            leg_type="websocket_in",
            metadata={"order": "1\x07\u2028", "": "x"},
            headers={"X-A": "1", "Cookie": "c"},
            join_timeout_s=12.5,
            max_duration_s=60,
            agent_id=str(uuid.UUID(int=3, version=4)),
            agent_name="Anna",
            auto_delete=True,
        ),
        1_800_000_000_000_000,
    )
    change = told.one()
    detail = show_detail(change.call_id, change.document)
    assert detail.metadata == {"X-A": "1", "order": "1 \u2028"}
    assert (detail.join_timeout, detail.max_duration) == ("12.500s", "60s")
    assert detail.agent.name == "Anna"
    assert detail.retention_policy == "auto_delete"
    assert detail.medium is not None
    assert detail.medium.server_web_socket is not None
    assert detail.sip_details is None


def _published(kind: str, second: int, **fields: Any) -> Published:
    """An event of a type that this server may not have yet."""
    given: dict[str, Any] = {name: (Any, value) for name, value in fields.items()}
    event = create_model("Later", __base__=LegEvent, **given)
    event.type = kind
    return Published(event(leg_id=LEG), "id", f"2026-11-29T08:00:{second:02d}Z", "edge-1")


def test_transcripts_and_agents_are_kept_as_soon_as_there_are_such_events() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="sip_inbound"))
    agent = str(uuid.UUID(int=3, version=4))
    for published in (
        _published("agent.connected", 2, conversation_id="c1", agent_id=agent),
        _published("stt.text", 3, text="he", is_final=False),
        _published("stt.text", 4, text="hello", is_final=True),
        _published("agent.agent_response", 5, text="good day"),
        _published("agent.disconnected", 9),
    ):
        told.collector.observe(published)
    change = told.one()
    assert change.texts == ("hello", "good day")
    (session,) = show_detail(change.call_id, change.document).leg.agents
    assert (session.agent_id, session.conversation_id, session.turns) == (agent, "c1", 1)
    assert session.ended is not None
    said = [(message.role, message.text) for message in messages_of(change)]
    assert said == [("MESSAGE_ROLE_USER", "hello"), ("MESSAGE_ROLE_AGENT", "good day")]


def _said_in(change: Change) -> list[tuple[str, str]]:
    return [(message.role.rpartition("_")[2], message.text) for message in messages_of(change)]


def test_an_agents_session_is_kept_with_what_was_heard_of_it() -> None:
    told = Told()
    agent = str(uuid.UUID(int=3, version=4))
    for event in (
        LegConnected(leg_id=LEG, leg_type="sip_inbound"),
        AgentConnected(leg_id=LEG, conversation_id="c1", provider="deepgram", agent_id=agent),
        AgentUserTranscript(leg_id=LEG, text="is it", is_final=False),
        AgentUserTranscript(leg_id=LEG, text="is it open?"),
        AgentResponse(leg_id=LEG, text="until", is_final=False),
        AgentResponse(leg_id=LEG, text="until eight tonight"),
        AgentInterrupted(leg_id=LEG, turn=1, played_ms=300),
        AgentResponseCorrected(leg_id=LEG, original="until eight tonight", text="until eight"),
        AgentLatency(leg_id=LEG, parts_ms={"llm": 412.5}),
        AgentDisconnected(leg_id=LEG, reason="stopped", conversation_id="c1", provider="deepgram"),
    ):
        told(event)
    change = told.one()
    assert change.texts == ("is it open?", "until eight")
    assert _said_in(change) == [("USER", "is it open?"), ("AGENT", "until eight")]
    detail = show_detail(change.call_id, change.document)
    (session,) = detail.leg.agents
    assert (session.provider, session.agent_id, session.turns) == ("deepgram", agent, 2)
    assert (session.reason, session.error) == ("stopped", None)
    assert detail.agent_id == agent
    kinds = [entry["type"] for entry in entries_of(data for _, data in change.parts)]
    assert "agent.latency" in kinds


def test_an_agent_that_was_never_connected_is_told_with_why() -> None:
    told = Told()
    told(LegConnected(leg_id=LEG, leg_type="sip_inbound"))
    told(AgentDisconnected(leg_id=LEG, reason="failed", error="wrong key", provider="vapi"))
    (session,) = show_detail(told.one().call_id, told.collector._calls[LEG].document).leg.agents
    assert (session.provider, session.error) == ("vapi", "wrong key")
    assert session.started == session.ended


def test_an_agent_of_a_room_is_told_to_all_who_are_there() -> None:
    told = Told()
    for leg_id in (LEG, MATE):
        told(LegConnected(leg_id=leg_id, leg_type="sip_inbound"))
        told(LegJoinedRoom(leg_id=leg_id, room_id="r"))
    told(AgentConnected(room_id="r", conversation_id="c1"))
    told(AgentResponse(room_id="r", text="welcome"))
    for change in told.collector.take():
        assert _said_in(change) == [("AGENT", "welcome")]
        assert change.texts == ("welcome",)


INVITE = (
    b"INVITE sip:bob:pw@192.0.2.1 SIP/2.0\r\nTo: <sip:bob@x>\r\n"
    b'Authorization: Digest username="a",\r\n response="0123"\r\nX-Auth-Token: abc\r\nCall-ID: 1\r\n\r\n'
    b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET\r\na=ice-pwd:SECRET\r\n"
    b"a= crypto:2 X inline:SECRET\r\n"
    b"k=clear:SECRET\r\na=ptime:20\r\n"
)


@pytest.mark.parametrize("detail", ["off", "headers", "full"])
def test_sip_messages_are_kept_without_secrets(detail: Literal["off", "headers", "full"]) -> None:
    told = Told(sip=detail)
    told.collector.sip_message(SipMessage("in", INVITE, 1_000))
    told.collector.sip_message(SipMessage("in", INVITE.replace(b"Call-ID: 1", b"Call-ID: 2"), 2_000))
    told.collector.tell(LegFacts(LEG, leg_type="sip_inbound", sip_dialog=("1", "b")), 1)
    told(LegRinging(leg_id=LEG, leg_type="sip_inbound"))
    entries = list(entries_of(data for _, data in told.one().parts))
    if detail == "off":
        assert len(entries) == 1
        return
    assert [entry["type"] for entry in entries] == ["sip.message", "leg.ringing"]
    assert entries[0]["timestamp"] == "1970-01-01T00:00:00.000001Z"
    text = entries[0]["text"]
    for secret in ("SECRET", "0123", "abc", ":pw@"):
        assert secret not in text
    assert ("a=ptime:20" in text) is (detail == "full")
    assert re.findall(r"^[\w-]+(?=:)", text.partition("\r\n\r\n")[0], re.M) == [
        "To",
        "Authorization",
        "X-Auth-Token",
        "Call-ID",
    ]


def test_a_huge_sip_message_is_cut_and_too_many_are_left_out() -> None:
    told = Told()
    told.collector.tell(LegFacts(LEG, sip_dialog=("1", "a")), 1)
    huge = b"INFO sip:a SIP/2.0\r\ni: 1\r\nf: <sip:b>;tag=a\r\n\r\n" + b"x" * 100_000
    for _ in range(600):
        told.collector.sip_message(SipMessage("out", huge, 1))
    entries = list(entries_of(data for _, data in told.one().parts))
    assert len(entries) == 500
    assert entries[0]["cut"] is True
    assert len(entries[0]["text"]) == 8192


def test_an_event_type_has_one_handler() -> None:
    with pytest.raises(TypeError, match="has a handler"):
        module.on("leg.ringing")(lambda call, event, at_us: None)
    assert "stt.text" in HANDLERS


def test_a_leg_with_an_id_of_its_own_has_the_same_call_always() -> None:
    assert call_id_of("my-leg") == call_id_of("my-leg") != call_id_of("my-leg2")
    assert call_id_of(LEG) == uuid.UUID(LEG)


def test_entries_are_one_line_each_whatever_they_hold() -> None:
    told = Told()
    told(LegRinging(leg_id=LEG, leg_type="sip_inbound", from_='a\n"b\u2028'))
    (_, data), *_ = told.one().parts
    assert json.loads(data)["from"] == 'a\n"b\u2028'
