from collections.abc import Callable
from pathlib import Path

import pytest

from vb.storage.base import StorageError
from vb.storage.upload import Upload


class Shelf:
    """A bucket in memory; `before` runs in the middle of a put."""

    def __init__(self, *, fail: bool = False, before: Callable[[], None] = lambda: None) -> None:
        self.objects: dict[str, bytes] = {}
        self.fail = fail
        self.before = before

    def url(self, key: str) -> str:
        return f"shelf://{key}"

    def put(self, key: str, path: Path) -> None:
        self.before()
        if self.fail:
            raise StorageError("access denied")
        self.objects[key] = path.read_bytes()

    def exists(self, key: str) -> bool:
        return key in self.objects

    def check(self) -> None:
        return


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(b"audio")
    return path


def test_after_an_upload_the_file_is_there_and_no_longer_here(file: Path) -> None:
    shelf = Shelf()
    upload = Upload(shelf, "k/a.wav", file)
    upload.run()
    assert (upload.location, upload.error) == ("shelf://k/a.wav", None)
    assert shelf.objects == {"k/a.wav": b"audio"}
    assert not file.exists()


def test_a_failed_upload_keeps_the_file_and_says_why(file: Path) -> None:
    upload = Upload(Shelf(fail=True), "a.wav", file)
    upload.run()
    assert (upload.location, upload.error) == (str(file), "upload failed: access denied")
    assert file.exists()


def test_an_upload_that_was_given_up_keeps_the_file_even_if_it_succeeds_later(file: Path) -> None:
    upload = Upload(shelf := Shelf(), "a.wav", file)
    shelf.before = upload.give_up
    upload.run()
    assert (upload.location, upload.error) == (str(file), "the upload did not finish in time")
    assert file.exists()
    assert "a.wav" in shelf.objects


def test_a_failure_after_giving_up_changes_nothing_any_more(file: Path) -> None:
    upload = Upload(shelf := Shelf(fail=True), "a.wav", file)
    shelf.before = upload.give_up
    upload.run()
    assert upload.error == "the upload did not finish in time"


def test_giving_up_too_late_changes_nothing(file: Path) -> None:
    upload = Upload(Shelf(), "a.wav", file)
    upload.run()
    upload.give_up()
    assert (upload.location, upload.error) == ("shelf://a.wav", None)
