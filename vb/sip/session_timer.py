"""Session timers: how often a session is refreshed, by whom, and when it counts as dead.

Values only; `vb.sip.session_refresh` acts on them.

Spec: RFC 4028.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from vb.sip.errors import SipParseError
from vb.sip.headers import parse_params
from vb.sip.message import Message, Request, Response
from vb.sip.options import names_option

OPTION = "timer"
MIN_INTERVAL_S = 90
MAX_INTERVAL_S = 86_400
Refresher = Literal["uac", "uas"]
_DELTA = re.compile(r"\s*([0-9]+)\s*(;.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """A Session-Expires header.  Spec: RFC 4028 §4."""

    interval_s: int
    refresher: Refresher | None = None


def session_expires(message: Message) -> SessionExpires | None:
    """Return the Session-Expires of a message; None if there is none that can be read."""
    value = message.headers.first.get("session-expires")
    match = _DELTA.fullmatch(value) if value is not None else None
    if match is None:
        return None
    try:
        named = (parse_params(match[2] or "").get("refresher") or "").lower()
    except SipParseError:
        return None
    refresher: Refresher | None = "uac" if named == "uac" else "uas" if named == "uas" else None
    return SessionExpires(_seconds(match[1]), refresher)


def _seconds(digits: str) -> int:
    return int(digits) if len(digits) < 10 else 10**9


def is_too_small(request: Request) -> bool:
    """Whether a session interval must be refused with 422: only who supports timers understands that.

    Spec: RFC 4028 §9.
    """
    wanted = session_expires(request)
    return (
        wanted is not None
        and wanted.interval_s < MIN_INTERVAL_S
        and names_option(request, "Supported", OPTION)
    )


class SessionTimer:
    """What was agreed about one session, and what to say about it next.

    Attributes:
        interval_s: lifetime of the session without a refresh; 0 = no end.
        we_refresh: the refreshing is ours to do.
    """

    __slots__ = ("_minimum_s", "_wanted_s", "interval_s", "we_refresh")

    def __init__(self, wanted_s: int) -> None:
        """Ask for an interval in our INVITE; 0 = do not ask."""
        self._wanted_s = wanted_s
        self._minimum_s = MIN_INTERVAL_S
        self.interval_s = 0
        self.we_refresh = False

    # -- the two moments, counted from the last 2xx -----------------------------------------------

    @property
    def refresh_after_s(self) -> float:
        """When the side that refreshes does so."""
        return max(self.interval_s, MIN_INTERVAL_S) / 2

    @property
    def expire_after_s(self) -> float:
        """When the session counts as dead, a little before the peer thinks so.  Spec: RFC 4028 §10."""
        interval_s = max(self.interval_s, MIN_INTERVAL_S)
        return interval_s - min(32.0, interval_s / 3)

    # -- we ask -----------------------------------------------------------------------------------

    def initial_headers(self) -> list[tuple[str, str]]:
        """Return what the INVITE that makes a dialog says; who refreshes is left to the callee."""
        if not self._wanted_s:
            return []
        return [("Session-Expires", str(self._wanted_s)), *self._minimum()]

    def request_headers(self) -> list[tuple[str, str]]:
        """Return what a re-INVITE or UPDATE of ours says: interval and roles as they are.

        Roles are relative to the transaction, and here we are its client.
        """
        if not self.interval_s:
            return []
        refresher = "uac" if self.we_refresh else "uas"
        interval_s = max(self.interval_s, self._minimum_s)
        return [("Session-Expires", f"{interval_s};refresher={refresher}"), *self._minimum()]

    def _minimum(self) -> list[tuple[str, str]]:
        return [("Min-SE", str(self._minimum_s))] if self._minimum_s > MIN_INTERVAL_S else []

    def accept(self, response: Response) -> None:
        """Take the 2xx to our INVITE or UPDATE; without Session-Expires the session has no end.

        Spec: RFC 4028 §7.2.
        """
        granted = session_expires(response)
        self.interval_s = granted.interval_s if granted is not None else 0
        self.we_refresh = granted is not None and granted.refresher != "uas"

    def raise_to(self, response: Response) -> bool:
        """Take a 422: ask for the longer interval that it names; False if that is of no use.

        Spec: RFC 4028 §7.3.
        """
        match = _DELTA.fullmatch(response.headers.get("Min-SE") or "")
        minimum_s = _seconds(match[1]) if match is not None else 0
        asked_s = max(self._minimum_s, self.interval_s or self._wanted_s)
        if not asked_s < minimum_s <= MAX_INTERVAL_S:
            return False
        self._minimum_s = minimum_s
        self._wanted_s = max(self._wanted_s, minimum_s)
        return True

    # -- the peer asks ----------------------------------------------------------------------------

    def answer(self, request: Request) -> list[tuple[str, str]]:
        """Take the peer's INVITE or UPDATE and return what our 2xx says.

        A peer that leaves its timer out of a later request keeps the one in force.

        Spec: RFC 4028 §9, table 2.
        """
        asked = session_expires(request)
        if asked is None and not self.interval_s:
            return []
        has_timer = names_option(request, "Supported", OPTION)
        if asked is not None:
            self.interval_s = asked.interval_s
            self.we_refresh = not has_timer or asked.refresher == "uas"
        elif not has_timer:
            self.we_refresh = True
        if self.we_refresh:
            return [("Session-Expires", f"{self.interval_s};refresher=uas")]
        return [("Require", OPTION), ("Session-Expires", f"{self.interval_s};refresher=uac")]
