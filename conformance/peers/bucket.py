"""An object store as uploads of recordings need one: a bucket that can be there, absent, shut or stuck."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import trio

from conformance.peers.http_server import Request, Response, serve_http

_SCOPE = re.compile(r"Credential=([^/,]+)/\d{8}/([^/]+)/s3/aws4_request")


class Bucket:
    """Path-style requests to ``/<name>`` and ``/<name>/<key>``; everything else is not there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.objects: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.credentials: set[tuple[str, str]] = set()
        self.puts = 0
        self.put_status = 200
        self.head_status = 200
        self.stuck = False

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: Request) -> Response:
        """Answers one request."""
        if self.stuck:
            await trio.sleep_forever()
        signed = _SCOPE.search(request.header("Authorization") or "")
        if signed is not None:
            self.credentials.add((signed.group(1), signed.group(2)))
        path = unquote(request.path.partition("?")[0]).lstrip("/")
        bucket, _, key = path.partition("/")
        if bucket != self.name:
            return Response(404)
        if request.method == "HEAD":
            return self._head(key)
        if request.method != "PUT" or not key:
            return Response(405)
        self.puts += 1
        data = _unchunked(request)
        if self.put_status == 200:
            self.objects[key] = data
            self.types[key] = request.header("Content-Type") or ""
        return Response(self.put_status, headers=(("ETag", _tag(data)),))

    def _head(self, key: str) -> Response:
        """The bucket or an object."""
        if self.head_status != 200 or not key:
            return Response(self.head_status)
        if key not in self.objects:
            return Response(404)
        data = self.objects[key]
        return Response(200, data, headers=(("ETag", _tag(data)),))


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _unchunked(request: Request) -> bytes:
    """The object of a PUT; signed chunks are put together (aws-chunked)."""
    if "aws-chunked" not in (request.header("Content-Encoding") or ""):
        return request.body
    data, rest = b"", request.body
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if size == 0:
            break
        data, rest = data + rest[:size], rest[size + 2 :]
    return data


@asynccontextmanager
async def open_bucket(name: str) -> AsyncIterator[Bucket]:
    """A store on a free port."""
    bucket = Bucket(name)
    async with serve_http(bucket.handle) as port:
        bucket.port = port
        yield bucket
