"""The way to the voice of one conversation: a socket that is opened ahead of need, or none for a while."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Final

import trio

from vb.providers.backoff import Backoff
from vb.providers.failure import ProviderFailed
from vb.tts.base import Provider, Session, Voice

KEPT_S: Final = 30.0
"""So long a socket waits for an answer."""
AGAIN: Final = Backoff(first_s=10.0, factor=2.0, cap_s=300.0, tries=1_000_000, budget_s=inf)
"""How long no socket is tried after one that did not open; sentences are asked for one by one meanwhile."""


class VoiceLine:
    """Opens sessions with a voice.

    Args:
        provider: of the voice.
        voice: whose it is.

    Attributes:
        provider: of the voice.
        was_ahead: whether the session that was opened last had waited for it: that it fails says little.
    """

    def __init__(self, provider: Provider, voice: Voice) -> None:
        self.provider = provider
        self.was_ahead = False
        self._voice = voice
        self._ahead: _Ahead | None = None
        self._refused = 0
        self._rests_until = -inf

    @property
    def streams(self) -> bool:
        """Whether text is to be given as it is written: the voice can, and its sockets open."""
        return self.provider.capabilities.streams_text and trio.current_time() >= self._rests_until

    def prepare(self, nursery: trio.Nursery) -> None:
        """Open a socket for the next answer, unless one waits already."""
        if self._waiting() is None and self.streams:
            self._ahead = _Ahead()
            nursery.start_soon(self._hold, self._ahead)

    async def _hold(self, ahead: _Ahead) -> None:
        try:
            with ahead.scope:
                async with self.provider.open(self._voice, streamed=True) as ahead.session:
                    ahead.ready.set()
                    with trio.move_on_after(KEPT_S):
                        await ahead.taken.wait()
                    if not ahead.taken.is_set():
                        self._forget(ahead)  # before its goodbye, behind which it can say nothing
                    else:
                        await trio.sleep_forever()
        except ProviderFailed:
            if ahead.session is None and not ahead.taken.is_set():  # else whoever has taken it says so
                self.refused()
        finally:
            ahead.session = None
            ahead.ready.set()
            self._forget(ahead)

    def _forget(self, ahead: _Ahead) -> None:
        if self._ahead is ahead:
            self._ahead = None

    def _waiting(self) -> _Ahead | None:
        """Return the socket that waits; one that has died meanwhile is let go."""
        ahead = self._ahead
        if ahead is not None and ahead.session is not None and ahead.session.is_over:
            self._ahead = None
            ahead.scope.cancel()
        return self._ahead

    def refused(self) -> None:
        """Take note that no socket has opened."""
        self._refused += 1
        self._rests_until = trio.current_time() + (AGAIN.delay_s(self._refused, 0.0, random.random) or 0.0)

    @asynccontextmanager
    async def open(self, *, streamed: bool) -> AsyncIterator[Session]:
        """Open a session, or take the one that waits.

        Raises:
            ProviderFailed: there is no way to the provider.
        """
        ahead = self._waiting() if streamed else None
        self.was_ahead = ahead is not None
        if ahead is not None:
            self._ahead = None
            ahead.taken.set()
            try:
                await ahead.ready.wait()
                if ahead.session is None:
                    raise ProviderFailed("retryable", f"{self.provider.name}: no connection")
                self._refused = 0
                yield ahead.session
            finally:
                ahead.scope.cancel()
            return
        async with self.provider.open(self._voice, streamed=streamed) as session:
            if streamed:
                self._refused = 0
            yield session


class _Ahead:
    """A socket that is opened for an answer to come.

    Attributes:
        scope: of the task that holds it.
        ready: set when it is open, or will never be.
        taken: set when an answer has it.
        session: it, while it is open.
    """

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ready = trio.Event()
        self.taken = trio.Event()
        self.session: Session | None = None
