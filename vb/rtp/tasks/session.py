"""A leg's slow RTP: digits, RTCP reports, keep-alives and the watch for silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from vb.ids import IdSource
from vb.rtp.digits import TelephoneEventReceiver
from vb.rtp.latching import Address
from vb.rtp.media_port import MediaPort
from vb.rtp.rtcp_session import RtcpSession
from vb.rtp.tasks.endpoint import RtpEndpoint
from vb.sdp.negotiate import Agreed

_USUAL_EVENT_CLOCK_HZ: Final = 8000


@dataclass(frozen=True, slots=True)
class RtpTiming:
    """Timers of an RTP leg.

    Attributes:
        timeout_s: silence that ends the leg, 0 for never.
        keep_alive_s: how often a way through NATs is kept open while we may not send.
    """

    timeout_s: float = 30.0
    keep_alive_s: float = 15.0


class RtpService:
    """One leg's slow RTP, for a keeper to do.

    Args:
        endpoint: the leg's sockets.
        port: its attachment to the plane.
        cname: our RTCP name of this leg.
        ids: source of random report intervals.
        on_digit: told each digit once, and for how many seconds its key was down.
        timing: timers.
    """

    def __init__(
        self,
        endpoint: RtpEndpoint,
        port: MediaPort,
        *,
        cname: str,
        ids: IdSource,
        on_digit: Callable[[str, float], None],
        timing: RtpTiming,
    ) -> None:
        now = trio.current_time()
        self._endpoint = endpoint
        self._port = port
        self._cname = cname
        self._ids = ids
        self._on_digit = on_digit
        self._timing = timing
        self._digits = TelephoneEventReceiver()
        self._rtcp = RtcpSession(port.ssrc, cname, ids, now)
        self._rtcp_source: Address | None = None
        self._keep_alive_at = now + timing.keep_alive_s
        self._watched_since: float | None = None
        self._gone = False

    def on_wake(self, wake: Callable[[], None]) -> None:
        """Say who is told that something has come or changed, and calls `step` then."""
        self._port.wake = wake

    @property
    def waits(self) -> bool:
        """Whether something has come for the next step."""
        return bool(self._port.events or self._port.rtcp)

    def step(self, now: float) -> float | None:
        """Do what is due and return when to come back, or None when the leg was silent for too long."""
        port = self._port
        clocks = {} if port.agreed is None else port.agreed.telephone_event_receive
        while port.events:
            packet = port.events.popleft()
            clock_hz = clocks.get(packet.payload_type, _USUAL_EVENT_CLOCK_HZ)
            self._report_digits(self._digits.receive(packet, clock_hz))
        self._report_digits(self._digits.expire(now))
        while port.rtcp:
            datagram = port.rtcp.popleft()
            self._rtcp_source = datagram.source
            self._rtcp.receive(datagram.data, datagram.arrival_s)
            port.peer_report = self._rtcp.peer_report
        if self._rtcp.ssrc != port.ssrc:
            self._rtcp = RtcpSession(port.ssrc, self._cname, self._ids, now)
        if now >= self._rtcp.deadline:
            self._send_rtcp(self._rtcp.report(now, time.time(), port.sent(), port.reception()))
        self._keep_alive(now)
        silent_at = self._silence_deadline(now)
        if silent_at is not None and now >= silent_at:
            return None
        next_at = min(self._rtcp.deadline, self._keep_alive_at)
        for deadline in (self._digits.deadline, silent_at):
            if deadline is not None and deadline < next_at:
                next_at = deadline
        return next_at

    def goodbye(self, now: float) -> None:
        """Say once that our source leaves, if it was ever heard of."""
        sent = self._port.sent()
        if sent.packets and not self._gone:
            self._gone = True
            self._send_rtcp(self._rtcp.goodbye(now, time.time(), sent, self._port.reception()))

    def _report_digits(self, digits: str) -> None:
        for digit in digits:
            self._on_digit(digit, self._digits.lasted_s)

    def _silence_deadline(self, now: float) -> float | None:
        """Return when the peer has been silent for too long, None while it may be silent."""
        port = self._port
        if not self._timing.timeout_s or not port.supervised or not port.peer_may_send:
            self._watched_since = None
            return None
        if self._watched_since is None:
            self._watched_since = now
        return max(port.last_arrival_s, self._watched_since) + self._timing.timeout_s

    def _rtp_address(self) -> Address | None:
        port = self._port
        if port.latch.locked is not None:
            return port.latch.locked
        if port.agreed is None or port.agreed.remote_rtp is None:
            return None
        return port.agreed.remote_rtp.host, port.agreed.remote_rtp.port

    def _send_rtcp(self, plain: bytes) -> None:
        agreed = self._port.agreed
        if agreed is None or not self._may_report(agreed):
            return
        data = self._port.seal_rtcp(plain)
        if data is None:
            return
        if agreed.rtcp_mux:
            address = self._rtp_address()
            if address is not None:
                self._endpoint.send_rtp(data, address)
        elif (source := self._reporting_source(agreed)) is not None:
            self._endpoint.send_rtcp(data, source)
        elif agreed.remote_rtcp is not None:
            self._endpoint.send_rtcp(data, (agreed.remote_rtcp.host, agreed.remote_rtcp.port))
        elif agreed.remote_rtp is None and (locked := self._port.latch.locked) is not None:
            self._endpoint.send_rtcp(data, (locked[0], locked[1] + 1))

    def _may_report(self, agreed: Agreed) -> bool:
        """Whether the peer takes RTCP from us now (RFC 3556)."""
        return agreed.rtcp_use == "always" or (agreed.rtcp_use == "sending" and self._port.transmitting)

    def _reporting_source(self, agreed: Agreed) -> Address | None:
        """Return where RTCP came from if the peer sends from elsewhere than its SDP says, as behind a NAT.

        Only then is RTCP answered where it comes from: a peer that is where it says cannot have its reports
        led away by a stranger on its host. Who reported before the source moved is not asked any more.
        """
        locked, announced, source = self._port.latch.locked, agreed.remote_rtp, self._rtcp_source
        if locked is None or source is None or source[0] != locked[0]:
            return None
        elsewhere = announced is None or locked != (announced.host, announced.port)
        return source if elsewhere else None

    def _keep_alive(self, now: float) -> None:
        """Keep the way open while we may not send; with multiplexing the reports do (RFC 6263 §5)."""
        if now < self._keep_alive_at:
            return
        self._keep_alive_at = now + self._timing.keep_alive_s
        port = self._port
        address, agreed = self._rtp_address(), port.agreed
        if address is None or port.transmitting or agreed is None:
            return
        if agreed.rtcp_mux and self._may_report(agreed):
            return
        packet = port.keep_alive()
        if packet is not None:
            self._endpoint.send_rtp(packet, address)
