"""A leg is one task that owns one nursery; what `hangup` cancels is one scope inside it.

From the outside in: signalling, so that the far end can be told; the media tasks; the features (playbacks,
recordings). They end from the inside out. `leg.disconnected` is published exactly once, after all of that.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from inspect import CORO_RUNNING, getcoroutinestate
from typing import Any, TypeVar

import structlog
import trio

from vb.choices import SrtpKeying
from vb.errors import Conflict
from vb.events.base import Event, LegOrRoomEvent
from vb.events.leg import (
    LegCommandFailed,
    LegDeaf,
    LegDisconnected,
    LegHold,
    LegMuted,
    LegRoleChanged,
    LegUndeaf,
    LegUnhold,
    LegUnmuted,
    QualityInfo,
)
from vb.events.speech import SpeakingStarted, SpeakingStopped
from vb.events.text import RttReceived
from vb.legs.capabilities import Capable
from vb.legs.cdr import CallClock
from vb.legs.facts import LegFacts
from vb.legs.hold_limit import HoldLimit
from vb.legs.link import Link, link_of
from vb.legs.protocols import LegHost, RoomLike, Signal
from vb.legs.state import LegState, advance
from vb.mixer.frames import FrameSink, FrameSource
from vb.mixer.port import Port, RtpPort
from vb.slots import TaskSlots

log = structlog.get_logger(__name__)

E = TypeVar("E", bound=LegOrRoomEvent)

UNKNOWN_RATE_HZ = 8000
"""Rate of the frames of a leg whose codec is not agreed yet."""

CLEANUP_DEADLINE_S = 5.0
"""How long the end of a leg waits for each of its last words: a room's recording, the answer to a BYE."""


