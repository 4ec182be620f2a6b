"""What happens to transfers inside a call, as its owner sees it."""

from __future__ import annotations

from dataclasses import dataclass

from vb.sip.refer import ReferRequest


@dataclass(frozen=True, slots=True)
class ReferAccepted:
    """The peer accepted our REFER; without a subscription nothing more will be heard of it."""

    status: int
    reason: str
    is_subscribed: bool


@dataclass(frozen=True, slots=True)
class ReferRefused:
    """The peer refused our REFER, or did not answer it (408)."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """How far the peer has come with our REFER."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReferFinished:
    """The last word about our REFER; `error` says what went wrong where no final status tells it."""

    status: int | None
    reason: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """The peer asks us to call somebody; waits for `accept_refer` or `decline_refer`."""

    refer: ReferRequest


@dataclass(frozen=True, slots=True)
class ReferExpired:
    """The peer's REFER was given up: nobody decided (603), or it took too long (408). The peer knows."""

    status: int
    reason: str


ReferEvent = ReferAccepted | ReferRefused | ReferProgress | ReferFinished | ReferReceived | ReferExpired
