"""What the call history has besides commands: recordings as bytes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

from quart import Response, request
from quart.wrappers.response import ResponseBody
from quart_trio import QuartTrio
from quart_trio.wrappers.response import TrioFileBody

from vb.api.edge import EdgeEngine
from vb.api.rest import CORS_HEADERS, Replies
from vb.errors import VbError
from vb.history.edge import AUDIO, CALLS_PATH, find_recording
from vb.history.tasks import StoredBytes
from vb.storage.address import StoredObject

RECORDING_PATH: Final = CALLS_PATH + "/{id}/recording"

CHUNK_BYTES: Final = 65_536
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII | re.IGNORECASE)


def add_calls(app: QuartTrio, engine: EdgeEngine, replies: Replies) -> None:
    """Add the route."""

    async def recording(id: str) -> Response:
        try:
            found = await engine.stored().read(partial(find_recording, call_id=id))
            if isinstance(found, StoredObject):
                stored = await engine.stored().in_bucket(found)
                return _answer(_StoredBody(stored), stored.size, AUDIO)
        except VbError as error:
            return replies.failure(error)
        try:
            body = TrioFileBody(found.path, buffer_size=CHUNK_BYTES)
        except OSError:  # it was deleted a moment ago
            return replies.error(404, "the call has no recording")
        return _answer(body, body.size, found.media_type)

    app.add_url_rule(
        RECORDING_PATH.replace("{", "<").replace("}", ">"),
        endpoint="get_call_recording",
        view_func=recording,
        methods=["GET"],
        provide_automatic_options=False,
    )


def _answer(body: TrioFileBody | _StoredBody, size: int, media_type: str) -> Response:
    """Return the part of a recording that a request wants."""
    headers = {**CORS_HEADERS, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
    part = read_range(request.headers.get("Range", ""), size)
    if part is None:
        headers["Content-Range"] = f"bytes */{size}"
        return Response(b"", 416, headers, content_type=media_type)
    body.begin, body.end = part
    is_whole = part == (0, size)
    if not is_whole:
        headers["Content-Range"] = f"bytes {body.begin}-{body.end - 1}/{size}"
    headers["Content-Length"] = str(body.end - body.begin)
    if request.method == "HEAD":
        body.end = body.begin
    return Response(body, 200 if is_whole else 206, headers, content_type=media_type)


class _StoredBody(ResponseBody):
    """A part of a recording in a bucket, handed on as it comes."""

    def __init__(self, stored: StoredBytes) -> None:
        self.begin, self.end = 0, stored.size
        self._stored = stored
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> AsyncIterator[bytes]:
        if self.begin == self.end:
            return _nothing()
        return await self._stack.enter_async_context(self._stored.part(self.begin, self.end))

    async def __aexit__(self, *failure: Any) -> None:
        await self._stack.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    for part in tuple[bytes, ...]():
        yield part


def read_range(text: str, size: int) -> tuple[int, int] | None:
    """Return where the wanted part of something begins and ends; all of it when no part is asked for.

    Several parts at once, and what cannot be read, count as all of it, as a server may do.

    Returns:
        None when there is no such part.

    Spec: RFC 9110 §14.1.2.
    """
    match = _RANGE.fullmatch(text.strip())
    if match is None or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        begin, end = max(0, size - int(match[2])), size
    else:
        begin, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < begin:
            return 0, size
    return (begin, end) if begin < end else None
