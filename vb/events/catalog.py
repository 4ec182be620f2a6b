"""All events by their dotted type; importing this module defines every one of them."""

from __future__ import annotations

from vb.events import agent, history, leg, media, room, speech, stt, text, transfer, tts
from vb.events.base import CATALOG, Event

# Importing them is what counts; the tuple shows linters and readers that it was meant.
EVENT_MODULES = (leg, text, transfer, room, media, speech, tts, stt, agent, history)


def all_events() -> dict[str, type[Event]]:
    """Return every event class by its type, in the order of definition."""
    return dict(CATALOG)
