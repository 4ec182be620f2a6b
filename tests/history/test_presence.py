"""Servers that share a folder see which of them are there."""

from __future__ import annotations

import errno
import os
import signal
import uuid
from pathlib import Path

import pytest
import trio

from tests.history.keepers import OTHER, RUN, Clock, end_reasons, ids, keeper, kill
from tests.history.making import change
from tests.history.test_process import Bed, opened
from tests.support.history import history_of
from vb.events.bus import EventBus
from vb.history.edge import get_call
from vb.history.keeper import Keeper
from vb.history.presence import Presence, forget, is_there
from vb.history.runs import GONE_AFTER_US, SEEN_EVERY_S
from vb.history.tasks import open_history
from vb.ids import SystemIds


def lose(presence: Presence) -> None:
    """Let it go as that of a killed server does."""
    os.close(presence._fd)
    presence._fd = -1


def there_with_a_call(database_url: str, folder: Path, clock: Clock) -> tuple[Presence, Keeper]:
    """Return a server that is there, and what writes for it, with one call that goes on."""
    presence = Presence(folder, RUN)
    presence.begin()
    writing, _ = keeper(database_url, folder, RUN, clock)
    writing.round([change(1, duration_us=None)])
    return presence, writing


def test_a_server_is_there_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    presence = Presence(tmp_path / "new", RUN)
    assert not is_there(tmp_path / "new", RUN)
    presence.begin()
    assert is_there(tmp_path / "new", RUN)
    assert not is_there(tmp_path / "new", OTHER)
    presence.end()
    assert not is_there(tmp_path / "new", RUN)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_killed_server_is_not_there_and_what_it_left_goes(tmp_path: Path) -> None:
    presence = Presence(tmp_path, RUN)
    presence.begin()
    lose(presence)
    assert not is_there(tmp_path, RUN)
    forget(tmp_path, RUN)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_keeps_no_server_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    presence = Presence(tmp_path / "file", RUN)
    presence.begin()
    presence.end()
    assert not is_there(tmp_path / "file", RUN)


def test_who_cannot_look_takes_no_server_for_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    presence = Presence(tmp_path, RUN)
    presence.begin()

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", full)
        assert is_there(tmp_path, RUN)
    presence.end()
    assert not is_there(tmp_path, RUN)


def test_a_server_that_ends_while_the_disk_still_notes_it_leaves_nothing(tmp_path: Path) -> None:
    presence = Presence(tmp_path, RUN)
    presence.end()
    presence.begin()
    assert list(tmp_path.iterdir()) == []


def test_calls_of_a_server_that_lost_its_process_stay_open_while_it_is_there(
    database_url: str, tmp_path: Path
) -> None:
    clock, folder = Clock(), tmp_path / "queue"
    presence, lost = there_with_a_call(database_url, folder, clock)
    kill(lost)
    other, _ = keeper(database_url, folder, OTHER, clock)
    for _ in range(3):
        assert other.round([]).closed == []
        clock.now_s += SEEN_EVERY_S + 1
    lose(presence)
    assert ids(other.round([]).closed) == [change(1).call_id]
    assert other.round([]).closed == []
    other.close(calls_left=False)
    assert list(folder.iterdir()) == []
    assert end_reasons(database_url) == ["system_error"]


def test_stays_and_agents_of_a_lost_call_end_with_it_those_of_rooms_too(
    database_url: str, tmp_path: Path
) -> None:
    clock, folder = Clock(), tmp_path / "queue"
    presence, lost = there_with_a_call(database_url, folder, clock)
    began = change(1, duration_us=None)
    agents = [{"started_us": began.joined_us}, {"started_us": began.joined_us, "room_id": "hall"}]
    rooms = [{"room_id": "hall", "joined_us": began.joined_us}]
    lost.round([change(1, duration_us=None, version=4, agents=agents, rooms=rooms)])
    lose(presence)
    kill(lost)
    other, store = keeper(database_url, folder, OTHER, clock)
    clock.now_s += GONE_AFTER_US / 1_000_000 + 1
    other.round([])
    leg = get_call(store, str(began.call_id)).leg
    assert all(agent.ended is not None for agent in leg.agents)
    assert all(stay.left is not None for stay in leg.rooms)
    other.close(calls_left=False)


def test_calls_of_a_server_whose_process_hangs_stay_open_while_it_is_there(
    database_url: str, tmp_path: Path
) -> None:
    clock, folder = Clock(), tmp_path / "queue"
    # Its keeper keeps its file locked, and says no more.
    presence, hanging = there_with_a_call(database_url, folder, clock)
    other, _ = keeper(database_url, folder, OTHER, clock)
    until_s = clock.now_s + 2 * GONE_AFTER_US / 1_000_000
    while clock.now_s < until_s:
        assert other.round([]).closed == []
        clock.now_s += SEEN_EVERY_S + 1
    lose(presence)
    assert ids(other.round([]).closed) == [change(1).call_id]
    other.close(calls_left=False)
    kill(hanging)


def test_a_server_that_ended_well_after_another_had_its_file_leaves_nothing(
    database_url: str, tmp_path: Path
) -> None:
    clock, folder = Clock(), tmp_path / "queue"
    presence, lost = there_with_a_call(database_url, folder, clock)
    kill(lost)
    other, _ = keeper(database_url, folder, OTHER, clock)
    assert other.round([]).closed == []
    again, _ = keeper(database_url, folder, RUN, clock)
    assert ids(again.round([change(1, version=4)]).recorded) == [change(1).call_id]
    again.close(calls_left=False)
    presence.end()
    assert other.round([]).closed == []
    other.close(calls_left=False)
    assert list(folder.iterdir()) == []
    assert end_reasons(database_url) == ["hangup"]


async def test_a_history_says_that_it_is_there_whoever_writes_it(tmp_path: Path) -> None:
    settings = history_of(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    async with open_history(settings, EventBus("edge-1", SystemIds()), run_id=RUN):
        assert is_there(tmp_path / "queue", RUN)
    assert list((tmp_path / "queue").iterdir()) == []


@pytest.mark.integration
async def test_another_server_leaves_the_calls_of_one_alone_whose_process_was_killed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed, folder = Bed(monkeypatch), tmp_path / "queue"
    async with opened(bed, database_url, folder):
        await bed.stored(*bed.calls(1))
        call = bed.ring()
        ended = bed.calls(1)
        await bed.stored(*ended)  # by then the one that rings is there as well
        os.kill(bed.pids[0], signal.SIGKILL)
        other, _ = keeper(database_url, folder, uuid.UUID(int=9))
        closed = []
        for _ in range(20):
            closed += await trio.to_thread.run_sync(lambda: other.round([]).closed)
        assert closed == []
        bed.end(call)
        await bed.stored(call)
        await trio.to_thread.run_sync(lambda: other.close(calls_left=False))
    assert end_reasons(database_url) == ["unjoined"] * 3
