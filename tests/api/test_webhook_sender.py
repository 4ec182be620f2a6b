from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial

import httpx
import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.support.web import FakeWeb, local_web
from vb.api import webhook_sender
from vb.api.webhook_sender import WebhookSender, sign
from vb.events.hooks import Hook
from vb.log import STRANGERS_LINES_PER_S, StrangersLog
from vb.web.place import Place

Handler = Callable[[httpx.Request], httpx.Response]

NAMES = {
    "public.example": ["93.184.215.14"],
    "private.example": ["10.0.0.7"],
    "mixed.example": ["93.184.215.14", "127.0.0.1"],
    "loop.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "operator.example": ["10.0.0.9"],
}


async def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("unknown host")
    return NAMES[host]


def sender(handler: Handler, allow: Sequence[str] = ()) -> tuple[WebhookSender, list[httpx.Request]]:
    web = FakeWeb(handler, resolve, allow)
    return WebhookSender(web), web.fake.requests


class Body(httpx.AsyncByteStream):
    """A response body; without a length it never ends."""

    def __init__(self, length: int | None) -> None:
        self.length = length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.length is None:
            raise AssertionError("nobody reads what has no end")
        yield b"x" * self.length


def answer(status: int, headers: Mapping[str, str] | None = None, length: int | None = 2) -> httpx.Response:
    sized = {"content-length": str(length)} if length is not None else {}
    return httpx.Response(status, headers={**sized, **(headers or {})}, stream=Body(length))


def answering(status: int, **headers: str) -> Handler:
    return lambda _request: answer(status, headers)


async def test_a_request_is_a_signed_post_of_the_exact_body() -> None:
    post, seen = sender(answering(200))
    body = b'{"type":"leg.muted"}'
    assert await post.post(Hook("http://public.example/hook?x=1", "s3cret"), "ev-1", body) == "success"
    (request,) = seen
    assert request.method == "POST"
    assert request.content == body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-event-id"] == "ev-1"
    digest = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert request.headers["x-signature-256"] == f"sha256={digest}"


def test_a_signature_has_a_known_value() -> None:
    expected = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert sign("key", b"The quick brown fox jumps over the lazy dog") == f"sha256={expected}"


async def test_without_a_secret_nothing_is_signed() -> None:
    post, seen = sender(answering(204))
    assert await post.post(Hook("http://public.example/"), "e", b"{}") == "success"
    assert "x-signature-256" not in seen[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 304, 400, 404, 429, 500, 503])
async def test_any_other_status_than_2xx_is_a_failed_attempt(status: int) -> None:
    post, seen = sender(answering(status, location="http://public.example/2"))
    assert await post.post(Hook("http://public.example/"), "e", b"{}") == "retry"
    assert len(seen) == 1


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    web = FakeWeb(answering(200), resolve)
    await WebhookSender(web).post(Hook("https://public.example:8443/a"), "e", b"{}")
    assert web.fake.places == [Place(True, "public.example", 8443, ("93.184.215.14",))]
    assert web.fake.requests[0].headers["host"] == "public.example:8443"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://private.example/",
        "http://mixed.example/",
        "http://loop.example/",
        "http://mapped.example/",
        "file:///etc/passwd",
        "gopher://public.example/",
        "http://",
        "nonsense",
        "http://public.example:99999/",
    ],
)
async def test_a_hook_into_a_private_network_or_of_another_kind_is_refused(url: str) -> None:
    post, seen = sender(answering(200))
    with structlog.testing.capture_logs():
        assert await post.post(Hook(url, "s3cret"), "e", b"{}") == "request_error"
    assert seen == []


@pytest.mark.parametrize("allow", ["private.example", "10.0.0.0/8"])
async def test_the_operator_may_open_a_private_target(allow: str) -> None:
    web = FakeWeb(answering(200), resolve, [allow])
    assert await WebhookSender(web).post(Hook("http://private.example/"), "e", b"{}") == "success"
    assert web.fake.places[0].addresses == ("10.0.0.7",)


