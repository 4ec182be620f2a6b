"""Server processes that have calls in the history, and what becomes of the calls of one that is gone.

Each process says every few seconds that it is there. Whoever finds one that has been silent for long, or
whose queue lies abandoned in its own folder, closes that one's calls; the row of the process goes in the same
transaction, so it happens once, however many look.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update

from vb.history.change import PROCESS_LOST, Change
from vb.history.packing import unpack_json
from vb.history.schema import CALLS, PARTS, RUNS
from vb.history.writer import DOCUMENT_PART, Recorded, Writer, prepare

SEEN_EVERY_S: Final = 5.0
GONE_AFTER_US: Final = 45_000_000


def register(connection: Connection, run_id: UUID, instance_id: str, now_us: int) -> bool:
    """Say that a process is there; returns whether it was known already."""
    changed = connection.execute(update(RUNS).where(RUNS.c.run_id == run_id).values(seen_us=now_us))
    if changed.rowcount:
        return True
    connection.execute(insert(RUNS).values(run_id=run_id, instance_id=instance_id[:255], seen_us=now_us))
    return False


def ensure(connection: Connection, run_id: UUID, instance_id: str, seen_us: int) -> bool:
    """Let a process be known whose calls a transaction writes, so that they are closed when it is gone.

    Waits for who closes its calls right now.

    Args:
        seen_us: when it was last there, in case that nobody knows of it.

    Returns:
        Whether it was known already.
    """
    known = select(RUNS.c.run_id).where(RUNS.c.run_id == run_id)
    if connection.scalar(known.with_for_update(read=True, key_share=True)) is not None:
        return True
    connection.execute(insert(RUNS).values(run_id=run_id, instance_id=instance_id[:255], seen_us=seen_us))
    return False


def unregister(connection: Connection, run_id: UUID) -> None:
    """Say that a process has ended in good order, with all of its calls."""
    connection.execute(delete(RUNS).where(RUNS.c.run_id == run_id))


def gone(connection: Connection, now_us: int) -> list[UUID]:
    """Return the processes that have been silent for too long."""
    query = select(RUNS.c.run_id).where(RUNS.c.seen_us < now_us - GONE_AFTER_US)
    return list(connection.scalars(query.order_by(RUNS.c.seen_us)))


def close_calls(connection: Connection, run_id: UUID, now_us: int) -> list[Recorded]:
    """Close the calls that a process has left open, in the transaction of a connection.

    Returns:
        Which these are; none when somebody else has closed them.
    """
    row = connection.execute(select(RUNS).where(RUNS.c.run_id == run_id).with_for_update()).one_or_none()
    if row is None:
        return []
    query = (
        select(CALLS, PARTS.c.data)
        .join(PARTS, (PARTS.c.call_key == CALLS.c.call_key) & (PARTS.c.part == DOCUMENT_PART))
        .where(CALLS.c.run_id == run_id, CALLS.c.ended_us == 0)
        .order_by(CALLS.c.call_key)
    )
    open_calls = connection.execute(query).all()
    # It was alive when it was last seen, and its calls with it; what came later nobody knows.
    ended_us = min(row.seen_us, now_us)
    changes = [_closed(call, ended_us) for call in open_calls]
    recorded = Writer(run_id).write(connection, [prepare(change) for change in changes])
    connection.execute(delete(RUNS).where(RUNS.c.run_id == run_id))
    return recorded


def _closed(call: Any, ended_us: int) -> Change:
    document = unpack_json(call.data)
    ended_us = max(ended_us, call.joined_us, document["created_us"])
    document.update(ended_us=ended_us, reason=PROCESS_LOST)
    for stay in document.get("rooms", ()):
        stay.setdefault("left_us", ended_us)
    for agent in document.get("agents", ()):
        agent.setdefault("ended_us", ended_us)
    return Change(
        key=call.call_key,
        call_id=call.call_id,
        version=call.version + 1,
        joined_us=call.joined_us,
        ended_us=ended_us,
        auto_delete=bool(call.auto_delete),
        document=document,
        parts=(),
        texts=None,
    )
