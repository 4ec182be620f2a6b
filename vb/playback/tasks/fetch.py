"""Requests for playback: a 200 whose body is worth taking."""

from typing import Final

import trio

from vb.blocking import Blocking
from vb.media.errors import FetchError
from vb.playback.tasks.download import Download, FetchLimits, too_large
from vb.web.codings import is_coded
from vb.web.errors import MalformedLocation, UrlRefused, WebError
from vb.web.tasks.client import WebClient, WebResponse

_HEADERS: Final = {"Accept": "audio/*, */*;q=0.1", "Accept-Encoding": "identity"}


class Fetcher:
    """Downloads audio within limits.

    Args:
        web: the way out, which judges where URLs lead.
        blocking: runs writes to the temporary file once it no longer fits in memory.
        limits: caps of one download.
    """

    def __init__(self, web: WebClient, *, blocking: Blocking, limits: FetchLimits | None = None) -> None:
        self._web = web
        self._blocking = blocking
        self._limits = limits or FetchLimits()

    async def open(self, url: str) -> Download:
        """Ask for ``url`` and return its body, of which nothing has been read yet.

        Cancellation: the connection is closed.

        Raises:
            FetchError: the URL or a redirect points where the policy does not allow, the server cannot be
                reached, or it answers anything but a 200 of bearable size.
        """
        deadline = trio.current_time() + self._limits.total_timeout_s
        response = await self._open(url)
        refusal = self._refusal(response)
        if refusal is not None:
            await response.aclose()
            raise refusal
        return Download(response, self._limits, deadline=deadline, blocking=self._blocking)

    async def _open(self, url: str) -> WebResponse:
        """Follow redirects, each judged anew, up to the headers of an answer."""
        with trio.move_on_after(self._limits.headers_timeout_s):
            try:
                return await self._web.open("GET", url, headers=_HEADERS)
            except (UrlRefused, MalformedLocation) as error:
                raise FetchError(str(error)) from None
            except WebError as error:
                raise FetchError(f"fetch failed: {error}") from None
        raise FetchError(f"fetch failed: no response within {self._limits.headers_timeout_s:g} s")

    def _refusal(self, response: WebResponse) -> FetchError | None:
        """Return what is wrong with a body by what its header says."""
        if response.status != 200:
            return FetchError(f"fetch failed: status {response.status}")
        if is_coded(response.header("Content-Encoding")):
            return FetchError("fetch failed: the response is compressed")
        if (response.length or 0) > self._limits.max_bytes:
            return too_large(self._limits)
        return None
