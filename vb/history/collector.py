"""From events to call records: who sees every event here, and hands on what is to be written.

What an event means for its call stands in a table by event type; an event that has no row there is still
listed. Nothing waits and nothing is written here: `observe` takes note, `take` gives what has changed. What
cannot be written is given back and told again later, so a database that is away costs one changed state a
call and not a queue of messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from uuid import UUID

from vb.events.base import Event, Published
from vb.events.bus import rfc3339
from vb.events.leg import Cdr
from vb.events.media import RecordingFinished
from vb.history.change import Change
from vb.history.record import MAX_STAYS, CallRecord
from vb.history.rooms import Rooms
from vb.history.sip_text import SipDetail, is_secret, kept_text
from vb.history.sip_trace import SipMessage, SipTrace
from vb.history.times import SECOND_US, event_time_us
from vb.legs.facts import LegFacts
from vb.legs.link import Link
from vb.storage.address import StoredObject

LINGER_US: Final = 10_000_000
"""How long an ended call still takes what comes late."""
MAX_HELD: Final = 100_000
"""Calls that have ended and are not written yet."""
MAX_HELD_BYTES: Final = 256 * 1_048_576
QUALITY_EVERY_US: Final = 60_000_000
"""What a server that is killed loses at most of how a call sounded."""
MAX_UPLOADS: Final = 10_000
"""Names of files that move into buckets."""
MAX_METADATA: Final = 64
MAX_KEY_CHARS: Final = 256
MAX_VALUE_CHARS: Final = 1_024

_SOFTWARE: Final = re.compile(r"\n(?:User-Agent|Server)[ \t]*:([^\r\n]+)", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Handler = Callable[[CallRecord, Any, int], None]
HANDLERS: Final[dict[str, Handler]] = {}
"""What an event means for its call, by event type: gets the call, the event and its time in µs."""

BEGINNINGS: Final = frozenset({"leg.ringing", "leg.early_media", "leg.connected"})
"""Events that may be the first of a leg."""
URGENT: Final = frozenset({*BEGINNINGS, "leg.disconnected"})
OWN: Final = "call.recorded"
"""Tells that a call lies in the database: to keep it there too would never end."""


def on(*types: str) -> Callable[[Handler], Handler]:
    """Enter a function in the table of handlers.

    Raises:
        TypeError: there is one already.
    """

    def register(handler: Handler) -> Handler:
        for kind in types:
            if kind in HANDLERS:
                raise TypeError(f"{kind} has a handler")
            HANDLERS[kind] = handler
        return handler

    return register


class Collector:
    """The calls of one server process.

    Args:
        instance_id: of the server.
        headers: patterns of the headers that become metadata, such as `X-*`.
        sip: what is kept of SIP messages.

    Attributes:
        lost: calls that could not be written for so long that they were given up.
        on_waiting: told when there is something to be written after there was nothing. It must not wait.
    """

    def __init__(
        self, instance_id: str, *, headers: Iterable[str] = ("X-*",), sip: SipDetail = "full"
    ) -> None:
        self.lost = 0
        self.on_waiting: Callable[[], None] = _nothing
        self._instance_id = instance_id
        self._patterns = tuple(pattern.lower() for pattern in headers)
        self._sip: SipDetail = sip
        self._calls: dict[str, CallRecord] = {}
        self._ended: dict[str, CallRecord] = {}
        self._awaited: dict[str, CallRecord] = {}
        """Those of the ended ones that are written and on a recording which goes on."""
        self._rooms = Rooms(self._is_free)
        self._dirty: dict[str, CallRecord] = {}
        self._given_up: set[UUID] = set()
        """Counted as lost while some of them may be on their way."""
        self._trace = SipTrace()
        self._uploads: dict[str, StoredObject] = {}

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def waiting(self) -> int:
        """Calls of which something is to be written."""
        return len(self._dirty)

    # -- what comes in -------------------------------------------------------------------------------------

    def observe(self, published: Published) -> bool:
        """Take note of an event; returns whether it should be written soon."""
        at_us = event_time_us(published.timestamp)
        event, kind = published.event, published.event.type
        leg_id = published.leg_id
        if kind == OWN:
            return False
        if leg_id is not None:
            call = self._find(leg_id)
            if call is None and kind in BEGINNINGS:
                call = self._begin(leg_id, at_us)
            if call is None:
                return False
            self._note(call, event, published.body, at_us)
            self._follow(call, kind, published.room_id, at_us)
            return kind in URGENT
        if published.room_id is not None:
            for member in self._rooms.concerned(published.room_id, event):
                call = self._find(member)
                if call is not None:
                    self._note(call, event, published.body, at_us)
        return False

    def tell(self, facts: LegFacts, at_us: int) -> None:
        """Take note of what a leg knows of itself; a leg that is new has a call from now on."""
        call = self._find(facts.leg_id) or self._begin(facts.leg_id, at_us)
        document = call.document
        plain = {
            "leg_type": facts.leg_type,
            "from": facts.from_,
            "to": facts.to,
            "uri": facts.uri,
            "app_id": facts.app_id,
            "client_version": facts.client_version,
            "join_timeout_s": facts.join_timeout_s,
            "max_duration_s": facts.max_duration_s,
            "medium": dict(facts.medium) if facts.medium is not None else None,
            "agent_id": facts.agent_id,
            "agent_name": facts.agent_name,
            "voice_id": facts.voice_id,
        }
        document.update({name: value for name, value in plain.items() if value not in (None, "")})
        add_metadata(document, {**self._chosen(facts.headers), **facts.metadata})
        if facts.auto_delete:
            call.auto_delete = document["auto_delete"] = True
        call.names_changed()
        self._touch(call)
        if facts.sip_dialog is not None and self._sip != "off":
            inbound = facts.leg_type.endswith("_inbound")
            for message in self._trace.add(facts.leg_id, *facts.sip_dialog, inbound=inbound):
                self._keep_sip(facts.leg_id, message)

    def sample(self, leg_id: str, link: Link, at_us: int) -> None:
        """Take note of how a call sounds now."""
        call = self._calls.get(leg_id)
        if call is None or not call.quality.add((at_us - call.created_us) // 1_000, link):
            return
        # What else happens writes it too: nothing is written for this alone but once in a while.
        if at_us >= call.quality_told_us + QUALITY_EVERY_US:
            call.quality_told_us = at_us
            self._touch(call)

    def uploading(self, path: str, stored: StoredObject) -> None:
        """Take note of where a recording goes before it is finished; its event tells only the address."""
        for name in (path, stored.url):
            self._uploads[name] = stored
        while len(self._uploads) > MAX_UPLOADS:
            del self._uploads[next(iter(self._uploads))]

    def sip_message(self, message: SipMessage) -> None:
        """Take note of a SIP message; one of a leg that is not there yet waits for it, for a while."""
        if self._sip != "off":
            leg_id = self._trace.leg_of(message)
            if leg_id is not None:
                self._keep_sip(leg_id, message)

    def _keep_sip(self, leg_id: str, message: SipMessage) -> None:
        call = self._find(leg_id)
        if call is None or not call.takes_sip:
            return
        text, cut = kept_text(message.data, self._sip)
        call.append_sip(rfc3339(message.at_ns), message.direction, text, cut=cut)
        if message.direction == "in" and "client_version" not in call.document:
            found = _SOFTWARE.search(text)
            if found is not None:
                call.document["client_version"] = _printable(found[1].strip())[:MAX_VALUE_CHARS]
        self._touch(call)

    # -- what goes out -------------------------------------------------------------------------------------

    def take(self, limit: int = 1_000) -> list[Change]:
        """Return what has changed and is to be written, at most of `limit` calls, the oldest first."""
        chosen = list(self._dirty.values())[:limit]
        for call in chosen:
            del self._dirty[call.leg_id]
        return [call.take() for call in chosen]

    def give_back(self, changes: Iterable[Change]) -> None:
        """Take back what could not be written; it comes again with the next `take`."""
        held = (*self._calls.values(), *self._ended.values(), *self._awaited.values())
        by_id = {call.call_id: call for call in held}
        for change in reversed(list(changes)):  # of several of one call the newest has the last word
            call = by_id.get(change.call_id)
            if call is None:  # there was no room for it meanwhile
                self._lose(change.call_id)
                continue
            call.give_back(change)
            self._let_wait(call)

    def tell_all(self) -> None:
        """Let all calls that go on be written again, for a database that took them for lost."""
        for call in self._calls.values():
            call.names_changed()
            self._touch(call)

    def forget(self, now_us: int) -> None:
        """Let go of calls that ended a while ago and are written; none of any is on its way then.

        Those wait that are on a recording which goes on in the room that they have left.
        """
        self._given_up.clear()
        for leg_id, call in list(self._ended.items()):
            if abs(now_us - call.ended_us) < LINGER_US:  # beyond lies what ended before the clock was set
                break
            if not call.dirty and self._rooms.awaits(leg_id):
                self._awaited[leg_id] = self._ended.pop(leg_id)  # not looked at again until it ends
            elif not call.dirty:
                self._let_go(leg_id)

    def shed(self) -> None:
        """Give up the oldest ended calls when more wait to be written than there is room for."""
        ended = {**self._awaited, **self._ended}
        count, held = len(ended), sum(call.held_bytes for call in ended.values())
        for leg_id in ended:
            if count <= MAX_HELD and held <= MAX_HELD_BYTES:
                break
            count -= 1
            call = self._let_go(leg_id)
            held -= call.held_bytes
            if self._dirty.pop(leg_id, None) is not None:
                self._lose(call.call_id)

    def _lose(self, call_id: UUID) -> None:
        """Count a call that is lost, once though several states of it are."""
        self.lost += call_id not in self._given_up
        self._given_up.add(call_id)

    def _let_go(self, leg_id: str) -> CallRecord:
        self._trace.forget(leg_id)
        return (self._ended if leg_id in self._ended else self._awaited).pop(leg_id)

    def _is_free(self, leg_id: str) -> None:
        """Take note that no recording awaits a leg any more."""
        if leg_id in self._awaited:
            self._ended[leg_id] = self._awaited.pop(leg_id)

    # -- inside --------------------------------------------------------------------------------------------

    def _find(self, leg_id: str) -> CallRecord | None:
        return self._calls.get(leg_id) or self._ended.get(leg_id) or self._awaited.get(leg_id)

    def _begin(self, leg_id: str, at_us: int) -> CallRecord:
        document = {"leg_id": leg_id, "instance_id": self._instance_id, "created_us": at_us}
        call = self._calls[leg_id] = CallRecord(leg_id, at_us, document)
        self._let_wait(call)
        return call

    def _touch(self, call: CallRecord) -> None:
        call.dirty = True
        self._let_wait(call)

    def _let_wait(self, call: CallRecord) -> None:
        if not self._dirty:
            self.on_waiting()
        self._dirty[call.leg_id] = call

    def _note(self, call: CallRecord, event: Event, body: bytes, at_us: int) -> None:
        call.append(body)
        if event.app_id and getattr(event, "leg_id", None):  # a room's is its own
            call.document["app_id"] = event.app_id
        handler = HANDLERS.get(event.type)
        if handler is not None:
            handler(call, event, at_us)
        if isinstance(event, RecordingFinished):
            self._place(call, event)
        headers = getattr(event, "sip_headers", None)
        if headers:
            add_metadata(call.document, self._chosen(headers))
            call.names_changed()
        self._touch(call)

    def _place(self, call: CallRecord, event: RecordingFinished) -> None:
        """Note in which bucket the files of a recording lie, or will."""
        stored = [
            self._uploads[file] for file in (event.file, event.multi_channel_file) if file in self._uploads
        ]
        for item in call.items("recordings") if stored else ():
            if item["file"] == event.file:
                item["objects"] = [each.text() for each in stored]

    def _follow(self, call: CallRecord, kind: str, room_id: str | None, at_us: int) -> None:
        """Keep the lists of who is in which room, and of who is still there."""
        leg_id = call.leg_id
        if kind == "leg.joined_room" and room_id is not None:
            for start in self._rooms.join(leg_id, room_id):
                HANDLERS[start.type](call, start, at_us)
        elif kind == "leg.left_room":
            self._rooms.leave(leg_id)
        elif kind == "leg.disconnected" and leg_id in self._calls:
            self._rooms.leave(leg_id)
            for stay in call.items("rooms"):
                stay.setdefault("left_us", at_us)
            self._ended[leg_id] = self._calls.pop(leg_id)

    def _chosen(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {
            name: value
            for name, value in headers.items()
            if not is_secret(name) and any(fnmatchcase(name.lower(), pattern) for pattern in self._patterns)
        }


def add_metadata(document: dict[str, Any], values: Mapping[str, str]) -> None:
    """Add to a call's metadata what has room there; control characters become spaces."""
    kept: dict[str, str] = dict(document.get("metadata", {}))
    for name, value in values.items():
        key = _printable(str(name))[:MAX_KEY_CHARS]
        if key and (key in kept or len(kept) < MAX_METADATA):
            kept[key] = _printable(str(value))[:MAX_VALUE_CHARS]
    if kept:
        document["metadata"] = kept


