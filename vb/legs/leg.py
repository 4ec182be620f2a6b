"""A leg is one task that owns one nursery; what `hangup` cancels is one scope inside it.

From the outside in: signalling lives longest, so that the far end can be told; inside it the media tasks;
inside them the features (playbacks, recordings). Leaving them runs in the opposite order, which is the order
in which a call has to stop. `leg.disconnected` is published exactly once, after all of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog
import trio

from vb.events.base import Event
from vb.events.bus import EventBus
from vb.events.leg import (
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
from vb.legs.cdr import CallClock
from vb.legs.state import LegState, advance
from vb.mixer.port import RtpPort
from vb.slots import TaskHandle, TaskSlots
from vb.turns import Turns

log = structlog.get_logger(__name__)

CLEANUP_DEADLINE_S = 5.0
"""How long the end of a leg waits for each of its last words: a room's recording, the answer to a BYE."""

HOLD_LIMIT_S = 2 * 3600.0
"""A call that stays on hold for this long is ended."""


class RoomLike(Protocol):
    """What a leg needs of the room that it is in."""

    @property
    def id(self) -> str:
        """Identifier of the room."""
        ...

    def remove(self, leg: Leg) -> None:
        """Take the leg out of the mix and say so."""
        ...

    def relay_digit(self, leg: Leg, digit: str) -> None:
        """Pass a digit on to the leg's room mates."""
        ...

    def relay_text(self, leg: Leg, text: str) -> None:
        """Pass text on to the leg's room mates."""
        ...

    def role_changed(self, leg: Leg) -> None:
        """Let the routing follow the leg's new role."""
        ...

    async def settle(self) -> None:
        """Finish what ends with the last participant."""
        ...


class LegHost(Protocol):
    """What a leg needs of the engine that holds it."""

    @property
    def bus(self) -> EventBus:
        """Where its events go."""
        ...

    @property
    def stop_deadline(self) -> float:
        """When cleaning up has to be over because the server stops."""
        ...

    @property
    def turns(self) -> Turns:
        """Gives ends of legs their turns."""
        ...

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained where it happened."""
        ...

    def admit(self, leg: Leg) -> None:
        """Enter the leg in the table."""
        ...

    def release(self, leg: Leg) -> None:
        """Take the leg out of the table: from now on it does not exist for clients."""
        ...

    def forget(self, leg: Leg) -> None:
        """Drop what is kept for the leg's events, such as its webhook."""
        ...


class Signal(Protocol):
    """A leg's signalling: one dialog of its protocol."""

    async def run(self) -> None:
        """Serve the dialog until it is finished; calls `leg.hangup` when the far end ends the call."""
        ...

    def hang_up(self, reason: str) -> None:
        """Tell the far end, as the state of the dialog demands. Never waits."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the far end has acknowledged the end."""
        ...


