"""The MoQ leg: its place in the plane, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Final

import trio

from vb.codecs.base import OPUS
from vb.errors import InternalError
from vb.events.leg import LegConnected
from vb.legs.capabilities import REFUSALS, Capability, Refusals
from vb.legs.leg import Leg
from vb.legs.protocols import LegHost
from vb.legs.state import LegState
from vb.mixer.plane import Plane
from vb.mixer.port import RtpPort
from vb.moq.codes import SessionCode
from vb.moqleg.talk import FRAME_MS, Talk
from vb.sdp.negotiate import Agreed
from vb.sdp.stream import MediaAddress
from vb.wsleg.losses import Loss, audio_dropped

LEG_TYPE: Final = "moq_in"
SETUP_TIMEOUT_S: Final = 10.0
GOODBYE_S: Final = 1.0
_LOOK_S: Final = 0.02
HANGUP: Final = "hangup"
MOQ_ERROR: Final = "moq_error"

_FAILURES: Final = frozenset({"internal_error", "mixer_panic"})
_REFUSALS: Final[Refusals] = MappingProxyType(
    {**REFUSALS, Capability.DTMF: partial(InternalError, "DTMF over MoQ is not supported")}
)


def opus_over_moq(bit_rate: int) -> Agreed:
    """Return the audio of a MoQ leg, as if it had been negotiated: Opus both ways, a packet every 20 ms."""
    nowhere = MediaAddress("moq", 0)  # there is one far end, and its packets need no address
    return Agreed(
        remote_rtp=nowhere,
        remote_rtcp=nowhere,
        rtcp_mux=True,
        send_codec=replace(OPUS, bit_rate=bit_rate),
        send_payload_type=OPUS.payload_type,
        receive={OPUS.payload_type: OPUS},
        telephone_event_send=None,
        telephone_event_receive={},
        direction="sendrecv",
        remote_held=False,
        ptime_ms=FRAME_MS,
    )


class MoqLeg(Leg):
    """A leg whose far end has opened a WebTransport session; it is its own signalling.

    Args:
        host: the engine's table of legs.
        plane: where it is mixed.
        talk: its session.
        agreed: its audio.
        speech_detection: whether speaking events are told.
    """

    inbound = True
    refusals: ClassVar[Refusals] = _REFUSALS

    def __init__(
        self,
        host: LegHost,
        plane: Plane,
        talk: Talk,
        agreed: Agreed,
        *,
        leg_id: str,
        app_id: str | None,
        now: float,
        speech_detection: bool = False,
    ) -> None:
        super().__init__(host, leg_id=leg_id, leg_type=LEG_TYPE, app_id=app_id, now=now)
        self._plane = plane
        self._talk = talk
        self._agreed = agreed
        self._speech_detection = speech_detection
        self._media: RtpPort | None = None

    # -- life ----------------------------------------------------------------------------------------------

    async def serve(self, on_ready: Callable[[], None]) -> None:
        """Run the leg to its end."""
        await self.live(self, self._media_tasks, on_ready=on_ready)

    async def run(self) -> None:
        """Wait for the end of the session, and hang up for it."""
        talk = self._talk
        with trio.move_on_after(SETUP_TIMEOUT_S):
            await talk.decided.wait()
        if not talk.decided.is_set():
            talk.session.fail(SessionCode.CONTROL_MESSAGE_TIMEOUT, "no setup came")
        await talk.over.wait()
        self.hangup(MOQ_ERROR if talk.end_code else HANGUP)

    def hang_up(self, reason: str) -> None:
        """Say goodbye to the far end, and what it has lost since the last report."""
        for loss in self._talk.losses.take():
            self._tell_loss(loss)
        self._talk.finish(reason, going_away=reason == "server_shutdown")

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self._talk.over.is_set()

    async def wait_closed(self) -> None:
        """Close the session, as soon as the far end has taken what was said last, or had the time for it.

        Cancellation: it is closed at once.
        """
        talk = self._talk
        try:
            for _ in range(round(GOODBYE_S / _LOOK_S)):
                if talk.session.is_taken:
                    break
                await trio.sleep(_LOOK_S)
        finally:
            reason = self.end_reason  # None: there never was a leg
            talk.close(reason or "there is no room", failed=reason is None or reason in _FAILURES)

    @asynccontextmanager
    async def _media_tasks(self) -> AsyncIterator[None]:
        talk = self._talk
        self._media = port = self._plane.open_port(talk.link)
        port.authenticated = True
        self.adopt_port(port)
        try:
            port.configure(self._agreed)
            talk.on_hearing, talk.on_text = self._set_hearing, self.text_received
            talk.on_fault = partial(self.failed, "objects")
            self._set_hearing(talk.hears)  # it may have asked before there was a port
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.contain, "report", self._report)
                try:
                    yield
                finally:
                    nursery.cancel_scope.cancel()
        finally:
            port.close()
            talk.detach()

    def connect(self) -> None:
        """Begin to speak and hear: the session is open."""
        if self.ended:
            return
        self.clock.answered_at = trio.current_time()
        self.advance(LegState.CONNECTED)
        self.publish(LegConnected(leg_id=self.id, app_id=self.app_id, leg_type=self.type))
        if self._media is not None:
            self._media.detect_speaking = self._speech_detection

    def _set_hearing(self, hears: bool) -> None:
        """Send audio as long as the far end subscribes to it."""
        if self._media is not None and not self.ended:
            self._media.sending = hears

    async def _report(self) -> None:
        """Tell of losses until cancelled."""
        await self._talk.losses.report(self._tell_loss)

    def _tell_loss(self, loss: Loss) -> None:
        self.publish(audio_dropped(self.id, self.app_id, loss))

    # -- text ----------------------------------------------------------------------------------------------

    @property
    def has_text(self) -> bool:
        """Whether text can be sent to the far end now."""
        return self._talk.has_text and not self.ended

    def send_text(self, text: str) -> bool:
        """Send text to the far end; False when it has none, or takes it too slowly."""
        return not self.ended and self._talk.say(text)