def _printable(text: str) -> str:
    return _CONTROL.sub(" ", text)


# -- what events mean --------------------------------------------------------------------------------------


@on("leg.ringing", "leg.early_media", "leg.connected")
def _known(call: CallRecord, event: Any, at_us: int) -> None:
    for name, attribute in (("leg_type", "leg_type"), ("from", "from_"), ("to", "to"), ("uri", "uri")):
        value = getattr(event, attribute, None)
        if value:
            call.document[name] = value
    if event.type == "leg.connected" and not call.joined_us:
        call.joined_us = call.document["joined_us"] = max(at_us, call.created_us)
    call.names_changed()


@on("leg.disconnected")
def _over(call: CallRecord, event: Any, at_us: int) -> None:
    if call.ended_us:
        return
    call.ended_us = call.document["ended_us"] = _end_of(call, event.cdr, at_us)
    call.document.update(
        reason=event.cdr.reason,
        duration_total=event.cdr.duration_total,
        duration_answered=event.cdr.duration_answered,
    )
    if event.quality is not None:
        call.document["quality"] = event.quality.model_dump(exclude_none=True)
    for agent in call.items("agents"):
        agent.setdefault("ended_us", at_us)


def _end_of(call: CallRecord, cdr: Cdr, told_us: int) -> int:
    """Return when a call ended: so long after its answer, or its beginning, as it lasted.

    It is told later, by as long as recordings and last words take, and by a clock that may have been set.
    """
    lasted_s = cdr.duration_answered if call.joined_us else cdr.duration_total
    began_us = call.joined_us or call.created_us
    return began_us + round(lasted_s * SECOND_US) if cdr.duration_total else max(began_us, told_us)


