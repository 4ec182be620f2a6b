"""Keeping calls and transfers to the destinations that the operator allows."""

from __future__ import annotations

import structlog

from vb.engine import Engine
from vb.errors import Forbidden
from vb.sip.target import dial_target

log = structlog.get_logger(__name__)


def check_destination(engine: Engine, target: str, field: str) -> None:
    """Refuse a destination that may not be called.

    Args:
        engine: the server.
        target: SIP URI, or a name-addr around one.
        field: what a client calls it.

    Raises:
        BadRequest: it is no SIP URI.
        Forbidden: it may not be called.
    """
    uri, _ = dial_target(target)
    # A maddr is where the request would go, whatever the host says (RFC 3261 §19.1.1).
    hosts = (uri.host, maddr) if (maddr := uri.param("maddr")) else (uri.host,)
    if not all(engine.destinations.allow(uri.user, host) for host in hosts):
        log.warning("destination is not allowed", target=f"{uri.user or ''}@{uri.host}")
        raise Forbidden(f"{field}: calls to this destination are not allowed")
