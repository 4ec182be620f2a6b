"""A session of WebTransport on a connection: its streams, and its end.

Spec: draft-ietf-webtrans-http3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from vb.quic.bounds import BoundedHttp, BoundedQuic
from vb.quic.capsules import CapsuleError, Capsules, encode_close
from vb.quic.session import Receiver

log = structlog.get_logger(__name__)

SESSION_GONE: Final = 0x170D7B68
STREAM_REJECTED: Final = 0x3994BD84
MESSAGE_ERROR: Final = 0x10E
MAX_UNSENT_BYTES: Final = 64 * 1024
"""So much of a stream waits for a peer; a stream that has more is given up."""
FAULT_CODE: Final = 1
"""Ends a session whose receiver failed."""
_FIRST_CODE: Final = 0x52E4A40FA8DB
_LAST_CODE: Final = 0x52E5AC983162
_MAX_CODE: Final = 0xFFFFFFFF


def to_http_code(code: int) -> int:
    """Return how HTTP/3 writes an application's error code; every 31st number is reserved there."""
    code = min(max(code, 0), _MAX_CODE)
    return _FIRST_CODE + code + code // 0x1E


def from_http_code(code: int) -> int:
    """Return the application's error code in one of HTTP/3; 0 when there is none in it."""
    if not _FIRST_CODE <= code <= _LAST_CODE or (code - 0x21) % 0x1F == 0:
        return 0
    shifted = code - _FIRST_CODE
    return shifted - shifted // 0x1F


