"""A program that speaks WebTransport: aioquic's client on Trio, with nothing of the server in it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

PATIENCE_S = 5.0
_MAX_DATAGRAM_BYTES = 65536
_WEBTRANSPORT_STREAM = 0x41
_CLOSE_CAPSULE = bytes.fromhex("6843")

HeaderList = Sequence[tuple[str, str]]


@dataclass
class Incoming:
    """What came on one stream."""

    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None
    at: float = 0.0


class WebTransportClient:
    """One connection with at most one session; see `open_webtransport`.

    Attributes:
        streams: what came on the session's streams, in the order in which they came to be.
        stopped: streams of ours that the server wants no more of, with its codes.
        ended: why the connection ended; None while it has not.
        closed: code and reason of the capsule that ended the session, when that came.
    """

    def __init__(self, host: str, port: int, idle_timeout_s: float) -> None:
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=["h3"],
            server_name="localhost",
            verify_mode=ssl.CERT_NONE,
            max_datagram_frame_size=_MAX_DATAGRAM_BYTES,
            idle_timeout=idle_timeout_s,
        )
        self.streams: dict[int, Incoming] = {}
        self.stopped: dict[int, int] = {}
        self.ended: events.ConnectionTerminated | None = None
        self.session_id = -1
        self.quic = QuicConnection(configuration=configuration)
        self._host = host
        self._port = port
        self._http: H3Connection | None = None
        self._heads: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._changed = trio.Event()
        self._woken = trio.Event()
        family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
        self._socket = trio.socket.socket(family, trio.socket.SOCK_DGRAM)

    # -- what callers do -----------------------------------------------------------------------------------

    async def open_session(self, path: str, headers: HeaderList = ()) -> int:
        """Ask for a session and return the status that the server answers."""
        await self.until(lambda: self._http is not None)
        self.session_id = self._ask("CONNECT", path, headers, protocol="webtransport", fin=False)
        return await self.status(self.session_id)

    async def request(self, method: str, path: str, headers: HeaderList = ()) -> tuple[int, bytes]:
        """Send a plain request; returns status and body."""
        await self.until(lambda: self._http is not None)
        stream = self._ask(method, path, headers)
        return await self.status(stream), await self.body(stream)

    def open_stream(self, *, bidirectional: bool) -> int:
        """Open a stream of the session."""
        assert self._http is not None
        stream = self._http.create_webtransport_stream(self.session_id, is_unidirectional=not bidirectional)
        if bidirectional:
            self._adopt(stream)
        self._woken.set()
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send bytes of a stream."""
        self.quic.send_stream_data(stream, data, fin)
        self._woken.set()

    def send_datagram(self, data: bytes) -> None:
        """Send a datagram of the session."""
        assert self._http is not None
        self._http.send_datagram(self.session_id, data)
        self._woken.set()

    def close_session(self, code: int = 0, reason: str = "") -> None:
        """End the session by a capsule."""
        assert self._http is not None
        value = code.to_bytes(4) + reason.encode()
        assert len(value) < 64
        capsule = _CLOSE_CAPSULE + bytes((len(value),)) + value
        self._http.send_data(self.session_id, capsule, end_stream=True)
        self._woken.set()

    async def status(self, stream: int) -> int:
        """Return the status of an answer, once it is there."""
        await self.until(lambda: stream in self._heads)
        return int(self._heads[stream][":status"])

    def header(self, name: str) -> str | None:
        """Return a header of the answer that opened the session."""
        return self._heads[self.session_id].get(name)

    async def body(self, stream: int) -> bytes:
        """Return the body of an answer, once it is whole."""
        await self.until(lambda: len(self._body(stream)) >= int(self._heads[stream].get("content-length", 0)))
        return bytes(self._body(stream))

    @property
    def closed(self) -> tuple[int, str] | None:
        """Return code and reason of the capsule that ended the session, if one came."""
        body = bytes(self._body(self.session_id))
        if not body.startswith(_CLOSE_CAPSULE):
            return None
        wide = body[2] >> 6
        value = body[3 + wide :]
        return int.from_bytes(value[:4]), value[4:].decode()

    async def until(self, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Wait until something holds that what comes may change.

        Raises:
            trio.TooSlowError: it does not in time.
        """
        with trio.fail_after(patience_s):
            while not condition():
                await self._changed.wait()

    # -- the inside ----------------------------------------------------------------------------------------

    def _body(self, stream: int) -> bytearray:
        return self._bodies.setdefault(stream, bytearray())

    def _adopt(self, stream: int) -> None:
        """Let aioquic read answers on a bidirectional stream as the session's, not as HTTP/3."""
        assert self._http is not None
        with self._http._get_or_create_stream(stream) as found:
            found.frame_type, found.session_id = _WEBTRANSPORT_STREAM, self.session_id

    def _ask(
        self, method: str, path: str, headers: HeaderList, *, protocol: str = "", fin: bool = True
    ) -> int:
        assert self._http is not None
        stream = self.quic.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        if protocol:
            pseudo.append((":protocol", protocol))
        fields = [(name.encode(), value.encode()) for name, value in (*pseudo, *headers)]
        self._http.send_headers(stream, fields, end_stream=fin)
        self._woken.set()
        return stream

    async def run(self) -> None:
        """Move datagrams and time until cancelled or over."""
        with self._socket:
            await self._socket.connect((self._host, self._port))
            self.quic.connect((self._host, self._port), trio.current_time())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive)
                try:
                    while self.ended is None:
                        await self._flush()
                        timer = self.quic.get_timer()
                        with trio.move_on_at(trio.current_time() + 1 if timer is None else timer):
                            await self._woken.wait()
                        self._woken = trio.Event()
                        if timer is not None and trio.current_time() >= timer:
                            self.quic.handle_timer(trio.current_time())
                    nursery.cancel_scope.cancel()
                finally:
                    with trio.move_on_after(1, shield=True):
                        await self._flush()

    async def _receive(self) -> None:
        while True:
            try:
                data = await self._socket.recv(_MAX_DATAGRAM_BYTES)
            except OSError:
                await trio.sleep(0.01)
                continue
            self.quic.receive_datagram(data, (self._host, self._port), trio.current_time())
            self._woken.set()

    async def _flush(self) -> None:
        self._take_events()
        for data, _ in self.quic.datagrams_to_send(trio.current_time()):
            try:
                await self._socket.send(data)
            except OSError:
                pass
        self._take_events()

    def _take_events(self) -> None:
        changed = False
        while (event := self.quic.next_event()) is not None:
            changed = True
            if isinstance(event, events.HandshakeCompleted):
                self._http = H3Connection(self.quic, enable_webtransport=True)
            elif isinstance(event, events.ConnectionTerminated):
                self.ended = event
            elif isinstance(event, events.StopSendingReceived):
                self.stopped[event.stream_id] = event.error_code
            elif isinstance(event, events.StreamReset):
                self.streams.setdefault(event.stream_id, Incoming()).reset = event.error_code
            if self._http is not None:
                for item in self._http.handle_event(event):
                    self._take(item)
        if changed:
            self._changed.set()
            self._changed = trio.Event()

    def _take(self, item: H3Event) -> None:
        if isinstance(item, HeadersReceived):
            self._heads[item.stream_id] = {name.decode(): value.decode() for name, value in item.headers}
        elif isinstance(item, DataReceived):
            self._body(item.stream_id).extend(item.data)
        elif isinstance(item, WebTransportStreamDataReceived):
            stream = self.streams.setdefault(item.stream_id, Incoming())
            stream.data += item.data
            stream.ended |= item.stream_ended
            stream.at = trio.current_time()
            self.received(item.stream_id, item.data, fin=item.stream_ended)

    def received(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Take bytes of a stream of the session as they come; for subclasses."""

    def close(self) -> None:
        """End the connection."""
        self.quic.close(0x100)
        self._woken.set()


@asynccontextmanager
async def open_webtransport(
    host: str, port: int, idle_timeout_s: float = 30.0, kind: type[WebTransportClient] = WebTransportClient
) -> AsyncIterator[WebTransportClient]:
    """Run a client inside the block; it takes any certificate."""
    client = kind(host, port, idle_timeout_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        try:
            yield client
        finally:
            client.close()
            nursery.cancel_scope.cancel()
