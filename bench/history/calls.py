"""A million calls that look like those of a busy server, made fast."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from vb.events.base import Published
from vb.events.bus import EventBus
from vb.events.leg import (
    Cdr,
    LegConnected,
    LegDisconnected,
    LegJoinedRoom,
    LegLeftRoom,
    LegRinging,
    QualityInfo,
)
from vb.events.media import RecordingFinished, RecordingStarted
from vb.history.collector import Collector
from vb.history.labels import agent_label, metadata_label, voice_label
from vb.history.record import call_key
from vb.history.sip_trace import SipMessage, dialog_of
from vb.history.words import words_of
from vb.history.writer import CallWrite, prepare
from vb.ids import SystemIds
from vb.legs.facts import LegFacts

END_US: Final = 1_796_000_000_000_000
SPAN_US: Final = 180 * 86_400_000_000
MODELS: Final = 400
"""Different calls that are packed; the others have their bytes, and keys, labels and words of their own."""
AGENTS: Final = tuple(str(uuid.UUID(int=number, version=4)) for number in range(1, 51))
VOICES: Final = tuple(str(uuid.UUID(int=number, version=4)) for number in range(101, 111))
TEAMS: Final = tuple(f"team-{number}" for number in range(20))
SYLLABLES: Final = ("ba", "de", "ki", "lo", "mu", "na", "po", "ra", "si", "tu")


@dataclass(frozen=True, slots=True)
class Known:
    """What the questions of the benchmark ask for.

    Attributes:
        order: metadata that one call has.
        number: of one caller.
        word: that every summary has.
        rare: that few summaries have.
        common: that many summaries have.
        many: as many words as a search may have, all of them common.
    """

    order: str = "order-123456"
    number: str = "4930000012345"
    word: str = "caller"
    rare: str = "bababa"
    common: tuple[str, str, str] = ("bababa", "babade", "debaba")
    many: str = "caller x team env prod order bababa babade debaba badeba 493 4930 49300 498 4989 49891"


_SDP: Final = (
    "v=0\r\no=- {a} {a} IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
    "m=audio {p} RTP/AVP 0 8 9 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:9 G722/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
)


def _sip(dice: random.Random, caller: str, called: str) -> Iterator[tuple[bool, bytes]]:
    """Give the messages of a call, incoming or not."""
    call_id, tag, other = (f"{dice.getrandbits(64):016x}" for _ in range(3))
    common = (
        "Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK{b};rport=5060\r\n"
        f"From: <sip:{caller}@198.51.100.7>;tag={tag}\r\nTo: <sip:{called}@203.0.113.9>{{to}}\r\n"
        f"Call-ID: {call_id}@198.51.100.7\r\nCSeq: {{n}} {{m}}\r\n"
    )

    def message(first: str, number: int, method: str, body: str = "", *, answered: bool = True) -> bytes:
        head = common.format(
            b=f"{dice.getrandbits(48):012x}", to=f";tag={other}" if answered else "", n=number, m=method
        )
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"{first}\r\n{head}Max-Forwards: 70\r\nContact: <sip:{caller}@198.51.100.7:5060>\r\n"
            f"User-Agent: phone/1.0\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def sdp() -> str:
        return _SDP.format(a=dice.getrandbits(31), p=dice.randrange(10_000, 60_000))

    target = f"sip:{called}@203.0.113.9 SIP/2.0"
    yield True, message(f"INVITE {target}", 1, "INVITE", sdp(), answered=False)
    yield False, message("SIP/2.0 100 Trying", 1, "INVITE", answered=False)
    yield False, message("SIP/2.0 180 Ringing", 1, "INVITE")
    yield False, message("SIP/2.0 200 OK", 1, "INVITE", sdp())
    yield True, message(f"ACK {target}", 1, "ACK")
    yield True, message(f"BYE {target}", 2, "BYE")
    yield False, message("SIP/2.0 200 OK", 2, "BYE")


def _model(dice: random.Random) -> CallWrite:
    """A whole call, from its events, with its SIP messages, as the server would keep it."""
    now_ns = [END_US * 1000]
    bus = EventBus("edge-1", SystemIds(), lambda: now_ns[0])
    collector = Collector("edge-1", headers=("X-*",))

    def take_note(published: Published) -> None:
        collector.observe(published)

    bus.subscribe(take_note)
    leg_id, app_id = str(uuid.uuid4()), "shop"
    caller, called = f"+4930{dice.randrange(10**9):09d}", f"+4989{dice.randrange(10**7):07d}"
    headers = {"X-Team": dice.choice(TEAMS), "X-Order": f"order-{dice.randrange(10**6)}", "X-Env": "prod"}
    bus.publish(
        LegRinging(
            leg_id=leg_id, leg_type="sip_inbound", from_=caller, to=called, sip_headers=headers, app_id=app_id
        )
    )
    agent = dice.choice(AGENTS)
    facts = LegFacts(leg_id, agent_id=agent, agent_name="Help", voice_id=dice.choice(VOICES))
    collector.tell(replace(facts, client_version="phone/1.0"), END_US)
    messages = list(_sip(dice, caller, called))
    dialog = dialog_of("in", messages[-1][1]) or dialog_of("out", messages[-1][1])
    assert dialog is not None
    call_id, tag = (part.decode() for part in dialog)
    collector.tell(LegFacts(leg_id, leg_type="sip_inbound", sip_dialog=(call_id, tag)), END_US)

    def send(count: int) -> None:
        for incoming, data in messages[:count]:
            now_ns[0] += dice.randrange(10**6, 10**8)
            collector.sip_message(SipMessage("in" if incoming else "out", data, now_ns[0]))
        del messages[:count]

    send(5)
    for event in (
        LegConnected(leg_id=leg_id, leg_type="sip_inbound", app_id=app_id),
        LegJoinedRoom(leg_id=leg_id, room_id=str(uuid.uuid4()), app_id=app_id),
        RecordingStarted(leg_id=leg_id, file=f"/var/lib/vb/recordings/{uuid.uuid4()}.wav", app_id=app_id),
    ):
        now_ns[0] += dice.randrange(10**6, 10**10)
        last = bus.publish(event)
    send(2)
    room, file = str(uuid.uuid4()), f"/var/lib/vb/recordings/{uuid.uuid4()}.wav"
    cdr = Cdr(reason="remote_bye", duration_total=61.2, duration_answered=55.11)
    quality = QualityInfo(mos_score=4.31, rtp_packets_received=2755, rtp_packets_lost=3, rtp_jitter_ms=1.27)
    for late in (
        LegLeftRoom(leg_id=leg_id, room_id=room, app_id=app_id),
        RecordingFinished(leg_id=leg_id, file=file, app_id=app_id),
        LegDisconnected(leg_id=leg_id, cdr=cdr, quality=quality, app_id=app_id),
    ):
        now_ns[0] += dice.randrange(10**6, 10**10)
        last = bus.publish(late)
    assert last.leg_id == leg_id
    return prepare(collector.take()[0])


def make_calls(count: int, *, seed: int = 1) -> Iterator[CallWrite]:
    """Give calls in the order of their creation, over half a year."""
    dice = random.Random(seed)
    models = [_model(dice) for _ in range(MODELS)]
    callers = [set(words_of((f"+4930{number:09d}", "+49891234567"), ()).split()) for number in range(20_000)]
    step_us = SPAN_US // count
    for number in range(count):
        model = models[number % MODELS]
        created_us = END_US - SPAN_US + number * step_us + dice.randrange(step_us)
        call_id = uuid.UUID(int=dice.getrandbits(128), version=4)
        length_us = int(dice.lognormvariate(4, 1) * 1_000_000)
        answered = dice.random() < 0.8
        joined_us = created_us + 3_000_000 if answered else 0
        team, order = TEAMS[int(dice.random() ** 2 * 20)], f"order-{number}"
        agent, voice = AGENTS[int(dice.random() ** 2 * 50)], VOICES[number % 10]
        summary = "caller " + " ".join(
            "".join(SYLLABLES[int(dice.random() ** 1.5 * 10)] for _ in range(3)) for _ in range(12)
        )
        words = callers[number % len(callers)].union(
            summary.split(), ("x", "team", "env", "prod", "order", str(number), team.removeprefix("team-"))
        )
        yield CallWrite(
            key=call_key(call_id, created_us),
            call_id=call_id,
            version=2,
            joined_us=joined_us,
            ended_us=created_us + 3_000_000 + (length_us if answered else 0),
            duration_us=length_us if answered else 0,
            auto_delete=False,
            labels=tuple(
                sorted(
                    (
                        agent_label(agent),
                        voice_label(voice),
                        metadata_label("X-Team", team),
                        metadata_label("X-Order", order),
                        metadata_label("X-Env", "prod"),
                    )
                )
            ),
            parts=model.parts,
            words=" ".join(sorted(words)),
            files=(f"/var/lib/vb/recordings/{number}.wav",),
        )
