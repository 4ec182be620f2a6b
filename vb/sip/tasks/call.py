"""A call as its owner holds it: orders are plain calls, events are awaited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal
from weakref import ref

import trio

from vb.channels import Channel, ChannelClosed, ChannelFull
from vb.sip.call_events import CallEvent, Closed, OfferDue, OfferReceived, OfferRequested
from vb.sip.call_state import CallState
from vb.sip.dialog_offers import Offer
from vb.sip.errors import CallStateError
from vb.sip.headers import parse_name_addr
from vb.sip.inbound import InboundCall
from vb.sip.message import Request
from vb.sip.outbound import OutboundCall
from vb.sip.refer_server import Phase
from vb.sip.settings import AgentSettings

EVENTS = 64
"""Events of one call that wait for its owner; a call of which more are left unread is ended."""
HeaderList = Sequence[tuple[str, str]]


class SipCall:
    """One call, inbound or outbound, for as long as its owner keeps it.

    Orders raise `CallStateError` where the state of the call does not allow them.
    """

    def __init__(
        self,
        call: InboundCall | OutboundCall,
        settings: AgentSettings,
        flush: Callable[[], None],
        replaces: SipCall | None = None,
    ) -> None:
        self._replaces = ref(replaces) if replaces is not None else None
        self._call = call
        self._settings = settings
        self._flush = flush
        self._events: Channel[CallEvent] = Channel(EVENTS, overflow="refuse", name="sip_call_events")
        self._offer_unread = False  # one `OfferDue` is among the events
        self._ignored = False
        self._closed = trio.Event()

    # -- what is known --------------------------------------------------------------------------

    @property
    def replaces(self) -> SipCall | None:
        """The call that this inbound one is to take the place of (RFC 3891), while anybody holds it.

        Its owner answers this one and then ends that one.
        """
        return self._replaces() if self._replaces is not None else None

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        """Who called."""
        return self._call.direction

    @property
    def call_id(self) -> str:
        """Call-ID of the dialog."""
        return self._call.call_id

    @property
    def local_tag(self) -> str:
        """Our tag."""
        return self._call.local_tag

    @property
    def remote_tag(self) -> str:
        """The peer's tag as it writes it, empty while it is unknown."""
        dialog = self._call.dialog
        return parse_name_addr(dialog.remote).tag_as_written if dialog is not None else ""

    @property
    def invite(self) -> Request:
        """The INVITE as received or as sent last.

        Raises:
            CallStateError: while the target of an outbound call is being resolved.
        """
        if self._call.invite is None:
            raise CallStateError("the INVITE has not been sent yet")
        return self._call.invite

    @property
    def offer(self) -> bytes | None:
        """The caller's session description; None if it asks for ours, and for outbound calls."""
        return self._call.offer if isinstance(self._call, InboundCall) else None

    @property
    def answered(self) -> bool:
        """Whether a 2xx to the INVITE was sent or received; stays true when the call ends."""
        return self._call.is_answered

    @property
    def source(self) -> tuple[str, int]:
        """Host and port of the peer's signalling; ("", 0) while an outbound target is being resolved."""
        peer = self._call.peer
        return (peer.host, peer.port) if peer is not None else ("", 0)

    @property
    def family(self) -> Literal[4, 6]:
        """IP family of the peer's signalling."""
        return self._call.peer.family if self._call.peer is not None else 4

    @property
    def transport(self) -> str:
        """Transport of the peer's signalling."""
        return self._call.peer.transport if self._call.peer is not None else "udp"

    @property
    def local_host(self) -> str:
        """Address to advertise to this peer."""
        return self._settings.host(self.family)

    @property
    def is_unanswered(self) -> bool:
        """Whether an inbound call still waits for a final response of ours."""
        return isinstance(self._call, InboundCall) and self._call.is_unanswered

    @property
    def is_refusable(self) -> bool:
        """Whether an inbound call has got no final response yet, not even one that waits to go out."""
        return isinstance(self._call, InboundCall) and self._call.is_refusable

    @property
    def takes_early_offer(self) -> bool:
        """Whether `progress` may send an offer to a caller that made none."""
        return isinstance(self._call, InboundCall) and self._call.takes_early_offer

    @property
    def needs_early_offer(self) -> bool:
        """Whether the next provisional response to a caller that made no offer has to carry ours."""
        return isinstance(self._call, InboundCall) and self._call.needs_early_offer

    @property
    def pending_offer(self) -> OfferReceived | OfferRequested | None:
        """The event that `answer_offer` or `refuse_offer` would answer; the peer may take it back unread."""
        return self._call.pending_offer

    @property
    def is_referring(self) -> bool:
        """Whether a REFER of ours waits for its end."""
        return self._call.refer_client.is_busy

    @property
    def is_confirmed(self) -> bool:
        """Whether the call is answered, acknowledged and not about to end."""
        return self._call.state is CallState.CONFIRMED

    @property
    def refer_phase(self) -> Phase:
        """How far the peer's REFER has come."""
        return self._call.refer_server.phase

    # -- events ---------------------------------------------------------------------------------

    async def next_event(self) -> CallEvent:
        """Wait for the next event; `Closed` is the last one and is returned from then on.

        Whoever asks for the next event has dealt with those before it: an offer that is due goes out here.
        """
        try:
            while isinstance(event := await self._events.get(), OfferDue):
                self._send_offer()
        except ChannelClosed:
            return Closed()
        return event

    def _send_offer(self) -> None:
        self._offer_unread = False
        self._call.send_offer(trio.current_time())
        self._flush()

    async def wait_closed(self) -> None:
        """Wait until nothing more will be sent for this call."""
        await self._closed.wait()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be sent for this call."""
        return self._closed.is_set()

    def put(self, event: CallEvent) -> bool:
        """Queue an event; False if the owner left too many unread."""
        if self._ignored:
            return True
        self._offer_unread |= isinstance(event, OfferDue)
        try:
            return self._events.put(event)
        except ChannelFull:
            return False

    def ignore_events(self) -> None:
        """The owner has ended the call and reads nothing any more."""
        self._ignored = True
        self._events.drain()

    def finish(self) -> None:
        """The call is closed: its owner reads what is left, then `Closed`."""
        self._closed.set()
        self._events.close()

    # -- orders ---------------------------------------------------------------------------------

    def ring(self, *, offer: bytes | None = None, headers: HeaderList = ()) -> None:
        """Send 180, with our offer if the call `needs_early_offer`: `OfferAnswered` follows."""
        self._inbound().ring(trio.current_time(), offer=offer, headers=headers)
        self._flush()

    def progress(self, sdp: bytes, *, headers: HeaderList = ()) -> None:
        """Send 183 with our answer, or with our offer if the INVITE had none: `OfferAnswered` follows.

        Raises:
            CallStateError: also if the caller cannot acknowledge an offer, see `takes_early_offer`.
        """
        self._inbound().progress(sdp, trio.current_time(), headers=headers)
        self._flush()

    def accept(self, sdp: bytes, *, headers: HeaderList = ()) -> None:
        """Send 200 with our answer, or with our offer if the INVITE had none."""
        self._inbound().accept(sdp, trio.current_time(), headers=headers)
        self._flush()

    def reject(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Send a final response of 300 or more; without effect if the call is over already."""
        self._inbound().reject(status, trio.current_time(), reason=reason, headers=headers)
        self._flush()

    def answer_offer(self, sdp: bytes) -> None:
        """Answer the peer's offer inside the dialog, or give the offer that it asked for.

        Raises:
            NoPendingOffer: if there is none.
        """
        self._call.answer_offer(sdp, trio.current_time())
        self._flush()

    def refuse_offer(self, status: int, reason: str | None = None, headers: HeaderList = ()) -> None:
        """Refuse the peer's offer inside the dialog.

        Raises:
            NoPendingOffer: if there is none.
        """
        self._call.refuse_offer(status, trio.current_time(), reason=reason, headers=headers)
        self._flush()

    def reoffer(self, offer: Offer) -> None:
        """Offer a new session by re-INVITE, once it may go and the owner has read every event before that.

        A function is asked for its text at that moment, which may be now.
        """
        self._call.reoffer(offer, trio.current_time())
        self._flush()
        if self._offer_unread and len(self._events) == 1:
            self._events.drain()
            self._send_offer()

    @property
    def takes_info_digits(self) -> bool:
        """Whether digits can go out in INFO requests."""
        return self._call.info_client.takes_digits

    def send_info_digits(self, digits: str) -> bool:
        """Send digits in INFO requests, False when they cannot; `DigitsRefused` brings back what fails."""
        sent = self._call.info_client.send_digits(digits, trio.current_time())
        self._flush()
        return sent

    def refer(self, refer_to: str) -> None:
        """Ask the peer to call somebody else: a Refer-To value."""
        self._call.refer_client.refer(refer_to, trio.current_time())
        self._flush()

    def accept_refer(self) -> None:
        """Send 202 to the peer's REFER, and the first NOTIFY."""
        self._call.refer_server.accept(trio.current_time())
        self._flush()

    def decline_refer(self, status: int, reason: str | None = None) -> None:
        """Refuse the peer's REFER."""
        self._call.refer_server.decline(status, reason, trio.current_time())
        self._flush()

    def notify_refer(self, status: int, reason: str) -> None:
        """Tell the peer how far its REFER has come; a final status ends it."""
        self._call.refer_server.notify(status, reason, trio.current_time())
        self._flush()

    def hangup(self, *, headers: HeaderList = ()) -> None:
        """End the call the way its state demands; any number of times."""
        self._call.hangup(trio.current_time(), headers=headers)
        self._flush()

    def _inbound(self) -> InboundCall:
        if not isinstance(self._call, InboundCall):
            raise CallStateError("not an inbound call")
        return self._call
