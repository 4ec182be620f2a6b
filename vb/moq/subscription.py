"""What we have asked the peer for, and who gets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vb.moq.fields import Filter
from vb.moq.objects import Object
from vb.moq.publication import Track


class Sink(Protocol):
    """Takes the objects of a subscription."""

    def object(self, group: int, item: Object) -> None:
        """Take an object; those of other groups may come in between."""
        ...

    def group_over(self, group: int, size: int = 0) -> None:
        """The last object of a stream has come, or the end of a group was told.

        Args:
            group: which.
            size: of how many objects it was told, 0 where it was not.
        """
        ...

    def unusable(self) -> None:
        """There was an object that is longer than anything that we take."""
        ...

    def over(self, reason: str) -> None:
        """The peer has refused the subscription, or ended it; late objects may still come."""
        ...


@dataclass(slots=True)
class Subscription:
    """A track of the peer that we want.

    Attributes:
        track: its name.
        sink: takes its objects.
        wanted: which.
        alias: our short name for it.
        request_id: of the request, -1 before it is sent.
        live: neither refused nor over.
    """

    track: Track
    sink: Sink
    wanted: Filter
    alias: int
    request_id: int = -1
    live: bool = True
