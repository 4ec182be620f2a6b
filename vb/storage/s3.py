"""The requests of S3's protocol and what their answers mean; sending them is the business of the tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Final
from xml.sax.saxutils import escape

from vb.storage.base import BucketAbsent, NotPermitted, StorageError
from vb.storage.endpoint import Endpoint, parse_endpoint
from vb.storage.sigv4 import EMPTY_SHA256, Credentials, encode_path, encode_query

CONTENT_TYPE: Final = "audio/wav"
PART_BYTES: Final = 8 * 1024 * 1024
"""Files that are larger go in parts of this size; 10000 of them are allowed, 5 MiB is the least."""
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
AMBIGUOUS: Final = frozenset({500, 502, 503, 504})
"""Those that something between may give for a request that was carried out."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_KEYS = re.compile(r"[!-~]*")
_UPLOAD_ID = re.compile(r"<UploadId>([^<]{1,2048})</UploadId>")
_ERROR = re.compile(r"<Error[\s>]")
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-\d{1,5}")


@dataclass(frozen=True, slots=True)
class S3Target:
    """A place for recordings.

    Attributes:
        bucket: its name.
        region: region that requests are signed for.
        endpoint: URL of the server, "" for Amazon's.
        guarded: the endpoint comes from a request: its host is judged before each connection, and the
            credentials of the machine are not for it.
        prefix: what every key begins with; no slash is added.
        access_key: "" looks for credentials where Amazon's own tools do.
        secret_key: belongs to it.
        session_token: of temporary credentials.

    Raises:
        ValueError: the bucket, region, prefix, keys or endpoint cannot be one; the text names it.
    """

    bucket: str
    region: str = "us-east-1"
    endpoint: str = ""
    guarded: bool = False
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not _BUCKET.fullmatch(self.bucket):
            raise ValueError("s3_bucket: not a bucket name")
        if not _REGION.fullmatch(self.region):
            raise ValueError("s3_region: not a region")
        segments = self.key("x").split("/")
        if not self.prefix.isprintable() or any(part in ("", ".", "..") for part in segments):
            raise ValueError("s3_prefix: not the beginning of a key")
        if len(self.prefix.encode()) > 512:
            raise ValueError("s3_prefix: longer than 512 bytes")
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("s3_access_key and s3_secret_key belong together")
        if not _KEYS.fullmatch(self.access_key + self.session_token):
            raise ValueError("s3_access_key: not an access key")
        if self.guarded and not self.access_key:
            raise ValueError("s3_endpoint needs s3_access_key and s3_secret_key")

    @property
    def credentials(self) -> Credentials | None:
        """The given credentials; None means those of the machine."""
        if not self.access_key:
            return None
        return Credentials(self.access_key, self.secret_key, self.session_token)

    @property
    def place(self) -> tuple[str, str]:
        """Tells the buckets of different servers apart."""
        return self.endpoint or self.region, self.bucket

    def key(self, name: str) -> str:
        """Return the key of a file."""
        return (self.prefix + name).removeprefix("/")

    def server(self) -> Endpoint:
        """Return where requests go; the bucket is in the path, or on Amazon's servers in the name if it fits.

        Raises:
            ValueError: the endpoint is not a URL of a server.
        """
        if self.endpoint:
            server = parse_endpoint(self.endpoint)
            return Endpoint(server.scheme, server.host, server.port, f"{server.path}/{self.bucket}")
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        host = f"s3.{self.region}.{suffix}"
        if _HOST_LABEL.fullmatch(self.bucket):
            return Endpoint("https", f"{self.bucket}.{host}", 443)
        return Endpoint("https", host, 443, f"/{self.bucket}")  # no certificate covers a further dot


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has not been signed.

    Attributes:
        method: in capitals.
        path: encoded.
        query: encoded.
        headers: lower-case names.
        size: length of the body in bytes.
        sha256: of the body, in hex.
        body: it, unless it is part of a file.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    sha256: str = EMPTY_SHA256
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_yes(self) -> bool:
        """Whether the status says that the request was carried out."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


def head_bucket(base: str) -> Request:
    """Ask whether the bucket is there."""
    return Request("HEAD", base or "/")


def head_object(base: str, key: str) -> Request:
    """Ask whether an object is there."""
    return Request("HEAD", _path(base, key))


def put_object(base: str, key: str, *, size: int, sha256: str) -> Request:
    """Store an object at once."""
    headers = {"content-type": CONTENT_TYPE}
    return Request("PUT", _path(base, key), headers=headers, size=size, sha256=sha256)


def get_object(base: str, key: str, begin: int, end: int) -> Request:
    """Read a part of an object, from one byte to before another."""
    return Request("GET", _path(base, key), headers={"range": f"bytes={begin}-{end - 1}"})


def delete_object(base: str, key: str) -> Request:
    """Delete an object; one that is not there counts as deleted."""
    return Request("DELETE", _path(base, key))


def begin_parts(base: str, key: str) -> Request:
    """Announce an object that comes in parts."""
    headers = {"content-type": CONTENT_TYPE}
    return Request("POST", _path(base, key), encode_query([("uploads", "")]), headers)


def put_part(base: str, key: str, upload_id: str, number: int, *, size: int, sha256: str) -> Request:
    """Store one part; the first is number 1."""
    query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
    return Request("PUT", _path(base, key), query, size=size, sha256=sha256)


def complete_parts(base: str, key: str, upload_id: str, tags: Iterable[str]) -> Request:
    """Make an object of the parts, given their ETags in order."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    body = (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"{parts}</CompleteMultipartUpload>"
    ).encode()
    sha256 = hashlib.sha256(body).hexdigest()
    query = encode_query([("uploadId", upload_id)])
    headers = {"content-type": "application/xml"}
    return Request("POST", _path(base, key), query, headers, len(body), sha256, body)


