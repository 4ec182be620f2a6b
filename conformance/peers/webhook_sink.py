"""A webhook receiver: keeps every delivery, checks signatures, and can fail or stall on purpose."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from conformance.expect import Difference
from conformance.peers.http_server import Request, Response, serve_http
from conformance.peers.mailbox import Mailbox
from conformance.seen import Notes


@dataclass(frozen=True)
class Delivery:
    """One attempt to deliver an event."""

    at: float
    path: str
    headers: tuple[tuple[str, str], ...]
    raw: bytes
    event: dict[str, object]
    answered: int
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        found = next((value for key, value in self.headers if key.lower() == name.lower()), None)
        if found is not None:
            self.notes.add(f"webhook < {name.title()}")
        return found

    def is_signed_with(self, secret: str) -> bool:
        """Whether X-Signature-256 is the HMAC-SHA256 of the body under ``secret``."""
        digest = hmac.new(secret.encode(), self.raw, hashlib.sha256).hexdigest()
        return hmac.compare_digest(self.header("X-Signature-256") or "", f"sha256={digest}")


class WebhookSink:
    """The receiver. Paths are free; each may be given failures and a delay."""

    def __init__(self) -> None:
        self.port = 0
        self.notes = Notes()
        self.deliveries: Mailbox[Delivery] = Mailbox()
        self._failures: dict[str, list[int]] = {}
        self._delay_s: dict[str, float] = {}
        self._moved: dict[str, str] = {}

    def reset(self) -> None:
        """Forgets everything, for the next scenario."""
        self.deliveries = Mailbox()
        self.notes = Notes()
        self._failures.clear()
        self._delay_s.clear()
        self._moved.clear()

    def url(self, path: str = "/hook") -> str:
        """Where to point the server at."""
        return f"http://127.0.0.1:{self.port}{path}"

    def fail_next(self, path: str, *statuses: int) -> None:
        """Answers the next deliveries to a path with these statuses."""
        self._failures[path] = list(statuses)

    def delay(self, path: str, seconds: float) -> None:
        """Answers deliveries to a path late."""
        self._delay_s[path] = seconds

    def move(self, path: str, location: str) -> None:
        """Answers deliveries to a path with 308 and this Location."""
        self._moved[path] = location

    async def handle(self, request: Request) -> Response:
        """Takes one delivery."""
        waiting = self._failures.get(request.path)
        location = self._moved.get(request.path)
        status = waiting.pop(0) if waiting else 308 if location else 200
        try:
            event = json.loads(request.body)
        except ValueError:
            event = {}
        if not isinstance(event, dict):
            event = {}
        arrived = Delivery(time.monotonic(), request.path, request.headers, request.body, event, status)
        self.deliveries.put(arrived)
        await trio.sleep(self._delay_s.get(request.path, 0.0))
        return Response(status, headers=(("Location", location),) if location else ())

    async def delivery(
        self, kind: str, *, path: str = "/hook", within_s: float = 3.0, **fields: str
    ) -> Delivery:
        """The next delivery of an event type to a path, with these event fields.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.deliveries.take(
            lambda d: (
                d.path == path
                and d.event.get("type") == kind
                and all(d.event.get(key) == value for key, value in fields.items())
            ),
            within_s,
        )
        if found is None:
            seen = [f"{d.path} {d.event.get('type')}" for d in self.deliveries.unread()[-8:]]
            raise Difference(
                f"webhook {path}", f"{kind} {fields}", f"none within {within_s} s; unread {seen}"
            )
        return replace(found, event=self.notes.reading(kind, found.event), notes=self.notes)

    def order(self, path: str, **fields: object) -> list[str]:
        """The types delivered to a path so far, in order of arrival."""
        return [
            str(d.event.get("type"))
            for d in self.deliveries.items()
            if d.path == path and all(d.event.get(key) == value for key, value in fields.items())
        ]


@asynccontextmanager
async def open_sink(port: int = 0) -> AsyncIterator[WebhookSink]:
    """A receiver on a free port, or on a given one."""
    sink = WebhookSink()
    async with serve_http(sink.handle, port) as bound:
        sink.port = bound
        yield sink
