"""S3Target and what S3Bucket makes of the answers; a real server's are in tests/integration/test_s3.py."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vb.storage.base import BucketAbsent, StorageError
from vb.storage.s3 import S3Bucket, S3Target


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"bucket": ""}, "s3_bucket"),
        ({"bucket": "a/b"}, "s3_bucket"),
        ({"bucket": "x" * 300}, "s3_bucket"),
        ({"region": "eu west"}, "s3_region"),
        ({"region": ""}, "s3_region"),
        ({"prefix": "a//b"}, "s3_prefix"),
        ({"prefix": "//"}, "s3_prefix"),
        ({"prefix": "a/../"}, "s3_prefix"),
        ({"prefix": "a\n/"}, "s3_prefix"),
        ({"prefix": "x" * 513}, "s3_prefix"),
        ({"access_key": "a"}, "s3_access_key"),
        ({"secret_key": "b"}, "s3_secret_key"),
    ],
)
def test_what_cannot_be_a_target_is_named(fields: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        S3Target(**{"bucket": "recordings", **fields})


@pytest.mark.parametrize(
    ("prefix", "key"),
    [("", "a.wav"), ("calls/", "calls/a.wav"), ("calls-", "calls-a.wav"), ("/calls/", "calls/a.wav")],
)
def test_the_key_is_the_prefix_and_the_name(prefix: str, key: str) -> None:
    target = S3Target("recordings", prefix=prefix)
    assert target.key("a.wav") == key
    assert S3Bucket(target, timeout_s=1).url(target.key("a.wav")) == f"s3://recordings/{key}"


def test_keys_are_not_shown() -> None:
    target = S3Target("recordings", access_key="visible", secret_key="hidden", session_token="token")
    assert "hidden" not in repr(target)
    assert "token'" not in repr(target)


class Answers:
    """A listening socket that gives one answer to every request and keeps the requests."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.requests.append(connection.recv(65536))
            if self.answer is None:
                self._held.append(connection)
            else:
                connection.sendall(self.answer)
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._held:
            connection.close()


@contextmanager
def answering(status: str | None, body: str = "") -> Iterator[Answers]:
    answer = None
    if status is not None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        answer = head.encode()
    answers = Answers(answer)
    try:
        yield answers
    finally:
        answers.close()


def bucket(endpoint: str, **fields: str) -> S3Bucket:
    given = {"access_key": "key", "secret_key": "secret", **fields}
    return S3Bucket(S3Target("recordings", endpoint=endpoint, **given), timeout_s=0.5)


ABSENT = "<Error><Code>NoSuchBucket</Code></Error>"


@pytest.mark.integration
def test_an_absent_bucket_is_told_from_every_other_trouble() -> None:
    with answering("404 Not Found", ABSENT) as server, pytest.raises(BucketAbsent, match="recordings"):
        bucket(server.endpoint).check()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("403 Forbidden", "access denied"),
        ("401 Unauthorized", "access denied"),
        ("500 Oops", "answered 500"),
        ("503 Slow", "answered 503"),
        (None, "does not answer"),
    ],
)
def test_doubts_are_no_absence(status: str | None, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"audio")
    with answering(status) as server:
        for ask in (
            bucket(server.endpoint).check,
            lambda: bucket(server.endpoint).put("a.wav", tmp_path / "a.wav"),
        ):
            with pytest.raises(StorageError, match=text) as caught:
                ask()
            assert not isinstance(caught.value, BucketAbsent)
            assert "secret" not in str(caught.value)


@pytest.mark.integration
def test_a_closed_port_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(StorageError, match="does not answer"):
        bucket(endpoint).check()


@pytest.mark.integration
def test_given_credentials_are_used_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-machine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with answering("200 OK") as server:
        with pytest.raises(StorageError):
            bucket(server.endpoint, access_key="mine").check()
        (request,) = server.requests
    assert b"Credential=mine/" in request
    assert b"of-the-machine" not in request


@pytest.mark.integration
def test_the_token_of_temporary_credentials_is_sent() -> None:
    with answering("200 OK") as server:
        with pytest.raises(StorageError):
            bucket(server.endpoint, session_token="for-an-hour").check()
        (request,) = server.requests
    assert b"x-amz-security-token: for-an-hour" in request.lower()


@pytest.mark.integration
def test_an_endpoint_is_addressed_path_style_and_the_region_is_signed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"audio")
    with answering("200 OK") as server:
        with pytest.raises(StorageError):  # the answer lacks an ETag
            bucket(server.endpoint, region="eu-central-1").put("calls/a.wav", tmp_path / "a.wav")
        (request,) = server.requests
    assert request.startswith(b"PUT /recordings/calls/a.wav HTTP/1.1")
    assert b"/eu-central-1/s3/aws4_request" in request
    assert b"content-type: audio/wav" in request.lower()
