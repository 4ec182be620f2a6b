from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import trio
import trio.testing

from tests.playback.tasks.web import Web, body, drip, whole
from vb.media.errors import FetchError, FetchLimit
from vb.playback.tasks.download import FetchLimits
from vb.playback.tasks.fetch import Fetcher

URL = "http://files.example/"


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


async def test_exactly_the_cap_is_allowed() -> None:
    assert len(await Web(body(b"x" * 5000)).fetch("http://files.example/", max_bytes=5000)) == 5000


async def test_what_does_not_fit_in_memory_goes_to_the_file(autojump_clock: trio.testing.MockClock) -> None:
    assert len(await Web(drip(10, 30_000, 0.0)).fetch("http://files.example/", memory_bytes=5000)) == 300_000


async def test_a_full_disk_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async def full(function: Callable[[], object], /) -> object:
        await trio.lowlevel.checkpoint()
        raise OSError(28, "No space left on device")

    web = Web(drip(10, 30_000, 0.0))
    fetcher = Fetcher(
        web,
        blocking=full,  # type: ignore[arg-type]  # it never returns
        limits=FetchLimits(memory_bytes=5000),
    )
    with pytest.raises(FetchError, match="No space left"):
        await whole(await fetcher.open("http://files.example/"))


async def test_time_is_added_for_the_audio_that_was_got_out_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    web = Web(drip(1000, 65_536, 1.0))
    async with await web.open_audio(URL, total_timeout_s=60) as download:
        download.allow(100.0)
        await download.receive()
        assert isinstance(download.failure, FetchLimit)
        assert str(download.failure) == "fetch failed: not complete after 160 s"
    assert trio.current_time() == pytest.approx(160, abs=1)


async def test_bytes_can_be_read_while_more_arrive(autojump_clock: trio.testing.MockClock) -> None:
    web = Web(drip(10, 20_000, 1.0))
    async with await web.open_audio(URL) as download, trio.open_nursery() as nursery:
        arrived = trio.Event()
        download.on_arrival = arrived.set
        assert not download.has(50_000)
        nursery.start_soon(download.receive)
        await arrived.wait()
        assert trio.current_time() == pytest.approx(3, abs=0.1)
        assert (download.has(50_000), download.size, download.over) == (True, 60_000, False)
        assert download.read(59_990, 100) == b"x" * 10


async def test_who_waits_for_more_than_there_is_learns_of_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    web = Web(drip(2, 100, 1.0))
    async with await web.open_audio(URL) as download:
        calls = 0

        def count() -> None:
            nonlocal calls
            calls += 1

        download.on_arrival = count
        assert not download.has(1000)
        await download.receive()
        assert (calls, download.has(1000), download.size, download.failure) == (1, True, 200, None)


async def test_a_rest_that_is_not_wanted_is_no_failure(autojump_clock: trio.testing.MockClock) -> None:
    web = Web(drip(10_000, 20_000, 1.0))
    async with await web.open_audio(URL) as download, trio.open_nursery() as nursery:
        nursery.start_soon(download.receive)
        await trio.sleep(2.5)
        download.leave()
        await trio.testing.wait_all_tasks_blocked()
        assert (download.over, download.failure, download.size) == (True, None, 40_000)


async def test_a_connection_that_breaks_leaves_what_came(autojump_clock: trio.testing.MockClock) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise httpx.ReadError("reset")

    async with await Web(lambda request: httpx.Response(200, content=broken())).open_audio(URL) as download:
        await download.receive()
        assert str(download.failure) == "fetch failed: connection lost"
        assert not isinstance(download.failure, FetchLimit)
        assert download.read(0, 5000) == b"x" * 1000


async def test_what_is_on_disk_and_what_is_not_is_read_alike(autojump_clock: trio.testing.MockClock) -> None:
    content = bytes(range(256)) * 2000

    async def portions() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 7_000):
            yield content[start : start + 7_000]

    web = Web(lambda request: httpx.Response(200, content=portions()))
    async with await web.open_audio(URL, memory_bytes=100_000) as download:
        await download.receive()
        assert download.read(0, len(content)) == content
        assert download.read(65_000, 200_000) == content[65_000:265_000]
        assert download.read(len(content) - 3, 10) == content[-3:]
