import io
import os
import tempfile
from collections.abc import Iterator

import pytest

from vb.playback.spool import FLUSH_BYTES, Spool

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def spool() -> Iterator[Spool]:
    spool = Spool(memory_bytes=1000)
    yield spool
    spool.close()


def test_a_small_body_stays_in_memory(spool: Spool) -> None:
    spool.append(CONTENT[:600])
    spool.append(CONTENT[600:1000])
    assert (spool.size, spool.flush_due) == (1000, False)
    assert spool.read(0, 5000) == CONTENT[:1000]


def test_a_flush_is_due_for_a_whole_portion_only(spool: Spool) -> None:
    spool.append(CONTENT[: FLUSH_BYTES - 1])
    due = [spool.flush_due]
    spool.append(b"x")
    due.append(spool.flush_due)
    spool.flush()
    due.append(spool.flush_due)
    assert due == [False, True, False]


@pytest.mark.parametrize("position", [0, 1, 65_535, 65_536, 65_537, 70_000, 131_000])
@pytest.mark.parametrize("size", [0, 1, 1000, 200_000])
def test_reading_crosses_from_disk_to_memory(spool: Spool, position: int, size: int) -> None:
    spool.append(CONTENT[:FLUSH_BYTES])
    spool.flush()
    spool.append(CONTENT[FLUSH_BYTES : FLUSH_BYTES + 10_000])
    spool.flush()
    spool.append(CONTENT[FLUSH_BYTES + 10_000 : 131_072])
    assert spool.read(position, size) == CONTENT[:131_072][position : position + size]


def test_nothing_is_read_beyond_the_end(spool: Spool) -> None:
    spool.append(b"abc")
    assert spool.read(3, 10) == b""
    assert spool.read(100, 10) == b""


def test_closing_gives_the_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    spool = Spool(memory_bytes=0)
    spool.append(CONTENT)
    spool.flush()
    assert len(os.listdir("/proc/self/fd")) == before + 1
    spool.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_file_has_no_name(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(memory_bytes=0)
    spool.append(CONTENT)
    spool.flush()
    assert os.listdir(str(tmp_path)) == []
    spool.close()


def test_a_write_that_takes_only_a_part_is_continued(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reluctant(io.FileIO):
        def write(self, data: object) -> int:
            assert isinstance(data, memoryview)
            return super().write(data[:1000])

    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the spool closes its duplicate
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: Reluctant(os.dup(file.fileno()), "r+b"))
    spool.append(CONTENT)
    spool.flush()
    file.close()
    assert spool.read(0, len(CONTENT)) == CONTENT
