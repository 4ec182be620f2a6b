"""What a scenario works with: the peers, and verbs that say and check one thing each."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import trio

from conformance.expect import (
    ABSENT,
    ANY,
    NUMBER,
    TEXT,
    TIME,
    UUID,
    Difference,
    Matcher,
    between,
    check,
    regex,
    require,
)
from conformance.peers.http import Body, HttpClient, Reply
from conformance.peers.media_server import MediaServer
from conformance.peers.prometheus import Samples, read_samples
from conformance.peers.rtp_peer import RtpPeer, open_rtp
from conformance.peers.sip_ua import SipUa, open_udp
from conformance.peers.text_peer import TextPeer, open_text
from conformance.peers.vsi import Frame, Vsi, open_vsi
from conformance.peers.webhook_sink import WebhookSink
from conformance.seen import Notes
from conformance.surface import operation
from conformance.targets import SECRET, Target, started
from conformance.twins import as_command

T = TypeVar("T")

ID_FIELDS = ("leg_id", "room_id", "playback_id", "tts_id", "bridge_id", "command")
CLOCK_TOLERANCE_S = 1.0
"""How far a duration may be from what a client measures between two events."""
ROUNDING_S = 0.1
"""A call whose events came this close together may have lasted no hundredth of a second for the server."""


async def _opened(nursery: trio.Nursery, context: AbstractAsyncContextManager[T]) -> T:
    """Enters a context in a task of ``nursery``, which leaves it when the nursery ends."""

    async def keep(*, task_status: trio.TaskStatus[T] = trio.TASK_STATUS_IGNORED) -> None:
        async with context as peer:
            task_status.started(peer)
            await trio.sleep_forever()

    peer: T = await nursery.start(keep)
    return peer


class World:
    """One scenario's surroundings; everything opened through it is closed at its end."""

    def __init__(
        self,
        target: Target,
        http: HttpClient,
        vsi: Vsi,
        ua: SipUa,
        sink: WebhookSink,
        media: MediaServer,
        nursery: trio.Nursery,
    ) -> None:
        self.target = target
        self.http = http
        self.vsi = vsi
        self.ua = ua
        self.sink = sink
        self.media = media
        self.name = secrets.token_hex(4)
        self._servers = 0
        self._checked_events: set[str] = set()
        self._succeeded: set[str] = set()
        self.notes = http.notes
        self.over_vsi = False
        self._nursery = nursery

    async def open(self, context: AbstractAsyncContextManager[T]) -> T:
        """Keeps a peer open until the scenario's end, in a task of its own."""
        return await _opened(self._nursery, context)

    @property
    def home(self) -> Path:
        """A folder for files of a server of one's own."""
        assert self.target.recording_dir is not None
        return self.target.recording_dir.parent

    def used(self) -> set[str]:
        """The operations and commands that succeeded here, and the events that were checked."""
        operations = {operation(method, path) for method, path in self.http.succeeded}
        silent = self.vsi.sent & {"pong", "stop"}
        return operations | self._succeeded | self._checked_events | silent | {"GET /v1/vsi"}

    def fields(self) -> set[str]:
        """The fields that were sent and read here, as `seen` notes them."""
        return self.notes | self.sink.notes

    def worked(self, operation: str) -> None:
        """Takes note of an operation that is no request with an answer, such as `GET /v1/legs/websocket`."""
        self._succeeded.add(operation)

    # -- more servers ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def boot(
        self, settings: Mapping[str, str], *, argv: list[str] | None = None
    ) -> AsyncIterator[Target]:
        """One more server, with settings of its own."""
        self._servers += 1
        home = self.home / f"more-{self.name}-{self._servers}"
        hook = {"WEBHOOK_URL": self.sink.url("/hook"), "WEBHOOK_SECRET": SECRET}
        async with started(home, {**hook, **settings}, argv=argv) as target:
            yield target

    @asynccontextmanager
    async def server(
        self, settings: Mapping[str, str], *, argv: list[str] | None = None
    ) -> AsyncIterator[World]:
        """One more server in the same surroundings; what works there counts here."""
        async with self.boot(settings, argv=argv) as target:
            async with self.beside(target) as other:
                other.over_vsi = self.over_vsi
                yield other
                self._succeeded |= other.used()
            require(target.faults() == 0, "server log", "no unhandled fault", target.log_problem())

    def beside(self, target: Target) -> AbstractAsyncContextManager[World]:
        """The same surroundings around another server."""
        return open_world(target, self.sink, self.media, self.notes)

    # -- more peers -----------------------------------------------------------------------------------

    async def rtp(self, who: str, host: str = "127.0.0.1") -> RtpPeer:
        """One more media address."""
        return await self.open(open_rtp(who, host))

    async def text(self, who: str) -> TextPeer:
        """An address for real-time text."""
        return await self.open(open_text(who))

    async def another_vsi(self, name: str, query: str = "") -> Vsi:
        """One more VSI client."""
        return await self.open(open_vsi(self.target.vsi_url + query, name, self.target.headers, self.notes))

    async def another_ua(self) -> SipUa:
        """One more SIP peer over UDP with an address of its own."""
        return await self.open(open_udp(self.target.sip_address()))

    # -- REST -----------------------------------------------------------------------------------------

    async def rest(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        status: int,
        expect: object = ANY,
    ) -> dict[str, object]:
        """Asks the server and checks status, envelope and the fields of the answer.

        Raises:
            Difference: at the first thing that differs.
        """
        name = f"{method} {path}"
        if self.over_vsi and (made := as_command(method, path, body)) is not None:
            return await self._by_command(name, *made, status=status, expect=expect)
        reply = await self.http.ask(method, path, body)
        if reply.status != status:
            raise Difference(f"{name}: status", status, f"{reply.status} {reply.body[:300]!r}")
        answer = self.json_of(reply)
        check(name, answer, expect)
        if status >= 400:
            check(name, answer, {"error": TEXT})
        return answer if isinstance(answer, dict) else {}

    async def _by_command(
        self, name: str, kind: str, payload: Frame, *, status: int, expect: object
    ) -> dict[str, object]:
        """The same by VSI."""
        frame = await self.vsi.command(kind, payload)
        if status >= 400:
            check(f"{name} by {kind}", frame, {"type": "error", "data": {"code": status, "message": TEXT}})
            told = {**frame, "error": frame["data"]["message"]} if isinstance(frame["data"], dict) else frame
            check(f"{name} by {kind}", told, expect)
            return {}
        check(f"{name} by {kind}", frame, {"type": f"{kind}.result"})
        data = frame.get("data")
        check(f"{name} by {kind}", data, expect)
        self._succeeded.add(kind)
        return data if isinstance(data, dict) else {}

    async def rest_list(self, path: str) -> list[object]:
        """Asks for a list and checks that it is a bare array."""
        answer = self.json_of(await self.http.ask("GET", path))
        if not isinstance(answer, list):
            raise Difference(f"GET {path}", "an array", answer)
        return answer

    async def metrics(self) -> Samples:
        """Reads ``/metrics`` and checks its type."""
        reply = await self.http.ask("GET", "/metrics")
        check("/metrics", reply.status, 200)
        check("/metrics: type", reply.header("content-type"), regex(r"text/plain; version=0\.0\.4.*"))
        return read_samples(reply.body.decode())

    @staticmethod
    def json_of(reply: Reply) -> object:
        """The JSON of a reply, its envelope checked: type, line end, instance_id first in objects."""
        content_type = (reply.header("content-type") or "").split(";")[0]
        check(f"{reply.request}: Content-Type", content_type, "application/json")
        require(
            reply.body.endswith(b"\n"), f"{reply.request}: body", "a line end at its end", reply.body[-20:]
        )
        answer = reply.json
        if isinstance(answer, dict):
            first = next(iter(answer), None)
            check(f"{reply.request}: first key", first, "instance_id")
            check(f"{reply.request}: instance_id", answer["instance_id"], TEXT)
        return answer

    async def leg_state(self, leg_id: str, **fields: object) -> dict[str, object]:
        """Checks what a leg shows over REST."""
        return await self.rest("GET", f"/v1/legs/{leg_id}", status=200, expect={"id": leg_id, **fields})

    async def leg_is_gone(self, leg_id: str) -> None:
        """Checks that a leg is not there any more."""
        await self.rest("GET", f"/v1/legs/{leg_id}", status=404, expect={"error": "leg not found"})

    async def no_legs(self) -> None:
        """Checks that the server lists no leg."""
        check("GET /v1/legs", await self.rest_list("/v1/legs"), [])

    # -- events ---------------------------------------------------------------------------------------

    async def event(
        self,
        kind: str,
        expect: Mapping[str, object] | None = None,
        /,
        *,
        within_s: float = 3.0,
        vsi: Vsi | None = None,
        **fields: object,
    ) -> Frame:
        """The next event of a type; ids among the fields choose it, all fields are checked.

        Raises:
            Difference: when none comes in time, or a field differs.
        """
        client = vsi or self.vsi
        pattern = {**(expect or {}), **fields}
        ids = {key: value for key, value in pattern.items() if key in ID_FIELDS and isinstance(value, str)}

        def wanted(frame: Frame) -> bool:
            return frame.get("type") == kind and all(frame.get(key) == value for key, value in ids.items())

        found = await client.frames.take(wanted, within_s)
        if found is None:
            seen = [json.dumps(f)[:160] for f in client.frames.unread()[-6:]]
            raise Difference(
                f"vsi {client.name}", f"{kind} {ids}", f"none within {within_s} s; unread {seen}"
            )
        found = self.notes.reading(kind, found)
        check(kind, found, {"timestamp": TIME, "instance_id": TEXT, "event_id": UUID})
        check(kind, found, pattern)
        self._checked_events.add(kind)
        return found

    async def no_event(self, kind: str, *, for_s: float = 0.3, vsi: Vsi | None = None, **ids: str) -> None:
        """Checks that an event does not come for a while.

        Raises:
            Difference: when it does.
        """
        client = vsi or self.vsi
        found = await client.frames.take(
            lambda f: f.get("type") == kind and all(f.get(k) == v for k, v in ids.items()), for_s
        )
        if found is not None:
            raise Difference(f"vsi {client.name}", f"no {kind} {ids}", found)

    async def disconnected(
        self,
        leg_id: str,
        reason: str,
        *,
        answered: bool = False,
        within_s: float = 3.0,
        quality: object = None,
    ) -> Frame:
        """The leg's end: reason, durations and, when told, the quality object.

        Raises:
            Difference: when it does not come or differs.
        """
        frame = await self.event("leg.disconnected", leg_id=leg_id, within_s=within_s, cdr={"reason": reason})
        seen = {f.get("type"): at for at, f in self.vsi.frames.log if f.get("leg_id") == leg_id}
        ended, ringing, connected = [
            seen.get(f"leg.{kind}") for kind in ("disconnected", "ringing", "connected")
        ]
        assert ended is not None
        check_durations(
            frame["cdr"],
            answered=answered,
            lasted_s=None if ringing is None else ended - ringing,
            talked_s=None if connected is None else ended - connected,
        )
        if quality is not None:
            check("leg.disconnected", frame, {"quality": quality})
        return frame

    def order(self, *expected: tuple[str, str], vsi: Vsi | None = None) -> None:
        """Checks that pairs of event type and id came in this order, others between them allowed.

        Raises:
            Difference: when one is missing or came out of order.
        """
        client = vsi or self.vsi
        seen = [
            (str(frame.get("type")), str(frame[key]))
            for frame in client.frames.items()
            for key in ID_FIELDS
            if key in frame
        ]
        position = 0
        for pair in expected:
            if pair not in seen[position:]:
                raise Difference("order of events", list(expected), [p for p in seen if p in expected])
            position = seen.index(pair, position) + 1

    def count(self, kind: str, **ids: str) -> int:
        """How many events of a type came so far."""
        return sum(
            frame.get("type") == kind and all(frame.get(k) == v for k, v in ids.items())
            for frame in self.vsi.frames.items()
        )

    async def command(self, kind: str, payload: Frame | None = None, expect: object = ANY) -> object:
        """Sends a VSI command and checks the data of its result.

        Raises:
            Difference: when it fails or differs.
        """
        frame = await self.vsi.command(kind, payload)
        check(kind, frame, {"type": f"{kind}.result"})
        check(f"{kind}.result", frame.get("data"), expect)
        self._succeeded.add(kind)
        return frame.get("data")

    async def command_fails(
        self, kind: str, payload: Frame | None, code: int, message: object = TEXT
    ) -> None:
        """Sends a VSI command and checks that it fails with a code.

        Raises:
            Difference: when it does not.
        """
        frame = await self.vsi.command(kind, payload)
        check(f"{kind} {payload}", frame, {"type": "error", "data": {"code": code, "message": message}})


