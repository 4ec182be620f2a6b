"""Who may use the HTTP edge: address lists, proxies, tokens, origins; and bounded filter expressions."""

from __future__ import annotations

import time
from urllib.parse import quote

from conformance.expect import TEXT, check, one_of, require
from conformance.peers.http import HttpClient, Reply
from conformance.registry import scenario
from conformance.targets import Target, run_to_end
from conformance.world import World

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)
Header = tuple[str, str]


async def _ask(target: Target, path: str, *headers: Header) -> Reply:
    return await HttpClient(*target.http).ask("GET", path, None, headers)


async def _upgrade(target: Target, path: str, *headers: Header) -> int:
    return (await _ask(target, path, *UPGRADE, *headers)).status


def _is_forbidden(reply: Reply) -> None:
    check(f"{reply.request}: status", reply.status, 403)
    check(f"{reply.request}: body", World.json_of(reply), {"error": "forbidden", "instance_id": TEXT})


@scenario(
    "ALLOWED_IPS: literal, CIDR with host bits, both families; others get 403 on every path but OPTIONS",
    needs=("servers",),
)
async def allowed_ips(world: World) -> None:
    async with world.boot({"ALLOWED_IPS": "192.0.2.7, 2001:db8::/32"}) as target:
        for path in ("/v1/legs", "/metrics", "/healthz", "/v1/nothing", "/v1/vsi"):
            _is_forbidden(await _ask(target, path))
        check("VSI handshake", await _upgrade(target, "/v1/vsi"), 403)
        options = await HttpClient(*target.http).ask("OPTIONS", "/v1/legs")
        check("OPTIONS", options.status, 204)
        faked = await _ask(target, "/v1/legs", ("X-Forwarded-For", "192.0.2.7"))
        _is_forbidden(faked)
    async with world.server({"ALLOWED_IPS": "127.0.0.9/8"}) as there:
        check("legs", await there.rest_list("/v1/legs"), [])
    code, output = await run_to_end(world.home / "refused", {"ALLOWED_IPS": "127.0.0.1,nonsense"})
    check("exit code", code, 1)
    require("ALLOWED_IPS" in output, "output", "a line naming ALLOWED_IPS", output[-300:])


@scenario(
    "TRUST_PROXY_HEADERS: the leftmost X-Forwarded-For counts, a malformed one is refused, none is the peer",
    needs=("servers",),
)
async def allowed_ips_behind_proxy(world: World) -> None:
    settings = {"ALLOWED_IPS": "192.0.2.0/24,2001:db8::/32", "TRUST_PROXY_HEADERS": "true"}
    async with world.boot(settings) as target:
        for value, status in (
            ("192.0.2.9", 200),
            ("192.0.2.9, 198.51.100.1", 200),
            ("2001:db8::1", 200),
            ("::ffff:192.0.2.1", 200),
            ("198.51.100.1, 192.0.2.9", 403),
            ("nonsense", 403),
            ("", 403),
            (None, 403),
        ):
            headers = (("X-Forwarded-For", value),) if value is not None else ()
            reply = await _ask(target, "/v1/legs", *headers)
            check(f"X-Forwarded-For: {value}", reply.status, status)


@scenario(
    "VB_API_TOKENS: none, wrong, old, in the query; any of several opens; the documents stay open; CORS",
    needs=("servers",),
)
async def api_tokens(world: World) -> None:
    tokens = ("current-token-1", "next-token-2")
    async with world.server({"VB_API_TOKENS": ",".join(tokens), "LOG_LEVEL": "debug"}) as there:
        target = there.target
        wrong: tuple[tuple[Header, ...], ...] = (
            (),
            (("Authorization", "Bearer nonsense"),),
            (("Authorization", "Bearer "),),
            (("Authorization", "Bearer current-token-1,next-token-2"),),
            (("Authorization", "Basic Y3VycmVudC10b2tlbi0x"),),
        )
        for headers in wrong:
            for path in ("/v1/legs", "/metrics", "/v1/nothing"):
                reply = await _ask(target, path, *headers)
                check(f"{path} with {headers}", reply.status, 401)
                check("WWW-Authenticate", reply.header("www-authenticate"), "Bearer")
            check("VSI", await _upgrade(target, "/v1/vsi", *headers), 401)
        check("a wrong X-API-Key", (await _ask(target, "/v1/legs", ("X-API-Key", "nonsense"))).status, 401)
        for query in (f"?token={tokens[0]}", f"?access_token={tokens[0]}"):
            check(query, (await _ask(target, f"/v1/legs{query}")).status, 401)
        for token in tokens:
            for name, value in (("Authorization", f"Bearer {token}"), ("X-API-Key", token)):
                check(f"a right {name}", (await _ask(target, "/v1/legs", (name, value))).status, 200)
        for path in ("/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs"):
            check(path, (await _ask(target, path)).status, 200)
        check("preflight", (await HttpClient(*target.http).ask("OPTIONS", "/v1/legs")).status, 204)
        await _origins(target, ("Authorization", f"Bearer {tokens[0]}"))
        await there.command("create_room", {"id": "sc-token"})
        for token in tokens:
            require(token.encode() not in target.log, "the log", "no token in it", "one is there")


async def _origins(target: Target, bearer: Header) -> None:
    """A web page of another site cannot open VSI, even with a token; our own page and programs can."""
    own = f"http://{target.http[0]}:{target.http[1]}"
    for origin, status in ((None, 101), (own, 101), ("https://evil.example.com", 403), ("null", 403)):
        headers = (bearer, ("Origin", origin)) if origin else (bearer,)
        check(f"VSI from {origin}", await _upgrade(target, "/v1/vsi", *headers), status)


CATASTROPHIC = (
    "(a+)+$",
    "(a|a)*b",
    "(.*a){25}",
    "([a-z]+)*x",
    "(a?){50}a{50}",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
)


@scenario("Filters that would take for ever elsewhere: refused with 400 or quick, and nobody waits for them")
async def vsi_patterns(world: World) -> None:
    for pattern in (*CATASTROPHIC, "[", "(?<=a)b", "(a)\\1", "a{100000}", "x" * 5000):
        status = await _upgrade(world.target, f"/v1/vsi?app_id={quote(pattern)}", *world.target.headers)
        check(f"status for {pattern[:40]}", status, one_of(101, 400))
    for pattern in ("[", "(?<=a)b", "(a)\\1"):
        status = await _upgrade(world.target, f"/v1/vsi?app_id={quote(pattern)}", *world.target.headers)
        check(f"status for {pattern}", status, 400)
    slow = [pattern for pattern in CATASTROPHIC if not pattern.startswith("(.*a")]
    for number, pattern in enumerate(slow):
        await world.another_vsi(f"filter{number}", f"?app_id={quote(pattern)}")
    start = time.monotonic()
    for number in range(5):
        await world.rest("POST", "/v1/rooms", {"id": f"sc-{number}", "app_id": "a" * 200 + "!"}, status=201)
        await world.event("room.created", room_id=f"sc-{number}", within_s=1)
    took = time.monotonic() - start
    require(took < 1.0, "five events past slow filters", "well below a second", f"{took:.2f} s")
