"""Pages for browsers: whole without anything from elsewhere, open without a token, and under a policy."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode

from conformance.expect import check, containing, require
from conformance.peers.http import HttpClient
from conformance.registry import scenario
from conformance.scenarios.access import UPGRADE
from conformance.world import World

TOKEN = "a-token-that-nobody-guesses"
_LOADED = re.compile(
    r"""(?:<script[^>]* src|<link[^>]* href)="([^"]+)"|^import [^"]*"([^"]+)";""", re.MULTILINE
)


async def _walk(http: HttpClient, path: str) -> set[str]:
    """Ask for a page and everything that it loads; returns the paths."""
    seen: set[str] = set()
    ahead = [path]
    while ahead:
        at = ahead.pop()
        if at in seen or at == "data:,":
            continue
        seen.add(at)
        require(at.startswith("/") and not at.startswith("//"), f"{path}: what it loads", "a path here", at)
        reply = await http.ask("GET", at)
        check(f"GET {at}", reply.status, 200)
        policy = reply.header("content-security-policy")
        check(f"GET {at}: policy", policy, containing("default-src 'none'", "script-src 'self'"))
        check(f"GET {at}: type", reply.header("x-content-type-options"), "nosniff")
        ahead += [one or other for one, other in _LOADED.findall(reply.body.decode())]
    return seen


@scenario(
    "/ leads to /phone; both are whole and need no token; a token may be a subprotocol of VSI",
    needs=("servers",),
)
async def pages(world: World) -> None:
    async with world.boot({"VB_API_TOKENS": TOKEN}) as target:
        http = HttpClient(*target.http)
        await _walk(http, "/")
        links = (await http.ask("GET", "/")).body.decode()
        for path in ("/phone", "/calls", "/docs", "/healthz"):
            check(f"/ leads to {path}", links, containing(f'href="{path}"'))
        loaded = await _walk(http, "/phone")
        check("scripts of /phone", sum(path.endswith(".js") for path in loaded) > 1, True)
        check("GET /phone/", (await http.ask("GET", "/phone/")).status, 404)
        check("GET /phone/nothing.js", (await http.ask("GET", "/phone/nothing.js")).status, 404)
        check("POST /phone", (await http.ask("POST", "/phone")).status, 405)
        check(
            "POST /v1/webrtc/offer without a token", (await http.ask("POST", "/v1/webrtc/offer")).status, 401
        )
        for token, status in ((TOKEN, 101), ("another", 401)):
            text = urlsafe_b64encode(token.encode()).decode().rstrip("=")
            offered = ("Sec-WebSocket-Protocol", f"vb, vb.token.{text}")
            reply = await http.ask("GET", "/v1/vsi", None, (*UPGRADE, offered))
            check(f"VSI with the token {token} as a subprotocol", reply.status, status)
            if status == 101:
                check("the chosen subprotocol", reply.header("sec-websocket-protocol"), "vb")
