"""Requests on a connection: which become sessions, and how the others are answered.

Spec: RFC 9114 §4, RFC 9220, draft-ietf-webtrans-http3 §3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vb.quic.session import Refusal, Request

Headers = Sequence[tuple[bytes, bytes]]

_PROTOCOLS: Final = (b"webtransport", b"webtransport-h3")
"""As Chromium and the first drafts say, and as the later ones do."""
_ITEM: Final = re.compile(r'[^"]*+"((?:[^"\\]++|\\.)*+)"')
AVAILABLE: Final = "wt-available-protocols"
"""The header with what a client can speak in its session."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a listener offers.

    Attributes:
        path: where sessions are asked for.
        protocols: names of what is spoken in them, the best first.
        instance_id: named in the bodies of refusals.
    """

    path: str
    protocols: tuple[str, ...]
    instance_id: str


def read_request(headers: Headers, site: Site, address: tuple[str, int]) -> Request | Refusal:
    """Return what is asked for; a refusal when it is no session of this site."""
    fields = [(name.decode("ascii", "replace"), value.decode("latin-1")) for name, value in headers]
    pseudo = {name: value for name, value in fields if name.startswith(":")}
    path, _, query = pseudo.get(":path", "").partition("?")
    if not path.isascii() or not query.isascii():
        return Refusal(400, "the path is not ASCII")
    if path != site.path:
        return Refusal(404, "not found")
    if pseudo.get(":method") != "CONNECT" or pseudo.get(":protocol", "").encode() not in _PROTOCOLS:
        return Refusal(405, "a WebTransport session is asked for by CONNECT")
    plain = tuple((name, value) for name, value in fields if not name.startswith(":"))
    origin = next((value for name, value in plain if name == "origin"), None)
    return Request(path, query, plain, origin, address, pseudo.get(":authority", ""))


def offered_protocols(request: Request) -> list[str]:
    """Return what the client can speak in the session, as it says, the best first."""
    return [item for name, value in request.headers if name == AVAILABLE for item in _strings(value)]


def _strings(value: str) -> Iterator[str]:
    """Give the strings of a list up to one without an end, in which each quote would begin a search."""
    found = _ITEM.match(value)
    while found is not None:
        yield found[1]
        found = _ITEM.match(value, found.end())


def accepting_headers(request: Request, site: Site) -> list[tuple[bytes, bytes]]:
    """Return the headers that open a session, with the protocol that both sides know."""
    headers = [(b":status", b"200"), (b"sec-webtransport-http3-draft", b"draft02")]
    asked = offered_protocols(request)
    chosen = next((name for name in site.protocols if name in asked), None)
    if chosen is not None:
        headers.append((b"wt-protocol", f'"{chosen}"'.encode()))
    return headers


def refusing_answer(refusal: Refusal, site: Site) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of a refusal."""
    body = json.dumps(
        {"instance_id": site.instance_id, "error": refusal.message}, ensure_ascii=False
    ).encode()
    headers = [
        (b":status", str(refusal.status).encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if refusal.status == 405:
        headers.append((b"allow", b"CONNECT"))
    return headers, body
