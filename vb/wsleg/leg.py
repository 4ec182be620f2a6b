"""The WebSocket leg: what becomes of its messages, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

import trio

from vb.errors import InternalError
from vb.events.leg import LegConnected
from vb.legs.capabilities import REFUSALS, Capability, Refusals
from vb.legs.leg import Leg
from vb.legs.protocols import LegHost
from vb.legs.state import LegState
from vb.mixer.plane import Plane
from vb.mixer.port import StreamPort
from vb.wsleg.audio_in import AudioIn
from vb.wsleg.audio_out import AudioOut
from vb.wsleg.conversation import Conversation
from vb.wsleg.losses import Loss, Losses, audio_dropped
from vb.wsleg.socket import END_REASONS, MediaSocket, Outbox, close_code
from vb.wsleg.wire import SAMPLE_RATES_HZ, WireFormat, text_message

if TYPE_CHECKING:
    from vb.wsleg.losses import Counts

_ALONE_HZ: Final = {24000: 48000}
"""Rate of a leg in no room where the plane does not have the leg's own."""

_REFUSALS: Final[Refusals] = MappingProxyType(
    {
        **REFUSALS,
        Capability.DTMF: partial(InternalError, "DTMF over WebSocket is not supported"),
    }
)


@dataclass(frozen=True, slots=True)
class AudioOptions:
    """What a program speaks and hears.

    Attributes:
        rate_hz: of both directions.
        wire_format: how audio is sent.
        text: whether it has text beside audio.
        lead_ms: how much of what it says is held back.
    """

    rate_hz: int = 16000
    wire_format: WireFormat = "binary"
    text: bool = False
    lead_ms: int = 0

    def __post_init__(self) -> None:
        assert self.rate_hz in SAMPLE_RATES_HZ


class WebSocketLeg(Leg):
    """A leg whose far end is a program on a WebSocket; it is its own signalling.

    Args:
        host: the engine's table of legs.
        plane: where it is mixed.
        outbox: writes to its WebSocket.
        audio: what the program speaks and hears.
        totals: counts what is lost on all WebSockets.
        leg_type: websocket_in or websocket_out.
        speech_detection: whether speaking events are told.
        max_duration_s: how long it may be connected; 0 is for ever.
        on_connected: called once, after leg.connected; lets it join its room.
    """

    refusals: ClassVar[Refusals] = _REFUSALS

    def __init__(
        self,
        host: LegHost,
        plane: Plane,
        outbox: Outbox,
        audio: AudioOptions,
        totals: Counts,
        *,
        leg_id: str,
        leg_type: str,
        app_id: str | None,
        now: float,
        speech_detection: bool = False,
        max_duration_s: float = 0.0,
        on_connected: Callable[[WebSocketLeg], None],
    ) -> None:
        super().__init__(host, leg_id=leg_id, leg_type=leg_type, app_id=app_id, now=now)
        self.inbound = leg_type == "websocket_in"
        self.audio = audio
        self._plane = plane
        self._outbox = outbox
        self._losses = Losses(totals)
        self._speech_detection = speech_detection
        self._max_duration_s = max_duration_s
        self._on_connected = on_connected
        self._audio_in = AudioIn(audio.rate_hz, lead_ms=audio.lead_ms)
        self._socket: MediaSocket | None = None
        self._conversation: Conversation | None = None
        self._stream: StreamPort | None = None

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open or take the WebSocket and serve it to its end; see the subclasses."""
        raise NotImplementedError

    def hang_up(self, reason: str) -> None:
        """Say goodbye to the far end, and what it has lost since the last report."""
        for loss in self._losses.take():
            self._tell_loss(loss)
        if self._socket is not None:
            self._socket.close(close_code(reason))

    @property
    def is_closed(self) -> bool:
        """Whether there never was a WebSocket to close."""
        return self._socket is None

    async def wait_closed(self) -> None:
        """Wait until the far end has said goodbye too."""
        if self._socket is not None:
            await self._socket.wait_closed()

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Run the leg to its end."""
        await self.live(self, self._media_tasks, on_ready=on_ready)

    @asynccontextmanager
    async def _media_tasks(self) -> AsyncIterator[None]:
        rate_hz = _ALONE_HZ.get(self.audio.rate_hz, self.audio.rate_hz)
        self._stream = self._plane.open_stream(None, None, rate_hz=rate_hz)
        self.adopt_port(self._stream)
        try:
            async with trio.open_nursery() as nursery:
                tasks: dict[str, Callable[[], Awaitable[None]]] = {"ping": self._ping, "report": self._report}
                if self._max_duration_s:
                    tasks["duration timer"] = self._duration_timer
                for name, task in tasks.items():
                    nursery.start_soon(self.contain, name, task)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            self._stream.close()
            # Both refer to the leg, which need not wait for the garbage collector.
            self._stream.sink = self._conversation = None

    async def converse(self, socket: MediaSocket) -> None:
        """Serve an open WebSocket until the far end is gone, and hang up for that."""
        end = await socket.serve(self._take)
        self.hangup(END_REASONS[end])

    def _take(self, messages: list[bytes | str]) -> float:
        return 0.0 if self._conversation is None or self.ended else self._conversation.take(messages)

    def connect(self, socket: MediaSocket) -> None:
        """Begin to speak and hear: the WebSocket is open."""
        self._socket, stream = socket, self._stream
        if self.ended or stream is None:
            return  # it only has to say goodbye
        self._conversation = Conversation(
            socket,
            self._outbox,
            self._audio_in,
            self.audio.wire_format,
            self._losses,
            on_text=self.text_received if self.audio.text else None,
            on_stop=self._far_end_stops,
            log_id=self.id,
        )
        stream.source = self._audio_in
        stream.sink = AudioOut(
            self.audio.rate_hz, self.audio.wire_format, socket, self._outbox, self._losses, self._hears
        )
        self.clock.answered_at = trio.current_time()
        self.advance(LegState.CONNECTED)
        self.publish(LegConnected(leg_id=self.id, app_id=self.app_id, leg_type=self.type))
        stream.detect_speaking = self._speech_detection
        self._on_connected(self)

    def _far_end_stops(self) -> None:
        self.hangup("hangup")

    def _hears(self) -> bool:
        """Whether there is anything to send: a room, or something that is played to it."""
        return not self.ended and (self.room is not None or bool(self.port and self.port.private))

    async def _ping(self) -> None:
        await self.connected.wait()
        if self._conversation is not None:
            await self._conversation.ping()

    async def _duration_timer(self) -> None:
        await self.connected.wait()
        await trio.sleep(self._max_duration_s)
        self.hangup("max_duration")

    async def _report(self) -> None:
        """Tell of losses once it is connected."""
        await self.connected.wait()
        if self._conversation is not None:
            await self._conversation.report(self._tell_loss)

    def _tell_loss(self, loss: Loss) -> None:
        self.publish(audio_dropped(self.id, self.app_id, loss))

    def _say(self, message: str) -> bool:
        return self._conversation is not None and self._conversation.say(message)

    # -- text ----------------------------------------------------------------------------------------------

    @property
    def has_text(self) -> bool:
        """Whether text can be sent to the far end now."""
        return self.audio.text and self._conversation is not None and not self.ended

    def send_text(self, text: str) -> bool:
        """Send text to the far end; False when it has none, or takes it too slowly."""
        return self.has_text and self._say(text_message(text))
