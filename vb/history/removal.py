"""Taking calls out of the history, with the recordings that no other call has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import BindParameter, Connection, Select, bindparam, delete, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from vb.history.common import WordTally
from vb.history.counts import Deltas, apply_counts, count_call, count_duration, count_labels
from vb.history.labels import unpack_labels
from vb.history.schema import CALLS, FILES, KEY_BITS, LABELS, PARTS, REMOVED, words_table
from vb.history.segments import tell_late


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal took out.

    Attributes:
        calls: ids of the calls.
        files: recordings that belonged to them alone, to be deleted.
    """

    calls: tuple[UUID, ...]
    files: tuple[str, ...]


def doomed(limit: int) -> Select[int]:
    """Select ended calls that their policy deletes at once."""
    # Written out, not bound: an index of some rows only serves conditions that the planner can read.
    yes: BindParameter[int] = bindparam("yes", 1, literal_execute=True)
    query = select(CALLS.c.call_key).where(CALLS.c.auto_delete == yes, CALLS.c.ended_us > 0)
    return query.order_by(CALLS.c.call_key).limit(limit)


def outdated(before_us: int, limit: int) -> Select[int]:
    """Select ended calls that were made before a time."""
    query = select(CALLS.c.call_key).where(
        CALLS.c.call_key < max(0, before_us) << KEY_BITS, CALLS.c.ended_us + 0 > 0
    )
    return query.order_by(CALLS.c.call_key).limit(limit)


def bar(connection: Connection, call_ids: Sequence[UUID], now_us: int) -> None:
    """Let calls that are about to be deleted not be stored again when more is told of them."""
    if not call_ids:
        return
    kind = sqlite if connection.dialect.name == "sqlite" else postgresql
    rows = [{"call_id": call_id, "removed_us": now_us} for call_id in call_ids]
    connection.execute(kind.insert(REMOVED).on_conflict_do_nothing(), rows)


def removed_of(connection: Connection, call_ids: Sequence[UUID]) -> Iterable[UUID]:
    """Return those of some calls that were deleted."""
    if not call_ids:
        return ()
    return connection.scalars(select(REMOVED.c.call_id).where(REMOVED.c.call_id.in_(call_ids)))


def forget_removed(connection: Connection, before_us: int) -> None:
    """Let go of the ids of calls that were deleted before a time."""
    connection.execute(delete(REMOVED).where(REMOVED.c.removed_us < before_us))


def remove(connection: Connection, keys: Sequence[int]) -> Removed:
    """Take calls out in the transaction of a connection; those that are gone already are no error.

    Raises:
        SQLAlchemyError: nothing is removed once the transaction has been rolled back.
    """
    tally = WordTally.begin(connection)
    rows = connection.execute(
        select(CALLS).where(CALLS.c.call_key.in_(keys)).order_by(CALLS.c.call_key).with_for_update()
    ).all()
    found = [row.call_key for row in rows]
    if not found:
        return Removed((), ())
    deltas: Deltas = Deltas()
    labels: list[dict[str, int]] = []
    for row in rows:
        own = unpack_labels(row.labels)
        count_call(deltas, row.call_key, row.time_of_day_us, -1)
        count_duration(deltas, row.duration_us, -1)
        count_labels(deltas, own, -1)
        labels += [{"old_label": label, "old_key": row.call_key} for label in own]
    tally.count_stored(found, -1)
    files = _own_files(connection, found)
    words = words_table(connection.dialect.name)
    connection.execute(delete(PARTS).where(PARTS.c.call_key.in_(found)))
    connection.execute(delete(FILES).where(FILES.c.call_key.in_(found)))
    connection.execute(
        delete(words).where(words.c.rowid == bindparam("old_key")), [{"old_key": key} for key in found]
    )
    if labels:
        connection.execute(
            delete(LABELS).where(
                LABELS.c.label == bindparam("old_label"), LABELS.c.call_key == bindparam("old_key")
            ),
            labels,
        )
    connection.execute(delete(CALLS).where(CALLS.c.call_key.in_(found)))
    apply_counts(connection, deltas)
    tally.apply()
    tell_late(connection, found)
    return Removed(tuple(row.call_id for row in rows), files)


def _own_files(connection: Connection, keys: Iterable[int]) -> tuple[str, ...]:
    """Return the recordings that only these calls have; a room's recording belongs to all who were there."""
    others = FILES.alias()
    chosen = list(keys)
    shared = exists().where(others.c.file == FILES.c.file, others.c.call_key.not_in(chosen))
    query = select(FILES.c.file).where(FILES.c.call_key.in_(chosen), ~shared).distinct()
    return tuple(connection.scalars(query.order_by(FILES.c.file)))
