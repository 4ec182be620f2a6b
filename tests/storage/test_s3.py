"""Targets, requests and answers of S3's protocol; sending them is in tests/storage/tasks."""

import contextlib
import hashlib

import pytest

from vb.storage import s3
from vb.storage.base import BucketAbsent, StorageError
from vb.storage.s3 import Answer, S3Target


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"bucket": ""}, "s3_bucket"),
        ({"bucket": "a/b"}, "s3_bucket"),
        ({"bucket": "x" * 300}, "s3_bucket"),
        ({"region": "eu west"}, "s3_region"),
        ({"region": "evil.example/"}, "s3_region"),
        ({"region": ""}, "s3_region"),
        ({"prefix": "a//b"}, "s3_prefix"),
        ({"prefix": "//"}, "s3_prefix"),
        ({"prefix": "a/../"}, "s3_prefix"),
        ({"prefix": "a\n/"}, "s3_prefix"),
        ({"prefix": "x" * 513}, "s3_prefix"),
        ({"access_key": "a"}, "s3_access_key"),
        ({"secret_key": "b"}, "s3_secret_key"),
        ({"access_key": "a\r\nx: y", "secret_key": "b"}, "s3_access_key"),
    ],
)
def test_what_cannot_be_a_target_is_named(fields: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        S3Target(**{"bucket": "recordings", **fields})  # type: ignore[arg-type]  # all of them are text


def test_the_machines_credentials_are_not_for_an_endpoint_of_a_request() -> None:
    with pytest.raises(ValueError, match="needs s3_access_key"):
        S3Target("recordings", endpoint="https://s3.example.com", guarded=True)


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("", "a.wav"), ("calls/", "calls/a.wav"), ("calls-", "calls-a.wav"), ("/calls/", "calls/a.wav")],
)
def test_the_key_is_the_prefix_and_the_name(prefix: str, key: str) -> None:
    assert S3Target("recordings", prefix=prefix).key("a.wav") == key


def test_keys_are_not_shown() -> None:
    target = S3Target("recordings", access_key="visible", secret_key="hidden", session_token="token")
    assert "hidden" not in repr(target)
    assert "token'" not in repr(target)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (S3Target("recordings"), "https://recordings.s3.us-east-1.amazonaws.com"),
        (S3Target("calls", region="cn-north-1"), "https://calls.s3.cn-north-1.amazonaws.com.cn"),
        (S3Target("a.dotted.one"), "https://s3.us-east-1.amazonaws.com/a.dotted.one"),
        (S3Target("Capitals"), "https://s3.us-east-1.amazonaws.com/Capitals"),
        (S3Target("calls", endpoint="http://minio:9000"), "http://minio:9000/calls"),
        (S3Target("calls", endpoint="https://example.com/s3"), "https://example.com/s3/calls"),
    ],
)
def test_an_endpoint_is_addressed_path_style_and_amazon_by_name(target: S3Target, url: str) -> None:
    assert str(target.server()) == url


def test_buckets_of_one_name_on_two_servers_are_two_places() -> None:
    one, two = (S3Target("calls", endpoint=f"http://{host}") for host in ("a", "b"))
    assert one.place != two.place


def test_keys_are_encoded_in_the_path() -> None:
    assert s3.head_object("/calls", "täg/ä b+c.wav").path == "/calls/t%C3%A4g/%C3%A4%20b%2Bc.wav"


def test_the_bucket_of_a_host_name_is_its_root() -> None:
    assert s3.head_bucket("").path == "/"


def test_the_list_of_parts_is_in_order_and_escaped() -> None:
    request = s3.complete_parts("/calls", "a.wav", "up&1", ['"a"', '"<b>"'])
    assert request.query == "uploadId=up%261"
    assert b'<PartNumber>1</PartNumber><ETag>"a"</ETag>' in request.body
    assert b'<PartNumber>2</PartNumber><ETag>"&lt;b&gt;"</ETag>' in request.body
    assert request.size == len(request.body)


def test_the_id_of_an_upload_is_read() -> None:
    body = b"<?xml version='1.0'?><R xmlns='x'><Bucket>b</Bucket><UploadId>a&amp;b</UploadId></R>"
    assert s3.upload_id_of(Answer(200, {}, body)) == "a&b"


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"<UploadId></UploadId>", b"\xff\x00"])
def test_an_answer_without_an_id_is_a_failure(body: bytes) -> None:
    with pytest.raises(StorageError, match="did not take"):
        s3.upload_id_of(Answer(200, {}, body))


