"""Brings spans to a collector, in batches, beside all else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import structlog
import trio

from vb.channels import Channel
from vb.config import TracingConfig
from vb.events.base import Published
from vb.events.bus import EventBus
from vb.ids import IdSource
from vb.metrics import Reading
from vb.tracing.spans import Span, Spans, write
from vb.web.errors import WebError
from vb.web.tasks.client import WebClient

log = structlog.get_logger(__name__)

WAITING: Final = 2048
"""Spans that wait for the collector at most; the oldest give way."""
BATCH: Final = 512
GATHER_S: Final = 2.0
REQUEST_S: Final = 10.0
FLUSH_S: Final = 2.0
"""How long the server's end waits for the collector."""
PAUSES_S: Final = (1.0, 2.0, 4.0)
"""Before each further try, where one may help."""
_WORTH_A_RETRY: Final = frozenset({429, 502, 503, 504})
_MAX_ANSWER_BYTES: Final = 65_536


class Tracing:
    """The traces of a server.

    Args:
        config: where the collector is; without an endpoint nothing is traced.
        bus: where events come from.
        ids: of traces and spans.
        web: the way out.
    """

    def __init__(self, config: TracingConfig, bus: EventBus, ids: IdSource, web: WebClient) -> None:
        self._config = config
        self._instance = bus.instance_id
        self._web = web
        self._spans = Spans(ids)
        self._waiting: Channel[Span] = Channel(WAITING, overflow="drop_oldest", name="spans")
        self._headers = dict(config.header_pairs())
        self._held: list[Span] = []
        self._sent = 0
        self._lost = 0
        if config.endpoint:
            bus.subscribe(self._take)

    def _take(self, published: Published) -> None:
        span = self._spans.take(published)
        if span is not None:
            self._waiting.put(span)

    async def run(self) -> None:
        """Bring spans to the collector until cancelled.

        Cancellation: what waits is brought there, within two seconds.
        """
        if not self._config.endpoint:
            return
        try:
            while True:
                self._held.append(await self._waiting.get())
                await trio.sleep(GATHER_S)
                await self._bring()
        finally:
            with trio.move_on_after(FLUSH_S, shield=True):
                await self._bring()

    async def _bring(self) -> None:
        self._held += self._waiting.drain()
        while self._held:
            batch = self._held[:BATCH]
            await self._send(batch)
            del self._held[: len(batch)]

    async def _send(self, batch: list[Span]) -> None:
        """Bring a batch there, or give it up: traces are not worth more."""
        body = write(batch, self._config.service_name, self._instance)
        problem = ""
        for pause_s in (0.0, *PAUSES_S):
            await trio.sleep(pause_s)
            problem, again = await self._try(body)
            if not problem:
                self._sent += len(batch)
                return
            if not again:
                break
        self._lost += len(batch)
        log.warning("traces not delivered", spans=len(batch), problem=problem)

    async def _try(self, body: bytes) -> tuple[str, bool]:
        """Return what went wrong, "" for nothing, and whether another try may help."""
        try:
            status, _ = await self._web.ask(
                "POST",
                f"{self._config.endpoint.rstrip('/')}/v1/traces",
                within_s=REQUEST_S,
                max_bytes=_MAX_ANSWER_BYTES,
                headers={"Content-Type": "application/json", **self._headers},
                content=body,
                trusted=True,
            )
        except WebError as error:
            return str(error), True
        return ("" if 200 <= status < 300 else f"status {status}"), status in _WORTH_A_RETRY

    def readings(self) -> Iterator[Reading]:
        """Give the figures."""
        if not self._config.endpoint:
            return
        text = "Spans for the collector of traces"
        lost = self._lost + self._waiting.dropped
        yield "trace_spans", text, self._sent, {"outcome": "delivered"}
        yield "trace_spans", text, lost, {"outcome": "lost"}
        yield (
            "trace_calls_skipped",
            "Calls without a trace because there were too many",
            self._spans.skipped,
            {},
        )