class WebTransportSession:
    """One session; it is a `Session` to whoever serves it.

    Args:
        stream: the stream that asked for it, which is its name.
        quic: its connection.
        http: the HTTP/3 on it.
        changed: called when there may be something to send.
        failed: called when the receiver raised an exception.
        overran: called when a stream was given up because nobody took it.
    """

    def __init__(
        self,
        stream: int,
        quic: BoundedQuic,
        http: BoundedHttp,
        *,
        changed: Callable[[], None],
        failed: Callable[[], None],
        overran: Callable[[], None],
    ) -> None:
        self.stream = stream
        self.is_over = False
        self._quic = quic
        self._http = http
        self._changed = changed
        self._failed = failed
        self._overran = overran
        self._receiver: Receiver | None = None
        self._capsules = Capsules()
        self._muted: set[int] = set()  # streams whose peer was asked to stop
        self._overrun: deque[int] = deque()

    def serve(self, receiver: Receiver) -> None:
        """Begin: tell what happens to `receiver`."""
        self._receiver = receiver

    # -- what a protocol on top calls ----------------------------------------------------------------------

    def open_stream(self, *, bidirectional: bool) -> int:
        """Open a stream of ours; returns its id. Raises LookupError while the peer allows no more of them."""
        if self.is_over or not self._quic.may_open(bidirectional=bidirectional):
            raise LookupError("no stream can be opened")
        stream = self._http.create_webtransport_stream(self.stream, is_unidirectional=not bidirectional)
        if bidirectional:
            self._http.adopt_stream(stream, self.stream)
        self._changed()
        return stream

    def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Queue bytes of a stream; they leave with the other datagrams of this turn of the loop.

        A stream that nobody takes anything from is reset, and `stopped` is called for it.
        """
        if self.is_over or not self._quic.can_send(stream):
            return
        if self._quic.unsent(stream) + len(data) > MAX_UNSENT_BYTES:
            self._overran()
            self._overrun.append(stream)
            self.reset(stream, 0)
            return
        self._quic.send_stream_data(stream, data, fin)
        if fin:
            self._http.end_sending(stream)
        self._changed()

    def reset(self, stream: int, code: int) -> None:
        """Give up our half of a stream: what has not left is dropped."""
        if not self.is_over:
            self._reset(stream, to_http_code(code))

    def _reset(self, stream: int, code: int) -> None:
        if self._quic.can_send(stream):
            self._quic.reset_stream(stream, code)
            self._http.end_sending(stream)
            self._changed()

    def stop(self, stream: int, code: int) -> None:
        """Ask the peer to give up its half of a stream; what still comes of it is dropped."""
        if not self.is_over:
            self._stop(stream, to_http_code(code))

    def _stop(self, stream: int, code: int) -> None:
        if self._quic.can_receive(stream):
            self._quic.stop_stream(stream, code)
            self._muted.add(stream)
            self._changed()

    def unsent(self, stream: int) -> int:
        """Return how many bytes of a stream wait for the peer's credit or its acknowledgement."""
        return 0 if self.is_over else self._quic.unsent(stream)

    def close(self, code: int = 0, reason: str = "") -> None:
        """End the session with a close capsule; `Receiver.closed` is called, unless it was before."""
        if self.is_over:
            return
        if self._quic.can_send(self.stream):
            self._http.send_data(self.stream, encode_close(code, reason), end_stream=True)
        self.end(code, reason)

    # -- what the connection tells -------------------------------------------------------------------------

    def receive(self, stream: int, data: bytes, *, fin: bool) -> None:
        """Take bytes of a stream of the session."""
        muted = stream in self._muted
        if fin:
            self._muted.discard(stream)
        if not muted:
            self._tell(lambda receiver: receiver.data(stream, data, fin=fin))
        elif fin:  # nothing more comes of it
            self._tell(lambda receiver: receiver.stream_reset(stream, 0))

    def receive_datagram(self, data: bytes) -> None:
        """Take a datagram of the session."""
        self._tell(lambda receiver: receiver.datagram(data))

    def stream_reset(self, stream: int, code: int) -> None:
        """Take note that the peer gave up its half of a stream."""
        self._muted.discard(stream)
        self._tell(lambda receiver: receiver.stream_reset(stream, from_http_code(code)))

    def stopped(self, stream: int, code: int) -> None:
        """Take note that the peer wants no more of our half of a stream, which QUIC has reset by itself."""
        self._http.end_sending(stream)
        self._tell_stopped(stream, from_http_code(code))

    def _tell_stopped(self, stream: int, code: int) -> None:
        self._tell(lambda receiver: receiver.stopped(stream, code))

    def tell_overruns(self) -> None:
        """Tell the receiver which streams were given up since the last time."""
        while self._overrun and not self.is_over:
            self._tell_stopped(self._overrun.popleft(), 0)

    @property
    def has_overruns(self) -> bool:
        """Whether there is something for `tell_overruns` to tell."""
        return bool(self._overrun)

    def receive_request(self, data: bytes, *, fin: bool) -> None:
        """Take bytes of the stream that asked for the session: capsules; its end is the session's."""
        if self.is_over:
            return
        try:
            close = self._capsules.receive(data)
        except CapsuleError as error:
            self._quic.reset_stream(self.stream, MESSAGE_ERROR)
            self.end(MESSAGE_ERROR, str(error))
            return
        if close is None and not fin:
            return
        if self._quic.can_send(self.stream):
            self._http.send_data(self.stream, b"", end_stream=True)
        self.end(*((close.code, close.reason) if close else (0, "")))

    def end(self, code: int, reason: str) -> None:
        """End the session without a word to the peer but the end of its streams."""
        if self.is_over:
            return
        for stream in self._quic.stream_ids():
            if self._http.is_own_uni(stream) or self._http.session_of(stream) == self.stream:
                self._reset(stream, SESSION_GONE)
                self._stop(stream, SESSION_GONE)
        self.is_over = True
        self._muted.clear()
        self._overrun.clear()
        receiver, self._receiver = self._receiver, None
        self._changed()
        if receiver is not None:
            try:
                receiver.closed(code, reason)
            except Exception:  # the boundary of a session: whoever serves it ends with it
                log.exception("the receiver of a session failed")
                self._failed()

    def _tell(self, call: Callable[[Receiver], None]) -> None:
        """Tell the receiver something; a fault of it ends this session alone."""
        if self._receiver is None:
            return
        try:
            call(self._receiver)
        except Exception:  # the boundary of a session, as in `end`
            log.exception("the receiver of a session failed")
            self._failed()
            self.close(FAULT_CODE, "internal error")
