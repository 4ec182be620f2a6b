"""How much a reader has taken, told by the system rather than by the room in its buffers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from vb.api.flow import Flow

pytestmark = pytest.mark.integration

CHUNK = memoryview(bytes(65_536))


@dataclass
class Link:
    """A TCP connection over loopback."""

    flow: Flow
    far_end: socket.socket
    near_end: trio.socket.SocketType

    def fill(self) -> int:
        """Write until the system takes no more."""
        total = 0
        while count := self.flow.write(CHUNK):
            total += count
        return total

    def read(self, count: int) -> None:
        """Let the far end read."""
        while count:
            count -= len(self.far_end.recv(min(count, 65_536)))


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far_end = socket.socket()
        far_end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        far_end.connect(listener.getsockname())
        near_end, _ = listener.accept()
    near_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_048_576)  # or the system would make it grow
    near_end.setblocking(False)
    wrapped = trio.socket.from_stdlib_socket(near_end)
    with far_end, wrapped:
        yield Link(Flow(wrapped), far_end, wrapped)


async def test_a_connection_that_takes_everything_refuses_nothing(
    link: Link, autojump_clock: MockClock
) -> None:
    assert link.flow.write(memoryview(b"hello")) == 5
    await trio.sleep(10)
    assert link.flow.refused_for() == 0


async def test_a_reader_that_reads_nothing_is_known_by_its_time(
    link: Link, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    assert link.fill() > 0
    nursery.start_soon(link.flow.wait)
    await trio.sleep(3)
    assert link.flow.refused_for() == pytest.approx(3, abs=0.6)


async def test_a_slow_reader_takes_bytes_long_before_the_system_has_room_again(
    link: Link, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    link.fill()
    nursery.start_soon(link.flow.wait)
    await trio.sleep(3)
    assert link.flow.refused_for() > 2
    link.read(200_000)
    await trio.sleep(0.5)
    assert link.flow.refused_for() < 1


async def test_a_connection_that_is_gone_is_broken_and_waits_for_nothing(
    link: Link, autojump_clock: MockClock
) -> None:
    link.fill()
    link.far_end.close()
    with trio.fail_after(1000):
        while not link.flow.broken:
            await link.flow.wait()
            link.flow.write(CHUNK)


async def test_a_socket_that_was_closed_here_is_broken(link: Link, autojump_clock: MockClock) -> None:
    link.near_end.close()
    assert link.flow.write(memoryview(b"x")) == 0
    assert link.flow.broken
    assert link.flow.refused_for() == 0


async def test_a_reader_that_has_taken_everything_is_not_blamed_for_a_writer_that_is_late(
    link: Link, autojump_clock: MockClock
) -> None:
    link.read(link.fill())
    await trio.sleep(3)
    assert link.flow.refused_for() == 0
    await trio.sleep(3)
    assert link.flow.refused_for() == 0
    link.fill()
    await trio.sleep(3)
    assert link.flow.refused_for() == pytest.approx(3, abs=0.6)


async def test_a_reader_that_acknowledges_something_now_and_then_is_there(
    link: Link, autojump_clock: MockClock
) -> None:
    written = link.fill()
    assert link.flow.unanswered_for() == 0
    for _ in range(10):
        await trio.sleep(4)
        assert link.flow.unanswered_for() == pytest.approx(4)
        link.read(written // 20)
        assert link.flow.unanswered_for() == 0
    await trio.sleep(9)
    assert link.flow.unanswered_for() == pytest.approx(9)


async def test_nothing_is_unanswered_where_all_was_taken(link: Link, autojump_clock: MockClock) -> None:
    link.flow.write(memoryview(b"hello"))
    assert link.flow.unanswered_for() is None
    await trio.sleep(100)
    assert link.flow.unanswered_for() is None


async def test_bytes_of_the_far_end_are_read_until_it_has_said_all(link: Link) -> None:
    link.far_end.sendall(b"hello")
    assert await link.flow.read(3) == b"hel"
    assert await link.flow.read(3) == b"lo"
    link.far_end.close()
    assert await link.flow.read(3) == b""


async def test_nothing_is_read_of_a_socket_that_is_closed_here(link: Link) -> None:
    found: list[bytes] = []

    async def read() -> None:
        found.append(await link.flow.read(3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        link.near_end.close()
    await read()
    assert found == [b"", b""]
