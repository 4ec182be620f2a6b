"""Dialogs: identifiers, sequence numbers, route sets.  Spec: RFC 3261 §12."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from vb.sip.errors import SipParseError
from vb.sip.headers import parse_name_addr, with_tag
from vb.sip.hop import Hop, Transport, default_port
from vb.sip.message import Headers, Message, Request, Response
from vb.sip.uri import SipUri, is_ip_address, parse_uri

MAX_ROUTES = 64


class Dialog:
    """One dialog, early or confirmed, seen from our side.

    Attributes:
        local, remote: From and To values of our requests, with tags.
        remote_target: the peer's Contact, or what stood in for it.
        local_tag, remote_tag: in lower case, for comparison.
        remote_cseq: highest sequence number seen from the peer, None before its first request.
        source: where the peer's last message came from.
        is_secure: it was set up by a SIPS URI, so that our Contact is one as well.
    """

    __slots__ = (
        "call_id",
        "is_secure",
        "local",
        "local_cseq",
        "local_tag",
        "remote",
        "remote_cseq",
        "remote_tag",
        "remote_target",
        "routes",
        "source",
    )

    def __init__(
        self,
        *,
        call_id: str,
        local: str,
        local_tag: str,
        remote: str,
        remote_tag: str,
        remote_target: SipUri,
        routes: list[str],
        local_cseq: int,
        remote_cseq: int | None,
        source: Hop,
        is_secure: bool = False,
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.local_tag = local_tag
        self.remote = remote
        self.remote_tag = remote_tag
        self.remote_target = remote_target
        self.routes = routes
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.source = source
        self.is_secure = is_secure

    @classmethod
    def from_invite(cls, invite: Request, local_tag: str, source: Hop) -> Dialog:
        """Make the callee's dialog of an INVITE.

        Raises:
            SipParseError: if Contact or Record-Route are missing or unusable.

        Spec: RFC 3261 §12.1.1.
        """
        contact = invite.contact
        if contact is None:
            raise SipParseError("Contact is missing")
        return cls(
            call_id=invite.call_id,
            local=with_tag(invite.required("To"), local_tag),
            local_tag=local_tag,
            remote=invite.required("From"),
            remote_tag=invite.from_.tag,
            remote_target=parse_uri(contact.uri),
            routes=_record_routes(invite),
            local_cseq=0,
            remote_cseq=invite.cseq.number,
            source=source,
            is_secure=asks_for_sips(invite),
        )

    @classmethod
    def from_response(cls, invite: Request, response: Response, target: SipUri, source: Hop) -> Dialog:
        """Make the caller's dialog of a response to its INVITE.

        A response without a usable Contact leaves the Request-URI as the target, so that even such a
        2xx can be acknowledged.

        Spec: RFC 3261 §12.1.2.
        """
        try:
            contact = response.contact
            if contact is not None:
                target = parse_uri(contact.uri)
        except SipParseError:
            pass
        try:
            routes = _record_routes(response)[::-1]
        except SipParseError:
            routes = []
        return cls(
            call_id=invite.call_id,
            local=invite.required("From"),
            local_tag=invite.from_.tag,
            remote=response.required("To"),
            remote_tag=response.to.tag,
            remote_target=target,
            routes=routes,
            local_cseq=invite.cseq.number,
            remote_cseq=None,
            source=source,
            is_secure=asks_for_sips(invite),
        )

    def accept_sequence(self, request: Request) -> bool:
        """Take note of a request's CSeq; False if it is out of order (answered 500, §12.2.2)."""
        number = request.cseq.number
        if self.remote_cseq is not None and number < self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def refresh_target(self, message: Message) -> None:
        """Take the peer's Contact of a target refresh request or of its 2xx, if it has a usable one."""
        try:
            contact = message.contact
            if contact is not None:
                self.remote_target = parse_uri(contact.uri)
        except SipParseError:
            return

    def renew(self, other: Dialog) -> None:
        """Take target and routes of the same dialog as a further response to the INVITE gives them.

        Numbers go on, for the early dialog may have been used.

        Spec: RFC 3261 §13.2.2.4.
        """
        self.remote, self.remote_target, self.routes = other.remote, other.remote_target, other.routes

    def request_target(self) -> tuple[str, list[str]]:
        """Return Request-URI and Route values of the next request.

        Spec: RFC 3261 §12.2.1.1, loose and strict routes.
        """
        if not self.routes:
            return self.remote_target.as_request_uri(), []
        first = _route_uri(self.routes[0])
        if first.is_loose_router:
            return self.remote_target.as_request_uri(), self.routes
        return first.as_request_uri(), [*self.routes[1:], f"<{self.remote_target}>"]

    def next_hop(self, *, to_source: bool = False) -> Hop:
        """Return where requests of this dialog go.

        Args:
            to_source: send to where the peer's last message came from, whatever its Contact says.
        """
        if to_source:
            return self.source
        uri = _route_uri(self.routes[0]) if self.routes else self.remote_target
        return uri_hop(uri, self.source)

    def headers(self, via: str, cseq: int, method: str, routes: list[str]) -> Headers:
        """Return the headers that every request of this dialog starts with."""
        headers = Headers([("Via", via), ("Max-Forwards", "70")])
        for route in routes:
            headers.add("Route", route)
        headers.add("From", self.local)
        headers.add("To", self.remote)
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{cseq} {method}")
        return headers


