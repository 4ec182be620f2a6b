"""What runs for one SIP leg's media: its slow RTP, its timers, and the ear for digits in the audio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import proxy

import trio

from vb.sipleg.inband import listen_for_digits

if TYPE_CHECKING:
    from vb.sipleg.leg import SipLeg, SipLegOptions


class MediaTasks:
    """What runs in a leg's nursery from its beginning to its end; the context that `Leg.live` takes.

    Args:
        leg: whose tasks they are.
        options: which of them it has.
    """

    def __init__(self, leg: SipLeg, options: SipLegOptions) -> None:
        self._leg: SipLeg = proxy(leg)  # which owns this: no cycle, no work for the collector
        self._options = options
        self._scopes: list[trio.CancelScope] | None = None
        self._serves_rtp = False
        self._serves_transport = False

    async def __aenter__(self) -> None:
        """Start what a call needs from its beginning; the RTP of a caller is served once it is agreed."""
        self._scopes = []
        if self._serves_rtp or not self._leg.inbound:
            self._serves_rtp = False
            self.serve_rtp()
        self._serves_transport = False
        self.serve_transport()
        if self._options.ring_timeout_s:
            self._start("ring timer", self._ring_timer)
        if self._options.max_duration_s:
            self._start("duration timer", self._duration_timer)
        if self._options.inband_digits:
            self._start("inband digits", self._listen)

    async def __aexit__(self, *problem: object) -> None:
        """Leave the plane and end the tasks, without waiting."""
        leg, scopes = self._leg, self._scopes
        self._scopes = None
        leg.media.close()
        for scope in scopes or ():
            scope.cancel()
        leg.media.endpoint.close()  # the BYE may take its time; the ports are free for the next call

    def expect(self) -> None:
        """Our offer has gone out: what it lists may come."""
        self._leg.media.expect()
        self.serve_rtp()
        self.serve_transport()

    def serve_rtp(self) -> None:
        """Take RTCP and digits from now on, or from the beginning; nothing happens when it is so already."""
        if not self._serves_rtp and not self._leg.media.port.closed:
            self._serves_rtp = True
            if self._scopes is not None:
                self._leg.media.serve(
                    self._leg.digit_received,
                    on_silence=self._silent,
                    on_fault=partial(self._leg.failed, "rtp"),
                )

    def serve_transport(self) -> None:
        """Take ICE and DTLS from now on, or from the beginning, where there is any."""
        media = self._leg.media
        if self._serves_transport or not media.security.needed or media.port.closed:
            return
        self._serves_transport = True
        if self._scopes is not None:
            media.security.on_broken = self._leg.hangup
            self._start("transport", media.security.run)

    def _start(self, name: str, func: Callable[[], Awaitable[None]]) -> None:
        assert self._scopes is not None
        scope = trio.CancelScope()
        self._scopes.append(scope)
        self._leg.start_soon(self._run, scope, name, func)

    async def _run(self, scope: trio.CancelScope, name: str, func: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await self._leg.contain(name, func)

    def _silent(self) -> None:
        self._leg.hangup("rtp_timeout")

    async def _listen(self) -> None:
        await listen_for_digits(self._leg.media.port, self._inband_digit)

    def _inband_digit(self, digit: str) -> None:
        agreed = self._leg.media.negotiation.agreed
        if agreed is not None and not agreed.telephone_event_receive:
            self._leg.digit_received(digit, 0.0, "tone")

    async def _ring_timer(self) -> None:
        leg = self._leg
        with trio.move_on_after(self._options.ring_timeout_s):
            await leg.connected.wait()
            return
        if not leg.inbound or leg.call.is_unanswered:  # the ACK has a time of its own
            leg.hangup("ring_timeout")

    async def _duration_timer(self) -> None:
        await self._leg.connected.wait()
        await trio.sleep(self._options.max_duration_s)
        self._leg.hangup("max_duration")
