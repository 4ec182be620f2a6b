"""One connection to a server that a test plays itself, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
import trio.testing

from tests.support.web import local_web
from vb.storage.base import StorageError, Unreachable
from vb.storage.endpoint import Endpoint
from vb.storage.s3 import Answer
from vb.storage.tasks.connection import Body, HttpConnection, connect

CHUNK = 256 * 1024
OK = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 2\r\n\r\nok'


def body(size: int, there: int | None = None) -> Body:
    async def read(offset: int, length: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return b"x" * min(length, (size if there is None else there) - offset)

    return Body(size, read)


class Server:
    """The far end: takes up to so many bytes at a time, whenever it is asked to."""

    def __init__(self) -> None:
        ours, self.stream = trio.testing.lockstep_stream_pair()
        self.connection = HttpConnection(ours)

    async def take(self, count: int, pause_s: float = 0.0) -> bytes:
        taken = b""
        while len(taken) < count:
            taken += bytes(await self.stream.receive_some(CHUNK))
            await trio.sleep(pause_s)
        return taken


async def outcome(server: Server, play: Callable[[], Awaitable[None]], sent: Body) -> Answer | StorageError:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        found: Answer | StorageError
        try:
            found = await server.connection.ask("PUT", "/b/k", {"host": "b"}, sent, patience_s=0)
        except StorageError as failure:
            found = failure
        nursery.cancel_scope.cancel()
    return found


async def ask(server: Server, play: Callable[[], Awaitable[None]], sent: Body) -> Answer:
    found = await outcome(server, play, sent)
    assert isinstance(found, Answer), found
    return found


async def test_a_body_that_moves_on_is_never_too_slow(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    async def play() -> None:
        await server.take(40 * CHUNK, pause_s=15)
        await server.stream.send_all(OK)

    began = trio.current_time()
    answer = await ask(server, play, body(40 * CHUNK))
    assert (answer.status, answer.headers["etag"], answer.body) == (200, '"x"', b"ok")
    assert trio.current_time() - began >= 600


async def test_a_body_that_stops_moving_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    async def play() -> None:
        await server.take(2 * CHUNK)

    began = trio.current_time()
    failure = await outcome(server, play, body(40 * CHUNK))
    assert isinstance(failure, Unreachable)
    assert 20 <= trio.current_time() - began < 21


async def test_an_answer_may_take_as_long_as_what_lies_in_buffers_needs(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()
    size = 8 * 1024 * 1024

    async def play(wait_s: float) -> None:
        await server.take(size)
        await trio.sleep(wait_s)
        await server.stream.send_all(OK)

    assert isinstance(await outcome(server, lambda: play(150), body(size)), Answer)
    late = Server()

    async def play_late() -> None:
        await late.take(size)
        await trio.sleep_forever()

    began = trio.current_time()
    assert isinstance(await outcome(late, play_late, body(size)), Unreachable)
    assert trio.current_time() - began < 160


async def test_an_answer_ends_a_body_that_nobody_wants(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    async def play() -> None:
        await server.take(CHUNK)
        await server.stream.send_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    began = trio.current_time()
    assert (await ask(server, play, body(100 * CHUNK))).status == 403
    assert trio.current_time() == began
    assert not server.connection.usable


async def test_a_refusal_is_read_even_if_the_connection_is_closed_behind_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server()

    async def play() -> None:
        await server.take(CHUNK)
        await server.stream.send_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        await server.stream.aclose()

    assert (await ask(server, play, body(100 * CHUNK))).status == 403


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
async def test_a_yes_before_the_end_of_the_body_is_none(
    autojump_clock: trio.testing.MockClock, more: bytes
) -> None:
    server = Server()

    async def play() -> None:
        await server.take(CHUNK)
        await server.stream.send_all(OK.replace(b"ETag", more + b"ETag"))

    began = trio.current_time()
    failure = await outcome(server, play, body(100 * CHUNK))
    assert isinstance(failure, Unreachable)
    assert failure.detail == "status 200 before the end of the body"
    assert trio.current_time() == began
    assert not server.connection.usable


async def test_a_yes_during_the_last_write_counts_once_that_went_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for taken in (0, 5):
        server = Server()

        async def play(server: Server = server, taken: int = taken) -> None:
            await server.stream.receive_some(CHUNK)
            await trio.testing.wait_all_tasks_blocked()
            await server.stream.send_all(OK)
            await trio.sleep(1)
            await server.take(taken)

        found = await outcome(server, play, body(5))
        assert isinstance(found, Answer if taken else Unreachable)


async def test_requests_share_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    async def play() -> None:
        await server.take(10)
        await server.stream.send_all(OK)

    for _ in range(3):
        assert (await ask(server, play, body(0))).status == 200
        assert server.connection.usable


@pytest.mark.parametrize("size", [0, 5])
async def test_a_put_names_its_length(autojump_clock: trio.testing.MockClock, size: int) -> None:
    server, taken = Server(), bytearray()

    async def play() -> None:
        taken.extend(await server.take(1))
        taken.extend(await server.take(size))
        await server.stream.send_all(OK)

    await ask(server, play, body(size))
    assert f"content-length: {size}\r\n".encode() in taken.lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"lalala\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"y" * 400_000,
    ],
)
async def test_every_answer_that_is_none_reads_the_same(
    autojump_clock: trio.testing.MockClock, answer: bytes
) -> None:
    server = Server()

    async def play() -> None:
        await server.take(10)
        try:
            await server.stream.send_all(answer)
            await server.stream.aclose()
        except trio.BrokenResourceError:
            pass

    failure = await outcome(server, play, body(0))
    assert isinstance(failure, Unreachable)
    assert str(failure) == "the storage does not answer"


async def test_a_file_that_becomes_shorter_is_not_stored(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    async def play() -> None:
        await server.take(100 * CHUNK)

    failure = await outcome(server, play, body(3 * CHUNK, there=2 * CHUNK))
    assert str(failure) == "the file could not be read"


async def test_an_answer_that_drips_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    server = Server()

    async def play() -> None:
        await server.take(10)
        for octet in OK:
            await server.stream.send_all(bytes([octet]))
            await trio.sleep(5)

    began = trio.current_time()
    assert isinstance(await outcome(server, play, body(0)), Unreachable)
    assert trio.current_time() - began <= 21


async def accept_one(listener: trio.SocketListener) -> None:
    async with listener:
        await (await listener.accept()).aclose()


@pytest.mark.integration
async def test_the_judged_address_is_connected_to_and_nothing_else() -> None:
    asked: list[tuple[str, int]] = []

    async def locate(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(accept_one, listener)
        server = Endpoint("http", "no.such.host.invalid", port, "/bucket")
        connection = await connect(server, local_web(resolve=locate), trusted=True)
        await connection.aclose()
    assert asked == [("no.such.host.invalid", port)]


@pytest.mark.integration
async def test_a_host_without_addresses_and_a_closed_port_read_the_same() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        return []

    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "127.0.0.1"]

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    texts = set()
    for locate in (nowhere, here):
        with pytest.raises(Unreachable) as caught:
            await connect(Endpoint("http", "store", port), local_web(resolve=locate), trusted=True)
        texts.add(str(caught.value))
    assert texts == {"the storage does not answer"}
