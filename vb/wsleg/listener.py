"""Programs that hear a room and speak in it without being a leg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import trio

from vb.log import StrangersLog
from vb.mixer.columns import PlaneFull
from vb.mixer.frames import Pcm
from vb.mixer.noise import comfort_noise
from vb.rooms.room import Room
from vb.slots import SlotsClosed
from vb.web.message import FAILED, GOING_AWAY, NORMAL, TRY_AGAIN
from vb.wsleg.audio_in import AudioIn
from vb.wsleg.audio_out import SharedFrames, SharedOut
from vb.wsleg.conversation import Conversation
from vb.wsleg.losses import Losses
from vb.wsleg.request import UpgradeRequest
from vb.wsleg.socket import MediaSocket
from vb.wsleg.wire import connected_message

if TYPE_CHECKING:
    from vb.wsleg.kind import WebSocketLegs

strangers = StrangersLog(__name__)

_ID_BYTES: Final = 4
_NOISE_SLOT: Final = np.zeros(1, np.int64)


class Audience:
    """Those who hear one room: they share what they hear alike.

    Args:
        room: the room.
        kind: where its mix is carried out.
    """

    def __init__(self, room: Room, kind: WebSocketLegs) -> None:
        self.room = room
        self.listeners = 0
        self._plane = kind.engine.plane
        self._noise_at = -1
        self._noise: Pcm = np.zeros(0, np.int16)
        wanted = kind.engine.config.rooms.comfort_noise
        self.frames = SharedFrames(self._comfort if wanted else None)

    @property
    def has_mix(self) -> bool:
        """Whether anybody else is in the room: alone, an audience hears nothing."""
        return self.room.mix.size > self.listeners

    def _comfort(self) -> Pcm:
        tick = self._plane.statistics.ticks
        if tick != self._noise_at:
            self._noise_at = tick
            self._noise = comfort_noise(_NOISE_SLOT, tick, self.room.sample_rate_hz)[0]
        return self._noise


def check_listener(kind: WebSocketLegs, request: UpgradeRequest, *, admit: bool) -> Room:
    """Refuse a request to hear a room that cannot be heard.

    Args:
        kind: the kind.
        request: it.
        admit: whether it is about to be served, so that there must be room for it.

    Raises:
        NotFound: there is no such room.
        Unavailable: the server stops.
    """
    room = kind.engine.rooms.get(request.path["id"])
    if admit:
        kind.engine.life.check_running()
    return room


async def serve_listener(kind: WebSocketLegs, request: UpgradeRequest, socket: MediaSocket) -> None:
    """Let an open WebSocket hear a room, and return when that is over.

    The room owns its task, so that whoever hears it goes with it.
    """
    room, over = kind.engine.rooms.find(request.path["id"]), trio.Event()

    async def listen() -> None:
        assert room is not None
        try:
            await _Listener(kind, room, socket).run()
        finally:
            over.set()

    try:
        if room is None:
            raise SlotsClosed
        room.slots.start(f"listener {kind.engine.ids.token(_ID_BYTES)}", listen)
    except SlotsClosed:
        socket.close(GOING_AWAY)
    else:
        await over.wait()
    await socket.wait_closed()


class _Listener:
    """One of them."""

    def __init__(self, kind: WebSocketLegs, room: Room, socket: MediaSocket) -> None:
        self.id = f"ws-{kind.engine.ids.token(_ID_BYTES)}"
        self._kind = kind
        self._room = room
        self._socket = socket
        self._audience = kind.audience(room)
        self._losses = Losses(kind.losses)
        self._code = GOING_AWAY
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Listen until the program goes, or the room.

        Cancellation: the program is told that the room goes away.
        """
        kind, room, rate_hz = self._kind, self._room, self._room.sample_rate_hz
        audio = AudioIn(rate_hz, lead_ms=kind.lead_ms)
        sink = SharedOut(
            self._audience.frames, self._socket, kind.outbox, self._losses, lambda: self._audience.has_mix
        )
        conversation = Conversation(
            self._socket, kind.outbox, audio, "json_base64", self._losses, on_stop=self._stop, log_id=self.id
        )
        try:
            port = kind.engine.plane.open_stream(audio, sink, rate_hz=rate_hz, comfort_noise=False)
        except PlaneFull as exc:
            strangers.warning("websocket refused", problem=exc.message)
            kind.leave(self._audience)
            self._socket.close(TRY_AGAIN)
            return
        conversation.say(connected_message(self.id, rate_hz))
        kind.listeners[port] = self._fail
        self._audience.listeners += 1
        room.mix.join(self.id, port)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(conversation.ping)
                    nursery.start_soon(conversation.report, lambda _: None)
                    await self._socket.serve(conversation.take)
                    self._code = NORMAL
                    nursery.cancel_scope.cancel()
        finally:
            room.mix.leave(self.id, port)
            port.close()
            self._audience.listeners -= 1
            del kind.listeners[port]
            kind.leave(self._audience)
            self._socket.close(self._code)

    def _fail(self) -> None:
        self._code = FAILED
        self._scope.cancel()

    def _stop(self) -> None:
        self._code = NORMAL
        self._scope.cancel()