def asks_for_sips(request: Request) -> bool:
    """Whether the Contact of the other side must be a SIPS URI.  Spec: RFC 3261 §8.1.1.8, §12.1.1."""
    if request.uri[:5].lower() == "sips:":
        return True
    try:
        routes = request.headers.get_list("Record-Route") if "record-route" in request.headers.first else []
        first = parse_name_addr(routes[0]) if routes else request.contact
        return first is not None and first.uri[:5].lower() == "sips:"
    except SipParseError:
        return False


def uri_hop(uri: SipUri, source: Hop | None = None) -> Hop:
    """Return the hop of a URI.

    A URI that names no transport stays on that of `source` when it names the same host, so that a
    dialog set up over TCP is not torn apart; the open connection is used where it leads there.

    Spec: RFC 3263 §4, whose look-ups are still to be made where `search` says so, without `maddr`, which
    nobody but multicast needs.
    """
    host = uri.host
    named = uri.transport_or_none
    transport: Transport = "tls" if named == "tls" else "tcp" if named == "tcp" else "udp"
    flow, server_name = 0, ""
    if source is not None and source.host == host:
        if named not in ("tcp", "tls", "udp"):
            transport = source.transport
        if transport == source.transport:
            flow, server_name = source.flow, source.server_name
    may_switch = named is None and transport == "udp"
    search: Literal["address", "srv", "naptr"] = "naptr" if named is None or uri.scheme == "sips" else "srv"
    if uri.port is not None or is_ip_address(host):
        search = "address"
    port = uri.port or default_port(transport)
    return Hop(transport, host, port, flow, server_name, may_switch, search)


def _route_uri(route: str) -> SipUri:
    """Return the URI of a route; `lr` counts outside of its brackets too, without any all that decides."""
    address = parse_name_addr(route)
    uri = parse_uri(address.uri)
    taken = ("lr",) if "<" in route else ("lr", "transport", "maddr")
    known = {name for name, _ in uri.params}
    found = [(name, address.params[name]) for name in taken if name in address.params and name not in known]
    return replace(uri, params=(*uri.params, *found)) if found else uri


def _record_routes(message: Message) -> list[str]:
    if "record-route" not in message.headers.first:
        return []
    routes = message.headers.get_list("Record-Route")
    if len(routes) > MAX_ROUTES:
        raise SipParseError("too many Record-Route values")
    for route in routes:
        _route_uri(route)
    return routes
