"""Programs that we call: from a request to a leg that rings until its WebSocket is open."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog
import trio

from vb.errors import InvalidField, VbError
from vb.events.hooks import Hook
from vb.events.leg import LegRinging
from vb.ids import check_id
from vb.legs.requests import SIP_FIELDS, CreateLeg
from vb.limits.allowance import Ticket
from vb.web.errors import CannotConnect, HandshakeFailed, UrlRefused, WebError
from vb.web.hooks import make_hook
from vb.web.policy import WEBSOCKET, UrlTarget
from vb.web.tasks.websocket import WebSocket, connect_websocket
from vb.web.websocket import Opening
from vb.wsleg.client import PACE, ClientSocket
from vb.wsleg.leg import AudioOptions, WebSocketLeg
from vb.wsleg.request import shown_headers

if TYPE_CHECKING:
    from vb.wsleg.kind import WebSocketLegs

log = structlog.get_logger(__name__)

OPEN_TIMEOUT_S: Final = 30.0
"""How long a far end may take to open the WebSocket where no ring_timeout says otherwise."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4096}")
_OURS: Final = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding"})
_OURS_PREFIX: Final = "sec-websocket-"
_MAX_HEADERS: Final = 64
_STATUS_REASONS: Final = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    407: "unauthorized",
    503: "service_unavailable",
}


async def create_websocket_leg(kind: WebSocketLegs, request: CreateLeg) -> WebSocketLeg:
    """Start to call a program and return the ringing leg.

    Raises:
        BadRequest: something in the request cannot be used.
        TooManyRequests: the application has used up its calls.
        Unavailable: there is no room for another leg.
    """
    engine = kind.engine
    request.refuse(SIP_FIELDS, "SIP")
    if not request.url:
        raise InvalidField("url", "is required for a WebSocket leg")
    try:
        target = engine.web.policy.check(request.url, schemes=WEBSOCKET)
    except UrlRefused as exc:
        raise InvalidField("url", str(exc)) from None
    check_headers(request.headers or {})
    if request.room_id:
        check_id(request.room_id, "room_id")
    hook = make_hook(engine.web.policy, request.webhook_url, request.webhook_secret)
    engine.legs.check_capacity()
    ticket = engine.legs.allowance.open(request.app_id or None, trio.current_time(), time.time())
    call = _Call(kind, request, target, hook, ticket)
    leg: WebSocketLeg = await engine.legs.start_ready(call.run, name=f"websocket to {target.host}")
    return leg


def check_headers(headers: Mapping[str, str]) -> None:
    """Refuse headers that cannot go out with the request for a WebSocket.

    Raises:
        InvalidField: one has no valid name or value, or is one that the handshake sets itself.
    """
    if len(headers) > _MAX_HEADERS:
        raise InvalidField("headers", f"has more than {_MAX_HEADERS} entries")
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InvalidField("headers", "has a name that is none of a header")
        if name.lower() in _OURS or name.lower().startswith(_OURS_PREFIX):
            raise InvalidField("headers", f"may not set {name}")
        if not _VALUE.fullmatch(value):
            raise InvalidField("headers", f"the value of {name} cannot be sent")


def dial_reason(error: WebError) -> str:
    """Return why a leg ended whose WebSocket could not be opened."""
    if isinstance(error, UrlRefused):
        return "forbidden"
    if isinstance(error, CannotConnect):
        return "service_unavailable"
    status = error.status if isinstance(error, HandshakeFailed) else None
    return _STATUS_REASONS.get(status or 0, "ws_dial_failed")


class OutboundLeg(WebSocketLeg):
    """A leg whose WebSocket we open."""

    call: _Call
    _dialling: trio.CancelScope | None = None

    async def run(self) -> None:
        """Open the WebSocket, and serve it to its end."""
        async with trio.open_nursery() as nursery:
            websocket = await self._dial(nursery)
            if websocket is not None:
                await self._talk(ClientSocket(websocket))

    async def _dial(self, nursery: trio.Nursery) -> WebSocket | None:
        """Open the WebSocket; None, and the leg has ended, when that fails or is given up."""
        call = self.call
        ring_timeout_s = float(call.request.ring_timeout)
        opening = Opening(call.target, headers=call.request.headers or {})
        pace = replace(PACE, open_s=ring_timeout_s or OPEN_TIMEOUT_S)
        begun = trio.current_time()
        websocket: WebSocket | None = None
        try:
            with trio.CancelScope() as self._dialling:
                websocket = await connect_websocket(nursery, call.kind.engine.web, opening, pace=pace)
        except WebError as exc:
            log.info("websocket not opened", leg_id=self.id, problem=str(exc))
            late = ring_timeout_s and trio.current_time() - begun >= ring_timeout_s
            self.hangup("ring_timeout" if late else dial_reason(exc))
        return websocket

    async def _talk(self, socket: ClientSocket) -> None:
        try:
            if not self.ended:
                self.connect(socket)
                await self.converse(socket)
        finally:
            with trio.move_on_after(2 * PACE.close_s, shield=True):
                await socket.wait_closed()

    def hang_up(self, reason: str) -> None:
        """Give the call up, or say goodbye to the far end."""
        if self._dialling is not None and self._socket is None:
            self._dialling.cancel()
        super().hang_up(reason)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way."""

    kind: WebSocketLegs
    request: CreateLeg
    target: UrlTarget
    hook: Hook | None
    ticket: Ticket

    async def run(self, *, task_status: trio.TaskStatus[WebSocketLeg] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the leg to its end; reports it once clients may see it."""
        engine, request = self.kind.engine, self.request
        wanted = request.speech_detection
        leg = OutboundLeg(
            engine.legs,
            engine.plane,
            self.kind.outbox,
            AudioOptions(request.sample_rate, request.wire_format, request.rtt, self.kind.lead_ms),
            self.kind.losses,
            leg_id=engine.ids.uuid(),
            leg_type="websocket_out",
            app_id=request.app_id or None,
            now=trio.current_time(),
            speech_detection=engine.config.speech.detection if wanted is None else wanted,
            max_duration_s=float(request.max_duration),
            on_connected=self._connected,
        )
        leg.call = self
        leg.accept_dtmf = request.accept_dtmf
        leg.headers = shown_headers(request.headers or {})
        if self.hook is not None:
            engine.hooks.set_leg(leg.id, self.hook)

        def announce() -> None:
            engine.legs.admit(leg)
            if request.room_id and request.room_id not in engine.rooms:
                with suppress(VbError):  # it is being deleted; the join says so
                    engine.rooms.open(request.room_id, app_id=leg.app_id)
            leg.publish(
                LegRinging(
                    leg_id=leg.id,
                    app_id=leg.app_id,
                    leg_type=leg.type,
                    uri=self.target.url,
                    from_=request.from_ or None,
                    sip_headers=dict(leg.headers) or None,
                )
            )
            task_status.started(leg)

        try:
            await leg.serve(announce)
        finally:
            self.ticket.close(trio.current_time(), time.time())

    def _connected(self, leg: WebSocketLeg) -> None:
        self.ticket.answered(trio.current_time(), time.time())
        self.kind.engine.rooms.join_asked(leg, self.request.room_id)
