"""One connection: QUIC, the HTTP/3 on it, and the session that it may have.

Spec: RFC 9000, RFC 9114, draft-ietf-webtrans-http3.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import (
    DatagramReceived,
    DataReceived,
    HeadersReceived,
    WebTransportStreamDataReceived,
)
from aioquic.quic import events
from aioquic.quic.packet import QuicErrorCode

from vb.limits import sources
from vb.limits.rate import RateLimit
from vb.quic.bounds import BoundedHttp
from vb.quic.requests import Headers, Site, accepting_headers, read_request, refusing_answer
from vb.quic.session import Accept, Receiver, Refusal
from vb.quic.steady import SteadyQuic
from vb.quic.webtransport import STREAM_REJECTED, WebTransportSession

log = structlog.get_logger(__name__)

Address = tuple[Any, ...]
"""As the socket gives it: host, port, and for IPv6 two more numbers."""

HANDSHAKE_S: Final = 10.0
SESSIONLESS_S: Final = 10.0
"""So long a connection lives without a session."""
LINGER_S: Final = 2.0
"""So long it lives after its session, so that the peer hears of the end."""
PING_S: Final = 8.0
"""A silent session is kept alive so often."""
SILENT_S: Final = 30.0
"""Who says nothing for so long has vanished."""
CLOSING_S: Final = 3.0
"""So long what is over is kept. QUIC goes by the delay, which a peer can make as long as it likes."""
MAX_REQUESTS: Final = 64
DATAGRAMS_PER_SECOND: Final = 1000
"""More from one peer are as good as lost: audio has fifty."""
_TLS_ERRORS: Final = range(0x100, 0x200)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a connection tells its endpoint, and asks of it.

    Attributes:
        accept: decides about requests.
        site: what is offered.
        changed: there may be datagrams to send.
        fault: a receiver, or whoever decides about requests, raised an exception.
        refused: a request got no session.
        overran: a stream was given up because nobody took it.
    """

    accept: Accept
    site: Site
    changed: Callable[[Connection], None]
    fault: Callable[[], None]
    refused: Callable[[], None]
    overran: Callable[[], None]


