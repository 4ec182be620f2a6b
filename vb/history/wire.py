"""What the server and the process that writes its history say to each other, by `vb.children.framing`.

Changes go as `marshal` has them, which costs the server a thirtieth of packing them; both ends are of one
version. What comes back is JSON, so that garbage cannot harm the server.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from vb.children.framing import Garbage, fields_of, pack
from vb.history.change import Change
from vb.history.keeper import Kept, Status
from vb.history.packing import dump_json
from vb.history.writer import Recorded

MAX_BODY_BYTES: Final = 64 * 1_048_576
CHUNK: Final = 32
CHUNK_BYTES: Final = 65_536
"""Changes of one message: more are several, so that no tick waits for all of them."""
CALLS_AT_ONCE: Final = 20
"""Calls that one message tells of: each becomes an event, and those of one message come without a pause."""


class Kind(IntEnum):
    """What a message says; those below 64 go to the process."""

    START = 1
    """The first: JSON of `Start`."""
    CHANGES = 2
    """Changes of the message that follows."""
    ROUND = 3
    """Keep these changes and do a round: JSON of last. Its number is the message's id. One at a time."""
    CLOSE = 4
    """Keep these changes and let go of everything: JSON of calls_left."""
    PING = 5
    KEEP = 6
    """Keep these changes, whatever the round that is under way waits for. Numbered as ROUND is."""

    READY = 65
    KEPT = 66
    """A part of what a round has done, as JSON."""
    DONE = 67
    """A round is over: JSON of refused, unknown and status. Also for a KEEP that the queue does not take."""
    CLOSED = 68
    """The last message: JSON of kept, whether nothing is lost, and of status."""
    PONG = 69
    """JSON of busy_s, hangs and rss_kb."""
    SAID = 70
    """A line of the log: JSON of level, event and more."""
    TAKEN = 71
    """The changes of a ROUND or a KEEP lie in the durable queue: JSON of queued."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a process needs to know; see `Keeper` and `WriteStore`."""

    url: str
    folder: str
    run_id: str
    instance_id: str
    retention_days: float
    recordings_folder: str | None
    seen_us: int
    again: bool

    def encode(self) -> bytes:
        """Return its message."""
        return pack(Kind.START, 0, dump_json(asdict(self)))

    @classmethod
    def decode(cls, body: bytes) -> Start:
        """Return what the body of a START says.

        Raises:
            Garbage: it is malformed.
        """
        try:
            return cls(**json.loads(body))
        except (TypeError, ValueError):
            raise Garbage("START is malformed") from None

    @property
    def path(self) -> Path:
        """Where the durable queue lies."""
        return Path(self.folder)


def with_fields(kind: Kind, number: int = 0, /, **fields: Any) -> bytes:
    """Return a message with a JSON body."""
    return pack(kind, number, dump_json(fields))


# -- changes -----------------------------------------------------------------------------------------------


def pack_changes(changes: Iterable[Change], damaged: Callable[[Change], None]) -> Iterator[bytes]:
    """Give the messages of changes, each made when it is asked for.

    Args:
        changes: to be sent.
        damaged: told of a change that cannot be, as no record of it could be made.
    """
    chunk: list[Change] = []
    size = 0
    for change in changes:
        chunk.append(change)
        size += sum(len(data) for _, data in change.parts)
        if len(chunk) >= CHUNK or size >= CHUNK_BYTES:
            yield from _pack_chunk(chunk, damaged)
            chunk, size = [], 0
    yield from _pack_chunk(chunk, damaged)


def _pack_chunk(chunk: Sequence[Change], damaged: Callable[[Change], None]) -> Iterator[bytes]:
    if not chunk:
        return
    try:
        body = marshal.dumps([_plain(change, change.document) for change in chunk])
        if len(body) <= MAX_BODY_BYTES:
            yield pack(Kind.CHANGES, 0, body)
            return
    except ValueError:
        pass
    for change in chunk:  # one of them is to blame, and must not hold up the others
        try:
            body = marshal.dumps([_plain(change, json.loads(dump_json(change.document)))])
        except (TypeError, ValueError, RecursionError):
            damaged(change)
            continue
        if len(body) > MAX_BODY_BYTES:
            damaged(change)
            continue
        yield pack(Kind.CHANGES, 0, body)


def _plain(change: Change, document: dict[str, Any]) -> tuple[Any, ...]:
    return (
        change.key,
        change.call_id.bytes,
        change.version,
        change.joined_us,
        change.ended_us,
        change.auto_delete,
        document,
        change.parts,
        change.texts,
    )


def unpack_changes(body: bytes) -> list[Change]:
    """Return the changes of a CHANGES.

    Raises:
        Garbage: it is malformed.
    """
    try:
        return [Change(key, UUID(bytes=call_id), *rest) for key, call_id, *rest in marshal.loads(body)]
    except (EOFError, TypeError, ValueError):
        raise Garbage("CHANGES is malformed") from None


# -- what became of them -----------------------------------------------------------------------------------


def pack_told(kept: Kept, number: int) -> Iterator[bytes]:
    """Give the messages of the calls that are in the database now."""
    for name in ("recorded", "closed"):
        calls: list[Recorded] = getattr(kept, name)
        for at in range(0, len(calls), CALLS_AT_ONCE):
            part = calls[at : at + CALLS_AT_ONCE]
            rows = [(call.call_id.hex, call.leg_id, call.app_id) for call in part]
            yield with_fields(Kind.KEPT, number, **{name: rows})


def pack_kept(kept: Kept, number: int, status: Status) -> Iterator[bytes]:
    """Give the messages of what a round has done; the last one ends it."""
    yield from pack_told(kept, number)
    for at in range(0, len(kept.left), CALLS_AT_ONCE):
        yield with_fields(Kind.KEPT, number, left=kept.left[at : at + CALLS_AT_ONCE])
    yield with_fields(
        Kind.DONE, number, refused=bool(kept.refused), unknown=kept.unknown, status=asdict(status)
    )


def unpack_kept(body: bytes) -> Kept:
    """Return what a KEPT or a DONE says, but for what was refused.

    Raises:
        Garbage: it is malformed.
    """
    fields = fields_of(body)
    try:
        kept = Kept(
            recorded=[_recorded(*row) for row in fields.get("recorded", ())],
            closed=[_recorded(*row) for row in fields.get("closed", ())],
            left=[str(file) for file in fields.get("left", ())],
            unknown=bool(fields.get("unknown")),
        )
    except (AttributeError, TypeError, ValueError):
        raise Garbage("KEPT is malformed") from None
    return kept


def _recorded(call_id: str, leg_id: str, app_id: str | None) -> Recorded:
    return Recorded(UUID(hex=call_id), str(leg_id), None if app_id is None else str(app_id))


def unpack_status(fields: dict[str, Any]) -> Status:
    """Return the status in a DONE or a CLOSED.

    Raises:
        Garbage: it is malformed.
    """
    try:
        status = Status(**fields["status"])
        for name in _COUNTS:
            setattr(status, name, int(getattr(status, name)))
        status.problems = {part: str(why) for part, why in status.problems.items()}
        status.failures = {part: int(count) for part, count in status.failures.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Garbage("the status is malformed") from None
    return status


_COUNTS: Final = ("written", "pruned", "damaged", "queued", "faults", "seen_us", "starts", "rss_kb")
