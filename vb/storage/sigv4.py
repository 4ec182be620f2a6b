"""Signatures of requests to Amazon: AWS Signature Version 4 in the Authorization header."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import quote

EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whose name requests are signed in.

    Attributes:
        access_key: names the secret key.
        secret_key: signs, and is never sent.
        session_token: of temporary credentials, else "".
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def encode_path(path: str) -> str:
    """Return a path as it is both signed and sent."""
    return quote(path, safe="/-_.~")


def encode_query(query: Iterable[tuple[str, str]]) -> str:
    """Return parameters as they are both signed and sent."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    sha256: str,
    credentials: Credentials,
    region: str,
    now: datetime,
    service: str = "s3",
) -> dict[str, str]:
    """Return the headers of a request with those that sign it.

    Args:
        method: in capitals.
        path: as `encode_path` returns it.
        query: as `encode_query` returns it.
        headers: lower-case names, `host` among them; all of them are signed.
        sha256: of the body, in hex.
        credentials: whose name to sign in.
        region: of the bucket or service.
        now: in UTC.
        service: whom the request is for; S3 wants the hash of the body in a header as well.

    Spec: AWS Signature Version 4 for S3, https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {**headers, "x-amz-date": stamp}
    if service == "s3":
        signed["x-amz-content-sha256"] = sha256
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = sorted(signed)
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in names)
    canonical = "\n".join((method, path, query, lines, ";".join(names), sha256))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={credentials.access_key}/{scope}"
    authorization = f"{_ALGORITHM} {credential},SignedHeaders={';'.join(names)},Signature={signature}"
    return {**signed, "authorization": authorization}
