import httpx
import pytest
import trio
import trio.testing

from tests.playback.tasks.web import Web, body, redirect, whole
from tests.support.web import local_web
from vb.blocking import ThreadRunner
from vb.media.errors import FetchError
from vb.playback.tasks.fetch import Fetcher

REFUSED = r"not allowed|malformed|only http and https"


async def test_the_request_goes_to_the_judged_address_under_the_name() -> None:
    web = Web(body(b"abc"))
    assert await web.fetch("https://files.example:8443/a.wav?k=v") == b"abc"
    request, place = web.requests[0], web.fake.places[0]
    assert (place.secure, place.host, place.port, place.addresses) == (
        True,
        "files.example",
        8443,
        ("8.8.8.8",),
    )
    assert str(request.url) == "https://files.example:8443/a.wav?k=v"
    assert request.headers["Host"] == "files.example:8443"


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
    with pytest.raises(FetchError, match=REFUSED):
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
    with pytest.raises(FetchError, match=REFUSED):
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


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "aws-chunked, gzip", "GZIP"])
async def test_a_compressed_response_is_refused(coding: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return httpx.Response(200, headers={"Content-Encoding": coding}, stream=httpx.ByteStream(b"x"))

    with pytest.raises(FetchError, match="compressed"):
        await Web(answer).fetch("http://files.example/")


@pytest.mark.parametrize(
    "coding", ["", "identity", "UTF-8", "utf8", "aws-chunked", "binary", "none", "audio/wav", "aws-chunked,"]
)
async def test_a_content_encoding_that_is_no_coding_does_not_count(coding: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": coding}, stream=httpx.ByteStream(b"as it is"))

    assert await Web(answer).fetch("http://files.example/") == b"as it is"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://files.example/a b.wav", "/a%20b.wav"),
        (" http://files.example/a%20b.wav ", "/a%20b.wav"),
        ("http://files.example/grüße.wav?x=ä b", "/gr%C3%BC%C3%9Fe.wav?x=%C3%A4%20b"),
        ("http://files.example/100%.wav", "/100%25.wav"),
        ("http://files.example/a\\b|c{d}.wav", "/a%5Cb%7Cc%7Bd%7D.wav"),
        ("http://files.example/a%2Fb.wav?sig=a%2Bb+c/=", "/a%2Fb.wav?sig=a%2Bb+c/="),
    ],
)
async def test_what_needs_escaping_in_a_url_is_escaped_once(url: str, asked: str) -> None:
    web = Web(body(b""))
    await web.fetch(url)
    assert web.requests[0].url.raw_path == asked.encode()


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/a b.wav", "/a%20b.wav"),
        ("/grüße.wav".encode(), "/gr%C3%BC%C3%9Fe.wav"),
        ("/grüße.wav".encode("latin-1"), "/gr%FC%DFe.wav"),
        (b"http://two.example/a b.wav?x y", "/a%20b.wav?x%20y"),
    ],
)
async def test_what_needs_escaping_in_a_location_is_escaped(location: bytes, asked: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/":
            return httpx.Response(302, headers=[(b"Location", location)])
        return httpx.Response(200)

    web = Web(answer)
    await web.fetch("http://files.example/")
    assert web.requests[1].url.raw_path == asked.encode()


async def serve_once(stream: trio.SocketStream, response: bytes) -> None:
    async with stream:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some(4096)
        await stream.send_all(response)


def real_fetcher(*allow: str) -> Fetcher:
    return Fetcher(local_web(allow), blocking=ThreadRunner(2))


@pytest.mark.integration
async def test_a_download_from_a_listed_loopback_server() -> None:
    content = bytes(range(256)) * 8000
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: a=b\r\n\r\n" % len(content) + content
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_once(stream, response), [listener])
        for host in ("127.0.0.1", "localhost"):
            fetcher = real_fetcher(host)
            assert await whole(await fetcher.open(f"http://{host}:{port}/x.wav")) == content
        with pytest.raises(FetchError, match=REFUSED):
            await real_fetcher().open(f"http://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()


@pytest.mark.integration
async def test_a_body_cut_short_and_a_closed_port_are_errors() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort"
    fetcher = real_fetcher("127.0.0.1")
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, lambda stream: serve_once(stream, response), [listener])
        with pytest.raises(FetchError, match="broke the protocol"):
            await whole(await fetcher.open(f"http://127.0.0.1:{port}/"))
        nursery.cancel_scope.cancel()
    with pytest.raises(FetchError, match="cannot connect"):
        await fetcher.open(f"http://127.0.0.1:{port}/")
