"""A small HTTP/1.1 client that sends exactly what it is told, odd paths and broken bodies included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

import trio

from conformance.expect import Difference
from conformance.seen import Notes
from conformance.surface import operation

MAX_RESPONSE_BYTES = 32 << 20
Body = Mapping[str, object] | list[object] | str | bytes | None


@dataclass(frozen=True)
class Reply:
    """One HTTP response."""

    request: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    notes: Notes = field(default_factory=Notes, compare=False, repr=False)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        found = next((value for key, value in self.headers if key == name.lower()), None)
        if found is not None:
            self.notes.add(f"headers < {name.title()}")
        return found

    @property
    def json(self) -> object:
        """The body as JSON.

        Raises:
            Difference: when it is none.
        """
        try:
            return self.notes.reading(operation(*self.request.split(" ", 1)), json.loads(self.body))
        except ValueError as problem:
            raise Difference(f"{self.request}: body", "JSON", self.body) from problem


class HttpConnection:
    """One keep-alive connection; ``headers`` go with each of its requests."""

    def __init__(self, host: str, port: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._host, self._port = host, port
        self._headers = headers
        self._stream: trio.SocketStream | None = None
        self._buffer = b""

    async def __aenter__(self) -> HttpConnection:
        self._stream = await trio.open_tcp_stream(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)

    async def ask(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: tuple[tuple[str, str], ...] = (),
        within_s: float = 10.0,
    ) -> Reply:
        """Sends one request and reads its response.

        Raises:
            Difference: when no whole response comes in time.
        """
        name = f"{method} {path}"
        try:
            with trio.fail_after(within_s):
                await self._send(method, path, body, (*self._headers, *headers))
                return await self._receive(name, method)
        except (trio.TooSlowError, trio.BrokenResourceError, EOFError, ValueError, IndexError) as problem:
            raise Difference(name, "a response", f"{type(problem).__name__} {problem}") from problem

    async def empty_line(self) -> None:
        """Sends an empty line, as old clients do behind a body."""
        assert self._stream is not None
        await self._stream.send_all(b"\r\n")

    async def _send(self, method: str, path: str, body: Body, headers: tuple[tuple[str, str], ...]) -> None:
        assert self._stream is not None
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        payload = b""
        if body is not None:
            payload = (
                body
                if isinstance(body, bytes)
                else body.encode()
                if isinstance(body, str)
                else json.dumps(body).encode()
            )
            lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        lines += [f"{key}: {value}" for key, value in headers]
        await self._stream.send_all("\r\n".join([*lines, "", ""]).encode() + payload)

    async def _more(self) -> None:
        assert self._stream is not None
        chunk = await self._stream.receive_some(65536)
        if not chunk:
            raise EOFError("connection closed")
        self._buffer += chunk
        if len(self._buffer) > MAX_RESPONSE_BYTES:
            raise EOFError("response too large")

    async def _line(self) -> str:
        while b"\r\n" not in self._buffer:
            await self._more()
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line.decode("latin-1")

    async def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def _receive(self, name: str, method: str) -> Reply:
        status = int((await self._line()).split(" ")[1])
        headers: list[tuple[str, str]] = []
        while line := await self._line():
            key, _, value = line.partition(":")
            headers.append((key.lower(), value.strip()))
        fields = dict(headers)
        body = b""
        if method == "HEAD" or status in (204, 304) or 100 <= status < 200:
            pass
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self._line()).split(";")[0], 16):
                body += await self._exactly(size)
                await self._line()
            await self._line()
        elif "content-length" in fields:
            body = await self._exactly(int(fields["content-length"]))
        else:
            try:
                while True:
                    await self._more()
            except EOFError:
                body, self._buffer = self._buffer, b""
        return Reply(name, status, tuple(headers), body)


class HttpClient:
    """Asks one server, a fresh connection for each request.

    Attributes:
        succeeded: Method and path of every request that was answered with 2xx.
    """

    def __init__(
        self,
        host: str,
        port: int,
        headers: tuple[tuple[str, str], ...] = (),
        notes: Notes | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.headers = headers
        self.notes = Notes() if notes is None else notes
        self.succeeded: set[tuple[str, str]] = set()

    def connection(self) -> HttpConnection:
        """A connection for several requests in a row."""
        return HttpConnection(self.host, self.port, self.headers)

    async def ask(
        self, method: str, path: str, body: Body = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> Reply:
        """Sends one request and reads its response."""
        try:
            async with self.connection() as connection:
                reply = await connection.ask(method, path, body, headers)
        except OSError as problem:
            raise Difference(f"{method} {path}", "a connection", str(problem)) from problem
        name = operation(method, path)
        self.notes.answered(name, reply.status)
        if reply.status == 501:
            self.notes.unbuilt(name, body)
        if 200 <= reply.status < 300:
            self.succeeded.add((method, path))
            self.notes.sent(name, body)
            self.notes.sent(name, dict(parse_qsl(urlsplit(path).query, keep_blank_values=True)))
            self.notes.update(f"headers > {key.title()}" for key, _ in (*self.headers, *headers))
        return replace(reply, notes=self.notes)