def test_a_part_without_a_tag_is_a_failure() -> None:
    assert s3.tag_of(Answer(200, {"etag": '"x"'})) == '"x"'
    with pytest.raises(StorageError, match="did not take"):
        s3.tag_of(Answer(200, {}))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, "access denied"),
        (403, "access denied"),
        (301, "the bucket is elsewhere; check its region"),
        (307, "the bucket is elsewhere; check its region"),
        (206, "the storage did not take the file"),
        (400, "the storage did not take the file"),
        (418, "the storage did not take the file"),
        (500, "the storage did not take the file"),
        (503, "the storage did not take the file"),
    ],
)
def test_a_no_is_told_in_few_words_and_its_status_goes_to_the_log(status: int, text: str) -> None:
    with pytest.raises(StorageError) as caught:
        s3.check_answer(Answer(status, {"x-amz-bucket-region": "eu-west-1"}), "calls")
    assert str(caught.value) == text
    assert str(status) in caught.value.detail
    assert not isinstance(caught.value, BucketAbsent)


def test_an_absent_bucket_is_told_from_every_other_trouble() -> None:
    with pytest.raises(BucketAbsent, match="calls"):
        s3.check_answer(Answer(404, {}), "calls")


def test_a_failure_that_comes_after_the_200_is_one() -> None:
    late = Answer(200, {}, b"   <?xml version='1.0'?>\n<Error><Code>InternalError</Code></Error>")
    with pytest.raises(StorageError, match="did not take"):
        s3.check_answer(late, "calls")


ONE, TWO = '"5d41402abc4b2a76b9719d911017c592"', '"7d793037a0760186574b0282f2f435e7"'
BOTH = "cc97bc2c1fd8b03a9ccac7a5e2b25d27-2"


def test_the_etag_of_parts_is_the_md5_of_theirs() -> None:
    joined = hashlib.md5(bytes.fromhex(ONE.strip('"')) + bytes.fromhex(TWO.strip('"')))
    assert s3.tag_of_parts([ONE, TWO]) == f"{joined.hexdigest()}-2"
    assert s3.tag_of_parts([ONE, '"no digest"']) == ""


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"content-length": "9", "etag": ONE}, True),
        ({"content-length": "9"}, True),
        ({"content-length": "9", "etag": TWO}, True),
        ({"content-length": "8", "etag": ONE}, False),
        ({"content-length": "0"}, False),
        ({"etag": f"W/{ONE}"}, True),
        ({"etag": TWO}, False),
        ({}, False),
    ],
)
def test_an_object_whose_storing_was_answered_has_to_have_the_length(
    headers: dict[str, str], kept: bool
) -> None:
    with contextlib.nullcontext() if kept else pytest.raises(StorageError, match="did not take the file"):
        s3.check_size(Answer(200, headers), 9, ONE)


def test_without_a_length_an_etag_that_is_unknown_proves_nothing() -> None:
    with pytest.raises(StorageError, match="did not take the file"):
        s3.check_size(Answer(200, {}), 9, "")


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"etag": f'"{BOTH}"'}, True),
        ({"etag": f'"{"0" * 32}-2"'}, False),
        ({"etag": ONE}, False),
        ({"etag": f'"{"0" * 32}-2"', "x-amz-server-side-encryption": "AES256"}, False),
        ({"etag": f'"{"0" * 32}-2"', "x-amz-server-side-encryption": "aws:kms"}, True),
        ({"etag": f'"{"0" * 32}-2"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, True),
        ({"etag": '"opaque"'}, True),
        ({}, True),
        ({"etag": f'"{BOTH}"', "content-length": "8"}, False),
    ],
)
def test_an_object_whose_storing_was_not_answered_is_compared_as_far_as_its_etag_tells(
    headers: dict[str, str], kept: bool
) -> None:
    with contextlib.nullcontext() if kept else pytest.raises(StorageError, match="did not take the file"):
        s3.check_unanswered(Answer(200, {"content-length": "9", **headers}), 9, BOTH)


def test_parts_whose_etags_do_not_tell_are_compared_by_length() -> None:
    found = Answer(200, {"content-length": "9", "etag": f'"{BOTH}"'})
    s3.check_unanswered(found, 9, "")
    with pytest.raises(StorageError, match="did not take the file"):
        s3.check_unanswered(found, 8, "")
