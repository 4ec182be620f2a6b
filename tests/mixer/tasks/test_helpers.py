"""Threads that share the pieces of a batch with the plane's own one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from vb.mixer.tasks import helpers as module
from vb.mixer.tasks.helpers import LEAST_PIECES, Helpers


@pytest.fixture
def helpers() -> Iterator[Helpers]:
    found = Helpers(2)
    yield found
    found.stop()


def test_each_piece_is_done_once_before_share_returns(helpers: Helpers) -> None:
    for count in (1, LEAST_PIECES, 100, 1000):
        done = [0] * count

        def work(piece: int, done: list[int] = done) -> None:
            done[piece] += 1

        helpers.share(count, work)
        assert done == [1] * count


def test_pieces_are_done_side_by_side(helpers: Helpers) -> None:
    meeting = threading.Barrier(3, timeout=5)
    # Nobody gets past a piece alone: only three threads at once are let through.
    met = []

    def work(piece: int) -> None:
        if piece < 3:
            met.append(meeting.wait())

    helpers.share(LEAST_PIECES, work)
    assert sorted(met) == [0, 1, 2]


def test_a_few_pieces_are_done_by_the_caller_alone(helpers: Helpers) -> None:
    threads = []
    helpers.share(LEAST_PIECES - 1, lambda piece: threads.append(threading.current_thread()))
    assert set(threads) == {threading.current_thread()}


def test_a_helper_that_does_not_get_to_run_delays_nothing(
    helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helpers, "_wake", lambda: None)
    done: list[int] = []
    helpers.share(50, done.append)
    assert done == list(range(50))


def test_helpers_end_with_their_plane() -> None:
    helpers = Helpers(2)
    threads = list(helpers._threads)
    helpers.share(20, lambda piece: None)
    helpers.stop()
    assert not any(thread.is_alive() for thread in threads)


def test_helpers_run_with_the_priority_that_their_plane_is_given(
    helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"wanted": (0, 0)}
    adopted: list[tuple[int, int]] = []
    monkeypatch.setattr(module, "scheduling", lambda thread: given["wanted"] if thread else (0, 0))
    monkeypatch.setattr(module, "adopt", adopted.append)
    for wanted, changes in (((0, 0), 0), ((2, 1), 2), ((2, 1), 2), ((0, 0), 4)):
        given["wanted"] = wanted
        meeting = threading.Barrier(3, timeout=5)

        def work(piece: int, meeting: threading.Barrier = meeting) -> None:
            if piece < 3:
                meeting.wait()  # so that each of the three threads is awake

        helpers.share(LEAST_PIECES, work)
        assert len(adopted) == changes
