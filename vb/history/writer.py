"""Writing changes of calls: many in one transaction, and each as often as it comes.

A change tells a call's whole state, and a newer one makes an older one pointless, so a batch is reduced to
one change a call, and what comes twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from vb.history.change import Change
from vb.history.common import WordTally
from vb.history.counts import Deltas, apply_counts, count_call, count_duration, count_labels
from vb.history.database import is_taken
from vb.history.labels import labels_of, pack_labels, unpack_labels
from vb.history.packing import dump_json, pack, pack_json, unpack_json
from vb.history.removal import removed_of
from vb.history.schema import CALLS, DAY_US, FILES, KEY_BITS, LABELS, OPEN, PARTS, words_table
from vb.history.segments import tell_late
from vb.history.words import words_of
from vb.storage.address import parse_object

log = structlog.get_logger(__name__)

MAX_FILE_BYTES: Final = 2_600
"""Of the address of a recording: an index of PostgreSQL takes 2,704."""

DOCUMENT_PART = 0


@dataclass(frozen=True, slots=True)
class CallWrite:
    """A change as the database takes it.

    Attributes:
        parts: number → packed data; number 0 is the document.
        words: None when they are as before.
        leg_id: empty in what a queue of before holds.
    """

    key: int
    call_id: UUID
    version: int
    joined_us: int
    ended_us: int
    duration_us: int
    auto_delete: bool
    labels: tuple[int, ...]
    parts: Mapping[int, bytes]
    words: str | None
    files: tuple[str, ...]
    leg_id: str = ""
    app_id: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call that is over, and was not so in the database before."""

    call_id: UUID
    leg_id: str
    app_id: str | None


def prepare(change: Change) -> CallWrite:
    """Pack a change; takes a while, so it belongs into a thread."""
    document = change.document
    return CallWrite(
        key=change.key,
        call_id=change.call_id,
        version=change.version,
        joined_us=change.joined_us,
        ended_us=change.ended_us,
        duration_us=_duration_us(change),
        auto_delete=change.auto_delete,
        labels=tuple(labels_of(document)),
        parts={DOCUMENT_PART: pack_json(document), **{number: pack(data) for number, data in change.parts}},
        words=None if change.texts is None else words_of(_names(document), _texts(document, change.texts)),
        files=tuple(sorted(set(_files(document)))),
        leg_id=str(document.get("leg_id") or change.call_id),
        app_id=document.get("app_id"),
    )


def _duration_us(change: Change) -> int:
    if not change.ended_us:
        return OPEN
    return max(0, change.ended_us - change.joined_us) if change.joined_us else 0


def _names(document: Mapping[str, Any]) -> Iterable[str]:
    yield from (document[name] for name in ("from", "to", "uri") if document.get(name))


def _texts(document: Mapping[str, Any], said: Iterable[str]) -> Iterable[str]:
    named = ("agent_name", "app_id", "short_summary", "summary")
    yield from (document[name] for name in named if document.get(name))
    for item in document.get("metadata", {}).items():
        yield from item
    yield from said


def _files(document: Mapping[str, Any]) -> Iterable[str]:
    for item in document.get("recordings", ()):
        stored = [found for text in item.get("objects", ()) if (found := parse_object(text)) is not None]
        told = {found.url for found in stored}  # whose credentials open it is told by its text
        names = (item.get("file"), item.get("multi_channel_file"))
        yield from (name for name in names if name and name not in told)
        yield from (found.text() for found in stored)


# -- as bytes, for the queue -------------------------------------------------------------------------------


def encode(write: CallWrite) -> bytes:
    """Return a write as bytes."""
    head = {
        "key": write.key,
        "call_id": str(write.call_id),
        "version": write.version,
        "joined_us": write.joined_us,
        "ended_us": write.ended_us,
        "duration_us": write.duration_us,
        "auto_delete": write.auto_delete,
        "labels": write.labels,
        "parts": [(number, len(data)) for number, data in write.parts.items()],
        "words": write.words,
        "files": write.files,
        "leg_id": write.leg_id,
        "app_id": write.app_id,
    }
    return dump_json(head) + b"\n" + b"".join(write.parts.values())


