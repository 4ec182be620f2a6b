"""The server's use of its helper process: started on first use, started anew when it ends, shared by all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from vb.blocking import Bell
from vb.children.framing import Garbage
from vb.children.pulse import PING_S, ChildFault
from vb.children.restarts import Restarts
from vb.children.tasks.process import HelperProcess, Launch
from vb.errors import Unavailable
from vb.local_speech.engines.base import Ability
from vb.local_speech.frames import Frame, Kind
from vb.local_speech.link import Link
from vb.local_speech.requests import Exchange, Requests, What
from vb.local_speech.speaking import failure
from vb.local_speech.work import MAX_BATCHES, MAX_TURNS
from vb.metrics import Reading
from vb.providers.failure import FailureCategory, ProviderFailed

log = structlog.get_logger(__name__)

PATIENCE: Final = 3
"""After so many helpers that were not, requests are refused while the next one has to wait."""
_ENDED: Final = "ended"
_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked of a helper at a time.

    Attributes:
        utterances: that are spoken or wait.
        transcripts: that are written.
        memory_mb: of the helper, from which on it is replaced.
    """

    utterances: int = 32
    transcripts: int = 32
    memory_mb: int = 1024


class LocalSpeech:
    """The engines of this machine.

    Args:
        launch: starts a helper.
        voices: that there are, the best first.
        models: that listen, the best first.
        limits: how much is asked at a time.
        draw: gives numbers from 0 to 1 at random, for the spread of restarts.
        detects: whether there is a detector that tells speech from other sounds.
        judges_turns: whether there is a turn model.
    """

    def __init__(
        self,
        launch: Launch,
        voices: tuple[Ability, ...],
        models: tuple[Ability, ...],
        limits: Limits | None = None,
        draw: Callable[[], float] = random.random,
        *,
        detects: bool = False,
        judges_turns: bool = False,
    ) -> None:
        self.detects = detects
        self.judges_turns = judges_turns
        self.voices = voices
        self.models = models
        self._launch = launch
        self._limits = limits or Limits()
        self._restarts = Restarts(draw)
        self._link = Link(self._limits.memory_mb)
        self._requests = Requests()
        self._kinds: dict[int, What] = {}
        self._wake = Bell()
        """Rung when there is something to start for, or to write."""
        self._drained = trio.Event()
        self._fault = ""
        self._rests_until = 0.0
        self._starts = 0
        self._running = False
        self._refused: dict[What, int] = {"utterance": 0, "transcript": 0, "frames": 0, "turn": 0}
        self._faults = 0
        self._dropped = 0

    def count(self, what: What) -> int:
        """Return how many of them are asked now."""
        return sum(kind == what for kind in self._kinds.values())

    def check_room(self, what: What) -> None:
        """Refuse what there is no room for.

        Raises:
            Unavailable: too much is asked already, or the helper does not stay up.
        """
        limit = {
            "utterance": self._limits.utterances,
            "transcript": self._limits.transcripts,
            "frames": MAX_BATCHES,
            "turn": MAX_TURNS,
        }[what]
        resting_s = self._rests_until - trio.current_time()
        if self._restarts.failures >= PATIENCE and resting_s > 0:
            self._refused[what] += 1
            raise Unavailable("local speech does not work now", retry_after_s=max(1, round(resting_s)))
        if self.count(what) >= limit:
            self._refused[what] += 1
            raise Unavailable("local speech is busy")

    def open(self, what: What, ring: Callable[[], None]) -> Exchange:
        """Ask for something; whoever does closes it, which drops what is not complete.

        Args:
            what: it is.
            ring: called when something has come of it.

        Raises:
            ProviderFailed: there is no room.
        """
        try:
            self.check_room(what)
        except Unavailable as exc:
            raise ProviderFailed("service_unavailable", exc.message) from None
        request = self._requests.add(ring)
        self._kinds[request.id] = what
        self._wake.ring()

        def close() -> None:
            self._kinds.pop(request.id, None)
            if self._requests.forget(request):
                self.send(Frame(Kind.CANCEL, request.id))

        return Exchange(request, self.send, close)

    def send(self, frame: Frame) -> None:
        """Put a frame in line for the helper."""
        self._link.send(frame)
        self._wake.ring()

    @property
    def slow(self) -> bool:
        """Return whether the helper has not taken most of what was sent."""
        return self._link.slow

    async def not_slow(self) -> None:
        """Wait until the helper has taken most of what was sent."""
        while self.slow:
            await self._drained.wait()

    async def run(self) -> None:
        """Run a helper whenever one is needed, for ever.

        Cancellation: ends it; everything that is asked then fails.
        """
        try:
            while True:
                while not len(self._requests):
                    await self._wake.wait()
                await self._live_and_rest()
        finally:
            self._fail_all("canceled", "the server stops")

    async def _live_and_rest(self) -> None:
        link, started = self._link, trio.current_time()
        fault = await self._live(link)
        self._dropped += link.dropped
        if self._link is link:  # else it was replaced as soon as its end was decided
            self._link = Link(self._limits.memory_mb)
        self._set_drained()
        if not fault:
            return
        self._faults += 1
        self._fail_all("retryable", "the engines have stopped")
        now = trio.current_time()
        rest_s = self._restarts.rest_s(now - started)
        self._rests_until = now + rest_s
        log.error("local speech stopped", reason=fault, restart_in_s=round(rest_s, 1))
        await trio.sleep(rest_s)

    def _fail_all(self, category: FailureCategory, text: str) -> None:
        self._requests.fail_all(lambda number: failure(number, category, text))

    async def _live(self, link: Link) -> str:
        """Run one helper until it ends; returns what went wrong, or nothing if it has done its time."""
        try:
            process = await self._launch()
        except OSError as exc:
            return f"cannot be started: {exc.strerror}"
        self._starts += 1
        self._running = True
        self._fault = ""
        link.begin(trio.current_time())
        try:
            async with trio.open_nursery() as nursery:
                end = nursery.cancel_scope.cancel
                nursery.start_soon(self._read, link, process, end)
                nursery.start_soon(self._write, link, process, end)
                nursery.start_soon(self._watch, link, end)
                nursery.start_soon(self._listen, process)
        finally:
            self._running = False
            with trio.CancelScope(shield=True):
                status = await process.end()
        return f"it ended with status {status}" if self._fault == _ENDED else self._fault

    def _end(self, fault: str, end: Callable[[], None]) -> None:
        self._fault = self._fault or fault
        end()

    async def _read(self, link: Link, process: HelperProcess, end: Callable[[], None]) -> None:
        try:
            while data := await process.incoming.receive_some(_READ_BYTES):
                for frame in link.receive(bytes(data), trio.current_time()):
                    self._deliver(frame)
                self._wake.ring()  # it may have become ready
        except (ChildFault, Garbage) as exc:
            self._end(str(exc), end)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self._end(_ENDED, end)

    def _deliver(self, frame: Frame) -> None:
        full = self._requests.deliver(frame)
        if full is not None:
            full.fail(failure(full.id, "unknown", "nobody takes what the engines make"))
            self.send(Frame(Kind.CANCEL, full.id))

    async def _write(self, link: Link, process: HelperProcess, end: Callable[[], None]) -> None:
        try:
            while True:
                while data := link.outgoing(_WRITE_BYTES):
                    if not link.slow:
                        self._set_drained()
                    await process.outgoing.send_all(data)
                await self._wake.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(_ENDED, end)

    def _set_drained(self) -> None:
        self._drained.set()
        self._drained = trio.Event()

    async def _watch(self, link: Link, end: Callable[[], None]) -> None:
        """Ask how the helper is, and end it when it is not well or has become too large."""
        while True:
            # Becoming ready brings the deadline forward, so it is looked at again and again.
            await trio.sleep_until(min(link.deadline(), trio.current_time() + PING_S))
            try:
                link.tick(trio.current_time())
            except ChildFault as exc:
                self._end(str(exc), end)
            if link.bloated and not len(self._requests):
                log.info("local speech is started anew", rss_kb=link.health.rss_kb)
                self._link = Link(self._limits.memory_mb)
                end()
            self._wake.ring()

    async def _listen(self, process: HelperProcess) -> None:
        try:
            said = await process.listen()
        except trio.ClosedResourceError:
            return
        if said:
            log.debug("local speech said", text=said)

    def readings(self) -> Iterator[Reading]:
        """Return gauges for the metrics."""
        health = self._link.health
        yield "local_speech_running", "Whether the engines' process runs", self._running, {}
        yield "local_speech_starts", "How often it was started", self._starts, {}
        yield "local_speech_faults", "How often it ended without being asked to", self._faults, {}
        yield "local_speech_memory_bytes", "Its memory", health.rss_kb * 1024 * self._running, {}
        yield "local_speech_utterances", "Utterances that are spoken or wait", self.count("utterance"), {}
        yield "local_speech_transcripts", "Transcripts that are written", self.count("transcript"), {}
        for what, count in self._refused.items():
            yield "local_speech_refused", "What there was no room for", count, {"what": what}
        dropped = self._dropped + self._link.dropped
        yield "local_speech_dropped", "Audio that the engines did not take in time, in frames", dropped, {}
