"""Keeping a session alive: refreshing it in time, and ending it when nobody did.  Spec: RFC 4028 §10."""

from __future__ import annotations

from vb.sip.call_events import RefreshDue, SessionExpired
from vb.sip.call_host import CallContext, CallPart
from vb.sip.call_state import CallState
from vb.sip.client_transaction import ClientTransaction
from vb.sip.message import Message, Request, Response
from vb.sip.session_timer import SessionTimer
from vb.sip.transaction import FailureKind, final_status

# While an exchange is under way, which refreshes as well if it succeeds.
BUSY_RETRY_S = 5.0
MAX_RAISES = 4


class SessionRefresher(CallPart):
    """The session timer of one call at work; only a 2xx starts it anew.

    Attributes:
        timer: what was agreed.
        refreshing: a refresh of ours is under way.
    """

    __slots__ = ("_allowed", "_expires_at", "_raises", "_update_fails", "refreshing", "timer")

    def __init__(self, call: CallContext, wanted_s: int) -> None:
        super().__init__(call)
        self.timer = SessionTimer(wanted_s)
        self.refreshing = False
        self._allowed: frozenset[str] = frozenset()
        self._update_fails = False
        self._expires_at = 0.0
        self._raises = 0

    def hear(self, message: Message) -> None:
        """Take note of what requests the peer takes."""
        if "allow" in message.headers.first:
            self._allowed = frozenset(method.upper() for method in message.headers.get_list("Allow"))
            self._update_fails = False

    def peer_allows(self, method: str) -> bool:
        """Whether the peer says that it takes requests of a method."""
        return method in self._allowed

    def answer(self, request: Request, now: float) -> list[tuple[str, str]]:
        """Return what our 2xx to the peer's INVITE or UPDATE says, and start anew."""
        self.hear(request)
        if self._call.state is CallState.EARLY:
            return []  # the session begins with the 2xx to the INVITE
        headers = self.timer.answer(request)
        self._restart(now)
        return headers

    def accepted(self, response: Response, now: float) -> None:
        """A 2xx to our INVITE or UPDATE came: start anew as it says."""
        self.hear(response)
        self.timer.accept(response)
        self._restart(now)

    def raised(self, response: Response) -> bool:
        """Tell whether a request that was refused like this is to be repeated with a longer interval."""
        if response.status != 422 or self._raises >= MAX_RAISES or not self.timer.raise_to(response):
            return False
        self._raises += 1
        return True

    def _restart(self, now: float) -> None:
        call, timer = self._call, self.timer
        self.refreshing = False
        self._raises = 0
        if not timer.interval_s and not self._expires_at:
            return  # nor was there ever a timer
        call.clear_timer(self._refresh)
        call.clear_timer(self._expire)
        if not timer.interval_s or call.state not in (CallState.ANSWERED, CallState.CONFIRMED):
            return
        self._expires_at = now + timer.expire_after_s
        call.set_timer(self._expire, self._expires_at)
        if timer.we_refresh:
            call.set_timer(self._refresh, now + timer.refresh_after_s)

    # -- refreshing -----------------------------------------------------------------------------

    def _refresh(self, now: float) -> None:
        call = self._call
        if call.is_over:
            return
        if not call.offers.is_idle or call.offers.has_waiting or call.state is not CallState.CONFIRMED:
            call.set_timer(self._refresh, now + BUSY_RETRY_S)
            return
        self.refreshing = True
        if self.peer_allows("UPDATE") and not self._update_fails:
            call.send("UPDATE", self._updated, now)
        else:
            call.emit(RefreshDue())

    def _updated(self, transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
        call = self._call
        if call.is_over:
            return
        if final_status(outcome) in (408, 481):
            self._expire(now)
        elif not isinstance(outcome, Response):
            self.refused(now)
        elif outcome.status < 300:
            if call.dialog is not None:
                call.dialog.refresh_target(outcome)
            self.accepted(outcome, now)
        elif outcome.status in (405, 501):
            self._update_fails = True
            self._refresh(now)
        elif outcome.status == 491:
            call.set_timer(self._refresh, now + call.offers.glare_delay_s())
        else:
            self.refused(now)

    def refused(self, now: float) -> None:
        """A refresh failed, but the session lives: try again while there is time."""
        if not self.refreshing or self._call.is_over:
            return
        self.refreshing = False
        left_s = self._expires_at - now
        if left_s > BUSY_RETRY_S:
            self._call.set_timer(self._refresh, now + max(left_s / 2, BUSY_RETRY_S))

    def _expire(self, now: float) -> None:
        """The session is dead: say so, and send BYE all the same."""
        call = self._call
        if call.state is CallState.CONFIRMED:
            call.emit(SessionExpired())
            call.send_bye(now)
