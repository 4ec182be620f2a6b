"""What is asked of the helper: utterances, transcripts and batches, each with a queue of what came of it.

Nobody waits here: whoever asks gives a bell that is rung when something has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal, Protocol

from vb.children.framing import Garbage
from vb.local_speech.engines.base import Ability
from vb.local_speech.frames import Frame, Kind, sound_of
from vb.providers.failure import FailureCategory, ProviderFailed

What = Literal["utterance", "transcript", "frames", "turn"]
"""What can be asked."""

MAX_INBOX: Final = 1024
"""Frames that wait for one reader at most: those of an utterance are bounded by what it may make ahead."""
ENDING: Final = frozenset({Kind.DONE, Kind.FAILED, Kind.ODDS, Kind.FINISHED})
"""Nothing follows these for the same id."""
AHEAD_S: Final = 5
"""Audio that an utterance is made ahead of its listener, besides one piece."""
AHEAD_SAMPLES: Final = 24_000 * AHEAD_S


class Request:
    """One of them.

    Attributes:
        id: of it.
        over: whether anything more can come.
    """

    def __init__(self, number: int, ring: Callable[[], None]) -> None:
        self.id = number
        self.over = False
        self._inbox: deque[Frame] = deque()
        self._ring = ring

    def put(self, frame: Frame) -> bool:
        """Take what came; returns whether there was room."""
        if self.over:
            return True
        if len(self._inbox) >= MAX_INBOX:
            return False
        self._inbox.append(frame)
        self.over = frame.kind in ENDING
        self._ring()
        return True

    def fail(self, frame: Frame) -> None:
        """End it, whatever waits to be taken: that is taken first."""
        if not self.over:
            self._inbox.append(frame)
            self.over = True
            self._ring()

    def next(self) -> Frame | None:
        """Return the oldest frame that nobody has taken."""
        return self._inbox.popleft() if self._inbox else None


class Requests:
    """Everything that is asked of one helper now, by id."""

    def __init__(self) -> None:
        self._open: dict[int, Request] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._open)

    def add(self, ring: Callable[[], None]) -> Request:
        """Return a new one; `ring` is called when something has come."""
        self._last += 1
        request = self._open[self._last] = Request(self._last, ring)
        return request

    def forget(self, request: Request) -> bool:
        """Expect nothing more; returns whether the helper has to be told."""
        known = self._open.pop(request.id, None) is not None
        return known and not request.over

    def deliver(self, frame: Frame) -> Request | None:
        """Give a frame to its request; returns one that has no room, and is to be ended.

        Raises:
            Garbage: no such id was ever given, or its audio is malformed.
        """
        if not 0 < frame.id <= self._last:
            raise Garbage(f"{frame.kind.name} for a request that there never was")
        if frame.kind is Kind.SOUND:
            sound_of(frame)
        request = self._open.get(frame.id)  # None: it was cancelled while this was on its way
        if request is None or request.put(frame):
            return None
        return request

    def fail_all(self, frame_of: Callable[[int], Frame]) -> None:
        """End everything: the helper is gone."""
        for request in self._open.values():
            request.fail(frame_of(request.id))
        self._open.clear()


class Exchange:
    """Something that is asked of the helper, for the one task that takes what comes of it.

    Args:
        request: of it.
        send: puts a frame in line for the helper.
        close: expects nothing more; it may be called again.
    """

    def __init__(self, request: Request, send: Callable[[Frame], None], close: Callable[[], None]) -> None:
        self._request = request
        self._send = send
        self.close = close

    @property
    def id(self) -> int:
        """Return its id in frames."""
        return self._request.id

    def send(self, frame: Frame) -> None:
        """Send a frame about it; what comes after its end is dropped."""
        if not self._request.over:
            self._send(frame)

    def next(self) -> Frame | None:
        """Return the oldest frame about it that was not taken; None when there is none yet.

        Raises:
            ProviderFailed: it has failed, or its last frame was taken before.
        """
        frame = self._request.next()
        if frame is None:
            if self._request.over:
                raise ProviderFailed("canceled", "local: nothing comes any more")
            return None
        if frame.kind is Kind.FAILED:
            fields = frame.fields
            category: FailureCategory = fields.get("category", "unknown")
            raise ProviderFailed(category, f"local: {fields.get('text', 'failed')}")
        return frame


class Engines(Protocol):
    """The engines of this machine, as providers see them."""

    @property
    def voices(self) -> tuple[Ability, ...]:
        """Return the voices, the best first."""
        ...

    @property
    def models(self) -> tuple[Ability, ...]:
        """Return the models that listen, the best first."""
        ...

    def check_room(self, what: What) -> None:
        """Refuse what there is no room for.

        Raises:
            Unavailable: too much is asked already, or the engines do not stay up.
        """
        ...

    def open(self, what: What, ring: Callable[[], None]) -> Exchange:
        """Ask for something; whoever does closes it, which drops what is not complete.

        Args:
            what: it is.
            ring: called when something has come of it.

        Raises:
            ProviderFailed: there is no room.
        """
        ...

    @property
    def slow(self) -> bool:
        """Return whether much of what was sent has not been taken."""
        ...

    async def not_slow(self) -> None:
        """Wait until most of what was sent is taken."""
        ...