class Leg:
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
    """

    def __init__(self, host: LegHost, *, leg_id: str, leg_type: str, app_id: str | None, now: float) -> None:
        self.host = host
        self.id = leg_id
        self.type = leg_type
        self.app_id = app_id or None
        self.state = LegState.RINGING
        self.clock = CallClock(now)
        self.headers: dict[str, str] = {}
        self.muted = False
        self.deaf = False
        self.accept_dtmf = True
        self.accept_rtt = True
        self._texts = 0
        self.role = ""
        self.local_hold = False
        self.remote_hold = False
        self._holds = 0
        self._hold_limit_task: TaskHandle | None = None
        self.room: RoomLike | None = None
        self.last_room: RoomLike | None = None
        self.port: RtpPort | None = None
        self.speaking = False
        self.slots = TaskSlots(f"leg {leg_id}", lambda _: host.recovered("slots", "leg"))
        self.connected = trio.Event()
        self.end_reason: str | None = None
        self._announced = False
        self._ended_at: float | None = None
        self._ended = trio.Event()
        self._hangup_scope = trio.CancelScope()

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

    def publish(self, event: Event) -> None:
        """Publish an event of this leg; nothing can follow its leg.disconnected."""
        if self.state is LegState.HUNG_UP:
            log.error("event after the end of its leg", leg_id=self.id, type=event.type)
            return
        self.host.bus.publish(event)

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
        if self._hold_limit_task is not None and not self.held:
            self._hold_limit_task.cancel()
            self._hold_limit_task = None
        elif self._hold_limit_task is None and self.held and not self.ended:
            self._holds += 1
            self._hold_limit_task = self.slots.start(f"hold limit {self._holds}", self._hold_limit)

    async def _hold_limit(self) -> None:
        await trio.sleep(HOLD_LIMIT_S)
        self.hangup("rtp_timeout")

    def adopt_port(self, port: RtpPort) -> None:
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
        self.host.turns.take(self._leave)
        return True

    def _leave(self) -> None:
        self._ended.set()
        self._hangup_scope.cancel(reason=self.end_reason)

    async def live(
        self,
        signal: Signal,
        media: Callable[[], AbstractAsyncContextManager[None]],
        *,
        on_ready: Callable[[], None],
    ) -> None:
        """Run the leg until it has ended and said so.

        Args:
            signal: its dialog.
            media: context manager around the leg's media tasks.
            on_ready: called once the leg can be hung up; it announces the leg.

        Cancellation: the far end gets its BYE, features finish, and leg.disconnected is published.
        """
        async with trio.open_nursery() as signalling:
            signalling.start_soon(self.contain, "signalling", signal.run)
            try:
                await self._media_life(signal, media, on_ready)
            finally:
                self._publish_end()
                with trio.move_on_at(self._cleanup_deadline(), shield=True):
                    await signal.wait_closed()
                signalling.cancel_scope.cancel()

    async def contain(self, name: str, func: Callable[[], Awaitable[None]]) -> None:
        """Run one of the leg's own tasks; its fault ends this leg and nothing else."""
        try:
            await func()
        except Exception:  # the leg boundary: a fault of one leg's task is that leg's end
            self.host.recovered("legs", "task")
            log.exception("leg task failed", leg_id=self.id, task=name)
            self.hangup("internal_error")

    async def _media_life(
        self,
        signal: Signal,
        media: Callable[[], AbstractAsyncContextManager[None]],
        on_ready: Callable[[], None],
    ) -> None:
        with self._hangup_scope:
            async with media(), self.slots.open():
                try:
                    on_ready()
                    self._announced = True
                    await self._ended.wait()
                except Exception:  # announcing failed: the leg ends, and `Engine` logs why
                    self.hangup("internal_error")
                    raise
                finally:
                    room = self._depart(signal)
                    with trio.move_on_at(self._cleanup_deadline(), shield=True):
                        if room is not None:
                            await room.settle()

    def _depart(self, signal: Signal) -> RoomLike | None:
        """Leave the room and tell the far end, before the features end; returns the room."""
        self.hangup("server_shutdown")
        self.stop_speaking()
        room = self.room
        if room is not None:
            self.last_room = room
            room.remove(self)
        signal.hang_up(self.end_reason or "internal_error")
        if isinstance(self.port, RtpPort):
            self.port.sending = False  # features may take a while to end; the far end hears nothing of it
        return room

    def _cleanup_deadline(self) -> float:
        return min(trio.current_time() + CLEANUP_DEADLINE_S, self.host.stop_deadline)

    def _publish_end(self) -> None:
        """Say the leg's last word; a leg that was never announced has none."""
        if self.state is LegState.HUNG_UP:
            return
        if self._announced:
            ended_at = trio.current_time() if self._ended_at is None else self._ended_at
            cdr = self.clock.record(self.end_reason or "internal_error", ended_at)
            self.publish(LegDisconnected(leg_id=self.id, app_id=self.app_id, cdr=cdr, quality=self.quality()))
        self.state = LegState.HUNG_UP
        self.host.forget(self)

    def quality(self) -> QualityInfo | None:
        """Return the quality of what was received; None for a leg that received next to nothing."""
        return None
