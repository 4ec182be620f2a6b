"""Named errors of the SIP package.

Functions that see bytes from the network raise `SipParseError` and nothing else; functions that see
what a client of vb asked for raise the `BadRequest` and `Conflict` kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vb.errors import BadRequest, Conflict

if TYPE_CHECKING:
    from vb.sip.message import Request


class SipParseError(Exception):
    """Bytes or text that do not follow the grammar.

    Attributes:
        status: what a request with this fault is answered with.
        request: the request as far as it could be read, so that it can be answered; None for
            responses and for bytes that have no readable top Via.
    """

    def __init__(self, message: str, *, status: int = 400, request: Request | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request = request


class SipUriError(SipParseError):
    """Text that is not a SIP or SIPS URI."""


class SipTargetError(BadRequest):
    """A dial target or identity that cannot be used in a call; the message names the field."""


class HeaderRefused(BadRequest):
    """A header that a client may not set; `header` is its name as given."""

    def __init__(self, header: str, why: str) -> None:
        super().__init__(f"headers: {header!r} {why}")
        self.header = header


class NoPendingOffer(Conflict):
    """An answer or a refusal was given although the peer has no offer waiting."""


class CallStateError(Conflict):
    """The call is not in a state that allows this."""
