"""MoQ at the edge: how its one operation is documented, what plain requests for it get, and who is let in.

Sessions come over HTTP/3 to a listener of their own; here the same path says where they are to be opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from vb.api.access import Access, WrongTokens
from vb.api.sockets import SOCKETS
from vb.config import MoqConfig
from vb.moqleg.request import PATH, RATE_HZ
from vb.quic.requests import AVAILABLE, offered_protocols
from vb.quic.session import Refusal, Request
from vb.quic.tasks import Listener

NAME: Final = "moqLeg"
QUERY: Final[dict[str, dict[str, Any]]] = {
    **{
        name: dict(described)
        for name, described in SOCKETS[0].query.items()
        if name not in ("wire_format", "sample_format")
    },
    "sample_rate": {
        "description": "samples a second of the Opus, both ways",
        "schema": {"type": "integer", "enum": [RATE_HZ], "default": RATE_HZ},
    },
}
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?=(:\d*)?$)", re.ASCII)
_FORWARDED: Final = "x-forwarded-for"


def moq_operation(failure: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Return the operation of the OpenAPI document, which has no word for the method that it really is."""
    return {
        "operationId": NAME,
        "summary": "Connect a WebTransport session as a leg (Media over QUIC)",
        "description": "An extended CONNECT over HTTP/3 to the listener of `MOQ_LISTEN_ADDR`; other requests "
        "get 405. The session speaks MoQ Transport draft 11: the server publishes namespace `mix`, track "
        "`audio`, and subscribes to `mic`, track `audio`, of the client; each object is one Opus frame of 20 "
        "ms. With `rtt` both have a track `text`. The leg is connected at once. X-*, P-* and Authorization "
        "of the request are kept as headers of the leg; Authorization is not where it opens this server.",
        "tags": ["legs"],
        "x-actual-method": "CONNECT",
        "parameters": [
            {"name": name, "in": "query", "required": False, **described} for name, described in QUERY.items()
        ],
        "responses": {
            "200": {"description": "the session is open"},
            **{str(status): failure(status) for status in (400, 405, 500, 503)},
        },
    }


def plain_refusal(config: MoqConfig) -> Refusal:
    """Return what a request for a MoQ leg gets that came over another HTTP than it has to."""
    if not config.enabled:
        return Refusal(503, "MoQ is not enabled (MOQ_ENABLED)")
    return Refusal(405, "MoQ needs an extended CONNECT over HTTP/3, to MOQ_LISTEN_ADDR")


def listener_origin(listener: Listener | None, asked_host: str) -> str:
    """Return the origin of the listener as a client knows this host; "" while there is none."""
    if listener is None:
        return ""
    host = _HOST.match(asked_host)
    return f"https://{host[0] if host else 'localhost'}:{listener.address[1]}"


def listener_facts(listener: Listener | None, asked_host: str) -> dict[str, str | None]:
    """Return what a page needs to open a session: where, and the hash of a certificate that we made."""
    if listener is None:
        return {"url": None, "sha256": None}
    identity = listener.identity
    return {
        "url": listener_origin(listener, asked_host) + PATH,
        "sha256": identity.sha256.hex() if identity.self_made else None,
    }


class SessionGuard:
    """Lets in who may use the API: the same rules as for WebSockets, which browsers open as freely.

    A script in a browser can set no header, so it may offer its token as a subprotocol. Pages of this host
    may use theirs, whatever port they came from.

    Args:
        access: the rules.
        wrong_tokens: answers who guesses.
    """

    def __init__(self, access: Access, wrong_tokens: WrongTokens) -> None:
        self._access = access
        self._wrong_tokens = wrong_tokens

    def __call__(self, request: Request) -> Refusal | None:
        """Return why a session is refused, None when it may go on."""
        refusal = self._access.refuse(PATH, request.address[0], _as_upgrade(request), upgrade=True)
        if refusal is not None and refusal.guessed_by is not None:
            refusal = self._wrong_tokens.answer(refusal.guessed_by, trio.current_time())
        return None if refusal is None else Refusal(refusal.status, refusal.message)


def _as_upgrade(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the headers of a session's request as those of a request for a WebSocket would be."""
    lines: list[tuple[str, str]] = []
    for name, value in request.headers:
        if name not in (AVAILABLE, _FORWARDED, "host"):  # no proxy stands before this listener
            lines.append((name, value))
    offered = offered_protocols(request)
    if offered:
        lines.append(("sec-websocket-protocol", ", ".join(offered)))
    lines.append(("host", _host(request)))
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in lines]


def _host(request: Request) -> str:
    """Return what its page's origin has to name: the page came from another port of the same host."""
    if request.origin is None:
        return request.authority
    try:
        page, asked = urlsplit(request.origin), urlsplit(f"//{request.authority}")
        same = page.hostname is not None and page.hostname == asked.hostname
    except ValueError:
        return ""
    return page.netloc if same else ""
