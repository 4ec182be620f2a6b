"""What a program on a WebSocket says and what it hears: the same for a leg and for a listener of a room.

Everything here is done where the message comes or the tick passes; nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from vb.limits.rate import RateLimit
from vb.log import StrangersLog
from vb.web.message import Message
from vb.wsleg.audio_in import AudioIn
from vb.wsleg.losses import Loss, Losses
from vb.wsleg.socket import MediaSocket, Outbox
from vb.wsleg.wire import (
    Ping,
    Stop,
    Text,
    Unusable,
    WireFormat,
    dropped_message,
    ping_message,
    pong_message,
    read_message,
)

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)

PING_INTERVAL_S: Final = 30.0
CONTROLS_PER_S: Final = 50
"""Texts and pings that a program may send; what comes faster is dropped."""
FLOOD_PAUSE_S: Final = 0.02
"""A program whose messages are of no use is not read from for so long."""


class Conversation:
    """One program.

    Args:
        socket: its WebSocket.
        outbox: writes to it.
        audio: takes what it says.
        wire_format: how it says it.
        losses: counts what is lost.
        on_text: gets its text; None drops it.
        on_stop: told when it hangs up.
        log_id: who it is in the log.
    """

    def __init__(
        self,
        socket: MediaSocket,
        outbox: Outbox,
        audio: AudioIn,
        wire_format: WireFormat,
        losses: Losses,
        *,
        on_text: Callable[[str], None] | None = None,
        on_stop: Callable[[], None],
        log_id: str,
    ) -> None:
        self._socket = socket
        self._outbox = outbox
        self._audio = audio
        self._wire_format: WireFormat = wire_format
        self._losses = losses
        self._on_text = on_text
        self._on_stop = on_stop
        self._log_id = log_id
        self._controls = RateLimit(CONTROLS_PER_S)
        self._told_late = 0
        self._warned = False

    def take(self, messages: list[Message]) -> float:
        """Take what the program has sent; returns for how long it should not be read from."""
        lost = False
        for message in messages:
            found = read_message(message, self._wire_format)
            if isinstance(found, bytes):
                if not self._audio.put(found):
                    lost = True
                    self._losses.add("in", "overflow", 1, self._audio.duration_ms(len(found)))
            elif isinstance(found, Unusable):
                lost = True
                self._losses.add("in", "malformed", 1)
                self._warn(found.problem)
            elif not self._controls.take(trio.current_time()):
                lost = True
                self._losses.add("in", "flood", 1)
            elif isinstance(found, Ping):
                self.say(pong_message(found.event_id))
            elif isinstance(found, Text):
                if self._on_text is not None:
                    self._on_text(found.text)
            elif isinstance(found, Stop):
                self._on_stop()
        late = self._audio.late_ticks
        if late != self._told_late:
            self._losses.add("in", "underflow", late - self._told_late, 20 * (late - self._told_late))
            self._told_late = late
        return FLOOD_PAUSE_S if lost else 0.0

    def _warn(self, problem: str) -> None:
        if not self._warned:  # once for each program, or it could fill the log
            self._warned = True
            strangers.info("websocket message dropped", id=self._log_id, problem=problem)

    def say(self, message: Message) -> bool:
        """Send a message without waiting; False when there is no room for it."""
        sent = self._socket.put(self._socket.frame(message))
        if sent:
            self._outbox.add(self._socket)
        return sent

    async def report(self, tell: Callable[[Loss], None]) -> None:
        """Tell of losses, soon after the first and then every few seconds at most, until cancelled."""

        def tell_both(loss: Loss) -> None:
            tell(loss)
            self.say(dropped_message(loss.direction, loss.reason, loss.count, loss.duration_ms))

        await self._losses.report(tell_both)

    async def ping(self) -> None:
        """Ask every now and then whether the program is there, until cancelled."""
        number = 0
        while True:
            await trio.sleep(PING_INTERVAL_S)
            number += 1
            self.say(ping_message(number))
