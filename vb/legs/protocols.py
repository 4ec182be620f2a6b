"""What a leg needs of its room, of the table that holds it, and of its signalling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vb.events.bus import EventBus

if TYPE_CHECKING:
    from vb.legs.leg import Leg


class RoomLike(Protocol):
    """What a leg needs of the room that it is in."""

    @property
    def id(self) -> str:
        """Identifier of the room."""
        ...

    @property
    def sample_rate_hz(self) -> int:
        """Rate at which it mixes."""
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

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained where it happened."""
        ...

    def admit(self, leg: Leg) -> None:
        """Enter the leg in the table."""
        ...

    def release(self, leg: Leg) -> None:
        """Take the leg out of the table: from now on it does not exist for clients."""
        ...

    def leave(self) -> None:
        """Give up the leg's place under the cap, right before its last event."""
        ...

    def forget(self, leg: Leg) -> None:
        """Drop what is kept for the leg's events, such as its webhook."""
        ...


class AskedTransfer(Protocol):
    """A transfer that a far end asks for, as commands decide about it."""

    def accept(self) -> None:
        """Accept it; the application carries it out."""
        ...

    def decline(self, status: int, reason: str | None) -> None:
        """Decline it with a final SIP status."""
        ...

    def tell(self, status: int, reason: str | None) -> None:
        """Tell the far end how far it has come; a final status ends it."""
        ...


class Signal(Protocol):
    """A leg's signalling: one dialog of its protocol."""

    async def run(self) -> None:
        """Serve the dialog until it is finished; calls `leg.hangup` when the far end ends the call."""
        ...

    def hang_up(self, reason: str) -> None:
        """Tell the far end, as the state of the dialog demands. Never waits."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing to wait for any more."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the far end has acknowledged the end."""
        ...
