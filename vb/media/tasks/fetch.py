"""Downloads for playback: policy first, then a capped stream into a temporary file.

The address that the policy has judged is the address that is connected to: the request goes to the
bare IP address, with the name in the Host header and as TLS server name, against which the
certificate is checked. The connection is closed after the response, because a pool keeps connections
by IP address and would hand one verified for another name on the same address to the next request.

The temporary file has no name (or is plain memory while small), so nothing is left behind even by a
killed process.
"""

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import BinaryIO, Final, cast

import httpx
import trio

from vb.media.errors import FetchError
from vb.media.fetch_policy import FetchPolicy, IpAddress, UrlTarget, parse_url
from vb.media.tasks.blocking import Blocking

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a host name up; returns its addresses as text."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_ADDRESSES: Final = 3
_CONNECT_TIMEOUT_S: Final = 10.0
_WRITE_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one download may cost.

    ``stall_bytes`` must arrive in every ``stall_timeout_s``, or the server is too slow.
    """

    max_bytes: int = 100_000_000
    headers_timeout_s: float = 30.0
    total_timeout_s: float = 600.0
    stall_bytes: int = 16_384
    stall_timeout_s: float = 15.0
    max_redirects: int = 5
    memory_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Download:
    """A downloaded file and where it came from in the end. Close the file when done."""

    file: BinaryIO
    target: UrlTarget


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Look ``host`` up with the system's resolver.

    Raises:
        OSError: it has no address.
    """
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


def new_http_client(user_agent: str) -> httpx.AsyncClient:
    """Make the client all downloads share; creating one is slow, so make it once at start.

    It follows no redirects, keeps no cookies and ignores proxies of the environment: each of these
    would undo the policy or leak between clients.
    """
    client = httpx.AsyncClient(
        headers={"User-Agent": user_agent},
        follow_redirects=False,
        trust_env=False,
        timeout=httpx.Timeout(30.0, connect=_CONNECT_TIMEOUT_S),
        # Who uses the client bounds itself; a pool of its own would let slow hosts starve the others.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


class Fetcher:
    """Downloads audio under a policy and limits.

    Args:
        client: shared, made by `new_http_client`.
        policy: which addresses may be connected to.
        blocking: runs writes to the temporary file once it no longer fits in memory.
        limits: caps of one download.
        resolve: host look-up.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        policy: FetchPolicy,
        *,
        blocking: Blocking,
        limits: FetchLimits | None = None,
        resolve: Resolve = resolve_host,
    ) -> None:
        self._client = client
        self._policy = policy
        self._blocking = blocking
        self._limits = limits or FetchLimits()
        self._resolve = resolve

    async def fetch(self, url: str) -> Download:
        """Download ``url`` completely.

        Cancellation: the connection and the temporary file are closed.

        Raises:
            UrlRefused: the URL or a redirect points where the policy does not allow.
            FetchError: the server cannot be reached, answers anything but 200, is too slow or
                sends too much.
        """
        with trio.move_on_after(self._limits.total_timeout_s):
            response, target = await self._open(url)
            try:
                return Download(await self._store(response), target)
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise FetchError(f"fetch failed: {_describe(error)}") from None
            finally:
                with trio.move_on_after(_CLOSE_TIMEOUT_S, shield=True):
                    await response.aclose()
        raise FetchError(f"fetch failed: not complete after {self._limits.total_timeout_s:g} s")

    async def _open(self, url: str) -> tuple[httpx.Response, UrlTarget]:
        """Follow redirects, each judged anew, up to the headers of a 200."""
        target = parse_url(url)
        with trio.move_on_after(self._limits.headers_timeout_s):
            for _ in range(self._limits.max_redirects + 1):
                response = await self._request(target)
                if response.status_code == 200:
                    return response, target
                await response.aclose()
                location = response.headers.get("Location")
                if response.status_code not in _REDIRECTS or location is None:
                    raise FetchError(f"fetch failed: status {response.status_code}")
                target = target.redirected(location)
            raise FetchError(f"fetch failed: more than {self._limits.max_redirects} redirects")
        raise FetchError(f"fetch failed: no response within {self._limits.headers_timeout_s:g} s")

    async def _request(self, target: UrlTarget) -> httpx.Response:
        """Send the request to the first address of the target that answers."""
        failure = ""
        for address in (await self._addresses(target))[:_MAX_ADDRESSES]:
            request = self._client.build_request(
                "GET",
                target.pinned_url(address),
                headers={
                    "Host": target.authority,
                    "Accept": "audio/*, */*;q=0.1",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                },
                extensions={} if target.address else {"sni_hostname": target.host},
            )
            try:
                return await self._client.send(request, auth=target.credentials, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = _describe(error)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(f"fetch failed: {_describe(error)}") from None
        raise FetchError(f"fetch failed: {failure}")

    async def _addresses(self, target: UrlTarget) -> tuple[IpAddress, ...]:
        """Return the addresses of the target that may be connected to; the name is resolved once."""
        if target.address is not None:
            return self._policy.choose(target, [target.host])
        try:
            resolved = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError):
            raise FetchError(f"fetch failed: host {target.host} cannot be resolved") from None
        return self._policy.choose(target, resolved)

    async def _store(self, response: httpx.Response) -> BinaryIO:
        """Stream the body into a temporary file, positioned at its start."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            raise FetchError("fetch failed: the response is compressed")
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > self._limits.max_bytes:
            raise self._too_large()
        spool = cast(  # it has every method of a binary file, which its type does not say
            BinaryIO,
            tempfile.SpooledTemporaryFile(max_size=self._limits.memory_bytes),  # noqa: SIM115 (outlives this call)
        )
        try:
            await self._copy(response, spool)
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return spool

    async def _copy(self, response: httpx.Response, spool: BinaryIO) -> None:
        """Copy the body within the caps on size and slowness."""
        limits = self._limits
        received = progress = 0
        refusal: FetchError | None = None
        with trio.move_on_after(limits.stall_timeout_s) as scope:
            async for chunk in response.aiter_bytes(65_536):
                received += len(chunk)
                progress += len(chunk)
                if progress >= limits.stall_bytes:
                    progress = 0
                    scope.deadline = trio.current_time() + limits.stall_timeout_s
                if received > limits.max_bytes:
                    refusal = self._too_large()
                elif received <= limits.memory_bytes:
                    spool.write(chunk)
                else:
                    refusal = await self._write(spool, chunk)
                if refusal is not None:
                    # Leaving the loop would leave the generators below it suspended; this unwinds them.
                    scope.cancel()
        if refusal is not None:
            raise refusal
        if scope.cancelled_caught:
            raise FetchError("fetch failed: the server sends too slowly")

    async def _write(self, spool: BinaryIO, chunk: bytes) -> FetchError | None:
        """Write to a file on disk; returns what went wrong."""
        with trio.move_on_after(_WRITE_TIMEOUT_S, shield=True):
            try:
                await self._blocking(lambda: spool.write(chunk))
            except OSError as error:
                return FetchError(f"fetch failed: temporary file: {error.strerror}")
            return None
        return FetchError("fetch failed: temporary file: the disk is too slow")

    def _too_large(self) -> FetchError:
        return FetchError(f"fetch failed: larger than {self._limits.max_bytes} bytes")


def _describe(error: Exception) -> str:
    """Name a failure without the URL it happened on."""
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return "cannot connect"
        case httpx.TimeoutException():
            return "timed out"
        case httpx.ProtocolError() | httpx.DecodingError():
            return "the server broke the protocol"
        case httpx.NetworkError():
            return "connection lost"
        case _:
            return type(error).__name__