@on("leg.joined_room")
def _joined(call: CallRecord, event: Any, at_us: int) -> None:
    stays = call.items("rooms")
    for stay in stays:
        stay.setdefault("left_us", at_us)
    if len(stays) < MAX_STAYS:
        stays.append({"room_id": event.room_id, "joined_us": at_us})


@on("leg.left_room")
def _left(call: CallRecord, event: Any, at_us: int) -> None:
    for stay in call.items("rooms"):
        if stay["room_id"] == event.room_id:
            stay.setdefault("left_us", at_us)
    for agent in call.items("agents"):  # of the room, which it may go on to talk to
        if agent.get("room_id") == event.room_id:
            agent.setdefault("ended_us", at_us)


@on("recording.started")
def _recording(call: CallRecord, event: Any, at_us: int) -> None:
    recordings = call.items("recordings")
    if any(item["file"] == event.file and not item.get("finished") for item in recordings):
        return  # it has come back into the room
    if len(recordings) < MAX_STAYS:
        recordings.append({"file": event.file, **({"room_id": event.room_id} if event.room_id else {})})


@on("recording.finished")
def _recorded(call: CallRecord, event: Any, at_us: int) -> None:
    recordings = call.items("recordings")
    running = [
        item
        for item in recordings
        if not item.get("finished") and item.get("room_id") == (event.room_id or None)
    ]
    found = running[-1] if running else {}
    found.update(file=event.file, finished=True)
    for name, value in (
        ("room_id", event.room_id),
        ("multi_channel_file", event.multi_channel_file),
        ("error", event.error),
    ):
        if value:
            found[name] = value
    if not running and len(recordings) < MAX_STAYS:
        recordings.append(found)


