"""Signatures, against Amazon's own examples and against Amazon's own signer."""

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]  # it has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # it has no types
from botocore.credentials import Credentials as BotoCredentials  # type: ignore[import-untyped]  # it has no types
from hypothesis import given
from hypothesis import strategies as st

from vb.storage.sigv4 import EMPTY_SHA256, Credentials, encode_path, encode_query, sign

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
THEN = datetime(2013, 5, 24, tzinfo=UTC)
HOST = {"host": "examplebucket.s3.amazonaws.com"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "sha256", "signature"),
    [
        ("GET", "/test.txt", [], {"range": "bytes=0-9"}, EMPTY_SHA256,
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("PUT", "/test$file.text", [],
         {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
         "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ("GET", "/", [("lifecycle", "")], {}, EMPTY_SHA256,
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/", [("prefix", "J"), ("max-keys", "2")], {}, EMPTY_SHA256,
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)  # fmt: skip
def test_amazons_examples_are_signed_as_documented(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    sha256: str,
    signature: str,
) -> None:
    signed = sign(
        method,
        encode_path(path),
        encode_query(query),
        HOST | headers,
        sha256=sha256,
        credentials=EXAMPLE,
        region="us-east-1",
        now=THEN,
    )
    assert signed["authorization"].endswith(f"Signature={signature}")


@given(
    key=st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40),
    upload=st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=40),
    token=st.sampled_from(["", "of-an-hour+/="]),
)
def test_amazons_own_signer_agrees(key: str, upload: str, token: str) -> None:
    path, query = encode_path(f"/bucket/{key}"), encode_query([("uploadId", upload), ("partNumber", "7")])
    headers = {"host": "s3.eu-west-1.amazonaws.com", "content-type": "audio/wav"}
    ours = sign(
        "PUT",
        path,
        query,
        headers,
        sha256=EMPTY_SHA256,
        credentials=Credentials("AKID", "secret", token),
        region="eu-west-1",
        now=datetime.now(UTC),
    )
    request = AWSRequest("PUT", f"https://{headers['host']}{path}?{query}", headers=headers)
    request.headers["X-Amz-Content-SHA256"] = EMPTY_SHA256
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.context["timestamp"] = ours["x-amz-date"]
    theirs = S3SigV4Auth(BotoCredentials("AKID", "secret", token or None), "s3", "eu-west-1")
    text = theirs.string_to_sign(request, _canonical(theirs, request, ours["x-amz-date"]))
    assert ours["authorization"].endswith(f"Signature={theirs.signature(text, request)}")


def _canonical(signer: S3SigV4Auth, request: AWSRequest, stamp: str) -> str:
    request.headers["X-Amz-Date"] = stamp
    return str(signer.canonical_request(request))


def test_secrets_are_not_shown() -> None:
    assert "very-secret" not in repr(Credentials("AKID", "very-secret", "very-secret"))
