"""Digits that we send in INFO requests, one at a time so that they arrive in order.  Spec: RFC 6086 §4."""

from __future__ import annotations

from collections import deque
from typing import Final

from vb.sip.call_events import DigitsRefused
from vb.sip.call_host import CallContext, CallPart
from vb.sip.call_state import CallState
from vb.sip.client_transaction import ClientTransaction
from vb.sip.info import RELAY_TYPE, relay_body
from vb.sip.message import Response
from vb.sip.transaction import FailureKind

MAX_PENDING_DIGITS: Final = 256


class InfoClient(CallPart):
    """The INFO requests of one call: each goes out when the one before it has its answer."""

    __slots__ = ("_is_refused", "_is_sending", "_pending")

    def __init__(self, call: CallContext) -> None:
        super().__init__(call)
        self._pending: deque[str] = deque()
        self._is_sending = False
        self._is_refused = False

    @property
    def takes_digits(self) -> bool:
        """Whether the peer says that it takes INFO, has not refused one, and INFO is switched on here."""
        call = self._call
        return (
            call.state is CallState.CONFIRMED
            and not self._is_refused
            and call.host.settings.accept_info
            and call.session.peer_allows("INFO")
        )

    def send_digits(self, digits: str, now: float) -> bool:
        """Queue digits; `DigitsRefused` brings back those that the peer did not take.

        Returns:
            False when the peer takes none, or there is no room for all of them; then none is taken.
        """
        if not self.takes_digits or len(self._pending) + len(digits) > MAX_PENDING_DIGITS:
            return False
        self._pending.extend(digits)
        self._send_next(now)
        return True

    def _send_next(self, now: float) -> None:
        if self._is_sending or not self._pending:
            return
        self._is_sending = True
        self._call.send(
            "INFO",
            self._answered,
            now,
            headers=[("Content-Type", RELAY_TYPE)],
            body=relay_body(self._pending[0]),
        )

    def _answered(self, transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
        self._is_sending = False
        if self._call.is_over:
            self._pending.clear()
        elif isinstance(outcome, Response) and outcome.status < 300:
            self._pending.popleft()
            self._send_next(now)
        else:
            self._is_refused = True
            digits = "".join(self._pending)
            self._pending.clear()
            self._call.emit(DigitsRefused(digits))
