import httpx
import pytest
import trio
import trio.testing

from tests.playback.tasks.web import Web, body, redirect, whole
from vb.blocking import ThreadRunner
from vb.media.errors import FetchError, UrlRefused
from vb.media.fetch_policy import FetchPolicy
from vb.names import NameLookup
from vb.playback.tasks.fetch import Fetcher, new_http_client


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
    [
        "http://127.0.0.1/", "http://inside.example/x", "//[::1]/", "file:///etc/passwd", "http://2130706433/",
        "http://[bad", "//[x", "http://a]b/",
    ],
)  # fmt: skip
async def test_a_redirect_to_a_forbidden_or_malformed_target_is_refused(location: str) -> None:
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


async def test_a_declared_size_beyond_the_cap_is_refused_unread() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Length": "10000000000"}, content=b"x")

    with pytest.raises(FetchError, match="larger than"):
        await Web(answer).fetch("http://files.example/")


async def test_a_compressed_response_is_refused() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"")

    with pytest.raises(FetchError, match="compressed"):
        await Web(answer).fetch("http://files.example/")


async def serve_once(stream: trio.SocketStream, response: bytes) -> None:
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some(4096)
        await stream.send_all(response)


def real_fetcher(client: httpx.AsyncClient, policy: FetchPolicy) -> Fetcher:
    return Fetcher(client, policy, blocking=ThreadRunner(2), resolve=NameLookup("requests"))


@pytest.mark.integration
async def test_a_download_from_a_listed_loopback_server() -> None:
    content = bytes(range(256)) * 8000
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: a=b\r\n\r\n" % len(content) + content
    async with new_http_client("vb-test") as client, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_once(stream, response), [listener])
        fetcher = real_fetcher(client, FetchPolicy.parse(["127.0.0.1"]))
        for host in ("127.0.0.1", "localhost"):
            if host == "localhost":
                fetcher = real_fetcher(client, FetchPolicy.parse(["localhost"]))
            assert await whole(await fetcher.open(f"http://{host}:{port}/x.wav")) == content
        assert not client.cookies
        with pytest.raises(UrlRefused):
            await real_fetcher(client, FetchPolicy()).open(f"http://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()


@pytest.mark.integration
async def test_a_body_cut_short_and_a_closed_port_are_errors() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort"
    async with new_http_client("vb-test") as client, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_once(stream, response), [listener])
        fetcher = real_fetcher(client, FetchPolicy.parse(["127.0.0.1"]))
        with pytest.raises(FetchError, match="broke the protocol"):
            await whole(await fetcher.open(f"http://127.0.0.1:{port}/"))
        nursery.cancel_scope.cancel()
    async with new_http_client("vb-test") as client:
        fetcher = real_fetcher(client, FetchPolicy.parse(["127.0.0.1"]))
        with pytest.raises(FetchError, match="cannot connect"):
            await fetcher.open(f"http://127.0.0.1:{port}/")
