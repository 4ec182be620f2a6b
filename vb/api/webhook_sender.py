"""One webhook request: signed, bounded in time, and only to where a webhook may go.

A hook from a request or an INVITE may not reach into the operator's network; that of the operator may.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Literal

import trio

from vb.events.hooks import Hook
from vb.log import StrangersLog
from vb.web.errors import UrlRefused, WebError
from vb.web.tasks.client import KEEPING_REDIRECTS, WebClient

strangers = StrangersLog(__name__)

Outcome = Literal["success", "retry", "exhausted", "marshal_error", "request_error", "undelivered"]

ATTEMPT_TIMEOUT_S: Final = 10.0


def sign(secret: str, body: bytes) -> str:
    """Return the value of X-Signature-256 for a body."""
    return "sha256=" + hmac.new(secret.encode("utf-8"), body, hashlib.sha256).hexdigest()


class WebhookSender:
    """Posts events.

    Args:
        web: the way out, which judges where hooks of requests lead.
    """

    def __init__(self, web: WebClient) -> None:
        self._web = web

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
                status = await self._post(hook, headers, body)
        except UrlRefused as error:
            strangers.warning("webhook_refused", event_id=event_id, reason=str(error))
            return "request_error"
        except (WebError, ValueError, trio.TooSlowError) as error:
            # A ValueError is a secret that cannot be written as bytes.
            strangers.info(
                "webhook_attempt_failed", event_id=event_id, reason=str(error) or type(error).__name__
            )
            return "retry"
        if 200 <= status < 300:
            return "success"
        strangers.info("webhook_attempt_failed", event_id=event_id, status=status)
        return "retry"

    async def _post(self, hook: Hook, headers: dict[str, str], body: bytes) -> int:
        """Post, follow the redirects that keep a POST a POST, and return the last status.

        A receiver knows by the event's id what it has already, so a post may go out twice.
        """
        response = await self._web.open(
            "POST",
            hook.url,
            headers=headers,
            content=body,
            trusted=hook.trusted,
            repeatable=True,
            redirects=KEEPING_REDIRECTS,
        )
        await response.finish()
        return response.status
