"""Programs that come in: from a request to upgrade to a leg that is connected at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from vb.errors import Unavailable
from vb.events.leg import LegRinging
from vb.log import StrangersLog
from vb.mixer.columns import PlaneFull
from vb.web.hooks import make_hook
from vb.web.message import TRY_AGAIN
from vb.wsleg.asked import check_asked_leg
from vb.wsleg.leg import AudioOptions, WebSocketLeg
from vb.wsleg.request import LegRequest, UpgradeRequest, kept_headers, read_leg_request
from vb.wsleg.socket import MediaSocket
from vb.wsleg.wire import connected_message

if TYPE_CHECKING:
    from vb.wsleg.kind import WebSocketLegs

strangers = StrangersLog(__name__)


class InboundLeg(WebSocketLeg):
    """A leg whose WebSocket the far end has opened."""

    async def run(self) -> None:
        """Serve the WebSocket to its end."""
        await self.connected.wait()  # what comes before waits in the WebSocket
        if self._socket is not None:
            await self.converse(self._socket)

    def answer_at_once(self, socket: MediaSocket) -> None:
        """Connect, and tell the far end who it is."""
        self.connect(socket)
        self._say(connected_message(self.id, self.audio.rate_hz, leg_id=self.id))


def check_leg(kind: WebSocketLegs, request: UpgradeRequest, *, admit: bool) -> LegRequest:
    """Refuse a request for a leg that cannot be one.

    Args:
        kind: the kind.
        request: it.
        admit: whether it is about to become one, so that there must be room for it.

    Raises:
        VbError: something in it cannot be used, or there is no room.
    """
    wanted = read_leg_request(request.query)
    check_asked_leg(kind.engine, wanted, admit=admit)
    return wanted


async def serve_leg(kind: WebSocketLegs, request: UpgradeRequest, socket: MediaSocket) -> None:
    """Make an open WebSocket a leg, and return when it has ended.

    Cancellation: the leg ends by itself once its WebSocket has.
    """
    legs, ended = kind.engine.legs, trio.Event()

    async def run() -> None:
        try:
            await _run(kind, request, socket)
        finally:
            ended.set()

    try:
        legs.check_place()  # once more: several requests of one burst were let in together
    except Unavailable as exc:
        strangers.warning("websocket refused", problem=exc.message)
        socket.close(TRY_AGAIN)
        await socket.wait_closed()
        return
    legs.start(run, name="websocket leg")
    await ended.wait()


async def _run(kind: WebSocketLegs, request: UpgradeRequest, socket: MediaSocket) -> None:
    engine = kind.engine
    wanted = read_leg_request(request.query)
    hook = make_hook(engine.web.policy, wanted.webhook_url, wanted.webhook_secret)
    leg = InboundLeg(
        engine.legs,
        engine.plane,
        kind.outbox,
        AudioOptions(wanted.rate_hz, wanted.wire_format, wanted.text, kind.lead_ms),
        kind.losses,
        leg_id=engine.ids.uuid(),
        leg_type="websocket_in",
        app_id=wanted.app_id or None,
        now=trio.current_time(),
        speech_detection=engine.config.speech.detection,
        on_connected=lambda leg: engine.rooms.join_asked(leg, wanted.room_id),
    )
    leg.headers = kept_headers(request.headers, authorization=not engine.config.http.api_tokens)
    if hook is not None:
        engine.hooks.set_leg(leg.id, hook)

    def announce() -> None:
        engine.legs.admit(leg)
        engine.rooms.prepare(wanted.room_id, leg.app_id)
        leg.publish(
            LegRinging(
                leg_id=leg.id, app_id=leg.app_id, leg_type=leg.type, sip_headers=dict(leg.headers) or None
            )
        )
        leg.answer_at_once(socket)

    try:
        await leg.serve(announce)
    except* PlaneFull as group:
        strangers.warning("websocket refused", problem=str(group.exceptions[0]))
        socket.close(TRY_AGAIN)
        await socket.wait_closed()
