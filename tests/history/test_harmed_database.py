"""Databases that do not take what they are given: their own fault costs no call, a call's fault no other."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.history.conftest import LosableDatabase, new_database
from tests.history.keepers import ids, keeper
from tests.history.making import change
from vb.errors import Unavailable
from vb.history import keeper as module
from vb.history import writer
from vb.history.edge import list_calls


def holds_back(one: module.Keeper) -> None:
    """Two calls come, and wait for a database that is told to be at fault."""
    assert ids(one.round([change(2), change(3)]).recorded) == []
    assert (one.damaged, one.queued, list(one.problems)) == (0, 2, ["database"])


def writes_after_all(one: module.Keeper) -> None:
    """They are written, and all is well."""
    assert ids(one.round([]).recorded) == [change(2).call_id, change(3).call_id]
    assert (one.queued, one.problems) == (0, {})


@pytest.mark.parametrize(
    ("harm", "repair"),
    [
        ("ALTER ROLE vb SET default_transaction_read_only = on", "ALTER ROLE vb RESET ALL"),
        ("ALTER TABLE calls RENAME TO moved", "ALTER TABLE moved RENAME TO calls"),
        (
            "ALTER TABLE calls RENAME version TO newer",
            "ALTER TABLE calls RENAME newer TO version",
        ),
    ],
    ids=["a standby", "without a table", "changed by a newer server"],
)
def test_a_database_that_takes_nothing_for_now_loses_no_call(
    losable: LosableDatabase, tmp_path: Path, harm: str, repair: str
) -> None:
    one, store = keeper(losable.url, tmp_path / "queue")
    one.round([change(1)])
    losable.run(harm)
    try:
        store._engine.dispose()  # roles are asked when a connection begins
        holds_back(one)
        with pytest.raises(Unavailable):
            store.delete(change(1).call_id)
    finally:
        losable.run(repair)
    store._engine.dispose()
    writes_after_all(one)
    one.close(calls_left=False)


def test_a_rule_of_a_newer_version_loses_no_call(tmp_path: Path) -> None:
    one, store = keeper(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    one.round([change(1)])
    with store._engine.begin() as connection:
        rule = "CREATE TRIGGER newer BEFORE INSERT ON calls BEGIN SELECT raise(abort, 'no'); END"
        connection.exec_driver_sql(rule)
    holds_back(one)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER newer")
    writes_after_all(one)
    one.close(calls_left=False)


@pytest.mark.parametrize(
    ("harm", "repair"),
    [
        (
            "ALTER TABLE calls ADD newer int NOT NULL DEFAULT 0; ALTER TABLE calls ALTER newer DROP DEFAULT",
            "ALTER TABLE calls DROP newer",
        ),
        (
            "ALTER TABLE calls ADD CONSTRAINT newer CHECK (false) NOT VALID",
            "ALTER TABLE calls DROP CONSTRAINT newer",
        ),
    ],
    ids=["a column that wants a value", "a check"],
)
def test_a_rule_that_postgresql_learnt_from_a_newer_version_loses_no_call(
    losable: LosableDatabase, tmp_path: Path, harm: str, repair: str
) -> None:
    one, _ = keeper(losable.url, tmp_path / "queue")
    one.round([change(1)])
    losable.run(harm)
    try:
        holds_back(one)
    finally:
        losable.run(repair)
    writes_after_all(one)
    one.close(calls_left=False)


@pytest.mark.parametrize(("most", "damaged"), [(writer.MAX_FILE_BYTES, 0), (10_000, 1)])
def test_an_address_that_is_too_long_for_an_index_holds_up_no_call(
    losable: LosableDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, damaged: int
) -> None:
    monkeypatch.setattr(writer, "MAX_FILE_BYTES", most)
    one, store = keeper(losable.url, tmp_path / "queue")
    noise = random.Random(1).randbytes(3_000).hex()
    one.round([change(1, recordings=[{"file": f"/recordings/{noise}.wav"}]), change(2)])
    assert list_calls(store, []).total == 2 - damaged
    assert (one.damaged, one.queued, one.problems) == (damaged, 0, {})
    one.close(calls_left=False)


def test_words_without_their_call_hold_up_no_other_call(tmp_path: Path) -> None:
    one, store = keeper(f"sqlite:///{tmp_path}/calls.db", tmp_path / "queue")
    one.round([change(1)])
    with store._engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO call_words (rowid, words) VALUES (?, 'x')", (change(2).key,))
    assert ids(one.round([change(2), change(3)]).recorded) == [change(3).call_id]
    assert (one.damaged, one.queued, one.problems) == (1, 0, {})
    one.close(calls_left=False)


@pytest.mark.parametrize("kept", [0, 4_096], ids=["file is not a database", "malformed"])
def test_a_damaged_file_loses_no_call(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "calls.db"
    one, store = keeper(f"sqlite:///{file}", tmp_path / "queue")
    one.round([change(1)])
    store._engine.dispose()  # what is in the log goes into the file
    whole = file.read_bytes()
    file.write_bytes(whole[:kept] + b"\xff" * (len(whole) - kept))
    holds_back(one)
    with pytest.raises(Unavailable):
        store.delete(change(1).call_id)
    store._engine.dispose()
    file.write_bytes(whole)
    writes_after_all(one)
    one.close(calls_left=False)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_has_no_room_for_every_letter_loses_no_call(
    postgres_server: str, tmp_path: Path, encoding: str
) -> None:
    url = new_database(postgres_server, f"ENCODING '{encoding}' TEMPLATE template0")
    one, store = keeper(url, tmp_path / "queue")
    one.round([change(1, texts=("\u65e5\u672c",)), change(2)])
    assert (one.damaged, one.queued) == (0, 2)
    assert one.problems == {"database": f"the database's encoding is {encoding}, and has to be UTF8"}
    with pytest.raises(Unavailable):
        list_calls(store, [("search", "\u65e5")])
    one.close(calls_left=False)


def test_the_encoding_of_the_environment_loses_no_call(
    losable: LosableDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    one, store = keeper(losable.url, tmp_path / "queue")
    one.round([change(1, texts=("\u65e5\u672c",))])
    assert (one.damaged, one.problems) == (0, {})
    assert list_calls(store, [("search", "\u65e5")]).total == 1
    one.close(calls_left=False)
