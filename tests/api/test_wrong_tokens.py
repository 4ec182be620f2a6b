"""Tokens that are guessed: who is slowed down, who never is, and what is told of it."""

from __future__ import annotations

import pytest
import structlog
import trio
from pydantic import SecretStr
from trio.testing import MockClock

from tests.api.harness import Reply, SmallEngine, ask
from tests.api.test_access import access
from vb.api.access import MIN_TOKEN_CHARS, AccessRefusal
from vb.api.app import Application, create_app
from vb.config import Config, HttpConfig
from vb.limits.guessing import FREE_GUESSES

RIGHT = "R1ght-0123456789-abcdef"
WRONG = "Wr0ng-0123456789-abcdef"


def guessed_by(client: str | None, *, trust: bool = False, forwarded: bytes | None = None) -> str | None:
    headers = [(b"authorization", b"Bearer wrong")]
    if forwarded is not None:
        headers.append((b"x-forwarded-for", forwarded))
    refusal = access(trust=trust, tokens=("right",)).refuse("/v1/legs", client, headers)
    assert isinstance(refusal, AccessRefusal)
    return refusal.guessed_by


@pytest.mark.parametrize(
    ("client", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, "unknown"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network_of_64_bits(client: str | None, source: str) -> None:
    assert guessed_by(client) == source


def test_behind_a_trusted_proxy_the_source_is_the_forwarded_address() -> None:
    assert guessed_by("10.0.0.1", trust=True, forwarded=b"192.0.2.7, 10.0.0.1") == "192.0.2.7"
    assert guessed_by("10.0.0.1", trust=True) == "10.0.0.1"
    assert guessed_by("10.0.0.1", forwarded=b"192.0.2.7") == "10.0.0.1"


@pytest.mark.parametrize("forwarded", [b"", b"nobody", b"192.0.2.7:4711", b"\xff" * 50])
def test_what_is_forwarded_and_is_no_address_counts_for_the_proxy(forwarded: bytes) -> None:
    assert guessed_by("10.0.0.1", trust=True, forwarded=forwarded) == "10.0.0.1"


@pytest.mark.parametrize("value", [b"", b"Bearer", b"Bearer ", b"Basic wrong", b"wrong"])
def test_a_request_without_a_token_is_no_guess(value: bytes) -> None:
    refusal = access(tokens=("right",)).refuse("/v1/legs", "192.0.2.1", [(b"authorization", value)])
    assert isinstance(refusal, AccessRefusal)
    assert (refusal.status, refusal.guessed_by) == (401, None)


def test_an_address_that_may_not_connect_and_an_open_path_are_not_asked_for_a_token() -> None:
    headers = [(b"authorization", b"Bearer wrong")]
    rules = access("192.0.2.0/24", tokens=("right",))
    refusal = rules.refuse("/v1/legs", "203.0.113.9", headers)
    assert isinstance(refusal, AccessRefusal)
    assert (refusal.status, refusal.guessed_by) == (403, None)
    assert rules.refuse("/healthz", "192.0.2.1", headers) is None


@pytest.fixture
def app(engine: SmallEngine) -> Application:
    tokens = (SecretStr(RIGHT),)
    engine.config = Config(http=HttpConfig(addr="127.0.0.1:0", api_tokens=tokens))
    return create_app(engine)


async def with_token(app: Application, token: str, *headers: tuple[bytes, bytes]) -> Reply:
    bearer = (b"authorization", f"Bearer {token}".encode())
    return await ask(app, "GET", "/v1/colours", headers=(bearer, *headers))


def counted(engine: SmallEngine) -> tuple[float | None, float | None]:
    value = engine.metrics.registry.get_sample_value
    name = "voiceblender_api_wrong_tokens_total"
    return value(name, {"status": "401"}), value(name, {"status": "429"})


async def test_after_ten_wrong_tokens_a_source_is_told_to_wait(
    app: Application, engine: SmallEngine, autojump_clock: MockClock
) -> None:
    assert counted(engine) == (0, 0)
    statuses = [(await with_token(app, f"{WRONG}{n}")).status for n in range(FREE_GUESSES)]
    assert statuses == [401] * FREE_GUESSES
    reply = await with_token(app, WRONG)
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    assert reply.body == b'{"instance_id":"inst-1","error":"too many wrong tokens"}\n'
    assert counted(engine) == (10, 1)
    await trio.sleep(1)
    assert (await with_token(app, WRONG)).status == 401
    assert (await with_token(app, WRONG)).headers["retry-after"] == "2"


async def test_a_right_token_is_served_whatever_others_at_its_address_do(
    app: Application, autojump_clock: MockClock
) -> None:
    for _ in range(1000):
        await with_token(app, WRONG)
    assert (await with_token(app, WRONG)).status == 429
    assert (await with_token(app, RIGHT)).status == 200
    # Nor does it help those others.
    assert (await with_token(app, WRONG)).status == 429


async def test_requests_without_a_token_get_401_for_ever(
    app: Application, engine: SmallEngine, autojump_clock: MockClock
) -> None:
    assert {(await ask(app, "GET", "/v1/colours")).status for _ in range(100)} == {401}
    assert counted(engine) == (0, 0)


async def test_an_upgrade_with_a_wrong_token_counts_once(
    app: Application, engine: SmallEngine, autojump_clock: MockClock
) -> None:
    headers = ((b"upgrade", b"websocket"), (b"authorization", f"Bearer {WRONG}".encode()))
    for _ in range(FREE_GUESSES):
        assert not app.accepts_upgrade("/v1/vsi", b"", headers, "127.0.0.1")
        assert (await ask(app, "GET", "/v1/vsi", headers=headers)).status == 401
    assert (await ask(app, "GET", "/v1/vsi", headers=headers)).status == 429
    assert counted(engine) == (10, 1)
    right = ((b"upgrade", b"websocket"), (b"authorization", f"Bearer {RIGHT}".encode()))
    assert app.accepts_upgrade("/v1/vsi", b"", right, "127.0.0.1")


async def test_a_burst_is_logged_once_with_its_source_and_without_the_token(
    app: Application, autojump_clock: MockClock
) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(200):
            await with_token(app, WRONG)
            await trio.sleep(0.1)
    assert logs == [{"event": "api_token_guessing", "source": "127.0.0.1", "log_level": "warning"}]


def test_tokens_that_can_be_guessed_are_warned_of_without_being_named(engine: SmallEngine) -> None:
    tokens = tuple(SecretStr(text) for text in ("short", "x" * (MIN_TOKEN_CHARS - 1), "x" * MIN_TOKEN_CHARS))
    engine.config = Config(http=HttpConfig(addr="127.0.0.1:0", api_tokens=tokens))
    with structlog.testing.capture_logs() as logs:
        create_app(engine)
    assert logs == [{"event": "api_tokens_short", "count": 2, "wanted_chars": 22, "log_level": "warning"}]
