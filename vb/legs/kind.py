"""The kinds of leg that a server has. A new kind registers itself here, and nothing else needs to know it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import trio

from vb.errors import NotAvailable
from vb.legs.leg import Leg
from vb.legs.requests import CreateLeg
from vb.metrics import Reading

LegType = Literal[
    "sip_inbound",
    "sip_outbound",
    "webrtc",
    "whatsapp_in",
    "whatsapp_out",
    "websocket_in",
    "websocket_out",
    "moq_in",
]
"""All types of leg that clients may meet, in this server or another that speaks the same API."""


class LegKind(Protocol):
    """One kind of leg: how its legs come to be, and the transports that they share."""

    @property
    def name(self) -> str:
        """Return the word for it in `create_leg`'s type."""
        ...

    @property
    def leg_types(self) -> tuple[LegType, ...]:
        """Return the types that its legs may have."""
        ...

    async def create(self, request: CreateLeg) -> Leg:
        """Start an outgoing leg and return it as soon as clients may see it.

        Raises:
            VbError: it cannot be; nothing was sent or created.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the kind's transports until cancelled; started with the addresses that they listen on.

        Raises:
            OSError: an address cannot be bound.
        """
        ...

    def readings(self) -> Iterator[Reading]:
        """Give the kind's own figures for the metrics."""
        ...


class LegKinds:
    """The kinds by name, in the order in which they were registered."""

    def __init__(self) -> None:
        self._kinds: dict[str, LegKind] = {}

    def __iter__(self) -> Iterator[LegKind]:
        return iter(self._kinds.values())

    def add(self, kind: LegKind) -> None:
        """Register a kind under its name."""
        self._kinds[kind.name] = kind

    def get(self, name: str) -> LegKind:
        """Return a kind.

        Raises:
            NotAvailable: this server does not have it.
        """
        kind = self._kinds.get(name)
        if kind is None:
            raise NotAvailable("not available: type")
        return kind
