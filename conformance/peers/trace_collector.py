"""A collector of traces: takes OTLP over HTTP with JSON and keeps the spans."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from conformance.peers.http_server import Request, Response, serve_http


@dataclass
class TraceCollector:
    """It.

    Attributes:
        spans: that came, each with the name of its service as `service`.
        keys: what came as the header X-Key.
    """

    spans: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    port: int = 0
    _came: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: Request) -> Response:
        """Takes one request."""
        if (request.method, request.path) != ("POST", "/v1/traces"):
            return Response(404)
        self.keys.add(request.header("X-Key"))
        for resource in json.loads(request.body)["resourceSpans"]:
            named = {each["key"]: each["value"] for each in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                service = named["service.name"]["stringValue"]
                self.spans += [{**span, "service": service} for span in scope["spans"]]
        self._came.set()
        self._came = trio.Event()
        return Response(200, b"{}", "application/json")

    async def until(self, name: str, within_s: float = 10.0) -> dict[str, Any]:
        """Wait for a span of this name and return the first."""
        with trio.fail_after(within_s):
            while not (found := [span for span in self.spans if span["name"] == name]):
                await self._came.wait()
        return found[0]


@asynccontextmanager
async def open_trace_collector() -> AsyncIterator[TraceCollector]:
    """Runs it on a free port inside the block."""
    collector = TraceCollector()
    async with serve_http(collector.handle) as collector.port:
        yield collector
