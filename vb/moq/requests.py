"""Request ids of both sides, and how many requests either may make.

Spec: draft-ietf-moq-transport-11 sections 8.1, 8.5 and 8.6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from vb.moq.codes import MoqError, SessionCode, violation
from vb.moq.messages import MaxRequestId, Message, RequestsBlocked

GRANTED: Final = 32
"""Requests that the peer may make beyond those that it has made, at least."""

Send = Callable[[Message], None]


class OwnRequests:
    """What we ask for, as soon as the peer allows it.

    Args:
        first: our first id.
        send: sends a message.

    Attributes:
        stopped: whether no new request is made.
    """

    def __init__(self, first: int, send: Send) -> None:
        self.stopped = False
        self._next = first
        self._send = send
        self._allowed: int | None = None
        self._waiting: deque[Callable[[int], Message]] = deque()

    def begin(self, allowed: int) -> None:
        """Take note of what the peer allows at first: ids below this one."""
        self._allowed = allowed
        self._go_on()

    def make(self, message: Callable[[int], Message]) -> None:
        """Make a request, now or later, with the id that it is given then."""
        if not self.stopped:
            self._waiting.append(message)
            self._go_on()

    def allow(self, allowed: int) -> None:
        """Take note that the peer allows more.

        Raises:
            MoqError: it allows less, or the same.
        """
        if self._allowed is not None and allowed <= self._allowed:
            raise violation("the maximum request id did not grow")
        self._allowed = allowed
        self._go_on()

    def stop(self) -> None:
        """Make no new request."""
        self.stopped = True
        self._waiting.clear()

    def check_made(self, request_id: int) -> None:
        """Refuse the answer to a request that was never made.

        Raises:
            MoqError: it was not.
        """
        if request_id >= self._next or request_id % 2 != self._next % 2:
            raise violation(f"request {request_id} was never made")

    def _go_on(self) -> None:
        if self._allowed is None:
            return
        while self._waiting and self._next < self._allowed:
            number = self._next
            self._next += 2
            self._send(self._waiting.popleft()(number))
        if self._waiting:
            self._send(RequestsBlocked(self._allowed))


class PeerRequests:
    """What the peer asks for.

    Args:
        first: its first id.
        send: sends a message.

    Attributes:
        granted: it may use ids below this one.
    """

    def __init__(self, first: int, send: Send) -> None:
        self.granted = first + 4 * GRANTED
        self._next = first
        self._send = send

    def count(self, request_id: int) -> None:
        """Take note of a request.

        Raises:
            MoqError: it has another id than the next one, or is one too many.
        """
        if request_id >= self.granted:
            raise MoqError(SessionCode.TOO_MANY_REQUESTS, f"request {request_id} is one too many")
        if request_id != self._next:
            raise MoqError(SessionCode.INVALID_REQUEST_ID, f"request {request_id} is not {self._next}")
        self._next += 2
        if self.granted - self._next <= 2 * GRANTED:
            self.granted += 2 * GRANTED
            self._send(MaxRequestId(self.granted))

    def check_past(self, request_id: int) -> None:
        """Let what crosses with the end of a request pass.

        Raises:
            MoqError: there was no such request.
        """
        if request_id >= self._next or request_id % 2 != self._next % 2:
            raise violation(f"request {request_id} does not exist")
