"""One webhook request: signed, bounded in time, and only to where a webhook may go.

A hook from a request or an INVITE may not reach into the operator's network. Its host is resolved once,
every address is judged, and the connection goes to an address that was judged; redirects are judged anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

import httpx
import structlog
import trio

from vb.events.hooks import Hook
from vb.media.errors import UrlRefused
from vb.media.fetch_policy import FetchPolicy, parse_url
from vb.names import Resolve

log = structlog.get_logger(__name__)

Outcome = Literal["success", "retry", "exhausted", "marshal_error", "request_error", "undelivered"]

ATTEMPT_TIMEOUT_S: Final = 10.0
MAX_REDIRECTS: Final = 5
_KEEPING_REDIRECTS: Final = frozenset({307, 308})
_MAX_ADDRESSES: Final = 3
_CONNECT_TIMEOUT_S: Final = 4.0
_MAX_RESPONSE_BYTES: Final = 65_536


def sign(secret: str, body: bytes) -> str:
    """Return the value of X-Signature-256 for a body."""
    return "sha256=" + hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


class WebhookSender:
    """Posts events.

    Args:
        client: shared HTTP client that follows no redirects itself.
        fetch_allow: hosts and networks that hooks of requests may reach although they are private.
        resolve: host look-up for those hooks.
    """

    def __init__(self, client: httpx.AsyncClient, fetch_allow: Iterable[str], resolve: Resolve) -> None:
        self._client = client
        self._policy = FetchPolicy.parse(fetch_allow)
        self._resolve = resolve

    async def post(self, hook: Hook, event_id: str, body: bytes) -> Outcome:
        """Try once to deliver an event.

        Returns:
            success, request_error when no attempt can ever succeed, else retry.
        """
        headers = {"Content-Type": "application/json", "X-Event-Id": event_id}
        try:
            if hook.secret:
                headers["X-Signature-256"] = sign(hook.secret, body)
            with trio.fail_after(ATTEMPT_TIMEOUT_S):
                status = await self._post_following(hook, headers, body)
        except (UrlRefused, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            log.warning("webhook_refused", event_id=event_id, reason=str(error))
            return "request_error"
        except (httpx.HTTPError, httpx.StreamError, OSError, ValueError, trio.TooSlowError) as error:
            # A ValueError is a secret, a host or a redirect that cannot be written as bytes or as a URL.
            log.info("webhook_attempt_failed", event_id=event_id, reason=type(error).__name__)
            return "retry"
        if 200 <= status < 300:
            return "success"
        log.info("webhook_attempt_failed", event_id=event_id, status=status)
        return "retry"

    async def _post_following(self, hook: Hook, headers: dict[str, str], body: bytes) -> int:
        """Post, follow the redirects that keep a POST a POST, and return the last status."""
        url = hook.url
        trusted_host = urlsplit(url).netloc if hook.trusted else None
        for _ in range(MAX_REDIRECTS + 1):
            trusted = trusted_host is not None and urlsplit(url).netloc == trusted_host
            requests = await self._requests(url, headers, body, trusted)
            status, location = await self._send_first(requests)
            if status not in _KEEPING_REDIRECTS or location is None:
                return status
            url = urljoin(url, location)
        return status

    async def _requests(
        self, url: str, headers: dict[str, str], body: bytes, trusted: bool
    ) -> list[httpx.Request]:
        """Build the requests to try, each to one address that is permitted."""
        if trusted:
            return [self._build(url, headers, body, {})]
        target = parse_url(url)
        resolved = [target.host] if target.address else await self._resolve(target.host, target.port)
        addresses = self._policy.choose(target, resolved)
        extensions: dict[str, str] = {}
        pinned = {**headers, "Host": target.authority}
        if target.address is None and target.scheme == "https":
            # The pool keeps connections by address; one made for this name must not serve another.
            extensions["sni_hostname"] = target.host
            pinned["Connection"] = "close"
        if target.credentials is not None:
            pinned["Authorization"] = _basic(*target.credentials)
        return [
            self._build(target.pinned_url(address), pinned, body, extensions)
            for address in addresses[:_MAX_ADDRESSES]
        ]

    def _build(
        self, url: str, headers: dict[str, str], body: bytes, extensions: dict[str, str]
    ) -> httpx.Request:
        timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S)  # the attempt as a whole has a deadline
        return self._client.build_request(
            "POST", url, headers=headers, content=body, timeout=timeout, extensions=extensions
        )

    async def _send_first(self, requests: list[httpx.Request]) -> tuple[int, str | None]:
        """Send the first request whose address can be connected to."""
        for request in requests[:-1]:
            try:
                return await self._send(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._send(requests[-1])

    async def _send(self, request: httpx.Request) -> tuple[int, str | None]:
        """Send a request; a short answer is read, so that the connection can be used again."""
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            length = response.headers.get("Content-Length", "0" if response.status_code == 204 else "")
            if length.isdecimal() and len(length) < 10 and int(length) <= _MAX_RESPONSE_BYTES:
                async for _ in response.aiter_raw():
                    pass
            return response.status_code, response.headers.get("Location")
        finally:
            await response.aclose()