async def test_the_hook_of_the_operator_is_not_judged() -> None:
    post, seen = sender(answering(200))
    assert await post.post(Hook("http://127.0.0.1:9/x", trusted=True), "e", b"{}") == "success"
    assert str(seen[0].url) == "http://127.0.0.1:9/x"


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_keeps_the_post_is_followed(status: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/a":
            return answer(status, {"location": "/b"})
        return answer(200)

    post, seen = sender(handler)
    assert await post.post(Hook("http://public.example/a", "k"), "e", b"body") == "success"
    assert [(item.method, item.url.path, item.content) for item in seen] == [
        ("POST", "/a", b"body"),
        ("POST", "/b", b"body"),
    ]


@pytest.mark.parametrize("location", ["http://127.0.0.1/", "http://private.example/", "file:///etc/passwd"])
@pytest.mark.parametrize("trusted", [False, True])
async def test_a_redirect_into_a_private_network_is_refused(location: str, trusted: bool) -> None:
    post, seen = sender(answering(307, location=location))
    hook = Hook("http://public.example/", trusted=trusted)
    assert await post.post(hook, "e", b"{}") == "request_error"
    assert len(seen) == 1


async def test_the_operators_hook_may_redirect_within_its_host() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return answer(308, {"location": "/b"}) if request.url.path == "/a" else answer(200)

    post, _ = sender(handler)
    assert await post.post(Hook("http://127.0.0.1:9/a", trusted=True), "e", b"{}") == "success"


async def test_redirects_without_end_are_given_up() -> None:
    post, seen = sender(answering(307, location="http://public.example/again"))
    assert await post.post(Hook("http://public.example/"), "e", b"{}") == "retry"
    assert len(seen) == 6


async def test_an_unknown_host_or_a_broken_connection_is_a_failed_attempt() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    post, _ = sender(broken)
    assert await post.post(Hook("http://unknown.example/"), "e", b"{}") == "retry"
    assert await post.post(Hook("http://public.example/"), "e", b"{}") == "retry"


async def test_an_attempt_takes_ten_seconds_at_most(autojump_clock: MockClock) -> None:
    async def slow(host: str, port: int) -> Sequence[str]:
        await trio.sleep(60)
        return ["93.184.215.14"]

    post = WebhookSender(FakeWeb(answering(200), slow))
    assert await post.post(Hook("http://public.example/"), "e", b"{}") == "retry"
    assert trio.current_time() == 10


async def test_an_answer_of_unknown_length_is_not_read() -> None:
    post, _ = sender(lambda _request: answer(200, length=None))
    assert await post.post(Hook("http://public.example/"), "e", b"{}") == "success"


async def test_credentials_of_the_url_become_basic_authentication() -> None:
    post, seen = sender(answering(200))
    await post.post(Hook("http://user:p%40ss@public.example/"), "e", b"{}")
    assert seen[0].headers["authorization"] == "Basic dXNlcjpwQHNz"


async def test_no_secret_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "strangers", StrangersLog("test"))
    post, _ = sender(answering(500))
    with structlog.testing.capture_logs() as logs:
        await post.post(Hook("http://u:passw0rd@public.example/?token=t0ken", "s3cret"), "e", b"{}")
        await post.post(Hook("http://u:passw0rd@127.0.0.1/?token=t0ken", "s3cret"), "e", b"{}")
    assert len(logs) == 2
    assert not any(word in str(logs) for word in ("passw0rd", "t0ken", "s3cret"))
    assert "s3cret" not in repr(Hook("http://x/", "s3cret"))


async def test_attempts_that_strangers_may_cause_are_logged_ten_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_sender, "strangers", StrangersLog("test", clock=lambda: 0.0))
    failing, _ = sender(answering(500))
    with structlog.testing.capture_logs() as logs:
        for _ in range(30):
            await failing.post(Hook("http://public.example/"), "e", b"{}")
            await failing.post(Hook("http://127.0.0.1/"), "e", b"{}")
    events = [line["event"] for line in logs]
    assert events.count("webhook_attempt_failed") == STRANGERS_LINES_PER_S
    assert events.count("webhook_refused") == STRANGERS_LINES_PER_S


@pytest.mark.integration
async def test_a_post_reaches_a_real_receiver_and_the_connection_is_used_again(
    nursery: trio.Nursery,
) -> None:
    connections: list[str] = []

    async def receiver(stream: trio.SocketStream) -> None:
        connections.append("")
        async with stream:
            while data := await stream.receive_some(65536):
                connections[-1] += data.decode()
                if data.endswith(b"{}"):
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    serve = partial(trio.serve_tcp, receiver, 0, host="127.0.0.1", handler_nursery=nursery)
    (listener,) = await nursery.start(serve)
    port = listener.socket.getsockname()[1]
    async with aclosing(local_web(["localhost"])) as web:
        post = WebhookSender(web)
        for event_id in ("one", "two"):
            assert await post.post(Hook(f"http://localhost:{port}/hook", "k"), event_id, b"{}") == "success"
    assert len(connections) == 1
    assert connections[0].count(f"Host: localhost:{port}\r\n") == 2
    nursery.cancel_scope.cancel()


async def test_a_redirect_to_what_is_no_url_is_a_failed_attempt() -> None:
    post, seen = sender(answering(307, location="http://["), ["operator.example"])
    assert await post.post(Hook("http://public.example/"), "ev-1", b"{}") == "retry"
    assert await post.post(Hook("http://operator.example/", trusted=True), "ev-1", b"{}") == "retry"
    assert len(seen) == 2


async def test_a_secret_that_cannot_be_written_as_bytes_is_a_failed_attempt() -> None:
    post, seen = sender(answering(200))
    assert await post.post(Hook("http://public.example/", "\ud800"), "ev-1", b"{}") == "retry"
    assert seen == []
