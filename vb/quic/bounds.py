"""aioquic's connections with bounds on what a peer can make them keep.

This module, `recovery`, `packets` and `steady` reach into aioquic: what they override is private there.
`pyproject.toml` keeps to one minor version of it, `requirements/` to the one that was tested, and `steady`
names those beside which it was read. `tests/quic/` has a test for each of these bounds.

Spec: RFC 9000, RFC 9114, draft-ietf-webtrans-http3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pylsqpack
from aioquic.h3.connection import (
    ErrorCode,
    FrameError,
    FrameType,
    H3Connection,
    H3Stream,
    ProtocolError,
    StreamType,
)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import Limit, QuicConnection
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.stream import QuicStream

WINDOW_BYTES: Final = 512 * 1024
"""So much of all streams together may have come out of order, or not at all."""
MAX_STREAMS: Final = 128
"""Streams of each direction that a peer may have open."""
MAX_GAPS: Final = 256
"""Pieces of a stream that wait for what is before them: each new one is compared with all of them."""
MAX_CRYPTO_BYTES: Final = 64 * 1024
"""So much of a handshake may have come out of order."""
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_CONTROL_BYTES: Final = 4096
MAX_OPEN_STREAMS: Final = 512
"""Streams that exist at a time, the peer's and ours."""
_UNIDIRECTIONAL: Final = 0x02
"""Bit of a stream's id (RFC 9000 §2.1)."""
_MAX_FIELD_SECTION_SIZE: Final = 0x06
_WEBTRANSPORT_MAX_SESSIONS: Final = 0xC671706A
"""Of draft 07; aioquic itself says what draft 02 asks for, as Chromium still does."""


class ExcessiveLoad(ProtocolError):
    """A peer sends more than it may."""

    error_code = ErrorCode.H3_EXCESSIVE_LOAD


class _Window(Limit):
    """Credit for all data of a connection that follows what was taken.

    aioquic doubles the credit whenever half of it is used, without end, so that a peer which has sent a lot
    may in the end leave a gap as large before everything else. Here each doubling only moves a window of one
    size.

    Args:
        limit: what it takes the place of.
        held: tells how many bytes have come but wait for what is before them.
    """

    def __init__(self, limit: Limit, held: Callable[[], int]) -> None:
        self._value = limit.value
        self._held = held
        super().__init__(limit.frame_type, limit.name, limit.value)

    @property
    def value(self) -> int:
        """How many bytes the peer may have sent in all."""
        return self._value

    @value.setter
    def value(self, _wanted: int) -> None:
        if self._value - self.used < WINDOW_BYTES // 2:
            self._value = max(self._value, self.used - self._held() + WINDOW_BYTES)


class BoundedQuic(QuicConnection):
    """A server's end of a connection.

    Args:
        configuration: of all connections.
        original_id: the connection id to which the client wrote first.
        retry_id: the one that our Retry gave it.
        reset_token: tells the token that belongs to a connection id of ours.
    """

    def __init__(
        self,
        configuration: QuicConfiguration,
        original_id: bytes,
        retry_id: bytes,
        reset_token: Callable[[bytes], bytes],
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
        )
        self._reset_token = reset_token
        self._host_cids[0].stateless_reset_token = reset_token(self.host_cid)
        self._local_max_data = _Window(self._local_max_data, self._held)
        for limit in (self._local_max_streams_bidi, self._local_max_streams_uni):
            limit.value = limit.sent = MAX_STREAMS

    def _held(self) -> int:
        receivers = [stream.receiver for stream in self._streams.values()]
        return sum(item.highest_offset - item.starting_offset() for item in receivers if not item.is_finished)

    def _replenish_connection_ids(self) -> None:
        super()._replenish_connection_ids()
        for item in self._host_cids:
            if not item.was_sent:
                item.stateless_reset_token = self._reset_token(item.cid)

    @property
    def has_begun(self) -> bool:
        """Whether anything of the peer could be read."""
        return self._remote_initial_source_connection_id is not None

    @property
    def ending(self) -> ConnectionTerminated | None:
        """Why the connection ends, from the moment on at which either side knows."""
        return self._close_event

    @property
    def has_events(self) -> bool:
        """Whether there are events to take."""
        return bool(self._events)

    @property
    def is_overfull(self) -> bool:
        """Whether more came out of order, in bytes of a handshake or in pieces, than anybody needs."""
        receivers = [stream.receiver for stream in self._crypto_streams.values()]
        if any(item.highest_offset - item.starting_offset() > MAX_CRYPTO_BYTES for item in receivers):
            return True
        receivers += [stream.receiver for stream in self._streams.values()]
        return any(len(item._ranges) > MAX_GAPS for item in receivers)

    def may_open(self, *, bidirectional: bool) -> bool:
        """Tell whether there is credit and room for one more stream of ours."""
        limit = self._remote_max_streams_bidi if bidirectional else self._remote_max_streams_uni
        number = self.get_next_available_stream_id(is_unidirectional=not bidirectional) // 4
        return number < limit and len(self._streams) < MAX_OPEN_STREAMS

    def unsent(self, stream: int) -> int:
        """Return how many bytes of a stream nobody has acknowledged."""
        found = self._streams.get(stream)
        return 0 if found is None else len(found.sender._buffer)

    def can_send(self, stream: int) -> bool:
        """Tell whether our half of a stream is open."""
        found = self._streams.get(stream)
        if found is None or found.sender.is_finished:
            return False
        return found.sender._buffer_fin is None and found.sender._reset_error_code is None

    def can_receive(self, stream: int) -> bool:
        """Tell whether the peer's half of a stream is open."""
        found = self._streams.get(stream)
        return found is not None and not found.receiver.is_finished

    def stream_ids(self) -> tuple[int, ...]:
        """Return the streams that exist."""
        return tuple(self._streams)

    def stream(self, stream: int) -> QuicStream | None:
        """Return a stream, for tests."""
        return self._streams.get(stream)


