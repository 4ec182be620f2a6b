from __future__ import annotations

import pytest

from vb.storage.address import StoredObject, parse_object


@pytest.mark.parametrize(
    "kept",
    [
        StoredObject("calls", "a b/ä.wav", "server", "eu-central-1", "http://minio:9000"),
        StoredObject("calls", "x.wav", "request", "us-east-1"),
    ],
)
def test_what_is_kept_of_an_object_can_be_read_again(kept: StoredObject) -> None:
    assert parse_object(kept.text()) == kept


def test_a_plain_address_is_of_the_servers_own_bucket() -> None:
    found = parse_object("s3://calls/a b.wav")
    assert found == StoredObject("calls", "a b.wav")
    assert found is not None
    assert found.url == "s3://calls/a b.wav"


@pytest.mark.parametrize(
    "text",
    ["", "/a.wav", "s3://", "s3://calls", "s3:///x", "nobody - - s3://a/b", "server - - /a", "server"],
)
def test_anything_else_is_no_object(text: str) -> None:
    assert parse_object(text) is None
