"""What REFER and its NOTIFYs say.

Values only; `vb.sip.refer_client` and `vb.sip.refer_server` act on them.

Spec: RFC 3515, RFC 3891 (Replaces), RFC 3892 (Referred-By), RFC 4488 (Refer-Sub), RFC 6665 §8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from vb.sip.errors import SipParseError
from vb.sip.headers import TOKEN, media_type, parse_name_addr, parse_params
from vb.sip.message import Message, Request
from vb.sip.tel import tel_number
from vb.sip.uri import SipUri, parse_uri

PACKAGE = "refer"
SIPFRAG = "message/sipfrag"
MAX_REFER_TO_CHARS = 4096
MAX_REASON_CHARS = 256
_HEADER_VALUE_SAFE = "-_.!~*'()"
_WORD = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+"
_CALL_ID = re.compile(rf"{_WORD}(?:@{_WORD})?")
_TAG = re.compile(TOKEN)
_STATUS_LINE = re.compile(rb"\s*SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t]+([^\r\n]*))?(?:\r?\n|$)", re.IGNORECASE)
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Replaces:
    """The dialog that a new one takes the place of, as seen by the party that gets the INVITE.

    Spec: RFC 3891 §6.1.
    """

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


@dataclass(frozen=True, slots=True)
class ReferRequest:
    """What a REFER asks for.

    Attributes:
        target: SIP URI to call, without headers and method.
        replaces: the dialog that the call is to take the place of.
        requires_replaces: a target that does not know Replaces is to refuse the call.
        referred_by: value of Referred-By.
        wants_notify: the sender wants to hear what becomes of it.
    """

    target: str
    replaces: Replaces | None = None
    requires_replaces: bool = False
    referred_by: str | None = None
    wants_notify: bool = True

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the INVITE to the target says because of it."""
        headers: list[tuple[str, str]] = []
        if self.replaces is not None:
            headers.append(("Replaces", str(self.replaces)))
            if self.requires_replaces:
                headers.append(("Require", "replaces"))
        if self.referred_by is not None:
            headers.append(("Referred-By", self.referred_by))
        return tuple(headers)


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What a NOTIFY says about its subscription; `expires_s` is None where it does not say."""

    is_terminated: bool
    reason: str | None = None
    expires_s: int | None = None


def parse_replaces(value: str) -> Replaces:
    """Parse a Replaces value.

    Raises:
        SipParseError: and nothing else, for any text.
    """
    call_id, semicolon, rest = value.partition(";")
    call_id = call_id.strip()
    params = parse_params(semicolon + rest)
    to_tag, from_tag = params.get("to-tag") or "", params.get("from-tag") or ""
    if not (_CALL_ID.fullmatch(call_id) and _TAG.fullmatch(to_tag) and _TAG.fullmatch(from_tag)):
        raise SipParseError("bad Replaces")
    return Replaces(call_id, to_tag, from_tag, "early-only" in params)


def read_refer(request: Request) -> ReferRequest:
    """Return what a REFER asks for.

    Of the headers in the Refer-To URI only Replaces and a Require of it are taken: any other would let
    the sender write our INVITE (RFC 3261 §19.1.5). Many do not escape what separates the parts of a Replaces.

    Raises:
        SipParseError: if it cannot be followed; message and status are those of the response.
    """
    values = request.headers.get_all("Refer-To")
    if len(values) != 1:
        raise SipParseError("Multiple Refer-To" if values else "Missing Refer-To")
    try:
        if len(values[0]) > MAX_REFER_TO_CHARS:
            raise SipParseError("too long")
        text = _refer_target(values[0])
        if tel_number(text) is not None:
            return ReferRequest(
                target=text, referred_by=_referred_by(request), wants_notify=not has_no_subscription(request)
            )
        uri = parse_uri(text)
        headers = _uri_headers(uri)
        replaced = headers.get("replaces")
        replaces = None if replaced is None else parse_replaces(replaced)
    except SipParseError:
        raise SipParseError("Bad Refer-To") from None
    if (uri.param("method") or "INVITE").upper() != "INVITE":
        raise SipParseError("Not Implemented", status=501)
    return ReferRequest(
        target=uri.as_request_uri(),
        replaces=replaces,
        requires_replaces="replaces" in headers.get("require", "").lower(),
        referred_by=_referred_by(request),
        wants_notify=not has_no_subscription(request),
    )


def _refer_target(value: str) -> str:
    """Return the URI of a Refer-To; one with headers belongs in brackets, but some leave them out."""
    if "?" in value and "<" not in value:
        return value.strip()
    return parse_name_addr(value).uri


def _uri_headers(uri: SipUri) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in (uri.headers or "").split("&"):
        name, _, value = item.partition("=")
        key = unquote(name).lower()
        if key in found:
            raise SipParseError("a header of a URI occurs twice")
        found[key] = unquote(value)
    return found


def _referred_by(request: Request) -> str | None:
    value = request.headers.get("Referred-By")
    if value is None:
        return None
    try:
        parse_name_addr(value)
    except SipParseError:
        return None
    return value


def refer_to(target: str, replaces: Replaces | None = None) -> str:
    """Return the Refer-To value for a URI, with the dialog that its call is to replace."""
    target = target.replace("#", "%23")
    if replaces is None:
        return f"<{target}>"
    return f"<{target}?Replaces={quote(str(replaces), safe=_HEADER_VALUE_SAFE)}>"


def has_no_subscription(message: Message) -> bool:
    """Whether a REFER asks for no subscription, or its 2xx says that there is none.  Spec: RFC 4488 §4."""
    value = message.headers.get("Refer-Sub") or ""
    return value.partition(";")[0].strip().lower() == "false"


def event_id(request: Request) -> str | None:
    """Return the `id` of a refer event, "" where it has none, None if it is another event or none."""
    package, semicolon, rest = (request.headers.get("Event") or "").partition(";")
    if package.strip().lower() != PACKAGE:
        return None
    try:
        return parse_params(semicolon + rest).get("id") or ""
    except SipParseError:
        return None


def subscription_state(request: Request) -> SubscriptionState | None:
    """Return the Subscription-State of a NOTIFY, None where it is missing.

    Raises:
        SipParseError: if it cannot be read.
    """
    value = request.headers.get("Subscription-State")
    if value is None:
        return None
    state, semicolon, rest = value.partition(";")
    params = parse_params(semicolon + rest)
    expires = params.get("expires") or ""
    return SubscriptionState(
        is_terminated=state.strip().lower() == "terminated",
        reason=params.get("reason"),
        expires_s=int(expires) if _SECONDS.fullmatch(expires) else None,
    )


def sipfrag(status: int, reason: str) -> bytes:
    """Return a status line as the body of a NOTIFY.  Spec: RFC 3420."""
    return f"SIP/2.0 {status} {reason}\r\n".encode("utf-8", "replace")


def read_sipfrag(request: Request) -> tuple[int, str] | None:
    """Return status and reason that a NOTIFY tells, None if it has no body.

    Raises:
        SipParseError: if the body is no status line; `status` is 415 when it is of another type.
    """
    if not request.body.strip():
        return None
    kind = request.headers.get("Content-Type")
    if kind is not None and media_type(kind) != SIPFRAG:
        raise SipParseError("the body is no sipfrag", status=415)
    match = _STATUS_LINE.match(request.body)
    if match is None:
        raise SipParseError("the body has no status line")
    return int(match[1]), (match[2] or b"").decode("utf-8", "replace").strip()[:MAX_REASON_CHARS]