@on("agent.connected")
def _agent(call: CallRecord, event: Any, at_us: int) -> None:
    agents = call.items("agents")
    session = {"started_us": at_us}
    for name in ("agent_id", "name", "provider", "conversation_id", "room_id"):
        value = getattr(event, name, None)
        if value:
            session[name] = value
    if session.get("agent_id"):
        call.document.setdefault("agent_id", session["agent_id"])
    if len(agents) < MAX_STAYS:
        agents.append(session)


@on("agent.disconnected")
def _agent_over(call: CallRecord, event: Any, at_us: int) -> None:
    agents = call.items("agents")
    room_id, talk = getattr(event, "room_id", None), getattr(event, "conversation_id", None)
    known = [agent for agent in agents if agent.get("room_id") == room_id]
    running = [agent for agent in known if "ended_us" not in agent]
    if not running and talk:  # the leg left first, and then the agent
        running = [agent for agent in known if agent.get("conversation_id") == talk][-1:]
    if not running and len(agents) < MAX_STAYS:  # it was never connected
        running = [{"started_us": at_us}]
        agents += running
    for agent in running:
        agent.setdefault("ended_us", at_us)
        for name in ("provider", "conversation_id", "reason", "error"):
            value = getattr(event, name, None)
            if value:
                agent.setdefault(name, value)


@on("stt.text")
def _heard(call: CallRecord, event: Any, at_us: int) -> None:
    if getattr(event, "is_final", False):
        call.say(event.text)


@on("agent.user_transcript", "agent.agent_response")
def _said(call: CallRecord, event: Any, at_us: int) -> None:
    if not getattr(event, "is_final", True):
        return
    call.say(event.text)
    agents = call.items("agents")
    if agents:
        agents[-1]["turns"] = agents[-1].get("turns", 0) + 1


@on("agent.response_corrected")
def _corrected(call: CallRecord, event: Any, at_us: int) -> None:
    call.correct(event.original, event.text)


def _nothing() -> None:
    """Tell nobody."""
