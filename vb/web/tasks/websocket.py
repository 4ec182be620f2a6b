"""A WebSocket to another server, over a connection that was judged like that of a request.

Sending never waits for the network unless it is asked to: what a plain connection takes at once goes out at
once, for a switch of tasks costs more than a packet; the rest goes into a bounded buffer, and a task writes
whatever is in it with one call. Who receives gets all messages that have come, with one switch of tasks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal

import trio

from vb.web.errors import HandshakeFailed, WebSocketClosed
from vb.web.message import ABNORMAL, NORMAL, Message
from vb.web.tasks.client import WebClient
from vb.web.websocket import ClientProtocol, Opening

_READ_BYTES: Final = 65_536

Lost = Literal["eof", "reset", "slow", "silent"]
"""The peer closed the connection, it broke, the peer took nothing for too long, or nothing came from it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a WebSocket waits for what, and how much it holds.

    Attributes:
        open_s: for the connection and the handshake.
        send_s: for the peer to take what was sent.
        ping_s: without a sign of the peer until it is sent a ping.
        pong_s: without any after that until it counts as gone.
        close_s: for the end, whatever the peer does.
        unsent_bytes: how much waits to be written.
    """

    open_s: float = 10.0
    send_s: float = 10.0
    ping_s: float = 20.0
    pong_s: float = 20.0
    close_s: float = 2.0
    unsent_bytes: int = 262_144


async def connect_websocket(
    nursery: trio.Nursery,
    web: WebClient,
    opening: Opening,
    *,
    trusted: bool = False,
    pace: Pace | None = None,
) -> WebSocket:
    """Open a WebSocket; whoever has it closes it, and somebody has to receive from it while it is open.

    Args:
        nursery: in which the task that writes runs; it ends with the WebSocket and raises nothing.
        web: the way out, which judges where the URL leads.
        opening: what to ask for.
        trusted: the operator has set the URL.
        pace: how long to wait for what.

    Cancellation: nothing stays open.

    Raises:
        UrlRefused, HostUnknown, CannotConnect: there is no connection.
        HandshakeFailed: the server does not open it, or not in time.
    """
    pace = pace or Pace()
    with trio.move_on_after(pace.open_s):
        protocol = ClientProtocol(opening)
        request = protocol.request()
        stream = await web.connect(opening.target, trusted=trusted)
        try:
            await stream.send_all(request)
            opened = False
            while not opened:
                data = await stream.receive_some(_READ_BYTES)
                if not data:
                    raise HandshakeFailed("the server closes the connection")
                opened = protocol.open(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.aclose_forcefully(stream)
            raise HandshakeFailed("connection lost") from None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        websocket = WebSocket(stream, protocol, pace)
        nursery.start_soon(websocket.write)
        return websocket
    raise HandshakeFailed(f"not open within {pace.open_s:g} s")


class WebSocket:
    """An open WebSocket.

    Args:
        stream: the connection; owned by this.
        protocol: its handshake is done.
        pace: how long to wait for what.

    Attributes:
        dropped: how many messages `put` had no room for.
        lost: how the connection went when it ended without a goodbye of the peer; None otherwise.
        heard_at: when something came last, a pong included; at first when it was opened.
        unwritten_bytes: how much of what was sent had not gone out when it ended.
    """

    def __init__(self, stream: trio.abc.Stream, protocol: ClientProtocol, pace: Pace) -> None:
        self.dropped = 0
        self.lost: Lost | None = None
        self.heard_at = trio.current_time()
        self.unwritten_bytes = 0
        self._stream = stream
        self._plain = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._protocol = protocol
        self._pace = pace
        self._waiting: list[bytes] = []
        self._unsent = 0
        self._wake = trio.Event()
        self._moved = trio.Event()
        self._over = trio.Event()
        self._writing = True
        self._broken = False
        self._receiving = False
        self._silent = False
        self._closing = False

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server has chosen."""
        return self._protocol.subprotocol

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the server's answer, lower-case names."""
        return self._protocol.headers

    @property
    def closed(self) -> WebSocketClosed | None:
        """How it ended; None while it is open."""
        return self._protocol.closed

    @property
    def broke_protocol(self) -> bool:
        """Whether it ended because of what the peer has sent."""
        return self._protocol.broken

    @property
    def unsent_bytes(self) -> int:
        """How much waits to be written or is being written."""
        return self._unsent

    @property
    def is_clear(self) -> bool:
        """Whether what is put now is sent, and has nothing before it that waits."""
        return not self._unsent and self._writing and self._protocol.is_open

    async def __aenter__(self) -> WebSocket:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- sending -------------------------------------------------------------------------------------------

    def put(self, *messages: Message) -> bool:
        """Send messages without waiting; they go out together.

        Returns:
            False when the peer takes them too slowly, or when it is over: they are dropped, and counted.
        """
        # Room is made sure of before: what was compressed has to be sent.
        if not self.is_clear and not self._may_put(_size(messages)):
            self.dropped += len(messages)
            return False
        self._queue(self._protocol.frames(messages))
        return True

    def put_frames(self, frames: bytes, count: int = 1) -> bool:
        """Send what `client_frame` has made without waiting, unless compression was asked for.

        Args:
            frames: any number of frames.
            count: how many messages they are.

        Returns:
            False when they were dropped, as with `put`.
        """
        if not self._may_put(len(frames)):
            self.dropped += count
            return False
        self._queue(frames)
        return True

    async def send(self, *messages: Message) -> None:
        """Send messages that must not be lost; waits while there is no room for them.

        Cancellation: they are not sent, or all of them are.

        Raises:
            WebSocketClosed: it is over, or the peer has taken nothing for too long.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check()
        while not self._has_room(_size(messages)):
            await self._moved.wait()
            self._check()
        self._queue(self._protocol.frames(messages))
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def flush(self) -> None:
        """Wait until nothing waits to be written.

        Raises:
            WebSocketClosed: it is over.
        """
        await trio.lowlevel.checkpoint()
        while self._unsent:
            self._check()
            await self._moved.wait()

    def _check(self) -> None:
        if not self._protocol.is_open or not self._writing:
            raise self._end()

    def _end(self) -> WebSocketClosed:
        """Return how it ended; a new error each time, because each goes through other hands."""
        end = self._protocol.closed
        return WebSocketClosed(end.code, end.reason) if end else WebSocketClosed(ABNORMAL, "closed here")

    def _may_put(self, size: int) -> bool:
        return self._protocol.is_open and self._writing and self._has_room(size)

    def _has_room(self, size: int) -> bool:
        return not self._unsent or self._unsent + size <= self._pace.unsent_bytes

    def _queue(self, data: bytes) -> None:
        if self._plain is not None and not self._unsent:
            data = self._write_at_once(self._plain, data)
            if not data:
                return
        self._waiting.append(data)
        self._unsent += len(data)
        self._wake.set()

    def _write_at_once(self, plain: trio.socket.SocketType, data: bytes) -> bytes:
        """Write what the system takes without waiting, and return the rest."""
        try:
            return data[os.write(plain.fileno(), data) :]
        except OSError:
            return data  # there is no room, or the connection broke: the task that writes will see

    async def write(self) -> None:
        """Write what waits until it is over; raises nothing.

        Cancellation: ends it once what is being written is written; `aclose` writes the rest.
        """
        try:
            while not self._over.is_set():
                await self._wake.wait()
                self._wake = trio.Event()
                await self._write_waiting(self._pace.send_s)
        finally:
            self._writing = False
            self._tell()

    async def _write_waiting(self, within_s: float) -> None:
        while self._waiting and not self._broken:
            await trio.lowlevel.checkpoint_if_cancelled()
            data, self._waiting = b"".join(self._waiting), []
            whole = False
            lost: Lost = "slow"
            try:
                # Half a frame would be the end; what has begun to go out goes out, or all is over.
                with trio.move_on_after(within_s, shield=True):
                    await self._stream.send_all(data)
                    whole = True
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                lost = "reset"  # told below
            finally:
                self._unsent = max(0, self._unsent - len(data))
                self._broken = self._broken or not whole
                if not whole:
                    self.unwritten_bytes += len(data)
                    self._lose(lost)
                self._tell()
        if self._broken:
            await self._break()

    def _tell(self) -> None:
        """Wake who waits for room."""
        self._moved.set()
        self._moved = trio.Event()

    def _lose(self, lost: Lost) -> None:
        """Note how the connection went, unless the peer has said goodbye or it is known already."""
        if self.lost is None and self._protocol.closed is None and not self._closing:
            self.lost = lost

    async def _break(self, reason: str = "connection lost") -> None:
        """End it without ceremony."""
        self._broken = True
        self._protocol.end(reason)
        self.unwritten_bytes += self._unsent
        self._waiting, self._unsent = [], 0
        self._over.set()
        self._wake.set()
        self._tell()
        await trio.aclose_forcefully(self._stream)

    # -- receiving -----------------------------------------------------------------------------------------

    async def receive(self) -> list[Message]:
        """Wait for messages and return all that have come, at least one.

        Pings are answered meanwhile, and a peer of which nothing comes is asked whether it is there. What is
        not received stays with the peer, which can then send no more.

        Cancellation: no message is lost.

        Raises:
            WebSocketClosed: it is over, and every message that came before was returned.
            trio.BusyResourceError: somebody receives already.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task receives from this WebSocket")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._receiving = True
        try:
            data = b""  # something may have come with the handshake
            while True:
                messages = self._protocol.receive(data)
                self._answer()
                if messages:
                    return messages
                if self._protocol.closed is not None:
                    raise self._end()
                data = await self._read()
        finally:
            self._receiving = False
            if self._closing or self._protocol.closed is not None:
                self._tell()

    def _answer(self) -> None:
        """Let the answer to what has come go out, unless a peer that asks does not read."""
        control = self._protocol.control()
        if control and self._unsent <= self._pace.unsent_bytes:
            self._queue(control)

    async def _read(self) -> bytes:
        """Return bytes of the peer; none when it is over or when it was only asked for a sign."""
        with trio.move_on_after(self._pace.pong_s if self._silent else self._pace.ping_s):
            lost: Lost = "eof"
            try:
                data = bytes(await self._stream.receive_some(_READ_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data, lost = b"", "reset"
            self._silent = False
            self.heard_at = trio.current_time()
            if not data:
                self._lose(lost)
                await self._break()
            return data
        if self._silent:
            self._lose("silent")
            await self._break("the peer is silent")
        else:
            self._silent = True
            self._queue(self._protocol.ping())
        return b""

    # -- the end -------------------------------------------------------------------------------------------

    async def aclose(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, wait for the peer to say it too, and close the connection; all of it in a short time.

        What was put before goes out before. Messages that still come are dropped, unless another task
        receives.

        Cancellation: it is closed all the same, within the time that the end may take.
        """
        with trio.move_on_after(self._pace.close_s, shield=True):
            if self._closing:
                await self._over.wait()
            elif not self._broken:
                self._closing = True
                goodbye = self._protocol.close(code, reason)
                if goodbye:
                    self._queue(goodbye)
                await self._drain()
                await self._await_goodbye()
        await self._break()

    async def abandon(self) -> None:
        """Close the connection at once, without a goodbye; what waits to be written is dropped."""
        await self._break("closed here")

    async def _drain(self) -> None:
        """Wait until everything is written; write it here when the task that does it was cancelled."""
        while self._waiting or self._unsent:
            if self._broken:
                return
            if self._writing:
                await self._moved.wait()
            else:
                await self._write_waiting(self._pace.close_s)

    async def _await_goodbye(self) -> None:
        while self._protocol.closed is None and not self._broken:
            if self._receiving:
                await self._moved.wait()
                continue
            try:
                data = bytes(await self._stream.receive_some(_READ_BYTES))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                return
            self._protocol.receive(data)


def _size(messages: Iterable[Message]) -> int:
    """Return about how many bytes messages take; each frame has at most fourteen of its own."""
    return sum(len(message) + 14 for message in messages)