class Leg(Capable):
    """One call leg.

    Args:
        host: the engine.
        leg_id: identifier.
        leg_type: for example sip_inbound.
        app_id: word to filter events by.
        now: monotonic seconds of creation.

    Attributes:
        room: where it is.
        last_room: where it was when it ended; None if it had left before, or its room was deleted.
        headers: custom headers that came with the call, or were asked for.
        metadata: what the client wants to be stored with the call.
        auto_delete: whether the history lets go of the call once it is over.
        port: its place in the media plane, from the moment that its media can be set up.
        moved: told whenever `room` has changed; must not wait.
    """

    def __init__(self, host: LegHost, *, leg_id: str, leg_type: str, app_id: str | None, now: float) -> None:
        self.host = host
        self.id = leg_id
        self.type = leg_type
        self.app_id = app_id or None
        self.state = LegState.RINGING
        self.clock = CallClock(now)
        self.headers: dict[str, str] = {}
        self.metadata: dict[str, str] = {}
        self.auto_delete = False
        self.muted = False
        self.deaf = False
        self.accept_dtmf = True
        self.accept_rtt = True
        self._texts = 0
        self.role = ""
        self.local_hold = False
        self.remote_hold = False
        self.room: RoomLike | None = None
        self.last_room: RoomLike | None = None
        self.port: Port | None = None
        self.moved: list[Callable[[], None]] = []
        self.speaking = False
        self.slots = TaskSlots(f"leg {leg_id}", lambda _: host.recovered("slots", "leg"))
        self._hold_limit = HoldLimit(self.slots)
        self.connected = trio.Event()
        self.end_reason: str | None = None
        self._announced = False
        self._ended_at: float | None = None
        self._ended = trio.Event()
        self._hangup_scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._task: trio.lowlevel.Task | None = None

    # -- what clients see ----------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether the call is on hold."""
        return self.local_hold or self.remote_hold

    @property
    def shown_state(self) -> LegState:
        """The state as clients see it: a connected leg on hold is `held`."""
        return LegState.HELD if self.held and self.state is LegState.CONNECTED else self.state

    @property
    def ended(self) -> bool:
        """Whether somebody has already ended the leg."""
        return self.end_reason is not None

    @property
    def srtp(self) -> SrtpKeying | None:
        """How the keys of its audio are agreed on; None where it is not protected, or not by SRTP."""
        return None

    def publish(self, event: Event) -> None:
        """Publish an event of this leg; nothing can follow its leg.disconnected."""
        if self.state is LegState.HUNG_UP:
            log.error("event after the end of its leg", leg_id=self.id, type=event.type)
            return
        self.host.bus.publish(event)

    def facts(self) -> LegFacts:
        """Return what the history of calls keeps besides events; kinds of leg add what they know."""
        return LegFacts(
            self.id,
            leg_type=self.type,
            app_id=self.app_id,
            headers=self.headers,
            metadata=self.metadata,
            auto_delete=self.auto_delete,
        )

    # -- flags ---------------------------------------------------------------------------------------------

    def set_muted(self, muted: bool) -> None:
        """Stop or resume being heard; publishes on a change only."""
        if muted != self.muted:
            self.muted = muted
            kind = LegMuted if muted else LegUnmuted
            self.publish(kind(leg_id=self.id, app_id=self.app_id))
            if self.port is not None:
                self.port.muted = muted

    def set_deaf(self, deaf: bool) -> None:
        """Stop or resume hearing; publishes on a change only."""
        if deaf != self.deaf:
            self.deaf = deaf
            if self.port is not None:
                self.port.deaf = deaf
            kind = LegDeaf if deaf else LegUndeaf
            self.publish(kind(leg_id=self.id, app_id=self.app_id))

    def set_role(self, role: str) -> None:
        """Take another routing role, empty for none; publishes on a change only."""
        if role != self.role:
            old, self.role, room = self.role, role, self.room
            room_id = room.id if room is not None else None
            self.publish(
                LegRoleChanged(
                    leg_id=self.id, app_id=self.app_id, room_id=room_id, old_role=old, new_role=role
                )
            )
            if room is not None:
                room.role_changed(self)

    def set_holds(self, *, local: bool | None = None, remote: bool | None = None) -> None:
        """Follow what either side holds; publishes on a change once the call is connected.

        What one exchange brings for both sides is told once: a far end may answer our hold with its own.

        Args:
            local: whether our hold is in force; None leaves it.
            remote: whether the far end's is; None leaves it.
        """
        before = (self.local_hold, self.remote_hold)
        self.local_hold = self.local_hold if local is None else local
        self.remote_hold = self.remote_hold if remote is None else remote
        if self.port is not None:
            self.port.local_hold, self.port.remote_hold = self.local_hold, self.remote_hold
        now = (self.local_hold, self.remote_hold)
        if now != before and self.state is LegState.CONNECTED:
            self._hold_changed(any(held and not was for held, was in zip(now, before, strict=True)))

    def _hold_changed(self, held: bool) -> None:
        """Tell of a hold by either side, and of its end once nobody holds the call any more."""
        if held or not self.held:
            kind = LegHold if held else LegUnhold
            self.publish(kind(leg_id=self.id, app_id=self.app_id, leg_type=self.type))
        if not (self.held and self.ended):
            self._hold_limit.follow(self.held, lambda: self.hangup("rtp_timeout"))

    def place_in(self, room: RoomLike | None) -> None:
        """Note where the leg is from now on; only rooms call this."""
        self.room = room
        for told in list(self.moved):
            told()

    def adopt_port(self, port: Port) -> None:
        """Take the media port and pass the flags on to it."""
        self.port = port
        port.on_speaking = self._speaking_changed
        port.muted, port.deaf, port.remote_hold = self.muted, self.deaf, self.remote_hold

    def stop_speaking(self) -> None:
        """Tell of speech no more; what is being said ends now, in the room that the leg is in."""
        if self.port is not None:
            self.port.detect_speaking = False

    def _speaking_changed(self, speaking: bool) -> None:
        """Say that the far end began or ceased to speak; a leg that ends begins nothing any more."""
        if speaking == self.speaking or (speaking and self.ended):
            return
        self.speaking = speaking
        kind = SpeakingStarted if speaking else SpeakingStopped
        room_id = self.room.id if self.room is not None else None
        self.publish(kind(leg_id=self.id, room_id=room_id, app_id=self.app_id))

    # -- as the owner of features --------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Identify the leg among legs and rooms, which may have the same id."""
        return f"leg {self.id}"

    @property
    def stop_deadline(self) -> float:
        """Return when its features have to be over because the server stops; infinite until then."""
        return self.host.stop_deadline

    @property
    def frame_rate_hz(self) -> int:
        """Return the rate of the frames that taps get now."""
        if self.room is not None:
            return self.room.sample_rate_hz
        return self.port.rate_hz if self.port is not None else UNKNOWN_RATE_HZ

    @property
    def sides(self) -> int:
        """Return 2: a leg says and hears."""
        return 2

    @property
    def crowd(self) -> None:
        """Return nothing: a leg has no members."""

    def tell(self, kind: type[E], **fields: Any) -> None:
        """Publish an event that carries the leg's id."""
        self.publish(kind(leg_id=self.id, app_id=self.app_id, **fields))

    def check_playable(self) -> None:
        """Refuse a playback that nobody would hear; an incoming call hears it as soon as it has media.

        Raises:
            Conflict: an outgoing call still rings.
        """
        if self.state is LegState.RINGING and not self.inbound:
            raise Conflict("leg has no audio yet")

    def check_recordable(self) -> None:
        """Refuse a recording of nothing.

        Raises:
            Conflict: the call still rings.
        """
        if self.state is LegState.RINGING:
            raise Conflict("leg has no audio yet")

    def add_source(self, source: FrameSource) -> None:
        """Let the leg alone hear a source."""
        if self.port is not None:
            self.port.add_private(source)

    def remove_source(self, source: FrameSource) -> None:
        """Stop hearing a source; harmless when it is gone already."""
        if self.port is not None:
            self.port.remove_private(source)

    def add_taps(self, said: FrameSink, heard: FrameSink | None) -> None:
        """Listen in on what the leg says, and on what it hears."""
        if self.port is not None:
            self.port.add_tap_in(said)
            if heard is not None:
                self.port.add_tap_out(heard)

    def remove_taps(self, *sinks: FrameSink | None) -> None:
        """Stop listening in; harmless when it is over already."""
        for sink in sinks:
            if sink is not None and self.port is not None:
                self.port.remove_tap(sink)

    def command_failed(self, command: str, error: str) -> None:
        """Tell that a command that had been accepted failed; silent once the leg has ended."""
        if not self.ended:
            self.publish(LegCommandFailed(leg_id=self.id, app_id=self.app_id, command=command, error=error))

    # -- text ----------------------------------------------------------------------------------------------

    @property
    def has_text(self) -> bool:
        """Whether real-time text can be sent to the far end now."""
        return False

    def send_text(self, text: str) -> bool:
        """Queue text for the far end, which never waits; False when it is not taken.

        Text of any length goes out at the pace of the far end.
        """
        return False

    def text_received(self, text: str, *, lost: bool = False) -> None:
        """Tell of text from the far end and pass it on; nothing happens while the leg rejects text.

        Args:
            text: not empty.
            lost: whether some of it is missing.
        """
        if not self.accept_rtt or self.ended:
            return
        self._texts += 1
        self.publish(
            RttReceived(
                leg_id=self.id, app_id=self.app_id, text=text, seq=self._texts, loss_marker=lost or None
            )
        )
        if self.room is not None:
            self.room.relay_text(self, text)

    # -- life ----------------------------------------------------------------------------------------------

    def advance(self, target: LegState) -> None:
        """Go to another state; the first arrival at `connected` stops the ringing clock."""
        self.state = advance(self.state, target)
        if target is LegState.CONNECTED:
            self.connected.set()

    def hangup(self, reason: str) -> bool:
        """End the leg for a reason; the first caller wins, and every later call changes nothing.

        Callable from anywhere, any number of times; never waits.

        Returns:
            Whether this call was the one that ended it.
        """
        if self.end_reason is not None:
            return False
        self.end_reason = reason
        self._ended_at = trio.current_time()
        self.host.release(self)
        self._leave()
        return True

    def _leave(self) -> None:
        """Have the leg's task go on to its end; if that is who asks, it looks before it waits again."""
        self._ended.set()
        if self._task is None or getcoroutinestate(self._task.coro) != CORO_RUNNING:  # the tick is no task
            self._hangup_scope.cancel(reason=self.end_reason)

    async def live(
        self,
        signal: Signal,
        media: Callable[[], AbstractAsyncContextManager[None]],
        *,
        on_ready: Callable[[], None],
        outlives: bool = True,
    ) -> None:
        """Run the leg until it has ended and said so.

        One nursery holds all its tasks; features and media have scopes of their own in it, which end in this
        order: features, media, signalling.

        Args:
            signal: its dialog.
            media: context manager around the leg's media tasks.
            on_ready: called once the leg can be hung up; it announces the leg.
            outlives: whether the dialog has to be served until it is closed. One that needs nobody once the
                leg has hung up is served by the leg's own task, which saves it one; it returns once it has
                hung the leg up itself.

        Cancellation: the far end gets its BYE, features finish, and leg.disconnected is published.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            if outlives:
                nursery.start_soon(self.contain, "signalling", signal.run)
            try:
                await self._media_life(nursery, signal, media, on_ready, outlives=outlives)
            finally:
                self._publish_end()
                if not signal.is_closed:
                    with trio.move_on_at(self._cleanup_deadline(), shield=True):
                        await signal.wait_closed()
                if nursery.child_tasks:  # nobody waits for tasks of it to be started
                    nursery.cancel_scope.cancel()
                self._nursery = None

    def start_soon(self, func: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run one of the leg's own tasks in its nursery, until the leg has ended; it must not fail."""
        assert self._nursery is not None
        self._nursery.start_soon(func, *args)

    async def contain(self, name: str, func: Callable[[], Awaitable[None]]) -> None:
        """Run one of the leg's own tasks; its fault ends this leg and nothing else."""
        try:
            await func()
        except Exception as fault:  # the leg boundary: a fault of one leg's task is that leg's end
            self.failed(name, fault)

    def failed(self, name: str, fault: Exception) -> None:
        """End the leg for a fault of one of its tasks, or of what others do for it."""
        self.host.recovered("legs", "task")
        log.error("leg task failed", leg_id=self.id, task=name, exc_info=fault)
        self.hangup("internal_error")

    async def _media_life(
        self,
        nursery: trio.Nursery,
        signal: Signal,
        media: Callable[[], AbstractAsyncContextManager[None]],
        on_ready: Callable[[], None],
        *,
        outlives: bool,
    ) -> None:
        with self._hangup_scope:
            async with media():
                self.slots.open_in(nursery)
                self._task = trio.lowlevel.current_task()
                try:
                    on_ready()
                    self._announced = True
                    if not outlives and not self._ended.is_set():
                        await self.contain("signalling", signal.run)
                    if not self._ended.is_set():
                        await self._ended.wait()
                except Exception:  # announcing failed: the leg ends, and `Engine` logs why
                    self.hangup("internal_error")
                    raise
                finally:
                    self._task = None
                    room = self._depart(signal)
                    if room is not None:
                        with trio.move_on_at(self._cleanup_deadline(), shield=True):
                            await room.settle()
                    if self.slots.close():  # as long as they take, as in a nursery
                        with trio.move_on_after(math.inf, shield=True):
                            await self.slots.end()

    def _depart(self, signal: Signal) -> RoomLike | None:
        """Leave the room and tell the far end, before the features end; returns the room."""
        self.hangup("server_shutdown")
        self.stop_speaking()
        room = self.room
        if room is not None:
            self.last_room = room
            room.remove(self)
        signal.hang_up(self.end_reason or "internal_error")
        if self.port is not None:
            self.port.silence()  # features may take a while to end; the far end hears nothing of it
        return room

    def _cleanup_deadline(self) -> float:
        return min(trio.current_time() + CLEANUP_DEADLINE_S, self.host.stop_deadline)

    def _publish_end(self) -> None:
        """Say the leg's last word; a leg that was never announced has none."""
        if self.state is LegState.HUNG_UP:
            return
        self.host.leave()
        if self._announced:
            ended_at = trio.current_time() if self._ended_at is None else self._ended_at
            cdr = self.clock.record(self.end_reason or "internal_error", ended_at)
            self.publish(LegDisconnected(leg_id=self.id, app_id=self.app_id, cdr=cdr, quality=self.quality()))
        self.state = LegState.HUNG_UP
        self.host.forget(self)

    def link(self) -> Link | None:
        """Return how the audio of a connected call arrives now; None for legs without RTP."""
        port = self.port
        return link_of(port) if self.state is LegState.CONNECTED and isinstance(port, RtpPort) else None

    def quality(self) -> QualityInfo | None:
        """Return the quality of what was received; None for a leg that received next to nothing."""
        return None