def check_durations(
    cdr: object, *, answered: bool, lasted_s: float | None = None, talked_s: float | None = None
) -> None:
    """Checks the durations of a call detail record, also against those measured, where they were.

    Raises:
        Difference: when they cannot be right.
    """
    check("cdr", cdr, {"duration_total": NUMBER, "duration_answered": NUMBER})
    assert isinstance(cdr, dict)
    total, talk = cdr["duration_total"], cdr["duration_answered"]
    require(total > 0, "cdr.duration_total", "more than 0", total)
    require(0 <= talk <= total, "cdr.duration_answered", f"0..{total}", talk)
    require(answered or talk == 0, "cdr.duration_answered", 0, talk)
    for name, told, measured in (
        ("duration_total", total, lasted_s),
        ("duration_answered", talk, talked_s),
    ):
        if measured is None:
            continue
        require(told > 0 or measured < ROUNDING_S, f"cdr.{name}", "more than 0", told)
        check(f"cdr.{name}", told, between(measured - CLOCK_TOLERANCE_S, measured + CLOCK_TOLERANCE_S))


async def clean_up(http: HttpClient) -> None:
    """Removes every room and leg, so that the next scenario starts on an empty server."""
    for path in ("/v1/rooms", "/v1/legs"):
        reply = await http.ask("GET", path)
        for item in reply.json if isinstance(reply.json, list) else []:
            await http.ask("DELETE", f"{path}/{quote(str(item['id']), safe='')}")
    for _ in range(40):
        if (await http.ask("GET", "/v1/legs")).json == []:
            break
        await trio.sleep(0.05)


def leg_view(**fields: object) -> dict[str, object]:
    """The Leg object, with its booleans at rest and its optional keys absent unless given."""
    optional: dict[str, Matcher] = dict.fromkeys(("room_id", "role", "app_id"), ABSENT)
    return {"muted": False, "deaf": False, "held": False, "accept_dtmf": True, **optional, **fields}


@asynccontextmanager
async def open_world(
    target: Target, sink: WebhookSink, media: MediaServer, notes: Notes | None = None
) -> AsyncIterator[World]:
    """Fresh peers for one scenario.

    Raises:
        Difference: when the server does not let them in.
    """
    async with trio.open_nursery() as nursery:
        ua = await _opened(nursery, open_udp(target.sip_address()))
        notes = Notes() if notes is None else notes
        vsi = await _opened(nursery, open_vsi(target.vsi_url, "main", target.headers, notes))
        http = HttpClient(*target.http, target.headers, notes)
        yield World(target, http, vsi, ua, sink, media, nursery)
        nursery.cancel_scope.cancel()
