"""API tokens that are guessed a thousand times a second, from one address and from many."""

from __future__ import annotations

import time
from collections import Counter
from itertools import count

import trio

from conformance.expect import Difference, between, check, one_of, require
from conformance.peers.http import HttpClient, HttpConnection
from conformance.phones import Phone, answered
from conformance.registry import scenario
from conformance.scenarios.access import UPGRADE
from conformance.world import World

TOKEN = "a-right-token-of-the-suite-5f1d"
GUESSES_PER_S = 1000
CONNECTIONS = 16
ONE = ("127.0.0.2",)
MANY = tuple(f"127.0.0.{number}" for number in range(3, 11))
FREE_GUESSES = 10
MOST_S = 1.0
"""How long a request with a right token may take; usually it is a few milliseconds."""


class _From(HttpConnection):
    """A connection from an address of our choice."""

    def __init__(self, world: World, source: str) -> None:
        super().__init__(*world.target.http)
        self._source = source

    async def __aenter__(self) -> _From:
        self._stream = await trio.open_tcp_stream(self._host, self._port, local_address=self._source)
        return self


class _Guesser:
    """Guesses from several addresses, and counts the answers by address and status."""

    def __init__(self, world: World) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._world = world
        self._numbers = count(1)

    async def guess(self, sources: tuple[str, ...], for_s: float) -> int:
        """Guesses on CONNECTIONS connections, all together GUESSES_PER_S; returns how often."""
        before = self.total()
        async with trio.open_nursery() as nursery:
            for number in range(CONNECTIONS):
                nursery.start_soon(self._guess, sources[number % len(sources)], for_s)
        return self.total() - before

    async def _guess(self, source: str, for_s: float) -> None:
        pause_s = CONNECTIONS / GUESSES_PER_S
        async with _From(self._world, source) as connection:
            begun = due = trio.current_time()
            while trio.current_time() < begun + for_s:
                await trio.sleep_until(due)
                due += pause_s
                await self.one(connection, source)

    async def one(self, connection: HttpConnection, source: str, upgrade: bool = False) -> None:
        """One guess; every other one by VSI, if that is wanted."""
        header = ("Authorization", f"Bearer guess-{next(self._numbers)}")
        path, headers = ("/v1/vsi", (*UPGRADE, header)) if upgrade else ("/v1/legs", (header,))
        reply = await connection.ask("GET", path, None, headers)
        check("status of a guess", reply.status, one_of(401, 429))
        retry_after = int(reply.header("retry-after") or 0)
        check("Retry-After", retry_after, between(1, 60) if reply.status == 429 else 0)
        self.answers[source, reply.status] += 1

    def total(self, status: int | None = None) -> int:
        return sum(n for (_, got), n in self.answers.items() if status in (None, got))


async def _slowest(world: World, source: str, for_s: float) -> float:
    """How long the slowest of many requests with a right token from an address took."""
    slowest, end = 0.0, trio.current_time() + for_s
    async with _From(world, source) as connection:
        while trio.current_time() < end:
            start = time.monotonic()
            reply = await connection.ask("GET", "/v1/legs", None, world.target.headers)
            check(f"a right token from {source}", reply.status, 200)
            slowest = max(slowest, time.monotonic() - start)
            await trio.sleep(0.05)
    return slowest


async def _sounds_well(phone: Phone) -> None:
    """The call is heard without a gap in most of four windows; a busy machine may spoil one."""
    spoilt: list[Difference] = []
    for _ in range(4):
        try:
            heard = await phone.hears(400)
            heard.is_steady()
            heard.has_tones(500, level=-18)
        except Difference as difference:
            spoilt.append(difference)
    if len(spoilt) > 1:
        raise spoilt[0]


async def _under_fire(
    world: World, guesser: _Guesser, sources: tuple[str, ...], phone: Phone, for_s: float = 2.0
) -> None:
    """Right tokens are served at once and a call sounds as before while others guess."""

    async def right_token(source: str) -> None:
        took = await _slowest(world, source, for_s)
        require(took < MOST_S, f"slowest request from {source}", f"below {MOST_S} s", f"{took:.2f} s")

    async with trio.open_nursery() as nursery:
        for source in ("127.0.0.1", sources[0]):
            nursery.start_soon(right_token, source)
        nursery.start_soon(_sounds_well, phone)
        guesses = await guesser.guess(sources, for_s)
    # Of the 2000, so that a machine that has other work too passes.
    require(guesses >= 500, f"guesses from {len(sources)} addresses", "at least 500", guesses)


@scenario(
    "Tokens guessed 1000 times a second by one and by many: 401, then 429; right ones and calls go on",
    needs=("servers",),
    timeout_s=60.0,
)
async def token_guessing(world: World) -> None:
    async with world.server({"VB_API_TOKENS": TOKEN}) as there:
        talks, hears = await answered(there, "one", tone=500.0), await answered(there, "two")
        for phone in (talks, hears):
            await phone.join("sc-guessing")
        guesser = _Guesser(there)
        await _without_tokens(there)
        async with _From(there, "127.0.0.11") as connection:
            for number in range(FREE_GUESSES):
                await guesser.one(connection, "127.0.0.11", upgrade=number % 2 == 0)
            check("guesses that are not slowed", guesser.answers, {("127.0.0.11", 401): FREE_GUESSES})
            await guesser.one(connection, "127.0.0.11", upgrade=True)
            check("the next one", guesser.answers["127.0.0.11", 429], 1)
        for sources in (ONE, MANY):
            await _under_fire(there, guesser, sources, hears)
        for source in (*ONE, *MANY):
            check(f"{source}: guesses that got 401", guesser.answers[source, 401], between(FREE_GUESSES, 13))
        found = await there.metrics()
        for status in (401, 429):
            counted = found.get("api_wrong_tokens_total", status=str(status))
            check(f"wrong tokens that got {status}", counted, guesser.total(status))
        for phone in (talks, hears):
            await phone.hang_up()
        _is_told(there, ("127.0.0.11", *ONE, *MANY))


async def _without_tokens(world: World) -> None:
    """What brings no token does not guess."""
    client = HttpClient(*world.target.http)
    for headers in ((), (("Authorization", "Basic Og=="),), (("Authorization", "Bearer "),)):
        for _ in range(FREE_GUESSES):
            check("status", (await client.ask("GET", "/v1/legs", None, headers)).status, 401)


def _is_told(world: World, sources: tuple[str, ...]) -> None:
    """The log names each address once, and no token, whether right or wrong."""
    lines = [line for line in bytes(world.target.log).splitlines() if b"api_token_guessing" in line]
    for source in sources:
        told = sum(f'"{source}"'.encode() in line for line in lines)
        check(f"lines that name {source}", told, 1)
    check("lines about guesses", len(lines), len(sources))
    for token in (TOKEN, "guess-"):
        require(token.encode() not in world.target.log, "the log", "no token", f"{token} is there")
