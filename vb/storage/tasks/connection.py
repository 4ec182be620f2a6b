"""One HTTP connection to a storage: as fast as it goes, given up when it does not go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import h11
import trio

from vb.storage.base import SLOWEST_BYTES_PER_S, HostRefused, StorageError, Unreachable
from vb.storage.endpoint import Endpoint
from vb.storage.s3 import Answer
from vb.web.errors import UrlRefused, WebError
from vb.web.policy import parse_url
from vb.web.tasks.client import WebClient

Read: TypeAlias = Callable[[int, int], Awaitable[bytes]]
"""Returns so many bytes of a body from an offset on."""

STALL_TIMEOUT_S: Final = 20.0
"""How long nothing may move, neither to the storage nor from it."""
_CHUNK_BYTES: Final = 256 * 1024
_MAX_ANSWER_BYTES: Final = 256 * 1024
_ALL_SENT: Final = frozenset({h11.DONE, h11.MUST_CLOSE, h11.CLOSED})


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent after the headers."""

    size: int
    read: Read


async def connect(server: Endpoint, web: WebClient, *, trusted: bool) -> HttpConnection:
    """Connect to a server.

    Raises:
        HostRefused: the host may not be connected to.
        Unreachable: no address answers.
    """
    try:
        return HttpConnection(await web.connect(parse_url(str(server)), trusted=trusted))
    except UrlRefused as refusal:
        raise HostRefused(f"s3_endpoint: {refusal}") from None
    except WebError as failure:
        raise Unreachable(f"{server.host}: {failure}") from None


class HttpConnection:
    """A connection that takes one request after the other.

    Args:
        stream: to the server; owned by the connection.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._problem: StorageError | None = None
        self._last_write = False

    @property
    def usable(self) -> bool:
        """Whether a further request can be sent."""
        return self._http.our_state is h11.IDLE

    async def aclose(self) -> None:
        """Close it without ceremony: what was not sent does not count."""
        await trio.aclose_forcefully(self._stream)

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: Body, *, patience_s: float
    ) -> Answer:
        """Send a request and return its answer.

        A refusal may come while the body is still being sent. A yes may not: whoever says it has not got what
        it says yes to.

        Args:
            method: in capitals.
            target: path and query, encoded.
            headers: of the request, without those that HTTP itself needs.
            body: what to send.
            patience_s: how much longer than usual the answer may take once all is sent.

        Raises:
            Unreachable: there is no answer, it came too early, or nothing moved for too long.
            StorageError: the body could not be read.
        """
        length = [("content-length", str(body.size))] if body.size or method in ("PUT", "POST") else []
        head = h11.Request(method=method, target=target, headers=[*headers.items(), *length])
        answer: Answer | None = None
        self._last_write = False
        with trio.CancelScope(deadline=trio.current_time() + STALL_TIMEOUT_S) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, head, body, scope, patience_s)
                answer = await self._receive()
                if answer is None or not answer.is_yes or not self._last_write:
                    nursery.cancel_scope.cancel()
        if self._problem is not None:
            raise self._problem
        if answer is None:
            raise Unreachable("nothing moves" if scope.cancelled_caught else "connection lost")
        if answer.is_yes and self._http.our_state not in _ALL_SENT:
            raise Unreachable(f"status {answer.status} before the end of the body")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return answer

    async def begin(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        """Send a request that has no body and return the head of its answer; the rest is for `body`.

        Raises:
            Unreachable: there is none.
        """
        with trio.move_on_after(STALL_TIMEOUT_S):
            try:
                await self._write(h11.Request(method=method, target=target, headers=[*headers.items()]))
                await self._write(h11.EndOfMessage())
                while True:
                    event = await self._event()
                    if isinstance(event, h11.Response):
                        return Answer(event.status_code, _texts(event))
                    if not isinstance(event, h11.InformationalResponse):
                        break
            except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            raise Unreachable("connection lost")
        raise Unreachable("nothing moves")

    async def body(self, size: int) -> AsyncIterator[bytes]:
        """Give the body of the answer that has begun, as it comes.

        Args:
            size: bytes that it has to have.

        Raises:
            Unreachable: it ends early, or nothing moved for too long.
        """
        while size > 0:
            data = b""
            with trio.move_on_after(STALL_TIMEOUT_S):
                try:
                    event = await self._event()
                except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                    event = None
                data = bytes(event.data) if isinstance(event, h11.Data) else b""
            size -= len(data)
            if not data or size < 0:
                raise Unreachable("the body is not as long as it was said to be")
            yield data

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(65536)))
        return event

    async def _send(self, head: h11.Request, body: Body, scope: trio.CancelScope, patience_s: float) -> None:
        try:
            self._last_write = not body.size
            await self._write(head)
            sent = 0
            while sent < body.size:
                data = await body.read(sent, min(_CHUNK_BYTES, body.size - sent))
                if not data:
                    raise StorageError("the file could not be read", "it became shorter")
                sent += len(data)
                self._last_write = sent == body.size
                await self._write(h11.Data(data=data))
                scope.deadline = trio.current_time() + STALL_TIMEOUT_S
            await self._write(h11.EndOfMessage())
            # What lies in buffers may go out as slowly as the rest before the answer is due.
            patience_s += STALL_TIMEOUT_S + body.size / SLOWEST_BYTES_PER_S
            scope.deadline = trio.current_time() + patience_s
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever refuses a body early may have said why
        except StorageError as failure:
            self._problem = failure
            scope.cancel()

    async def _write(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)

    async def _receive(self) -> Answer | None:
        head: h11.Response | None = None
        content = bytearray()
        while len(content) <= _MAX_ANSWER_BYTES:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(bytes(await self._stream.receive_some(65536)))
                    continue
            except (h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Answer(head.status_code, _texts(head), bytes(content))
            elif not isinstance(event, h11.InformationalResponse):
                return None
        return None


def _texts(head: h11.Response) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
