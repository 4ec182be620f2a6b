"""Requests to real servers on loopback."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from weakref import ref

import pytest
import trio
import trio.testing

from tests.support.web import local_web
from tests.web.tasks.servers import OK, Peer, answering, contexts, open_server
from vb.web.errors import (
    CannotConnect,
    HostUnknown,
    TooLarge,
    TooManyRedirects,
    UrlRefused,
    WebError,
)
from vb.web.policy import parse_url
from vb.web.tasks import client, transport
from vb.web.tasks.client import KEEPING_REDIRECTS, WebClient
from vb.web.tasks.dial import Dialer

pytestmark = pytest.mark.integration


class Names:
    """A resolver whose answers a test changes."""

    def __init__(self, **known: str) -> None:
        self.known = {name.replace("_", "."): address.split() for name, address in known.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        await trio.lowlevel.checkpoint()
        if host not in self.known:
            raise OSError("no such name")
        return self.known[host]


async def get(web: WebClient, url: str, *, trusted: bool = False) -> bytes:
    status, content = await web.ask("GET", url, within_s=5, max_bytes=1000, trusted=trusted)
    assert status == 200
    return content


async def test_a_connection_is_used_again_by_the_same_name() -> None:
    async with (
        open_server(answering()) as server,
        aclosing(local_web(["127.0.0.1"], Names(a_x="127.0.0.1"))) as web,
    ):
        for _ in range(3):
            assert await get(web, f"http://a.x:{server.port}/") == b"ok"
        assert server.connections == 1


async def test_a_kept_tls_connection_serves_only_the_name_it_was_made_for() -> None:
    server_tls, client_tls = contexts("a.example", "b.example")
    names, dialer = (
        Names(a_example="127.0.0.1", b_example="127.0.0.1", c_example="127.0.0.1"),
        Dialer(client_tls),
    )
    async with (
        open_server(answering(), tls=server_tls) as server,
        aclosing(local_web(["127.0.0.1"], names, dialer)) as web,
    ):
        for name in ("a", "b", "a", "b"):
            assert await get(web, f"https://{name}.example:{server.port}/") == b"ok"
        assert server.connections == 2
        with pytest.raises(CannotConnect):
            await get(web, f"https://c.example:{server.port}/")


async def test_the_host_header_is_what_the_url_says() -> None:
    heads = []

    async def note(peer: Peer) -> None:
        while head := await peer.head():
            heads.append(head)
            await peer.stream.send_all(OK)

    async with open_server(note) as server, aclosing(local_web(["127.0.0.1"], Names(a_x="127.0.0.1"))) as web:
        await get(web, f"http://u:p@A.x:{server.port}/a b?c d#e")
    assert heads[0].startswith("GET /a%20b?c%20d HTTP/1.1\r\n")
    assert f"\r\nHost: a.x:{server.port}\r\n" in heads[0] + "\r\n"
    assert "\r\nAuthorization: Basic dTpw" in heads[0]


async def test_a_name_that_changes_its_mind_is_refused_although_a_connection_is_kept() -> None:
    names = Names(a_x="127.0.0.1")
    async with open_server(answering()) as server, aclosing(local_web(["127.0.0.1"], names)) as web:
        url = f"http://a.x:{server.port}/"
        assert await get(web, url) == b"ok"
        names.known["a.x"] = ["127.0.0.2"]
        with pytest.raises(UrlRefused):
            await get(web, url)
        assert (server.connections, names.asked) == (1, ["a.x", "a.x"])


async def test_a_name_that_moves_is_connected_to_at_its_new_address() -> None:
    names = Names(a_x="127.0.0.1")
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"
    async with (
        open_server(answering()) as old,
        open_server(answering(answer), host="127.0.0.2", port=old.port),
        aclosing(local_web(["127.0.0.0/8"], names)) as web,
    ):
        url = f"http://a.x:{old.port}/"
        assert await get(web, url) == b"ok"
        names.known["a.x"] = ["127.0.0.2"]
        assert await get(web, url) == b"new"


async def test_a_connection_of_the_operator_serves_no_request_of_a_client() -> None:
    async with open_server(answering()) as server, aclosing(local_web([], Names(a_x="127.0.0.1"))) as web:
        assert await get(web, f"http://a.x:{server.port}/", trusted=True) == b"ok"
        with pytest.raises(UrlRefused):
            await get(web, f"http://a.x:{server.port}/")
        with pytest.raises(UrlRefused):
            await web.http.get(f"http://a.x:{server.port}/")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_trust_ends_where_a_redirect_leads_to_another_host(method: str) -> None:
    names = Names(a_x="127.0.0.1", b_x="127.0.0.1")
    locations = ["/there", "http://b.x/"]

    async def move(peer: Peer) -> None:
        while await peer.head():
            moved = f"HTTP/1.1 307 Moved\r\nLocation: {locations.pop(0)}\r\nContent-Length: 2\r\n\r\nno"
            await peer.stream.send_all(moved.encode())

    async with open_server(move) as server, aclosing(local_web([], names)) as web:
        with pytest.raises(UrlRefused):
            await web.open(method, f"http://a.x:{server.port}/", trusted=True)
        assert (names.asked, server.connections) == (["a.x", "a.x", "b.x"], 1)


async def test_a_redirect_to_another_server_carries_no_key_there_nor_back() -> None:
    names = Names(a_x="127.0.0.1", b_x="127.0.0.1")
    heads: list[str] = []

    async def move(peer: Peer) -> None:
        while head := await peer.head():
            heads.append(head.lower())
            asked = len(heads)
            if asked == 4:
                await peer.stream.send_all(OK)
                continue
            there = ("/there", f"http://b.x:{server.port}/", f"http://a.x:{server.port}/back")[asked - 1]
            moved = f"HTTP/1.1 307 Moved\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n"
            await peer.stream.send_all(moved.encode())

    async with open_server(move) as server, aclosing(local_web(["127.0.0.1"], names)) as web:
        response = await web.open(
            "GET",
            f"http://a.x:{server.port}/",
            headers={"Authorization": "Bearer key", "xi-api-key": "key", "Content-Type": "text/plain"},
            trusted=True,
        )
        await response.finish()
    assert ["key" in head for head in heads] == [True, True, False, False]
    assert all("content-type: text/plain" in head for head in heads)


def test_a_redirect_may_turn_to_tls_and_not_away_from_it() -> None:
    plain, secured = parse_url("http://a.x/1"), parse_url("https://A.x:443/2")
    assert client._is_at_home(secured, plain)
    assert client._is_at_home(parse_url("https://a.x/"), secured)
    assert not client._is_at_home(plain, secured)
    assert not client._is_at_home(parse_url("https://a.x:444/"), secured)
    assert not client._is_at_home(parse_url("https://b.x/"), secured)


async def test_redirects_have_an_end() -> None:
    moved = b"HTTP/1.1 308 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    async with open_server(answering(moved)) as server, aclosing(local_web(["127.0.0.1"])) as web:
        with pytest.raises(TooManyRedirects):
            await get(web, f"http://127.0.0.1:{server.port}/")


async def test_a_redirect_that_is_not_to_be_followed_is_the_answer() -> None:
    moved = b"HTTP/1.1 302 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    async with open_server(answering(moved)) as server, aclosing(local_web(["127.0.0.1"])) as web:
        url = f"http://127.0.0.1:{server.port}/"
        response = await web.open("POST", url, content=b"x", redirects=KEEPING_REDIRECTS)
        assert response.status == 302
        await response.finish()


async def leave_at_the_second_request(peer: Peer) -> None:
    """Close a kept connection at the moment in which a request comes, as servers do after a while."""
    await peer.head()
    await peer.stream.send_all(OK)
    if peer.number == 1:
        await peer.head()
    elif await peer.head():
        await peer.stream.send_all(OK)


@pytest.mark.parametrize(("method", "repeatable"), [("GET", False), ("POST", True)])
async def test_a_request_lost_with_a_kept_connection_is_sent_again(method: str, repeatable: bool) -> None:
    async with (
        open_server(leave_at_the_second_request) as server,
        aclosing(local_web(["127.0.0.1"])) as web,
    ):
        for _ in range(2):
            response = await web.open(
                method, f"http://127.0.0.1:{server.port}/", content=b"", repeatable=repeatable
            )
            assert response.status == 200
            await response.finish()
        assert server.connections == 2


async def test_a_post_lost_with_a_kept_connection_is_not_sent_again_unasked() -> None:
    async with (
        open_server(leave_at_the_second_request) as server,
        aclosing(local_web(["127.0.0.1"])) as web,
    ):
        url = f"http://127.0.0.1:{server.port}/"
        await (await web.open("POST", url)).finish()
        with pytest.raises(WebError):
            await web.open("POST", url)
        assert server.connections == 1


async def test_a_request_lost_with_its_own_connection_is_not_sent_again() -> None:
    async def leave(peer: Peer) -> None:
        await peer.head()

    async with open_server(leave) as server, aclosing(local_web(["127.0.0.1"])) as web:
        with pytest.raises(WebError, match="broke the protocol"):
            await get(web, f"http://127.0.0.1:{server.port}/")
        assert server.connections == 1


def saying(*parts: bytes, then_hang: bool = False) -> Callable[[Peer], Awaitable[None]]:
    async def handler(peer: Peer) -> None:
        await peer.head()
        for part in parts:
            await peer.stream.send_all(part)
        if then_hang:
            await trio.sleep_forever()

    return handler


@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000], WebError, "broke the protocol"),
        ([b"SSH-2.0-OpenSSH\r\n"], WebError, "broke the protocol"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"], TooLarge, "larger than 1000"),
        (
            [b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"],
            WebError,
            "broke the protocol",
        ),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 1001], TooLarge, "larger than 1000"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"], WebError, "broke the protocol"),
    ],
)
async def test_a_hostile_answer_is_one_error(said: list[bytes], error: type[WebError], text: str) -> None:
    async with open_server(saying(*said)) as server, aclosing(local_web(["127.0.0.1"])) as web:
        with pytest.raises(error, match=text):
            await get(web, f"http://127.0.0.1:{server.port}/")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_a_server_that_falls_silent_is_given_up(said: bytes) -> None:
    async with open_server(saying(said, then_hang=True)) as server, aclosing(local_web(["127.0.0.1"])) as web:
        with pytest.raises(WebError, match=r"no answer within 0\.1 s"):
            await web.ask("GET", f"http://127.0.0.1:{server.port}/", within_s=0.1, max_bytes=10)


async def test_a_host_without_an_address_and_a_closed_port_are_told() -> None:
    async with open_server(answering()) as server, aclosing(local_web(["127.0.0.1"], Names())) as web:
        with pytest.raises(HostUnknown, match=r"host gone\.x cannot be resolved"):
            await get(web, "http://gone.x/")
    async with aclosing(local_web(["127.0.0.1"])) as web:
        with pytest.raises(CannotConnect, match="cannot connect"):
            await get(web, f"http://127.0.0.1:{server.port}/")


async def test_cookies_are_not_kept() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
    async with open_server(answering(answer)) as server, aclosing(local_web(["127.0.0.1"])) as web:
        await get(web, f"http://127.0.0.1:{server.port}/")
        assert not web.http.cookies


async def test_no_name_is_resolved_twice_for_one_request() -> None:
    names = Names(a_x="127.0.0.9 127.0.0.1")
    async with open_server(answering()) as server, aclosing(local_web(["127.0.0.0/8"], names)) as web:
        assert await get(web, f"http://a.x:{server.port}/") == b"ok"
    assert names.asked == ["a.x"]


async def test_of_the_connections_that_are_kept_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_KEPT_CONNECTIONS", 2)
    names = Names(a_x="127.0.0.1", b_x="127.0.0.1", c_x="127.0.0.1")
    async with open_server(answering()) as server, aclosing(local_web(["127.0.0.1"], names)) as web:
        for name in "abcbca":
            await get(web, f"http://{name}.x:{server.port}/")
        assert server.connections == 4


async def test_a_connection_that_was_kept_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_KEPT_S", -1.0)
    async with open_server(answering()) as server, aclosing(local_web(["127.0.0.1"])) as web:
        for _ in range(2):
            await get(web, f"http://127.0.0.1:{server.port}/")
        assert server.connections == 2


@pytest.mark.parametrize("secure", [False, True])
async def test_a_kept_connection_that_the_server_has_closed_is_noticed(secure: bool) -> None:
    async def once(peer: Peer) -> None:
        await peer.head()
        await peer.stream.send_all(OK)

    server_tls, client_tls = contexts("a.x")
    async with (
        open_server(once, tls=server_tls if secure else None) as server,
        aclosing(local_web(["127.0.0.1"], Names(a_x="127.0.0.1"), Dialer(client_tls))) as web,
    ):
        for _ in range(3):
            response = await web.open("POST", f"http{'s' if secure else ''}://a.x:{server.port}/")
            await response.finish()
            await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 3


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["finished", "read", "unread"])
async def test_an_answer_that_was_dealt_with_is_gone_without_the_collector(end: str) -> None:
    if end == "unread" and (3, 12) <= sys.version_info < (3, 14):
        pytest.skip("the frames of a close that Trio cancels wait for the collector in these versions")
    async with (
        open_server(answering()) as server,
        aclosing(local_web(["127.0.0.1"], Names(a_x="127.0.0.1"))) as web,
    ):
        response = await web.open("GET", f"http://a.x:{server.port}/")
        if end == "finished":
            await response.finish()
        elif end == "read":
            assert await response.read(1000) == b"ok"
        await response.aclose()
        gone = ref(response._response)
        del response
        assert gone() is None


async def test_connections_that_nobody_needs_any_more_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_KEPT_S", 0.05)
    monkeypatch.setattr(client, "_TEND_S", 0.02)

    def kept(web: WebClient) -> float:
        return next(value for name, _, value, _ in web.readings() if name == "web_connections_kept")

    async with open_server(answering()) as server, aclosing(local_web(["127.0.0.1"])) as web:
        await get(web, f"http://127.0.0.1:{server.port}/")
        assert kept(web) == 1
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(web.tend)
                while kept(web):  # noqa: ASYNC110 - nothing tells of it
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()


async def test_headers_and_a_short_body_go_out_together() -> None:
    came: list[bytes] = []

    async def handler(peer: Peer) -> None:
        came.append(bytes(await peer.stream.receive_some(65536)))
        await peer.stream.send_all(OK)

    async with open_server(handler) as server, aclosing(local_web(["127.0.0.1"])) as web:
        url = f"http://127.0.0.1:{server.port}/"
        await web.ask("POST", url, within_s=5, max_bytes=10, content=b"words")
    (request,) = came
    assert request.endswith(b"\r\n\r\nwords")
