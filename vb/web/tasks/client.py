"""Requests to other servers: policy first, redirects judged anew, everything bounded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx
import trio

from vb.metrics import Reading
from vb.web.errors import (
    CannotConnect,
    MalformedLocation,
    MalformedUrl,
    TooLarge,
    TooManyRedirects,
    UrlRefused,
    WebError,
)
from vb.web.policy import FetchPolicy, UrlTarget, parse_url
from vb.web.tasks.dial import Dialer
from vb.web.tasks.guard import Guard
from vb.web.tasks.transport import REPEATABLE, TARGET, TRUSTED, GuardedTransport

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
"""Statuses that send a GET elsewhere."""
KEEPING_REDIRECTS: Final = frozenset({307, 308})
"""Those that keep a POST a POST."""
MAX_REDIRECTS: Final = 5
CARRIED: Final = frozenset({"accept", "accept-encoding", "content-type", "x-event-id", "x-signature-256"})
"""Headers that go along where a redirect leads to another server; any other may hold a key."""
_SHORT_BYTES: Final = 65_536
"""What is read of an answer that nobody wants, so that its connection can be used again."""
_SHORT_TIME_S: Final = 1.0
_CLOSE_TIMEOUT_S: Final = 1.0
_TEND_S: Final = 5.0
_NOTHING: Final = httpx.ByteStream(b"")


class WebClient:
    """The server's one way out. It follows no proxy of the environment and keeps no cookies.

    Args:
        guard: judges where requests lead.
        dial: connects.
        user_agent: what requests say of themselves.
        transport: carries the requests; None for the real one.

    Attributes:
        http: for those who need more of HTTP than `open` and `ask` offer. Its requests are judged all the
            same, and trusted where they have the extension `TRUSTED`; it follows no redirects.
    """

    def __init__(
        self,
        guard: Guard,
        dial: Dialer,
        *,
        user_agent: str = "vb",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._guard = guard
        self._dial = dial
        self._kept = GuardedTransport(guard, dial)
        self.http = httpx.AsyncClient(
            headers={"User-Agent": user_agent},
            follow_redirects=False,
            trust_env=False,
            timeout=None,
            transport=transport or self._kept,
        )
        self.http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    @property
    def policy(self) -> FetchPolicy:
        """Where requests and callers may lead."""
        return self._guard.policy

    def readings(self) -> list[Reading]:
        """Return gauges of the look-ups and of kept connections for the metrics."""
        text = "Connections to other servers that are kept for further requests"
        kept: Reading = ("web_connections_kept", text, self._kept.kept, {})
        return [*self._guard.readings(), kept]

    async def prepare(self) -> None:
        """Make what takes long to make, so that no request has to wait for it."""
        await self._dial.prepare()

    async def tend(self) -> None:
        """Close connections that were kept for nothing, until cancelled."""
        while True:
            await trio.sleep(_TEND_S)
            await self._kept.close_old()

    async def aclose(self) -> None:
        """Close all connections that are kept."""
        await self.http.aclose()

    async def connect(self, target: UrlTarget, *, trusted: bool = False) -> trio.abc.Stream:
        """Connect to the server of a URL, for a protocol that is not asked for here.

        Cancellation: nothing stays open.

        Raises:
            UrlRefused, HostUnknown, CannotConnect.
        """
        return await self._dial(await self._guard.judge(target, trusted=trusted))

    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        trusted: bool = False,
        repeatable: bool = False,
        redirects: frozenset[int] = REDIRECTS,
    ) -> WebResponse:
        """Send a request and return its answer, of whose body nothing has been read yet.

        Time is the caller's to bound; only connecting has a limit of its own.

        Args:
            method: in capitals.
            url: http or https.
            headers: besides those that HTTP itself needs.
            content: the body.
            trusted: the operator has set the URL. A redirect to another server is judged nevertheless, and
                gets of the headers only those CARRIED.
            repeatable: the server bears to get it twice, although it is no GET.
            redirects: statuses whose Location is followed; what is not followed is the answer.

        Cancellation: the connection is closed.

        Raises:
            UrlRefused: the URL or a redirect points where the server may not connect to.
            WebError: there is no answer.
        """
        target = parse_url(url)
        home = target
        headers = headers or {}
        for _ in range(MAX_REDIRECTS + 1):
            if not _is_at_home(target, home):  # for good: who was asked meanwhile may lead back anywhere
                trusted = False
                headers = {name: value for name, value in headers.items() if name.lower() in CARRIED}
            response = await self._send(
                method,
                target,
                headers,
                content,
                {TRUSTED: trusted, REPEATABLE: repeatable, TARGET: target},
            )
            location = response.location
            if response.status not in redirects or location is None:
                return response
            await response.finish()
            try:
                target = target.redirected(location)
            except MalformedUrl as error:
                raise MalformedLocation(str(error)) from None
        raise TooManyRedirects(f"more than {MAX_REDIRECTS} redirects")

    async def ask(
        self,
        method: str,
        url: str,
        *,
        within_s: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        trusted: bool = False,
    ) -> tuple[int, bytes]:
        """Send a request and return the status and the whole body of its answer.

        Args:
            method: in capitals.
            url: http or https.
            within_s: how long all of it may take.
            max_bytes: how long the body may be.
            headers: besides those that HTTP itself needs.
            content: the body of the request.
            trusted: the operator has set the URL.

        Raises:
            UrlRefused: the URL or a redirect points where the server may not connect to.
            TooLarge: the body is longer.
            WebError: there is no answer, or none in time.
        """
        with trio.move_on_after(within_s):
            redirects = REDIRECTS if method in ("GET", "HEAD") else KEEPING_REDIRECTS
            response = await self.open(
                method, url, headers=headers, content=content, trusted=trusted, redirects=redirects
            )
            try:
                return response.status, await response.read(max_bytes)
            finally:
                await response.aclose()
        raise WebError(f"no answer within {within_s:g} s")

    async def _send(
        self,
        method: str,
        target: UrlTarget,
        headers: Mapping[str, str],
        content: bytes,
        extensions: dict[str, object],
    ) -> WebResponse:
        try:
            request = self.http.build_request(
                method,
                target.url,
                headers={**headers, "Host": target.authority},
                content=content or None,
                extensions=extensions,
            )
            response = await self.http.send(request, auth=target.credentials, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failure(error) from None
        return WebResponse(response, target)


class WebResponse:
    """An answer whose body can be taken; it has to be closed.

    Attributes:
        status: HTTP status.
        target: where it came from in the end.
    """

    def __init__(self, response: httpx.Response, target: UrlTarget) -> None:
        self.status = response.status_code
        self.target = target
        self._response = response

    def header(self, name: str) -> str:
        """Return the value of a header, "" when there is none."""
        return str(self._response.headers.get(name, ""))

    @property
    def location(self) -> str | None:
        """Where the answer points to. Bytes beyond ASCII are UTF-8, or are escaped one by one."""
        for name, value in self._response.headers.raw:
            if name.lower() == b"location":
                try:
                    return value.decode("utf-8")
                except UnicodeDecodeError:
                    return "".join(chr(octet) if octet < 128 else f"%{octet:02X}" for octet in value)
        return None

    @property
    def length(self) -> int | None:
        """How many bytes the body says it has, without looking at more digits than a length has."""
        text = self.header("Content-Length")
        if not text and self.status == 204:
            return 0
        return int(text[:20]) if text.isascii() and text.isdecimal() else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Take the body as it arrives, whatever it is coded in.

        Raises:
            WebError: it breaks off.
        """
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _failure(error) from None

    async def read(self, max_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            TooLarge: it is longer.
            WebError: it breaks off.
        """
        if (self.length or 0) > max_bytes:
            raise TooLarge(f"larger than {max_bytes} bytes")
        content = bytearray()
        with trio.CancelScope() as scope:
            async for chunk in self.chunks():
                content += chunk
                if len(content) > max_bytes:
                    # Leaving the loop would leave the generators below it suspended; this unwinds them.
                    scope.cancel()
        if len(content) > max_bytes:
            raise TooLarge(f"larger than {max_bytes} bytes")
        return bytes(content)

    async def finish(self) -> None:
        """Close it; a short body is read before, so that the connection can be used again."""
        try:
            if self.length is not None and self.length <= _SHORT_BYTES:
                with trio.move_on_after(_SHORT_TIME_S):
                    await unwind(self.chunks())
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection unless the body was read, however long the peer would like that to take."""
        try:
            with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
                await self._response.aclose()
        finally:
            # Its stream knows the response: a cycle for each request, all left to the collector.
            self._response.stream = _NOTHING


async def unwind(chunks: AsyncIterator[bytes]) -> None:
    """Leave a body, as `WebResponse.chunks` gives it, that nobody reads on.

    Its generators would stay suspended otherwise, until the collector finds them. It does not wait when it is
    called in a scope that is cancelled already, as it has to be.
    """
    with suppress(WebError):  # nobody wants the rest
        while await anext(chunks, None) is not None:
            pass


def _is_at_home(target: UrlTarget, home: UrlTarget) -> bool:
    """Say whether a redirect stays on the server of the first URL; it may go on with TLS, but not without."""
    return target.authority == home.authority and (target.secure or not home.secure)


def _failure(error: Exception) -> WebError:
    """Name a failure without the URL it happened on."""
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return CannotConnect("cannot connect")
        case httpx.TimeoutException():
            return WebError("timed out")
        case httpx.ProtocolError() | httpx.DecodingError():
            return WebError("the server broke the protocol")
        case httpx.NetworkError():
            return WebError("connection lost")
        case httpx.InvalidURL():
            return UrlRefused("malformed URL")
        case _:
            return WebError(type(error).__name__)
