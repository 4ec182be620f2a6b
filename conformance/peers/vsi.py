"""A VSI client: commands with their results, and every event in the order it came."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from conformance.expect import Difference
from conformance.peers.mailbox import Mailbox
from conformance.peers.websocket import open_websocket
from conformance.seen import Notes

Frame = dict[str, object]


class Vsi:
    """One connection."""

    def __init__(self, socket: WebSocketConnection, name: str, notes: Notes) -> None:
        self.name = name
        self.notes = notes
        self.frames: Mailbox[Frame] = Mailbox()
        self.closed = trio.Event()
        self.close_code: int | None = None
        self.sent: set[str] = set()
        self._socket = socket
        self._number = 0

    async def read(self) -> None:
        """Collects frames until the connection ends."""
        try:
            while True:
                message = await self._socket.get_message()
                try:
                    frame = json.loads(message)
                except ValueError:
                    frame = {"type": "(unreadable)", "raw": repr(message)}
                self.frames.put(
                    frame if isinstance(frame, dict) else {"type": "(not an object)", "raw": frame}
                )
        except ConnectionClosed as closed:
            self.close_code = closed.reason.code if closed.reason is not None else None
            self.closed.set()

    async def send(self, frame: Frame | str | bytes) -> None:
        """Sends an object as JSON, or text and bytes as they are."""
        if isinstance(frame, dict):
            self.sent.add(str(frame.get("type")))
        await self._socket.send_message(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def frame(self, kind: str, within_s: float = 2.0) -> Frame:
        """The next frame of a type.

        Raises:
            Difference: when none comes in time.
        """
        found = await self.frames.take(lambda f: f.get("type") == kind, within_s)
        if found is None:
            seen = [f.get("type") for f in self.frames.unread()[-8:]]
            raise Difference(
                f"vsi {self.name}", f"a {kind} frame", f"none within {within_s} s; unread {seen}"
            )
        return self.notes.reading(kind, found)

    async def command(self, kind: str, payload: Frame | None = None, within_s: float = 5.0) -> Frame:
        """Sends a command and returns its result or error frame.

        Raises:
            Difference: when no reply comes in time.
        """
        self._number += 1
        request_id = f"{self.name}-{self._number}"
        await self.send({"type": kind, "request_id": request_id, "payload": payload or {}})
        found = await self.frames.take(lambda f: f.get("request_id") == request_id, within_s)
        if found is None:
            raise Difference(f"vsi {self.name}: {kind}", "a reply", f"none within {within_s} s")
        self.notes.add(f"{found.get('type')} < request_id")
        if found.get("type") == f"{kind}.result":
            self.notes.sent(kind, payload)
        elif isinstance(data := found.get("data"), dict) and data.get("code") == 501:
            self.notes.unbuilt(kind, payload)
        return self.notes.reading(str(found.get("type")), found)

    async def ping(self, data: bytes, within_s: float = 2.0) -> None:
        """Sends a control ping and waits for the pong that repeats its data.

        Raises:
            Difference: when none comes in time.
        """
        with trio.move_on_after(within_s):
            await self._socket.ping(data)
            return
        raise Difference(f"vsi {self.name}: ping", "a pong", f"none within {within_s} s")

    async def wait_closed(self, within_s: float = 2.0) -> int | None:
        """Waits for the server to close and returns the close code.

        Raises:
            Difference: when it stays open.
        """
        with trio.move_on_after(within_s):
            await self.closed.wait()
        if not self.closed.is_set():
            raise Difference(f"vsi {self.name}", "closed", "still open")
        return self.close_code


@asynccontextmanager
async def open_vsi(
    url: str,
    name: str = "main",
    headers: tuple[tuple[str, str], ...] = (),
    notes: Notes | None = None,
) -> AsyncIterator[Vsi]:
    """A client that has seen its ``connected`` frame.

    Raises:
        Difference: when the connection is refused or the first frame is another.
    """
    asked = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    async with open_websocket(url, f"vsi {name}", headers, most_waiting=1000) as (socket, nursery):
        made = Notes() if notes is None else notes
        made.answered("GET /v1/vsi", 101)
        made.sent("GET /v1/vsi", asked)
        client = Vsi(socket, name, made)
        nursery.start_soon(client.read)
        first = await client.frame("connected", 5.0)
        if first != {"type": "connected"} or client.frames.items()[0] != first:
            raise Difference(f"vsi {name}: first frame", {"type": "connected"}, client.frames.items()[0])
        yield client
