"""One leg that is listened to: from its tap to the provider, and from there to events.

Nothing waits for a packet: the media plane writes into a bounded backlog, and each block goes out behind the
tick that makes it whole. A provider that fails is asked again with growing delays; what is said meanwhile is
kept, five seconds of it, and sent when it is back. One that does not come back is told once, by `stt.error`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import structlog
import trio

from vb.errors import Conflict, NotAvailable
from vb.events.stt import SttError, SttText, SttTurn, SttWord
from vb.legs.leg import Leg
from vb.mixer.frames import Pcm
from vb.providers.backoff import Backoff
from vb.providers.failure import WORTH_A_RETRY, ProviderFailed
from vb.stt.backlog import Backlog
from vb.stt.base import RATE_HZ, FinalText, Heard, Options, PartialText, Provider, Session, Turn
from vb.stt.tasks.feeding import Feeding

log = structlog.get_logger(__name__)

FIRST: Final = Backoff(first_s=0.1, factor=4.0, cap_s=1.6, tries=3, budget_s=5.0)
"""For a provider that was never reached: whoever asked for it learns soon that it fails."""
AGAIN: Final = Backoff(first_s=0.25, factor=2.0, cap_s=4.0, tries=12, budget_s=30.0)
"""For one that has worked: a call is worth waiting for it."""
PROVEN_S: Final = 10.0
"""A connection that lasted so long, or gave words, has worked; its end is a new trouble."""
PATIENCE_S: Final = 2.0
"""How long a transcription that is stopped waits for its last words."""
FAREWELL_S: Final = 0.6
"""The same at the end of its leg or room, which nobody may hold up."""
TOLD_AT_ONCE: Final = 16
"""After so many events others come to their turn: a provider may say hundreds of things at a time."""


class Figures:
    """Counts over all transcriptions of a server.

    Attributes:
        running: how many there are now.
        reconnects: how often a connection that had failed was replaced.
        errors: transcriptions that ended because of the provider, by category.
        dropped_frames: audio that was given up because it could not be sent in time, in frames of 20 ms.
    """

    def __init__(self) -> None:
        self.running = 0
        self.reconnects = 0
        self.dropped_frames = 0
        self.errors: dict[str, int] = {}


class _Ear:
    """The tap: what the leg says, muted or not, except while it is on hold."""

    def __init__(self, leg: Leg, backlog: Backlog) -> None:
        self._leg = leg
        self._backlog = backlog

    def push(self, frame: Pcm, rate_hz: int) -> None:
        """Take 20 ms from the mixer."""
        if not self._leg.held:
            self._backlog.push(frame, rate_hz)


class Transcriber:
    """The transcription of one leg by one provider.

    Args:
        leg: who is listened to; its port exists.
        provider: who listens.
        options: how.
        room_id: the room whose transcription it belongs to; None for the leg's own.
        figures: what counts.
        phase: number that sets legs apart whose blocks would else be cut at the same time.
        draw: gives numbers from 0 to 1 at random.
    """

    def __init__(
        self,
        leg: Leg,
        provider: Provider,
        options: Options,
        *,
        room_id: str | None,
        figures: Figures,
        phase: int = 0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.leg = leg
        self._provider = provider
        self._options = options
        self._room_id = room_id
        self._figures = figures
        self._draw = draw
        self._feeding = Feeding(provider.capabilities, phase=phase)
        self._backlog = self._feeding.backlog
        self._stopped = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._session: Session | None = None
        self._partial: PartialText | None = None
        self._base_samples = 0
        self._proven = False
        self._concluded = False

    @property
    def dropped_frames(self) -> int:
        """How much audio was given up so far."""
        return self._backlog.dropped_frames

    # -- from outside --------------------------------------------------------------------------------------

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """End it: what was said is still sent, and the last words are waited for.

        Args:
            patience_s: for so long; who asks again can only shorten it.
        """
        latest = min(trio.current_time() + patience_s, self.leg.stop_deadline)
        self._scope.deadline = min(self._scope.deadline, latest)
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._feeding.end()
        if self._session is None:
            self._scope.cancel()

    def finalize(self) -> None:
        """Ask for what was said up to now as final.

        Raises:
            NotAvailable: the provider cannot do that.
            Conflict: there is no connection to it now.
        """
        if not self._provider.capabilities.finalize:
            raise NotAvailable(f"not available: finalize with {self._provider.name}")
        if self._session is None or self._stopped.is_set():
            raise Conflict("not connected to the provider")
        self._feeding.finalize()

    async def run(self) -> None:
        """Listen until it is stopped or the provider has failed for good.

        Cancellation: as `stop` with little patience; the last words are published before it returns.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._live, nursery.cancel_scope)
            try:
                await trio.sleep_forever()
            finally:
                self.stop(FAREWELL_S)

    async def _live(self, outer: trio.CancelScope) -> None:
        port = self.leg.port
        ear = _Ear(self.leg, self._backlog)
        self._figures.running += 1
        try:
            if port is not None:
                port.add_tap_in(ear)
            with self._scope:
                await self._listen()
            self._concluded = True
        finally:
            if port is not None:
                port.remove_tap(ear)
            self._figures.running -= 1
            self._figures.dropped_frames += self._backlog.dropped_frames
            if not self._concluded:  # a fault of ours, which the slot contains; nobody waits in vain
                self._tell_failure(ProviderFailed("unknown", "internal error"))
            outer.cancel()

    # -- sessions, one after the other ---------------------------------------------------------------------

    async def _listen(self) -> None:
        backoff, failures, trouble_at, worked = FIRST, 0, 0.0, False
        while True:
            begun = trio.current_time()
            self._proven = False
            failure = await self._try()
            if failure is None or self._stopped.is_set():
                return
            now = trio.current_time()
            if self._proven or now - begun >= PROVEN_S:
                failures, backoff, worked = 0, AGAIN, True
            failures += 1
            if failures == 1:
                trouble_at = now
            wait_s = (
                backoff.delay_s(failures, now - trouble_at, self._draw)
                if failure.category in WORTH_A_RETRY
                else None
            )
            if wait_s is None:
                self._tell_failure(failure)
                return
            if failures == 1:
                log.info("provider failed", leg_id=self.leg.id, problem=str(failure), again=worked)
            await trio.sleep(wait_s)
            self._figures.reconnects += 1

    async def _try(self) -> ProviderFailed | None:
        """Have one session with the provider; returns why it ended, None when it was to end."""
        failure: ProviderFailed | None = None
        try:
            async with self._provider.open(self._options) as session:
                self._session = session
                self._base_samples = self._backlog.position_samples
                try:
                    failure = await self._converse(session)
                finally:
                    self._session = None
                    self._save(session if failure is not None else None)
        except ProviderFailed as exc:
            failure = exc
        return failure

    async def _converse(self, session: Session) -> ProviderFailed | None:
        """Send and receive until one of both is over."""
        failures: list[ProviderFailed] = []

        async def send() -> None:
            try:
                await self._send(session)
            except ProviderFailed as exc:
                failures.append(exc)
                # What the provider has said before it broke off tells more than that it broke off.
                with trio.move_on_after(0.1):
                    await done.wait()
                nursery.cancel_scope.cancel()

        done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            try:
                await self._receive(session)
            except ProviderFailed as exc:
                failures.insert(0, exc)
            done.set()
            nursery.cancel_scope.cancel()
        return failures[0] if failures else None

    def _save(self, session: Session | None) -> None:
        """Make final what seemed to be said; what the session cannot have heard is sent to the next."""
        partial, self._partial = self._partial, None
        if partial is not None:
            self._tell_text(partial.as_final())
        if session is not None:
            self._backlog.put_back(session.unheard_samples)

    # -- towards the provider ------------------------------------------------------------------------------

    async def _send(self, session: Session) -> None:
        """Send blocks as they come, and whatever else has to be said between them.

        Raises:
            ProviderFailed: the provider is gone.
        """

        async def silent() -> None:
            if self._partial is not None and self._provider.capabilities.finalize:
                await session.finalize()  # whoever was put on hold in mid-word has said that much
            else:
                await session.keep_alive()

        await self._feeding.run(session, silent)

    # -- from the provider ---------------------------------------------------------------------------------

    async def _receive(self, session: Session) -> None:
        """Publish what was heard until nothing comes any more.

        Raises:
            ProviderFailed: the provider has failed.
        """
        while (heard := await session.receive()) is not None:
            for number, item in enumerate(heard, 1):
                self._tell(item)
                if number % TOLD_AT_ONCE == 0:
                    await trio.lowlevel.cancel_shielded_checkpoint()

    def _tell(self, heard: Heard) -> None:
        self._proven = True
        if isinstance(heard, Turn):
            self._tell_turn(heard)
        elif isinstance(heard, PartialText):
            self._partial = heard
            if self._options.partial:
                self._tell_text(heard)
        else:
            self._partial = None
            self._tell_text(heard)

    def _tell_text(self, heard: PartialText | FinalText) -> None:
        if not heard.text:
            return
        log.debug("heard", leg_id=self.leg.id, text=heard.text)
        self.leg.publish(
            SttText(
                leg_id=self.leg.id,
                room_id=self._room_id,
                app_id=self.leg.app_id,
                text=heard.text,
                is_final=isinstance(heard, FinalText),
                speech_final=heard.speech_final if isinstance(heard, FinalText) else None,
                audio_start_ms=self._since_start(heard.start_ms),
                audio_end_ms=self._since_start(heard.end_ms),
            )
        )

    def _tell_turn(self, turn: Turn) -> None:
        base_ms = self._base_ms
        words = [
            SttWord(
                word=word.word,
                confidence=word.confidence,
                start_ms=word.start_ms + base_ms,
                end_ms=word.end_ms + base_ms,
            )
            for word in turn.words
        ]
        self.leg.publish(
            SttTurn(
                leg_id=self.leg.id,
                room_id=self._room_id,
                app_id=self.leg.app_id,
                event=turn.event,
                turn_index=turn.turn_index,
                text=turn.text,
                end_of_turn_confidence=turn.end_of_turn_confidence,
                audio_window_start_ms=self._since_start(turn.audio_window_start_ms),
                audio_window_end_ms=self._since_start(turn.audio_window_end_ms),
                last_word_end_ms=self._since_start(turn.last_word_end_ms),
                words=words or None,
                languages=list(turn.languages) or None,
            )
        )

    @property
    def _base_ms(self) -> int:
        return self._base_samples * 1000 // RATE_HZ

    def _since_start(self, time_ms: int | None) -> int | None:
        """Return a time of the session as one of the transcription."""
        return None if time_ms is None else time_ms + self._base_ms

    def _tell_failure(self, failure: ProviderFailed) -> None:
        errors = self._figures.errors
        errors[failure.category] = errors.get(failure.category, 0) + 1
        log.warning(
            "transcription ended", leg_id=self.leg.id, problem=str(failure), category=failure.category
        )
        self.leg.publish(
            SttError(
                leg_id=self.leg.id,
                room_id=self._room_id,
                app_id=self.leg.app_id,
                provider=self._provider.name,
                category=failure.category,
                error=str(failure),
            )
        )
