"""Puts many calls into an empty database by its fastest door; counters are as the server counts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Table, insert

from vb.history.counts import Deltas, apply_counts, count_call, count_duration, count_labels
from vb.history.database import open_engine, parse_url, writing
from vb.history.labels import pack_labels
from vb.history.schema import CALLS, DAY_US, FILES, KEY_BITS, LABELS, PARTS, words_table
from vb.history.writer import CallWrite

BATCH: Final = 20_000
RUN: Final = uuid.UUID(int=1)


def load(url: str, calls: Iterable[CallWrite]) -> None:
    """Insert calls into a database whose tables exist and are empty."""
    engine = open_engine(parse_url(url))
    deltas: Deltas = Deltas()
    source = iter(calls)
    while batch := list(islice(source, BATCH)):
        with writing(engine) as connection:
            for table, rows in _rows(batch, words_table(connection.dialect.name)):
                _insert(connection, table, rows)
        for call in batch:
            count_call(deltas, call.key, _time_of_day(call.key), 1)
            count_duration(deltas, call.duration_us, 1)
            count_labels(deltas, call.labels, 1)
    with writing(engine) as connection:
        apply_counts(connection, deltas)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM ANALYZE")
        else:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("BEGIN")
    engine.dispose()


def _time_of_day(key: int) -> int:
    return (key >> KEY_BITS) % DAY_US


def _rows(batch: list[CallWrite], words: Table) -> Iterator[tuple[Table, list[dict[str, Any]]]]:
    yield (
        CALLS,
        [
            {
                "call_key": call.key,
                "call_id": call.call_id,
                "run_id": RUN,
                "version": call.version,
                "joined_us": call.joined_us,
                "ended_us": call.ended_us,
                "duration_us": call.duration_us,
                "time_of_day_us": _time_of_day(call.key),
                "auto_delete": 0,
                "labels": pack_labels(list(call.labels)),
            }
            for call in batch
        ],
    )
    yield (
        PARTS,
        [
            {"call_key": call.key, "part": number, "version": call.version, "data": data}
            for call in batch
            for number, data in call.parts.items()
        ],
    )
    yield LABELS, [{"label": label, "call_key": call.key} for call in batch for label in call.labels]
    yield FILES, [{"call_key": call.key, "file": file} for call in batch for file in call.files]
    yield words, [{"rowid": call.key, "words": call.words} for call in batch]


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table), rows)
        return
    cursor = connection.connection.cursor()
    columns = ", ".join(rows[0])
    with cursor.copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))
    cursor.close()
