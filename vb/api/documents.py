"""The generated documents, rebuilt whenever a command or event has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vb.api.asyncapi import build_asyncapi
from vb.api.docs_page import build_page
from vb.api.encoding import to_line
from vb.api.openapi import build_openapi
from vb.commands.registry import REGISTRY, Command
from vb.config import settings_table
from vb.events.base import Event
from vb.events.catalog import all_events
from vb.version import own_version


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """All documents of one state of the registry, ready to be sent."""

    openapi: bytes
    asyncapi: bytes
    html: bytes


def build_documents(commands: list[Command], events: dict[str, type[Event]]) -> DocumentSet:
    """Generate the documents."""
    openapi = build_openapi(commands, own_version())
    asyncapi = build_asyncapi(commands, events, own_version())
    page = build_page(openapi, asyncapi, settings_table())
    return DocumentSet(to_line(openapi), to_line(asyncapi), page.encode("utf-8"))


class Documents:
    """Keeps the documents; building them takes long enough to disturb audio, asking for them must not.

    All servers of a process have the same, so that one that is opened later does not disturb the others.
    """

    _kept: ClassVar[tuple[list[Command], dict[str, type[Event]], DocumentSet] | None] = None

    def __init__(self) -> None:
        self.current()

    def current(self) -> DocumentSet:
        """Return the documents of the commands and events as they are registered now."""
        commands, events = list(REGISTRY.values()), all_events()
        kept = Documents._kept
        if kept is None or commands != kept[0] or events != kept[1]:
            kept = Documents._kept = commands, events, build_documents(commands, events)
        return kept[2]
