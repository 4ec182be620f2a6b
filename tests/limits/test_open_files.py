"""How many legs the limit of open files has room for."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from vb.limits import open_files
from vb.limits.open_files import FILES_PER_LEG, RESERVED_FILES, has_room, legs_that_fit


@contextmanager
def soft_limit(files: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def used() -> int:
    count = open_files.open_files(1024)
    assert count > 0
    return count


def test_legs_that_have_not_opened_their_sockets_count(used: int) -> None:
    with soft_limit(used + RESERVED_FILES + 100):
        fit = legs_that_fit(used + RESERVED_FILES + 100)
        assert has_room(fit - 1)
        assert not has_room(fit)


def test_whatever_else_is_open_counts(used: int) -> None:
    with soft_limit(used + RESERVED_FILES + 2), ExitStack() as stack:
        assert has_room(0)
        for _ in range(FILES_PER_LEG + 1):
            stack.enter_context(socket.socket())
        assert not has_room(0)


def test_an_old_kernel_is_asked_for_each_file_where_few_may_be_open(
    used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.stat", lambda path: type("Old", (), {"st_size": 0}))
    assert open_files.open_files(1024) == used
    assert open_files.open_files(100_000) == 0


def test_a_system_that_does_not_tell_is_believed_to_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "_FOLDER", "/nowhere")
    assert open_files.open_files(1024) == 0
    assert has_room(0)