def decode(data: bytes) -> CallWrite:
    """Return the write that `encode` was given.

    Raises:
        ValueError: the bytes are damaged.
    """
    line, _, rest = data.partition(b"\n")
    try:
        head = json.loads(line)
        parts: dict[int, bytes] = {}
        for number, length in head.pop("parts"):
            parts[number], rest = rest[:length], rest[length:]
        call_id, labels = UUID(head.pop("call_id")), tuple(head.pop("labels"))
        return CallWrite(call_id=call_id, labels=labels, parts=parts, files=tuple(head.pop("files")), **head)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as exc:
        raise ValueError("damaged record of a call") from exc


# -- into the database -------------------------------------------------------------------------------------


def _merge(writes: Iterable[CallWrite]) -> list[CallWrite]:
    """Reduce writes to one a call, in the order of their keys."""
    merged: dict[UUID, CallWrite] = {}
    for write in writes:
        other = merged.get(write.call_id)
        if other is None:
            merged[write.call_id] = write
            continue
        older, newer = (other, write) if other.version <= write.version else (write, other)
        words = newer.words if newer.words is not None else older.words
        merged[write.call_id] = replace(newer, parts={**older.parts, **newer.parts}, words=words)
    return sorted(merged.values(), key=lambda write: write.key)


class Writer:
    """Writes calls of one server process.

    Args:
        run_id: of the process.
    """

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id

    def write(
        self, connection: Connection, writes: Iterable[CallWrite], in_doubt: Container[UUID] = ()
    ) -> list[Recorded]:
        """Write calls in the transaction of a connection.

        Args:
            in_doubt: calls that may have been written before, though nobody was told that they were.

        Returns:
            Those that are over and were not before, as far as the database knew, and those in doubt that are.

        Raises:
            SQLAlchemyError: nothing is written once the transaction has been rolled back.
        """
        todo = _merge(writes)
        if not todo:
            return []
        tally = WordTally.begin(connection)
        found = {
            row.call_id: row
            for row in connection.execute(
                select(CALLS).where(CALLS.c.call_id.in_([write.call_id for write in todo])).with_for_update()
            )
        }
        deltas: Deltas = Deltas()
        unknown = [write for write in todo if write.call_id not in found]
        removed = frozenset(removed_of(connection, [write.call_id for write in unknown]))
        new = self._insert(connection, [write for write in unknown if write.call_id not in removed])
        old = [
            (replace(write, key=found[write.call_id].call_key), found[write.call_id])
            for write in todo
            if write.call_id in found
        ]
        for write in new:
            count_call(deltas, write.key, _time_of_day(write.key), 1)
            count_duration(deltas, write.duration_us, 1)
            count_labels(deltas, write.labels, 1)
        newer = [(write, row) for write, row in old if write.version > row.version]
        self._update(connection, newer, deltas)
        if not new and not old:
            return []
        self._parts(connection, [*new, *(write for write, _ in old)])
        self._labels(connection, new, newer)
        self._words(connection, new, [write for write, _ in newer], tally)
        self._files(connection, [*new, *(write for write, _ in newer)])
        apply_counts(connection, deltas)
        tally.apply()
        tell_late(connection, [write.key for write in (*new, *(write for write, _ in newer))])
        # What was closed for a process that is gone ends once more when that one tells how it really ended.
        ending = [*new, *(write for write, row in newer if not row.ended_us or row.version % 2)]
        told = {write.call_id for write in ending}
        ending += [write for write, _ in old if write.call_id in in_doubt and write.call_id not in told]
        return [_recorded(write) for write in ending if write.ended_us]

    def _insert(self, connection: Connection, writes: list[CallWrite]) -> list[CallWrite]:
        """Insert new calls; returns them with their keys, which change where another call has them."""
        if not writes:
            return []
        try:
            with connection.begin_nested():
                connection.execute(insert(CALLS), [self._row(write) for write in writes])
        except IntegrityError as exc:
            if not is_taken(exc):
                raise
            return [self._insert_one(connection, write) for write in writes]
        return writes

    def _insert_one(self, connection: Connection, write: CallWrite) -> CallWrite:
        for step in range(1 << KEY_BITS):
            moved = replace(write, key=write.key + step)
            try:
                with connection.begin_nested():
                    connection.execute(insert(CALLS), [self._row(moved)])
            except IntegrityError as exc:
                if not is_taken(exc):
                    raise
                continue
            return moved
        raise ValueError("no key is free")

    def _row(self, write: CallWrite) -> dict[str, Any]:
        return {
            "call_key": write.key,
            "call_id": write.call_id,
            "run_id": self._run_id,
            "version": write.version,
            "joined_us": write.joined_us,
            "ended_us": write.ended_us,
            "duration_us": write.duration_us,
            "time_of_day_us": _time_of_day(write.key),
            "auto_delete": int(write.auto_delete),
            "labels": pack_labels(list(write.labels)),
        }

    def _update(
        self, connection: Connection, pairs: Sequence[tuple[CallWrite, Row[Any]]], deltas: Deltas
    ) -> None:
        if not pairs:
            return
        for write, row in pairs:
            if row.duration_us != write.duration_us:
                count_duration(deltas, row.duration_us, -1)
                count_duration(deltas, write.duration_us, 1)
            count_labels(deltas, unpack_labels(row.labels), -1)
            count_labels(deltas, write.labels, 1)
        connection.execute(
            update(CALLS)
            .where(CALLS.c.call_key == bindparam("old_key"))
            .values({name: bindparam(f"new_{name}") for name in sorted(_CHANGING)}),
            [
                {
                    "old_key": write.key,
                    **{f"new_{name}": value for name, value in self._row(write).items() if name in _CHANGING},
                }
                for write, _ in pairs
            ],
        )

    @staticmethod
    def _parts(connection: Connection, writes: list[CallWrite]) -> None:
        rows = [
            {"call_key": write.key, "part": number, "version": write.version, "data": data}
            for write in writes
            for number, data in write.parts.items()
        ]
        upsert = _dialect(connection).insert(PARTS)
        connection.execute(
            upsert.on_conflict_do_update(
                index_elements=[PARTS.c.call_key, PARTS.c.part],
                set_={"version": upsert.excluded.version, "data": upsert.excluded.data},
                where=PARTS.c.version < upsert.excluded.version,
            ),
            rows,
        )

    @staticmethod
    def _labels(
        connection: Connection, new: list[CallWrite], pairs: Sequence[tuple[CallWrite, Row[Any]]]
    ) -> None:
        added = [(label, write.key) for write in new for label in write.labels]
        gone: list[tuple[int, int]] = []
        for write, row in pairs:
            before = set(unpack_labels(row.labels))
            added += [(label, write.key) for label in write.labels if label not in before]
            gone += [(label, write.key) for label in before.difference(write.labels)]
        if added:
            connection.execute(
                insert(LABELS), [{"label": label, "call_key": key} for label, key in sorted(added)]
            )
        if gone:
            connection.execute(
                delete(LABELS).where(
                    LABELS.c.label == bindparam("old_label"), LABELS.c.call_key == bindparam("old_key")
                ),
                [{"old_label": label, "old_key": key} for label, key in gone],
            )

    @staticmethod
    def _words(connection: Connection, new: list[CallWrite], old: list[CallWrite], tally: WordTally) -> None:
        table = words_table(connection.dialect.name)
        changed = [write for write in old if write.words is not None]
        tally.count_stored([write.key for write in changed], -1)
        for write in (*new, *changed):
            tally.count(write.key, (write.words or "").split(), 1)
        if changed:
            connection.execute(
                update(table).where(table.c.rowid == bindparam("key")).values(words=bindparam("new_words")),
                [{"key": write.key, "new_words": write.words} for write in changed],
            )
        if new:
            connection.execute(
                insert(table), [{"rowid": write.key, "words": write.words or ""} for write in new]
            )

    @staticmethod
    def _files(connection: Connection, writes: list[CallWrite]) -> None:
        rows = []
        for write in writes:
            for file in write.files:
                if len(file.encode("utf-8", "surrogatepass")) > MAX_FILE_BYTES:
                    log.error("a recording stays when its call is deleted: its address is too long")
                else:
                    rows.append({"call_key": write.key, "file": file})
        if rows:
            connection.execute(_dialect(connection).insert(FILES).on_conflict_do_nothing(), rows)


def _recorded(write: CallWrite) -> Recorded:
    if write.leg_id:
        return Recorded(write.call_id, write.leg_id, write.app_id)
    document = unpack_json(write.parts[DOCUMENT_PART])
    return Recorded(write.call_id, document.get("leg_id", str(write.call_id)), document.get("app_id"))


_CHANGING = frozenset({"version", "run_id", "joined_us", "ended_us", "duration_us", "auto_delete", "labels"})


def _time_of_day(key: int) -> int:
    return (key >> KEY_BITS) % DAY_US


def _dialect(connection: Connection) -> Any:
    return sqlite if connection.dialect.name == "sqlite" else postgresql
