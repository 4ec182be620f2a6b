"""A web server in memory for the tests of downloads."""

from collections.abc import AsyncIterator, Sequence

import httpx
import trio

from tests.media.support import inline
from tests.support.web import Answer, FakeWeb
from vb.playback.tasks.download import Download, FetchLimits
from vb.playback.tasks.fetch import Fetcher

NAMES = {"files.example": ["8.8.8.8"], "two.example": ["8.8.8.8", "1.1.1.1"], "inside.example": ["10.0.0.5"]}


async def resolve(host: str, port: int) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    if host not in NAMES:
        raise OSError("no such host")
    return NAMES[host]


class Web(FakeWeb):
    """A web server in memory that remembers what it was asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer, resolve)
        self.requests = self.fake.requests

    async def open_audio(self, url: str, **limits: int | float) -> Download:
        fetcher = Fetcher(
            self,
            blocking=inline,
            limits=FetchLimits(**limits),  # type: ignore[arg-type]  # numbers for number fields
        )
        return await fetcher.open(url)

    async def fetch(self, url: str, **limits: int | float) -> bytes:
        """Download a URL completely."""
        return await whole(await self.open_audio(url, **limits))


async def whole(download: Download) -> bytes:
    """Receive a body to its end and return it.

    Raises:
        FetchError: that failed.
    """
    async with download:
        await download.receive()
        if download.failure is not None:
            raise download.failure
        return download.read(0, download.size)


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