def abort_parts(base: str, key: str, upload_id: str) -> Request:
    """Drop the parts that were stored."""
    return Request("DELETE", _path(base, key), encode_query([("uploadId", upload_id)]))


def _path(base: str, key: str) -> str:
    return f"{base}/{encode_path(key)}"


def upload_id_of(answer: Answer) -> str:
    """Return the id under which the parts of an object are stored.

    Raises:
        StorageError: the answer has none.
    """
    found = _UPLOAD_ID.search(answer.text)
    if found is None:
        raise StorageError("the storage did not take the file", "the answer has no UploadId")
    return unescape(found[1])


def tag_of(answer: Answer) -> str:
    """Return the ETag of what was stored: every S3 gives one, and a web server that is none does not.

    Raises:
        StorageError: the answer has none.
    """
    tag = answer.headers.get("etag")
    if not tag:
        raise StorageError("the storage did not take the file", "the answer has no ETag")
    return tag


def tag_of_parts(tags: Sequence[str]) -> str:
    """Return the ETag of an object that is made of parts with these, "" when they do not tell.

    It is the MD5 of the parts' MD5s and their number, unless a key encrypts the bucket.
    """
    digests = [_bare(tag) for tag in tags]
    if not all(_MD5.fullmatch(digest) for digest in digests):
        return ""
    joined = b"".join(bytes.fromhex(digest) for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


def check_size(found: Answer, size: int, tag: str) -> None:
    """Check what HEAD says of an object whose storing was answered with an ETag.

    Raises:
        StorageError: it is not the file.
    """
    length = found.headers.get("content-length")
    if length is None and tag and _bare(found.headers.get("etag", "")) == _bare(tag):
        return  # a proxy left the length out
    if length != str(size):
        raise StorageError("the storage did not take the file", f"it has {length} bytes instead of {size}")


def check_unanswered(found: Answer, size: int, tag: str) -> None:
    """Check what HEAD says of an object whose storing was never answered: it may be an older one of that key.

    Args:
        found: the answer to HEAD.
        size: of the file.
        tag: what `tag_of_parts` expects.

    Raises:
        StorageError: it is not the file.
    """
    if found.headers.get("content-length") != str(size):
        raise StorageError("the storage did not take the file", "it lost the parts")
    encryption = found.headers.get("x-amz-server-side-encryption", "")
    customer = "x-amz-server-side-encryption-customer-algorithm" in found.headers
    there = _bare(found.headers.get("etag", ""))
    telling = bool(tag) and not encryption.startswith("aws:") and not customer
    if telling and there != tag and (_MD5.fullmatch(there) or _MD5_OF_PARTS.fullmatch(there)):
        raise StorageError("the storage did not take the file", "it lost the parts and has another object")


def _bare(tag: str) -> str:
    return tag.removeprefix("W/").strip('"').lower()


def check_answer(answer: Answer, bucket: str) -> Answer:
    """Return an answer that says yes.

    Statuses other than those that a client can act on share one text: with more, whoever may name an
    endpoint could find out what listens there.

    Raises:
        BucketAbsent: it says that something is not there.
        NotPermitted: it does not let these credentials ask that.
        StorageError: it says no for another reason.
    """
    detail = f"status {answer.status}"
    match answer.status:
        case 200 | 204 if not _ERROR.search(answer.text):  # a failure may come late, after the 200
            return answer
        case 401 | 403:
            raise NotPermitted("access denied", detail)
        case 405 | 501:
            raise NotPermitted("the storage did not take the file", detail)
        case 404:
            raise BucketAbsent(f"bucket {bucket} does not exist", detail)
        case 301 | 302 | 303 | 307 | 308:
            detail += f", region {answer.headers.get('x-amz-bucket-region', 'unknown')}"
            raise StorageError("the bucket is elsewhere; check its region", detail)
    raise StorageError("the storage did not take the file", detail)
