from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import httpx
import pytest
import trio
import trio.testing

from tests.media.support import inline
from vb.media.errors import FetchError, UrlRefused
from vb.media.fetch_policy import FetchPolicy
from vb.media.tasks import Fetcher, FetchLimits, ThreadRunner, new_http_client

Answer = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]

NAMES = {"files.example": ["8.8.8.8"], "two.example": ["8.8.8.8", "1.1.1.1"], "inside.example": ["10.0.0.5"]}


async def resolve(host: str, port: int) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    if host not in NAMES:
        raise OSError("no such host")
    return NAMES[host]


class Web:
    """A web server in memory that remembers what it was asked for."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._handle))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answer(request)
        return answer if isinstance(answer, httpx.Response) else await answer

    async def fetch(self, url: str, **limits: int | float) -> bytes:
        fetcher = Fetcher(
            self.client,
            FetchPolicy(),
            blocking=inline,
            limits=FetchLimits(**limits),  # type: ignore[arg-type]  # numbers for number fields
            resolve=resolve,
        )
        with (await fetcher.fetch(url)).file as file:
            return file.read()


def body(content: bytes) -> Answer:
    return lambda request: httpx.Response(200, content=content)


def drip(pieces: int, size: int, every_s: float) -> Answer:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            await trio.sleep(every_s)
            yield b"x" * size

    return lambda request: httpx.Response(200, content=stream())


def redirect(*locations: str) -> Answer:
    left = list(locations)

    def answer(request: httpx.Request) -> httpx.Response:
        if left:
            return httpx.Response(302, headers={"Location": left.pop(0)})
        return httpx.Response(200, content=b"arrived")

    return answer


async def test_the_request_goes_to_the_judged_address_under_the_name() -> None:
    web = Web(body(b"abc"))
    assert await web.fetch("https://files.example:8443/a.wav?k=v") == b"abc"
    request = web.requests[0]
    assert str(request.url) == "https://8.8.8.8:8443/a.wav?k=v"
    assert request.headers["Host"] == "files.example:8443"
    assert request.extensions["sni_hostname"] == "files.example"
    assert request.headers["Connection"] == "close"


async def test_credentials_of_the_url_become_basic_authentication() -> None:
    web = Web(body(b""))
    await web.fetch("http://user:pw@files.example/")
    assert web.requests[0].headers["Authorization"] == "Basic dXNlcjpwdw=="


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://169.254.169.254/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://0x7f000001/", "http://2130706433/", "http://inside.example/", "file:///etc/passwd",
        "gopher://files.example/",
    ],
)  # fmt: skip
async def test_forbidden_targets_are_refused_before_any_connection(url: str) -> None:
    web = Web(body(b"secret"))
    with pytest.raises(UrlRefused):
        await web.fetch(url)
    assert web.requests == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1/", "http://inside.example/x", "//[::1]/", "file:///etc/passwd", "http://2130706433/"],
)
async def test_a_redirect_to_a_forbidden_target_is_refused(location: str) -> None:
    web = Web(redirect(location))
    with pytest.raises(UrlRefused):
        await web.fetch("http://files.example/")
    assert len(web.requests) == 1


async def test_redirects_are_followed_with_the_name_they_give() -> None:
    web = Web(redirect("/b.wav", "http://two.example/c.wav"))
    assert await web.fetch("http://files.example/a.wav") == b"arrived"
    hosts = [(request.headers["Host"], request.url.path) for request in web.requests]
    assert hosts == [("files.example", "/a.wav"), ("files.example", "/b.wav"), ("two.example", "/c.wav")]


async def test_credentials_do_not_follow_a_redirect() -> None:
    web = Web(redirect("http://two.example/"))
    await web.fetch("http://user:pw@files.example/")
    assert "Authorization" not in web.requests[1].headers


async def test_a_sixth_redirect_is_refused() -> None:
    assert await Web(redirect(*["/x"] * 5)).fetch("http://files.example/") == b"arrived"
    with pytest.raises(FetchError, match="more than 5 redirects"):
        await Web(redirect(*["/x"] * 6)).fetch("http://files.example/")


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 500])
async def test_anything_but_200_is_an_error_with_its_status(status: int) -> None:
    with pytest.raises(FetchError, match=f"status {status}"):
        await Web(lambda request: httpx.Response(status)).fetch("http://files.example/")


async def test_a_name_that_does_not_resolve_is_an_error() -> None:
    with pytest.raises(FetchError, match=r"host gone\.example cannot be resolved"):
        await Web(body(b"")).fetch("http://gone.example/")


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "8.8.8.8":
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=b"second")

    assert await Web(answer).fetch("http://two.example/") == b"second"


async def test_errors_do_not_show_the_query() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"lost {request.url}")

    with pytest.raises(FetchError) as failed:
        await Web(answer).fetch("http://files.example/a.wav?token=hush")
    assert "hush" not in str(failed.value)


async def test_headers_that_do_not_come_end_the_download(autojump_clock: trio.testing.MockClock) -> None:
    async def silent(request: httpx.Request) -> httpx.Response:
        await trio.sleep(3600)
        return httpx.Response(200)

    with pytest.raises(FetchError, match="no response within 30 s"):
        await Web(silent).fetch("http://files.example/")
    assert trio.current_time() == pytest.approx(30, abs=0.5)


async def test_a_byte_a_second_is_too_slow(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(FetchError, match="too slowly"):
        await Web(drip(100_000, 1, 1.0)).fetch("http://files.example/")
    assert trio.current_time() == pytest.approx(15, abs=0.5)


async def test_a_slow_but_steady_server_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    assert len(await Web(drip(60, 20_000, 3.0)).fetch("http://files.example/")) == 1_200_000


async def test_the_whole_download_is_limited_in_time(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(FetchError, match="not complete after 60 s"):
        await Web(drip(1000, 65_536, 1.0)).fetch("http://files.example/", total_timeout_s=60)


async def test_an_endless_body_is_cut_at_the_cap(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(FetchError, match="larger than 1000000 bytes"):
        await Web(drip(10**9, 65_536, 0.001)).fetch("http://files.example/", max_bytes=1_000_000)
    assert trio.current_time() < 1


async def test_a_declared_size_beyond_the_cap_is_refused_unread() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Length": "10000000000"}, content=b"x")

    with pytest.raises(FetchError, match="larger than"):
        await Web(answer).fetch("http://files.example/")


async def test_exactly_the_cap_is_allowed() -> None:
    assert len(await Web(body(b"x" * 5000)).fetch("http://files.example/", max_bytes=5000)) == 5000


async def test_a_compressed_response_is_refused() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"")

    with pytest.raises(FetchError, match="compressed"):
        await Web(answer).fetch("http://files.example/")


async def test_what_does_not_fit_in_memory_goes_to_the_file(autojump_clock: trio.testing.MockClock) -> None:
    assert len(await Web(drip(10, 3000, 0.0)).fetch("http://files.example/", memory_bytes=5000)) == 30_000


async def test_a_full_disk_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async def full(function: Callable[[], object], /) -> object:
        await trio.lowlevel.checkpoint()
        raise OSError(28, "No space left on device")

    web = Web(drip(10, 3000, 0.0))
    fetcher = Fetcher(
        web.client,
        FetchPolicy(),
        blocking=full,  # type: ignore[arg-type]  # it never returns
        limits=FetchLimits(memory_bytes=5000),
        resolve=resolve,
    )
    with pytest.raises(FetchError, match="No space left"):
        await fetcher.fetch("http://files.example/")


async def serve_once(stream: trio.SocketStream, response: bytes) -> None:
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some(4096)
        await stream.send_all(response)


@pytest.mark.integration
async def test_a_download_from_a_listed_loopback_server() -> None:
    content = bytes(range(256)) * 8000
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: a=b\r\n\r\n" % len(content) + content
    async with new_http_client("vb-test") as client, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_once(stream, response), [listener])
        fetcher = Fetcher(client, FetchPolicy.parse(["127.0.0.1"]), blocking=ThreadRunner(2))
        for host in ("127.0.0.1", "localhost"):
            if host == "localhost":
                fetcher = Fetcher(client, FetchPolicy.parse(["localhost"]), blocking=ThreadRunner(2))
            with (await fetcher.fetch(f"http://{host}:{port}/x.wav")).file as file:
                assert file.read() == content
        assert not client.cookies
        with pytest.raises(UrlRefused):
            await Fetcher(client, FetchPolicy(), blocking=ThreadRunner(2)).fetch(f"http://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()


@pytest.mark.integration
async def test_a_body_cut_short_and_a_closed_port_are_errors() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort"
    async with new_http_client("vb-test") as client, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_once(stream, response), [listener])
        fetcher = Fetcher(client, FetchPolicy.parse(["127.0.0.1"]), blocking=ThreadRunner(2))
        with pytest.raises(FetchError, match="broke the protocol"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()
    async with new_http_client("vb-test") as client:
        fetcher = Fetcher(client, FetchPolicy.parse(["127.0.0.1"]), blocking=ThreadRunner(2))
        with pytest.raises(FetchError, match="cannot connect"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/")
