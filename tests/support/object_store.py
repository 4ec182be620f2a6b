"""An S3 server in the test's own process, as fast, slow, silent or brittle as a test wants it."""

from __future__ import annotations

import hashlib
import math
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, unquote, urlsplit

import h11
import trio

BUCKET = "recordings"
_CHUNK = 16 * 1024


@dataclass
class ObjectStore:
    """A server with one bucket.

    Attributes:
        objects: by key, all that were stored completely.
        tags: their ETags.
        parts: of uploads that are neither completed nor dropped, by their id.
        asked: method and target of every request whose headers came, in order.
        heads: their headers, with lower-case names.
        statuses: given to the next requests instead of carrying them out.
        part_statuses: the same for parts, by their number.
        bytes_per_s: how fast bodies are taken.
        silent_for: requests of this method get no answer.
        head_status: given to whoever asks for an object that is there.
        head_fields: further headers of that answer.
        tagged: whether storing an object is answered with its ETag.
        deaf_for: the bodies of requests of this method are not read.
        break_after: the connection of the next body ends after so many bytes, without an answer.
        cut_after: what is read ends after so many bytes.
        location: sent with statuses of redirects.
        connections: all that were made.
        serving: those that are open.
        hurried: bodies are taken at once from now on.
        body_begun: some of a body has come.
    """

    port: int = 0
    scheme: str = "http"
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    part_statuses: dict[int, int] = field(default_factory=dict)
    bytes_per_s: float = math.inf
    silent_for: str = ""
    head_status: int = 200
    head_fields: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    tagged: bool = True
    deaf_for: str = ""
    break_after: int | None = None
    cut_after: int | None = None
    location: str = ""
    connections: int = 0
    serving: int = 0
    hurried: trio.Event = field(default_factory=trio.Event)
    body_begun: trio.Event = field(default_factory=trio.Event)

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def request(self) -> dict[str, str]:
        """The fields of a request that lead here."""
        keys = {"s3_access_key": "key", "s3_secret_key": "very-secret"}
        return {"storage": "s3", "s3_bucket": BUCKET, "s3_endpoint": self.endpoint, **keys}

    def methods(self) -> list[str]:
        """The methods of all requests."""
        return [method for method, _ in self.asked]

    async def settle(self) -> None:
        """Take what has come without delay, and wait until every connection is closed."""
        self.hurried.set()
        with trio.fail_after(5):
            while self.serving:
                await trio.lowlevel.checkpoint()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Serve one connection."""
        self.connections += 1
        self.serving += 1
        connection = h11.Connection(h11.SERVER)
        try:
            async with stream:
                while await self._one(stream, connection):
                    connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            self.serving -= 1

    async def _one(self, stream: trio.abc.Stream, connection: h11.Connection) -> bool:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = bytes(await stream.receive_some(_CHUNK))
                if head is not None and math.isfinite(self.bytes_per_s):
                    with trio.move_on_after(len(data) / self.bytes_per_s):
                        await self.hurried.wait()
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
                self.asked.append((head.method.decode(), head.target.decode()))
                self.heads.append({name.decode(): value.decode() for name, value in head.headers})
                if self.deaf_for == head.method.decode():
                    await trio.sleep_forever()
            elif isinstance(event, h11.Data):
                body += event.data
                self.body_begun.set()
                if self.break_after is not None and len(body) > self.break_after:
                    self.break_after = None
                    return False
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert head is not None
        if self.silent_for == head.method.decode():
            await trio.sleep_forever()
        status, headers, content = self._answer(head, bytes(body))
        names = [*headers.items(), ("content-length", str(len(content)))]
        await stream.send_all(connection.send(h11.Response(status_code=status, headers=names)) or b"")
        if content and head.method == b"GET" and self.cut_after is not None:
            await stream.send_all(connection.send(h11.Data(data=content[: self.cut_after])) or b"")
            return False
        if content and head.method != b"HEAD":
            await stream.send_all(connection.send(h11.Data(data=content)) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _answer(self, head: h11.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.statuses:
            return self.statuses.pop(0), {"location": self.location} if self.location else {}, b""
        if hashlib.sha256(body).hexdigest().encode() != dict(head.headers)[b"x-amz-content-sha256"]:
            return 400, {}, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>"
        url = urlsplit(head.target.decode())
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if bucket != BUCKET:
            return 404, {}, b"<Error><Code>NoSuchBucket</Code></Error>"
        match head.method, sorted(query):
            case b"HEAD", [] if not key or key not in self.objects:
                return (404 if key else 200), {}, b""
            case b"HEAD", []:
                told = {"etag": self.tags.get(key, md5(self.objects[key])), **self.head_fields}
                return self.head_status, told, self.objects[key]
            case b"GET", [] if key in self.objects:
                first, _, last = dict(head.headers)[b"range"].decode().removeprefix("bytes=").partition("-")
                return 206, {}, self.objects[key][int(first) : int(last) + 1]
            case b"PUT", []:
                self.objects[key], self.tags[key] = body, md5(body)
                return 200, {"etag": md5(body)} if self.tagged else {}, b""
            case b"POST", ["uploads"]:
                upload = f"up<{len(self.asked)}>"
                self.parts[upload] = {}
                escaped = upload.replace("<", "&lt;").replace(">", "&gt;")
                return 200, {}, f"<R><UploadId>{escaped}</UploadId></R>".encode()
            case b"PUT", ["partNumber", "uploadId"] if int(query["partNumber"]) in self.part_statuses:
                return self.part_statuses[int(query["partNumber"])], {}, b""
            case b"PUT", ["partNumber", "uploadId"] if query["uploadId"] in self.parts:
                self.parts[query["uploadId"]][int(query["partNumber"])] = body
                return 200, {"etag": md5(body)}, b""
            case b"POST", ["uploadId"] if query["uploadId"] in self.parts:
                return self._complete(key, query["uploadId"], body.decode())
            case b"DELETE", ["uploadId"]:
                self.parts.pop(query["uploadId"], None)
                return 204, {}, b""
            case b"DELETE", []:
                self.objects.pop(key, None)
                return 204, {}, b""
        return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"

    def _complete(self, key: str, upload: str, listed: str) -> tuple[int, dict[str, str], bytes]:
        parts = self.parts[upload]
        tags = re.findall(r"<PartNumber>(\d+)</PartNumber><ETag>([^<]+)</ETag>", listed)
        if [(str(number), md5(parts[number])) for number in sorted(parts)] != tags:
            return 400, {}, b"<Error><Code>InvalidPart</Code></Error>"
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        digests = b"".join(hashlib.md5(parts[number]).digest() for number in sorted(parts))
        self.tags[key] = f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'
        del self.parts[upload]
        return 200, {}, b"<CompleteMultipartUploadResult/>"


def md5(data: bytes) -> str:
    """The ETag of an object that was stored at once."""
    return f'"{hashlib.md5(data).hexdigest()}"'


@asynccontextmanager
async def open_store(tls: ssl.SSLContext | None = None) -> AsyncIterator[ObjectStore]:
    """A server on a free port of loopback."""
    store = ObjectStore(scheme="https" if tls else "http")
    async with trio.open_nursery() as nursery:
        if tls is None:
            (listener,) = await nursery.start(partial(trio.serve_tcp, store.serve, 0, host="127.0.0.1"))
        else:
            serve = partial(trio.serve_ssl_over_tcp, store.serve, 0, tls, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
        if isinstance(listener, trio.SSLListener):
            listener = listener.transport_listener
        assert isinstance(listener, trio.SocketListener)
        store.port = listener.socket.getsockname()[1]
        yield store
        nursery.cancel_scope.cancel()
