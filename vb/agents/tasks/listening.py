"""What an agent that runs here understands of its user: audio to a provider of transcripts, words back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import trio

from vb.providers.backoff import Backoff
from vb.providers.failure import WORTH_A_RETRY, ProviderFailed
from vb.stt.base import FinalText, Heard, Options, PartialText, Provider, Session
from vb.stt.tasks.feeding import Feeding

AGAIN: Final = Backoff(first_s=0.25, factor=2.0, cap_s=4.0, tries=12, budget_s=30.0)


class Listening:
    """Keeps a session with a provider open as long as the conversation lives.

    Args:
        provider: of transcripts.
        options: how it listens.
        told: gets what was heard; must not wait.
        failed: told of each failure that another connection may cure, and of the last one.
    """

    def __init__(
        self,
        provider: Provider,
        options: Options,
        told: Callable[[Heard], None],
        failed: Callable[[ProviderFailed], None],
    ) -> None:
        self._provider = provider
        self._options = options
        self._tell = told
        self._partial: PartialText | None = None
        self._failed = failed
        self._feeding = Feeding(provider.capabilities)
        self.backlog = self._feeding.backlog

    def _told(self, heard: Heard) -> None:
        if isinstance(heard, PartialText):
            self._partial = heard
        elif isinstance(heard, FinalText):
            self._partial = None
        self._tell(heard)

    def _keep_words(self) -> None:
        """Let words be final that a session has only guessed: its audio is not sent to the next one again."""
        partial, self._partial = self._partial, None
        if partial is not None:
            self._tell(partial.as_final())

    def finalize(self) -> None:
        """Ask for what was said up to now as final, where the provider can be asked."""
        if self._provider.capabilities.finalize:
            self._feeding.finalize()

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            ProviderFailed: the provider has failed for good.
        """
        failures, trouble_at = 0, 0.0
        while True:
            begun = trio.current_time()
            failure = await self._try()
            now = trio.current_time()
            if now - begun > AGAIN.cap_s:
                failures = 0
            failures += 1
            self._keep_words()
            self._failed(failure)
            if failures == 1:
                trouble_at = now
            wait_s = None
            if failure.category in WORTH_A_RETRY:
                wait_s = AGAIN.delay_s(failures, now - trouble_at, random.random)
            if wait_s is None:
                raise failure
            await trio.sleep(wait_s)

    async def _try(self) -> ProviderFailed:
        failures: list[ProviderFailed] = []
        try:
            async with self._provider.open(self._options) as session:
                async with trio.open_nursery() as nursery:

                    async def send() -> None:
                        try:
                            await self._feeding.run(session, session.keep_alive)
                        except ProviderFailed as failed:
                            failures.append(failed)
                            nursery.cancel_scope.cancel()

                    nursery.start_soon(send)
                    try:
                        await self._receive(session)
                    except ProviderFailed as failed:
                        failures.insert(0, failed)
                    nursery.cancel_scope.cancel()
                self.backlog.put_back(session.unheard_samples)
        except ProviderFailed as failed:
            failures.append(failed)
        return (
            failures[0] if failures else ProviderFailed("retryable", f"{self._provider.name}: it has ended")
        )

    async def _receive(self, session: Session) -> None:
        while (heard := await session.receive()) is not None:
            for item in heard:
                self._told(item)