class Connection:
    """One of an endpoint's connections, from the first datagram with a valid token.

    Attributes:
        host: where it came from; counts against the limit of that address.
        is_open: whether its handshake is done.
        failure: why its handshake failed: tls, protocol, peer or timeout; None if it did not.
        is_over: whether nothing is left to do.
        issued, retired: connection ids that reach it, and those that do not any more, since they were taken.
    """

    def __init__(self, quic: SteadyQuic, source: Address, now: float, hooks: Hooks) -> None:
        self.host = source_of(source)
        self.is_open = False
        self.failure: str | None = None
        self.is_over = False
        self.issued: list[bytes] = [quic.host_cid]
        self.retired: list[bytes] = []
        self.session: WebTransportSession | None = None
        self._quic = quic
        self._source = source
        self._http: BoundedHttp | None = None
        self._hooks = hooks
        self._rate = RateLimit(DATAGRAMS_PER_SECOND)
        self._requests: set[int] = set()
        self._request_count = 0
        self._leave_at = now + HANDSHAKE_S
        self._ping_at = now + PING_S
        self._silent_at = now + SILENT_S
        self._over_at = math.inf
        self._pings = 0
        self._is_closing = False

    @property
    def has_begun(self) -> bool:
        """Whether anything of the peer could be read."""
        return self._quic.has_begun

    @property
    def kept_streams(self) -> int:
        """How many streams something is kept of."""
        return len(self._quic.stream_ids()) + (self._http.kept_streams if self._http is not None else 0)

    @property
    def deadline(self) -> float:
        """When `expire` is to be called next."""
        timer = self._quic.get_timer()
        due = min(self._leave_at, self._ping_at, self._silent_at, self._over_at)
        return due if timer is None else min(due, timer)

    def _watch(self, now: float) -> None:
        """Let nobody wait for what is over already."""
        session, ending = self.session, self._quic.ending
        if ending is not None:
            self._over_at = min(self._over_at, now + CLOSING_S)
        if session is None:
            return
        if ending is not None and not session.is_over:
            clean = ending.error_code in (QuicErrorCode.NO_ERROR, ErrorCode.H3_NO_ERROR)
            session.end(0 if clean else ending.error_code, ending.reason_phrase or "connection closed")
        if session.is_over and self._leave_at == math.inf and not self._is_closing:
            self._leave_at = now + LINGER_S

    def receive(self, data: bytes, source: Address, now: float) -> bool:
        """Take a datagram; False when it is one too many."""
        if not self._rate.take(now):
            return False
        self._silent_at = now + SILENT_S
        self._quic.receive_datagram(data, source, now)
        if not self._quic.is_steady and self._quic.is_overfull:
            self._quic.close(QuicErrorCode.CRYPTO_BUFFER_EXCEEDED, reason_phrase="too much out of order")
        self._take_events(now)
        self._watch(now)
        return True

    def is_idle(self, now: float) -> bool:
        """Tell whether `flush` would give nothing now, and nothing else of this has changed."""
        if self._quic.has_something(now) or self.is_over or self.issued or self.retired:
            return False
        return self.session is None or not (self.session.is_over or self.session.has_overruns)

    def expire(self, now: float) -> None:
        """Do what is due."""
        if self.deadline > now:
            return
        timer = self._quic.get_timer()
        if timer is not None and now >= timer:
            self._quic.handle_timer(now)
            self._take_events(now)
            self._watch(now)
        if now >= self._leave_at:
            if self.is_open:
                self.close()
            else:
                self.failure, self.is_over = self.failure or "timeout", True
        if now >= min(self._over_at, self._silent_at):
            self.is_over = True
            if self.session is not None:
                self.session.end(QuicErrorCode.INTERNAL_ERROR, "nothing is heard any more")
        if now >= self._ping_at:
            self._ping_at = now + PING_S
            if self.session is not None and not self.session.is_over:
                self._pings += 1
                self._quic.send_ping(self._pings)

    def flush(self, now: float) -> list[tuple[bytes, Address]]:
        """Take the datagrams to send now."""
        if self.session is not None and self.session.has_overruns:
            self.session.tell_overruns()
        self._watch(now)
        found = self._quic.datagrams_to_send(now)
        self._take_events(now)
        return found

    def close(self) -> None:
        """End the connection, with its session if there is one."""
        if not self._is_closing:
            self._is_closing, self._leave_at = True, math.inf
            self._quic.close(ErrorCode.H3_NO_ERROR)
            self._hooks.changed(self)

    # -- events --------------------------------------------------------------------------------------------

    def _take_events(self, now: float) -> None:
        while self._quic.has_events:
            event = self._quic.next_event()
            assert event is not None
            self._take(event, now)

    def _take(self, event: events.QuicEvent, now: float) -> None:
        if isinstance(event, events.StreamDataReceived):
            self._take_bytes(event)
        elif isinstance(event, events.DatagramFrameReceived):
            self._take_datagram(event)
        elif isinstance(event, events.StreamReset | events.StopSendingReceived):
            self._take_end_of_stream(event)
        elif isinstance(event, events.HandshakeCompleted):
            self._open(event, now)
        elif isinstance(event, events.ConnectionIdIssued):
            self.issued.append(event.connection_id)
        elif isinstance(event, events.ConnectionIdRetired):
            self.retired.append(event.connection_id)
        elif isinstance(event, events.ConnectionTerminated):
            self._terminate(event)

    def _open(self, event: events.HandshakeCompleted, now: float) -> None:
        self.is_open = True
        self._leave_at = now + SESSIONLESS_S
        self._http = BoundedHttp(self._quic)

    def _terminate(self, event: events.ConnectionTerminated) -> None:
        self.is_over = True
        if not self.is_open and self.failure is None:
            self.failure = _failure(event)

    def _take_bytes(self, event: events.StreamDataReceived) -> None:
        session, http = self.session, self._http
        if http is None:
            return
        is_data = session is not None and not session.is_over and not event.end_stream
        if is_data and session is not None and http.carries(event.stream_id, session.stream):
            session.receive(event.stream_id, event.data, fin=False)
        else:
            self._take_http(http, event)

    def _take_datagram(self, event: events.DatagramFrameReceived) -> None:
        items = self._http.handle_event(event) if self._http is not None else []
        for item in items:
            if isinstance(item, DatagramReceived) and self._is_session(item.stream_id):
                assert self.session is not None
                self.session.receive_datagram(item.data)

    def _take_http(self, http: BoundedHttp, event: events.StreamDataReceived) -> None:
        for item in http.handle_event(event):
            if isinstance(item, WebTransportStreamDataReceived):
                self._take_data(item)
            elif isinstance(item, HeadersReceived):
                self._take_request(item.stream_id, item.headers, fin=item.stream_ended)
            elif isinstance(item, DataReceived) and self._is_session(item.stream_id):
                assert self.session is not None
                self.session.receive_request(item.data, fin=item.stream_ended)
            if isinstance(item, HeadersReceived | DataReceived) and item.stream_ended:
                self._requests.discard(item.stream_id)
        if http.is_over and self.session is not None:
            self.session.end(ErrorCode.H3_GENERAL_PROTOCOL_ERROR, "HTTP/3 was broken")

    def _take_data(self, item: WebTransportStreamDataReceived) -> None:
        if self._is_session(item.session_id):
            assert self.session is not None
            self.session.receive(item.stream_id, item.data, fin=item.stream_ended)
            return
        assert self._http is not None
        if self._quic.can_receive(item.stream_id):
            self._quic.stop_stream(item.stream_id, STREAM_REJECTED)
        if self._quic.can_send(item.stream_id):
            self._quic.reset_stream(item.stream_id, STREAM_REJECTED)
        self._http.end_sending(item.stream_id)

    def _is_session(self, stream: int) -> bool:
        return self.session is not None and not self.session.is_over and self.session.stream == stream

    def _take_end_of_stream(self, event: events.StreamReset | events.StopSendingReceived) -> None:
        if self._http is None:
            return
        stream = event.stream_id
        belongs = self._http.is_own_uni(stream) or self._is_session(self._http.session_of(stream) or 0)
        if self._is_session(stream) and self.session is not None:
            self.session.end(0, "the request was taken back")
        elif belongs and self.session is not None and isinstance(event, events.StreamReset):
            self.session.stream_reset(stream, event.error_code)
        elif belongs and self.session is not None:
            self.session.stopped(stream, event.error_code)
        self._http.handle_event(event)
        self._requests.discard(stream)

    # -- requests ------------------------------------------------------------------------------------------

    def _take_request(self, stream: int, headers: Headers, *, fin: bool) -> None:
        assert self._http is not None
        if stream in self._requests or self._is_session(stream):
            if fin and self.session is not None and self._is_session(stream):
                self.session.receive_request(b"", fin=True)
            return  # trailers
        self._requests.add(stream)
        self._request_count += 1
        if self._request_count > MAX_REQUESTS:
            self._quic.close(ErrorCode.H3_EXCESSIVE_LOAD, reason_phrase="too many requests")
            return
        if not self._quic.can_send(stream):
            return  # no answer is wanted any more
        address = self._quic.get_peer_address() or self._source
        request = read_request(headers, self._hooks.site, (plain_host(address), int(address[1])))
        if isinstance(request, Refusal):
            self._refuse(stream, request, fin=fin)
            return
        if self.session is not None and not self.session.is_over:
            self._refuse(stream, Refusal(429, "one session for each connection"), fin=fin)
            return
        session = WebTransportSession(
            stream,
            self._quic,
            self._http,
            changed=lambda: self._hooks.changed(self),
            failed=self._hooks.fault,
            overran=self._hooks.overran,
        )
        answer: Receiver | Refusal
        try:
            answer = self._hooks.accept(request, session)
        except Exception:  # the boundary of a request: the connection goes on
            log.exception("a request for a session failed")
            self._hooks.fault()
            answer = Refusal(500, "internal error")
        if isinstance(answer, Refusal):
            session.is_over = True
            self._refuse(stream, answer, fin=fin)
            return
        self._http.send_headers(stream, accepting_headers(request, self._hooks.site))
        self.session, self._leave_at = session, math.inf
        session.serve(answer)
        if fin:
            session.receive_request(b"", fin=True)

    def _refuse(self, stream: int, refusal: Refusal, *, fin: bool) -> None:
        assert self._http is not None
        self._hooks.refused()
        headers, body = refusing_answer(refusal, self._hooks.site)
        if not self._quic.can_send(stream):
            return
        self._http.send_headers(stream, headers)
        self._http.send_data(stream, body, end_stream=True)
        if not fin and self._quic.can_receive(stream):
            self._quic.stop_stream(stream, ErrorCode.H3_NO_ERROR)


def plain_host(address: Address) -> str:
    """Return the host of a socket's address: IPv4 as such on a socket of both families, no zone."""
    host = str(address[0]).partition("%")[0]
    if host.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        return host if mapped is None else str(mapped)
    return host


def source_of(address: Address) -> str:
    """Return what counts as one source."""
    return sources.source_of(plain_host(address))


def _failure(event: events.ConnectionTerminated) -> str:
    """Return why a handshake failed."""
    if event.error_code in _TLS_ERRORS:
        return "tls"
    if event.error_code == QuicErrorCode.INTERNAL_ERROR and event.reason_phrase == "Idle timeout":
        return "timeout"
    return "peer" if event.error_code == QuicErrorCode.NO_ERROR else "protocol"
