"""A SIP leg's session after it is agreed: offers from either side, and hold.

Local and remote hold are kept apart. Our own hold is a wish that becomes true when the far end has taken our
offer; a wish that changes while an offer is under way is carried out after it.
"""

from __future__ import annotations

from typing import Protocol
from weakref import proxy

import structlog

from vb.log import StrangersLog
from vb.sdp.errors import AnswerRejected, OfferRejected, SdpParseError
from vb.sdp.negotiate import Agreed
from vb.sip.call_events import OfferReceived, OfferRequested
from vb.sip.errors import CallStateError
from vb.sip.tasks.call import SipCall
from vb.sipleg.media import SipMedia

log = structlog.get_logger(__name__)
strangers = StrangersLog(__name__)


class SessionOwner(Protocol):
    """The leg, as its session sees it."""

    @property
    def id(self) -> str:
        """Identifier for the log."""
        ...

    def follow(self, agreed: Agreed, *, local_hold: bool | None = None) -> None:
        """Let media and remote hold follow what was agreed, and our hold if it has come or gone with it."""
        ...

    def command_failed(self, command: str, error: str) -> None:
        """A command that had been accepted failed."""
        ...


class Session:
    """Offers and answers inside the dialog of one leg.

    Args:
        owner: the leg.
        call: its dialog.
        media: what follows the agreement.
    """

    def __init__(self, owner: SessionOwner, call: SipCall, media: SipMedia) -> None:
        self._owner: SessionOwner = proxy(owner)  # which owns this: no cycle, no work for the collector
        self._call = call
        self._media = media
        self._wanted_hold = False
        self._held = False
        self._offering = False
        self._offered_hold = False
        self._refreshing = False
        self._asked = False

    def set_hold(self, wanted: bool) -> None:
        """Hold or resume the call by a re-INVITE; nothing is sent when it is so already."""
        self._wanted_hold = wanted
        self._pursue()

    def _pursue(self) -> None:
        """Offer what is wanted, unless an offer is under way: its end comes back here."""
        if self._offering or self._wanted_hold == self._held:
            return
        self._offering = True
        self._offered_hold = self._wanted_hold
        try:
            self._call.reoffer(self._make_offer)
        except CallStateError as exc:
            self._failed(str(exc))

    def refresh(self) -> None:
        """Offer the session in force once more; an offer under way refreshes as well."""
        if self._offering:
            return
        self._offering = self._refreshing = True
        try:
            self._call.reoffer(self._media.negotiation.refresh_offer)
        except CallStateError as exc:
            self._failed(str(exc))

    def _make_offer(self) -> bytes:
        negotiation = self._media.negotiation
        negotiation.hold = self._offered_hold = self._wanted_hold
        return self._media.offer()

    def _failed(self, error: str) -> None:
        command = "hold" if self._offered_hold else "unhold"
        self._offering = False
        if self._refreshing:
            self._refreshing = False
            self._pursue()
            return
        self._wanted_hold = self._held
        self._media.negotiation.hold = self._held
        self._owner.command_failed(command, error)

    # -- what comes in -------------------------------------------------------------------------------------

    def offer_received(self, event: OfferReceived) -> None:
        """Answer the far end's offer; one that cannot be accepted leaves the session as it was."""
        if not self._is_pending(event):
            return
        self._set_own_offer_aside()
        try:
            answer = self._media.receive_offer(event.sdp)
        except SdpParseError:
            self._call.refuse_offer(488)
        except OfferRejected as exc:
            self._call.refuse_offer(exc.status, exc.reason, [("Warning", exc.warning)] if exc.warning else [])
        else:
            self._call.answer_offer(answer)
            self._follow()

    def offer_requested(self, event: OfferRequested) -> None:
        """Make the offer that a re-INVITE without one asks for."""
        if not self._is_pending(event):
            return
        self._set_own_offer_aside()
        self._asked = True
        self._call.answer_offer(self._media.offer(self._media.negotiation.codecs))

    def _is_pending(self, event: OfferReceived | OfferRequested) -> bool:
        """Whether the far end still waits for this answer: what it has taken back changes nothing."""
        if self._call.pending_offer is event:
            return True
        strangers.info("offer was taken back", leg_id=self._owner.id)
        return False

    def _set_own_offer_aside(self) -> None:
        """Go back to what is in force: an offer of ours that met one of the far end is made anew later."""
        negotiation = self._media.negotiation
        negotiation.withdraw_offer()
        negotiation.hold = self._held

    def offer_answered(self, sdp: bytes | None) -> None:
        """Take the answer to an offer of ours, which we made for our own sake or because we were asked."""
        negotiation = self._media.negotiation
        is_ours = self._offering and not self._asked
        self._asked = False
        problem: str | None = None
        if sdp is None:
            problem = "the answer has no session description"
        else:
            try:
                negotiation.receive_answer(sdp)
            except AnswerRejected as exc:
                problem = str(exc)
        if problem is not None:
            negotiation.withdraw_offer()
            strangers.info("answer to our offer cannot be used", leg_id=self._owner.id, problem=problem)
            if is_ours:
                self._failed(problem)
            return
        if not is_ours:
            self._follow()
            return
        self._offering = self._refreshing = False
        self._held = negotiation.hold
        self._follow(local_hold=self._held)
        self._pursue()

    def offer_refused(self, status: int) -> None:
        """Our offer was refused: the session stays as it was."""
        self._media.negotiation.withdraw_offer()
        if self._offering:
            self._failed(f"re-INVITE refused with {status}")

    def _follow(self, *, local_hold: bool | None = None) -> None:
        agreed = self._media.negotiation.agreed
        if agreed is not None:
            self._owner.follow(agreed, local_hold=local_hold)
