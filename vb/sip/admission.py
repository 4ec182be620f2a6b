"""Checks that a request passes before any dialog or call sees it.  Spec: RFC 3261 §8.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vb.sip.errors import SipUriError
from vb.sip.message import Request
from vb.sip.options import SUPPORTED_OPTIONS
from vb.sip.session_timer import MIN_INTERVAL_S, is_too_small
from vb.sip.tel import tel_number
from vb.sip.uri import parse_uri


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final response to a request that gets no further."""

    status: int
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class AllowedMethods(Protocol):
    """The methods that are taken."""

    allow: str

    def __contains__(self, method: str) -> bool: ...


def check_request(request: Request, methods: AllowedMethods) -> Refusal | None:
    """Return why a request is refused, None if it may pass.

    ACK and CANCEL do not come here: the one is never answered, the other only finds its INVITE.
    Max-Forwards 0 is no fault at the end of the route (RFC 4475 §3.3.11).
    """
    scheme_fault: SipUriError | None = None
    uri_headers: str | None = None
    try:
        uri_headers = parse_uri(request.uri).headers
    except SipUriError as error:
        if error.status == 400:  # a damaged request line is no matter of its method (RFC 5118 §4.2)
            return Refusal(400)
        if tel_number(request.uri) is None:
            scheme_fault = error
    if request.method not in methods:
        return Refusal(405, headers=(("Allow", methods.allow),))
    if request.method != "INVITE" and "replaces" in request.headers.first:
        return Refusal(400, "Bad Request (Replaces)")
    if scheme_fault is not None:
        return Refusal(scheme_fault.status)
    if uri_headers is not None:
        return Refusal(400, "Bad Request (headers in the Request-URI)")
    if "require" in request.headers.first:
        required = request.headers.get_list("Require")
        unsupported = [option for option in required if option.lower() not in SUPPORTED_OPTIONS]
        if unsupported:
            return Refusal(420, headers=(("Unsupported", ", ".join(unsupported)),))
    if request.method in ("INVITE", "UPDATE") and is_too_small(request):
        return Refusal(422, headers=(("Min-SE", str(MIN_INTERVAL_S)),))
    return None
