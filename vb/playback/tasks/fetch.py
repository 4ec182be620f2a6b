"""Requests for playback: policy first, then a 200 whose body is worth taking.

The address that the policy has judged is the address that is connected to: the request goes to the
bare IP address, with the name in the Host header and as TLS server name, against which the
certificate is checked. The connection is closed after the response, because a pool keeps connections
by IP address and would hand one verified for another name on the same address to the next request.
"""

from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx
import trio

from vb.blocking import Blocking
from vb.media.errors import FetchError
from vb.media.fetch_policy import FetchPolicy, IpAddress, UrlTarget, parse_url
from vb.names import Resolve
from vb.playback.tasks.download import Download, FetchLimits, close_response, describe, too_large

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_ADDRESSES: Final = 3
_CONNECT_TIMEOUT_S: Final = 10.0


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
        resolve: host look-up.
        limits: caps of one download.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        policy: FetchPolicy,
        *,
        blocking: Blocking,
        resolve: Resolve,
        limits: FetchLimits | None = None,
    ) -> None:
        self._client = client
        self._policy = policy
        self._blocking = blocking
        self._limits = limits or FetchLimits()
        self._resolve = resolve

    async def open(self, url: str) -> Download:
        """Ask for ``url`` and return its body, of which nothing has been read yet.

        Cancellation: the connection is closed.

        Raises:
            UrlRefused: the URL or a redirect points where the policy does not allow.
            FetchError: the server cannot be reached, or answers anything but a 200 of bearable size.
        """
        deadline = trio.current_time() + self._limits.total_timeout_s
        response, target = await self._open(url)
        refusal = self._refusal(response)
        if refusal is not None:
            await close_response(response)
            raise refusal
        return Download(response, target, self._limits, deadline=deadline, blocking=self._blocking)

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
                failure = describe(error)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(f"fetch failed: {describe(error)}") from None
        raise FetchError(f"fetch failed: {failure}")

    async def _addresses(self, target: UrlTarget) -> tuple[IpAddress, ...]:
        """Return the addresses of the target that may be connected to; the name is resolved once."""
        if target.address is not None:
            return self._policy.choose(target, [target.host])
        try:
            resolved = await self._resolve(target.host, target.port)
        except OSError:
            raise FetchError(f"fetch failed: host {target.host} cannot be resolved") from None
        return self._policy.choose(target, resolved)

    def _refusal(self, response: httpx.Response) -> FetchError | None:
        """Return what is wrong with a body by what its header says."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            return FetchError("fetch failed: the response is compressed")
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > self._limits.max_bytes:
            return too_large(self._limits)
        return None
