"""Events of real-time text."""

from __future__ import annotations

from pydantic import Field

from vb.events.base import LegEvent


class RttReceived(LegEvent, type="rtt.received"):
    """Text came in. Control characters such as backspace and line ends are part of it."""

    text: str
    seq: int = Field(description="counts the leg's pieces of text from 1")
    loss_marker: bool | None = Field(
        default=None, description="true when some of it was lost; U+FFFD stands in its place"
    )
