"""One call: the INVITE usage of a dialog, what both directions share.  Spec: RFC 3261 §12, §15.

The owner of a call gives orders (`hangup`, `answer_offer`, …) and reads events; `Closed` is always the
last. `vb.sip.dialog_usage` has what any dialog needs, `vb.sip.inbound` and `vb.sip.outbound` how a call
comes about, `vb.sip.dialog_offers` what changes its session later, `vb.sip.session_refresh` what keeps it
alive, `vb.sip.refer_client` and `vb.sip.refer_server` what transfers it. Extensions attach at
`_IN_DIALOG`, by method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import ClassVar, Protocol

from vb.sip.call_events import (
    CallEvent,
    Closed,
    DialogLost,
    InfoReceived,
    OfferReceived,
    OfferRequested,
    RemoteHangup,
    SessionExpired,
)
from vb.sip.call_host import CallHost, HeaderList
from vb.sip.call_state import CallState, CallStep
from vb.sip.client_transaction import ClientTransaction
from vb.sip.dialog import Dialog
from vb.sip.dialog_offers import DialogOffers, Offer
from vb.sip.dialog_usage import DialogUsage
from vb.sip.headers import media_type
from vb.sip.hop import Hop
from vb.sip.info_client import InfoClient
from vb.sip.message import Request, Response
from vb.sip.refer_client import ReferClient
from vb.sip.refer_server import ReferServer
from vb.sip.server_transaction import ServerTransaction
from vb.sip.session_refresh import SessionRefresher
from vb.sip.transaction import FailureKind


class CallAgent(CallHost, Protocol):
    """What a call needs from its agent beyond what its parts need."""

    def emit(self, call: Call, event: CallEvent) -> None:
        """Queue an event for the owner of a call."""
        ...

    def closed(self, call: Call) -> None:
        """Forget a call."""
        ...


class Call(DialogUsage):
    """What inbound and outbound calls share.

    Attributes:
        is_answered: a 2xx to the INVITE was sent or received.
        replaced_by: the newest call that was let in to take the place of this one, as long as it lives.
    """

    host: CallAgent

    def __init__(self, host: CallAgent, call_id: str, local_tag: str, peer: Hop | None) -> None:
        super().__init__(host, call_id, local_tag, peer)
        self.is_answered = False
        self.replaced_by: Callable[[], Call | None] = nobody
        self.offers = DialogOffers(self)
        self.session = SessionRefresher(self, host.settings.session_expires_s)

    # -- parts that most calls have no use for, made when somebody asks for them ---------------------

    @cached_property
    def info_client(self) -> InfoClient:
        """Digits that we send in INFO requests."""
        return InfoClient(self)

    @cached_property
    def refer_client(self) -> ReferClient:
        """Our REFERs."""
        return ReferClient(self)

    @cached_property
    def refer_server(self) -> ReferServer:
        """The peer's REFERs."""
        return ReferServer(self)

    def _abort(self, now: float) -> None:
        """End what offers and REFERs still wait for."""
        self.offers.abort(now)
        made = self.__dict__
        if "refer_client" in made:
            self.refer_client.abort()
        if "refer_server" in made:
            self.refer_server.abort(now)

    # -- orders ---------------------------------------------------------------------------------

    def hangup(self, now: float, *, headers: HeaderList = ()) -> None:
        """End the call the way its state demands; any number of times."""
        raise NotImplementedError

    def answer_offer(self, sdp: bytes, now: float) -> None:
        """Answer the peer's offer, or give the offer it asked for.

        Raises:
            NoPendingOffer: if there is none.
        """
        self.offers.answer(sdp, now)

    def refuse_offer(
        self, status: int, now: float, *, reason: str | None = None, headers: HeaderList = ()
    ) -> None:
        """Refuse the peer's offer; the session stays as it was.

        Raises:
            NoPendingOffer: if there is none.
        """
        self.offers.refuse(status, reason, headers, now)

    def reoffer(self, offer: Offer, now: float) -> None:
        """Offer a new session by re-INVITE; `OfferAnswered`, `OfferRefused` or `DialogLost` follows.

        The offer waits for the end of an exchange that runs; then `OfferDue` comes, behind how that one
        ended, and `send_offer` sends it. A function is asked for its text only then, so that it fits what
        was agreed meanwhile.

        Raises:
            CallStateError: if the call is not confirmed, or an offer is waiting already.
        """
        self.offers.offer(offer)

    def send_offer(self, now: float) -> None:
        """Send the offer that is due; one that has to wait again becomes due again."""
        self.offers.send_offer(now)

    @property
    def pending_offer(self) -> OfferReceived | OfferRequested | None:
        """The event whose offer, or wish for one, waits for our answer: the very object that was emitted."""
        return self.offers.pending

    # -- requests of the peer -------------------------------------------------------------------

    def has_early_answer(self, remote_tag: str) -> bool:
        """Whether the INVITE's offer was answered for good in this early dialog."""
        return False

    def receive_ack(self, ack: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours."""
        self.offers.receive_ack(ack, now)

    def receive_cancel(self, transaction: ServerTransaction, now: float) -> None:
        """Take a CANCEL, answered already, for a pending request of the peer."""
        self.offers.cancel(transaction, now)

    def receive_request(
        self, request: Request, transaction: ServerTransaction, source: Hop, now: float
    ) -> None:
        """Take a request inside the dialog; it has passed the checks that need no dialog."""
        dialog = self._dialog_of(request)
        if dialog is None or self.state is CallState.CLOSED:
            self.respond(transaction, 481, now)
            return
        if not dialog.accept_sequence(request):
            self.respond(transaction, 500, now)
            return
        dialog.source = source
        handler = self._IN_DIALOG.get(request.method)
        if handler is None:  # a method that is taken outside dialogs only
            self.respond(transaction, 405, now)
        else:
            handler(self, request, transaction, now)

    def _receive_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, 200, now)
        dialog = self._dialog_of(request)
        assert dialog is not None  # or the request would not have come here
        self._remote_hangup(dialog, now)

    def _receive_offer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if self.state is CallState.ENDING:
            self.respond(transaction, 481, now)  # for us the session is over: nobody would answer
        else:
            self.offers.receive_offer(request, transaction, now)

    def _receive_options(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, 200, now)

    def _receive_info(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.respond(transaction, 200, now)
        kind = media_type(request.headers.get("Content-Type") or "")
        self.emit(InfoReceived(kind, request.body))

    def _receive_refer(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.refer_server.receive(request, transaction, now)

    def _receive_notify(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        self.refer_client.receive_notify(request, transaction, now)

    def _receive_prack(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """No reliable response of ours is out."""
        self.respond(transaction, 481, now)

    _IN_DIALOG: ClassVar[Mapping[str, Callable[[Call, Request, ServerTransaction, float], None]]] = {
        "INVITE": _receive_offer,
        "UPDATE": _receive_offer,
        "BYE": _receive_bye,
        # An inbound call has its own.
        "PRACK": lambda call, request, transaction, now: call._receive_prack(request, transaction, now),
        "REFER": _receive_refer,
        "NOTIFY": _receive_notify,
        "OPTIONS": _receive_options,
        "INFO": _receive_info,
    }

    def _remote_hangup(self, dialog: Dialog, now: float) -> None:
        """The peer's BYE was answered."""
        if self.state is not CallState.ENDING:
            self.emit(RemoteHangup())
        self.close(now)

    # -- for the parts of a call ----------------------------------------------------------------

    def emit(self, event: CallEvent) -> None:
        """Report an event unless the call is closed."""
        if self.state is not CallState.CLOSED:
            self.host.emit(self, event)

    def send_bye(self, now: float, headers: HeaderList = ()) -> None:
        """Send BYE and close when it is answered."""
        self.move(CallStep.END)
        self._timers.clear()
        self._abort(now)
        if "refer_server" in self.__dict__:
            self.refer_server.after_notify(partial(self._send_bye, headers), now)
        else:
            self._send_bye(headers, now)

    def _send_bye(self, headers: HeaderList, now: float) -> None:
        self.send("BYE", self._bye_done, now, headers=headers)

    def _bye_done(self, transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
        self.close(now)

    def lost(self, status: int, now: float) -> None:
        """The peer has lost the dialog: say so, and send BYE all the same.  Spec: RFC 3261 §12.2.1.2."""
        if self.state is CallState.CONFIRMED:
            self.emit(SessionExpired() if self.session.refreshing else DialogLost(status))
            self.send_bye(now)

    def close(self, now: float) -> None:
        """Report `Closed` and leave the agent; any number of times."""
        if self.state is CallState.CLOSED:
            return
        self._abort(now)
        self.emit(Closed())
        self.move(CallStep.CLOSE)
        self._timers.clear()
        self.host.closed(self)


def nobody() -> None:
    """Stand in for a weak reference to a call where there is no call."""