class BoundedHttp(H3Connection):
    """HTTP/3 with WebTransport on a connection; the dynamic table stays empty.

    Without it a byte can stand for a hundred at most, and no request waits for another stream.
    """

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic, enable_webtransport=True)

    def _init_connection(self) -> None:
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        ours = {_MAX_FIELD_SECTION_SIZE: MAX_HEADER_BYTES, _WEBTRANSPORT_MAX_SESSIONS: 1}
        return {**super()._get_local_settings(), **ours}

    def _check_request_or_push_frame_type(self, frame_type: int, stream: H3Stream) -> None:
        super()._check_request_or_push_frame_type(frame_type, stream)
        if frame_type == FrameType.HEADERS and (stream.frame_size or 0) > MAX_HEADER_BYTES:
            raise ExcessiveLoad("headers are too long")

    def _check_control_frame_type(self, frame_type: int) -> None:
        super()._check_control_frame_type(frame_type)
        control = self._stream[self._peer_control_stream_id or 0]
        if frame_type == FrameType.SETTINGS and (control.frame_size or 0) > MAX_CONTROL_BYTES:
            raise ExcessiveLoad("settings are too long")
        if frame_type == FrameType.MAX_PUSH_ID and (control.frame_size or 0) > 8:
            raise FrameError("a push id is too long")

    @property
    def is_over(self) -> bool:
        """Whether the peer broke HTTP/3."""
        return self._is_done

    def adopt_stream(self, stream: int, session: int) -> None:
        """Read what the peer sends on a bidirectional stream of ours as data of a session.

        Without this aioquic reads it as frames of HTTP/3, which ends the connection.
        """
        with self._get_or_create_stream(stream) as found:
            found.frame_type, found.session_id = FrameType.WEBTRANSPORT_STREAM, session

    def end_sending(self, stream: int) -> None:
        """Note that our half of a session's stream is over, so that nothing is kept of it."""
        found = self._stream.get(stream)
        if found is not None:
            found.sending_ended = True
            if found.is_ended():
                self._stream.pop(stream)

    def session_of(self, stream: int) -> int | None:
        """Return the session of a stream that the peer has opened, or that is bidirectional."""
        found = self._stream.get(stream)
        return None if found is None else found.session_id

    def carries(self, stream: int, session: int) -> bool:
        """Tell whether all that comes on a stream now is data of a session, as its head has come before."""
        found = self._stream.get(stream)
        if found is None or found.session_id != session or found.buffer or self._is_done:
            return False
        if stream & _UNIDIRECTIONAL:
            return bool(found.stream_type == StreamType.WEBTRANSPORT)
        return bool(found.frame_type == FrameType.WEBTRANSPORT_STREAM)

    def is_own_uni(self, stream: int) -> bool:
        """Tell whether a stream is one of ours that only we send on, and none of HTTP/3 itself."""
        own = (self._local_control_stream_id, self._local_encoder_stream_id, self._local_decoder_stream_id)
        return stream % 4 == 3 and stream not in own

    @property
    def kept_streams(self) -> int:
        """How many streams something is kept of."""
        return len(self._stream)
