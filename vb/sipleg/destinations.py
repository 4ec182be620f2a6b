"""Keeping calls and transfers to the destinations that the operator allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vb.errors import Forbidden
from vb.log import StrangersLog
from vb.sip.target import dial_target, proxy_route
from vb.sip.uri import SipUri

if TYPE_CHECKING:
    from vb.sipleg.kind import SipLegs

strangers = StrangersLog(__name__)


def check_destination(sip: SipLegs, target: str, field: str) -> None:
    """Refuse a destination that may not be called.

    Args:
        sip: the kind.
        target: SIP URI, or a name-addr around one.
        field: what a client calls it.

    Raises:
        BadRequest: it is no SIP URI.
        Forbidden: it may not be called.
    """
    uri, _ = dial_target(target)
    if not _allows(sip, uri.user, uri):
        strangers.warning("destination is not allowed", target=f"{uri.user or ''}@{uri.host}")
        raise Forbidden(f"{field}: calls to this destination are not allowed")


def check_proxy(sip: SipLegs, proxy: str, target: str) -> None:
    """Refuse a client's proxy if its host may not be called with the user of the target.

    A proxy sends a call where it likes, so its host is a destination too; that of the settings is exempt.

    Args:
        sip: the kind.
        proxy: SIP URI of the next hop.
        target: as in `check_destination`.

    Raises:
        BadRequest: one of them is no SIP URI.
        Forbidden: calls may not go there.
    """
    route, (uri, _) = proxy_route(proxy), dial_target(target)
    own = sip.engine.config.sip.outbound_proxy
    if (not own or route != proxy_route(own)) and not _allows(sip, uri.user, route):
        strangers.warning("proxy is not allowed", proxy=route.host, target=f"{uri.user or ''}@{uri.host}")
        raise Forbidden("outbound_proxy: calls to this destination are not allowed")


def _allows(sip: SipLegs, user: str | None, uri: SipUri) -> bool:
    # A maddr is where the request would go, whatever the host says (RFC 3261 §19.1.1).
    hosts = (uri.host, maddr) if (maddr := uri.param("maddr")) else (uri.host,)
    return all(sip.destinations.allow(user, host) for host in hosts)
