"""Blocks of one leg's audio on their way to a session: behind the tick, or by a task that has to wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from vb.stt.backlog import Backlog
from vb.stt.base import Capabilities, Session


class Feeding:
    """Gives a session whatever a backlog has for it.

    The blocks of all legs that a tick makes whole go out together when it is over, as long as their sessions
    take them without a wait: a switch of tasks costs more than a block, and callers' packets go first. What
    has to wait is sent by `run`, and nothing overtakes it.

    Args:
        can: what the provider can do.
        phase: sets legs apart whose blocks would else be cut at the same time.

    Attributes:
        backlog: what was heard and not yet sent, and what was just sent.
    """

    def __init__(self, can: Capabilities, *, phase: int = 0) -> None:
        self.backlog = Backlog(block_ms=can.block_ms, phase=phase, on_block=self._on_block)
        self._can = can
        self._session: Session | None = None
        """Who takes blocks at once; None while `run` sends."""
        self._due = False
        self._sent_at = 0.0
        self._wake = trio.Event()
        self._finalize = False
        self._ending = False
        self._fault: Exception | None = None

    def finalize(self) -> None:
        """Ask for what was heard up to now as final."""
        self._finalize = True
        self._wake.set()

    def end(self) -> None:
        """Take no more audio; `run` sends what is left, and returns."""
        self._ending = True
        self.backlog.close()
        self._wake.set()

    def _on_block(self) -> None:
        """Take note of a block, inside the tick."""
        if self._session is None:
            self._wake.set()
        elif not self._due:
            self._due = True
            _put_soon(self)

    def put_due(self) -> None:
        """Send what is there; raises nothing."""
        self._due = False
        try:
            while self.backlog.has_block:
                session = self._session
                if session is None or not session.ready or (block := self.backlog.take()) is None:
                    self._wake.set()
                    return
                session.put(block)
                self._sent_at = trio.current_time()
        except Exception as error:  # a fault of this session, which `run` raises: no other is to feel it
            self._session, self._fault = None, error
            self._wake.set()

    async def run(self, session: Session, silent: Callable[[], Awaitable[None]]) -> None:
        """Send until the end, or until cancelled.

        Args:
            session: who gets it.
            silent: called when nothing was sent for as long as the provider bears.

        Raises:
            ProviderFailed: the provider is gone.
        """
        backlog, self._fault = self.backlog, None  # one may have come too late for the session before
        try:
            while True:
                self._session, self._wake = None, trio.Event()
                ending = self._ending
                while (block := backlog.take(rest=ending or self._finalize)) is not None:
                    await session.send(block)
                    ending = ending or self._ending
                if self._finalize:
                    self._finalize = False
                    await session.finalize()
                if ending:
                    await session.finish()
                    return
                if not self._wake.is_set():
                    self._session, self._sent_at = session, trio.current_time()
                    await self._wait(silent)
        finally:
            self._session = None

    async def _wait(self, silent: Callable[[], Awaitable[None]]) -> None:
        """Wait until something has to be done that the tick cannot do."""
        while not self._wake.is_set():
            with trio.move_on_at(self._sent_at + self._can.keep_alive_s):
                await self._wake.wait()
            if not self._wake.is_set() and trio.current_time() >= self._sent_at + self._can.keep_alive_s:
                self._session = None
                await silent()
                return
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault


AT_ONCE: Final = 16
"""Blocks that one call sends, a millisecond's work or so: no tick comes between."""
_DUE: Final = trio.lowlevel.RunVar[list[Feeding]]("feedings with a block")


def _put_soon(feeding: Feeding) -> None:
    """Let blocks go out in the loop's next pass, all with one call."""
    try:
        due = _DUE.get()
    except LookupError:
        due = list[Feeding]()
        _DUE.set(due)
    due.append(feeding)
    if len(due) == 1:
        trio.lowlevel.current_trio_token().run_sync_soon(_put_all, due)


def _put_all(due: list[Feeding]) -> None:
    """Send the blocks of some; the others follow in the next passes, so that the next tick fits between."""
    feedings, due[:] = due[:AT_ONCE], due[AT_ONCE:]
    if due:
        trio.lowlevel.current_trio_token().run_sync_soon(_put_all, due)
    for feeding in feedings:
        feeding.put_due()
