"""The history's database: all that is written to it, and all that is read from it. All of it blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, select

from vb.errors import NotFound, Unavailable
from vb.history.database import reading
from vb.history.find import Finder, Found, Page
from vb.history.packing import unpack, unpack_json
from vb.history.quality import QUALITY_PART
from vb.history.query import Query
from vb.history.schema import CALLS, PARTS, RUNS
from vb.history.write_store import WriteStore, available
from vb.history.writer import DOCUMENT_PART

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Story:
    """A call with all that happened in it.

    Attributes:
        parts: lists of entries, unpacked, in order.
    """

    call: Found
    parts: tuple[bytes, ...]


class Store(WriteStore):
    """The calls of one database, for those who ask as well; see `WriteStore`."""

    def page(self, query: Query) -> Page:
        """Return a page of calls.

        Raises:
            Unavailable: the database is away.
        """
        return self._read(lambda connection: Finder(connection, query).page())

    def get(self, call_id: UUID) -> Found:
        """Return a call.

        Raises:
            NotFound: there is no such call.
            Unavailable: the database is away.
        """
        return self._read(lambda connection: self._found(connection, call_id)[1])

    def is_attended(self, call_id: UUID) -> bool:
        """Return whether the process that had a call is there, as far as is known, and may tell more of it.

        Raises:
            Unavailable: the database is away.
        """
        run = select(RUNS.c.run_id).join(CALLS, CALLS.c.run_id == RUNS.c.run_id)
        found = run.where(CALLS.c.call_id == call_id)
        return self._read(lambda connection: connection.scalar(found) is not None)

    def story(self, call_id: UUID) -> Story:
        """Return a call with all that happened in it.

        Raises:
            NotFound: there is no such call.
            Unavailable: the database is away.
        """

        def read(connection: Connection) -> Story:
            key, found = self._found(connection, call_id)
            statement = select(PARTS.c.data).where(
                PARTS.c.call_key == key, PARTS.c.part > DOCUMENT_PART, PARTS.c.part < QUALITY_PART
            )
            data: Sequence[bytes] = connection.scalars(statement.order_by(PARTS.c.part)).all()
            return Story(found, tuple(unpack(part) for part in data))

        return self._read(read)

    def quality(self, call_id: UUID) -> tuple[Found, bytes | None]:
        """Return a call and the rows of how it sounded; None for a call that has none.

        Raises:
            NotFound: there is no such call.
            Unavailable: the database is away.
        """

        def read(connection: Connection) -> tuple[Found, bytes | None]:
            key, found = self._found(connection, call_id)
            statement = select(PARTS.c.data).where(PARTS.c.call_key == key, PARTS.c.part == QUALITY_PART)
            data = connection.scalar(statement)
            return found, None if data is None else unpack(data)

        return self._read(read)

    @staticmethod
    def _found(connection: Connection, call_id: UUID) -> tuple[int, Found]:
        statement = (
            select(CALLS.c.call_key, PARTS.c.data)
            .join(PARTS, PARTS.c.call_key == CALLS.c.call_key)
            .where(CALLS.c.call_id == call_id, PARTS.c.part == DOCUMENT_PART)
        )
        row = connection.execute(statement).one_or_none()
        if row is None:
            raise NotFound("call not found")
        return row.call_key, Found(call_id, unpack_json(row.data))

    def _read(self, read: Callable[[Connection], T]) -> T:
        if not self._ready:
            raise Unavailable("the call history is not available")
        with available(), reading(self._engine) as connection:
            return read(connection)
