"""The tables of the history, the same in SQLite and PostgreSQL but for the index of words.

`calls` is narrow, so that it can be walked: what is known of a call lies packed in `call_parts`. A call's key
is its time of creation in microseconds and eight bits that keep calls of one microsecond apart: the order of
keys is the order of creation, in every table. Times are microseconds since 1970 in UTC, 0 for none.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.types import UserDefinedType

KEY_BITS: Final = 8
"""A call's key is the µs of its creation, with so many bits of a hash below: keys sort by time."""
MAX_CREATED_US: Final = (1 << 63 - KEY_BITS) - 1
DAY_US: Final = 86_400_000_000
OPEN: Final = -1
"""Duration of a call that goes on."""

METADATA: Final = MetaData()

RUNS: Final = Table(
    "runs",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("instance_id", String(255), nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    comment="server processes that have calls; one that was not seen for long is gone",
)

CALLS: Final = Table(
    "calls",
    METADATA,
    Column("call_key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("call_id", Uuid, nullable=False, unique=True),
    Column("run_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("joined_us", BigInteger, nullable=False),
    Column("ended_us", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("time_of_day_us", BigInteger, nullable=False),
    Column("auto_delete", SmallInteger, nullable=False),
    Column("labels", LargeBinary, nullable=False),
)
Index("ix_calls_joined", CALLS.c.joined_us, CALLS.c.call_key)
Index("ix_calls_ended", CALLS.c.ended_us, CALLS.c.call_key)
Index("ix_calls_duration", CALLS.c.duration_us, CALLS.c.call_key)
Index("ix_calls_time_of_day", CALLS.c.time_of_day_us, CALLS.c.call_key)
Index(
    "ix_calls_auto_delete",
    CALLS.c.call_key,
    sqlite_where=CALLS.c.auto_delete == 1,
    postgresql_where=CALLS.c.auto_delete == 1,
)

PARTS: Final = Table(
    "call_parts",
    METADATA,
    Column("call_key", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    comment="part 0 tells of the call, the others list what happened in it",
)

LABELS: Final = Table(
    "call_labels",
    METADATA,
    Column("label", BigInteger, primary_key=True, autoincrement=False),
    Column("call_key", BigInteger, primary_key=True, autoincrement=False),
    comment="agents, voices and metadata of calls, each as a hash",
    sqlite_with_rowid=False,
)

COUNTS: Final = Table(
    "call_counts",
    METADATA,
    Column("dimension", SmallInteger, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
    comment="how many calls there are of each hour, length, time of day and label",
    sqlite_with_rowid=False,
)

COMMON_WORDS: Final = Table(
    "common_words",
    METADATA,
    Column("word", String(64), primary_key=True),
    Column("pending", Integer, nullable=False),
    comment="words that so many calls have that they are counted; pending: without what was there before",
    sqlite_with_rowid=False,
)

WORD_COUNTS: Final = Table(
    "word_counts",
    METADATA,
    Column("word", String(64), primary_key=True),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
    comment="how many calls of each period have a common word",
    sqlite_with_rowid=False,
)

SEGMENTS: Final = Table(
    "call_segments",
    METADATA,
    Column("first_key", BigInteger, primary_key=True, autoincrement=False),
    Column("last_key", BigInteger, nullable=False),
    Column("mark", BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("words", BigInteger, nullable=False),
    comment="stretches of calls that are laid out once more by column; see `vb.history.segments`",
    sqlite_with_rowid=False,
)

SEGMENT_SETS: Final = Table(
    "segment_sets",
    METADATA,
    Column("term", BigInteger, primary_key=True, autoincrement=False),
    Column("first_key", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Index("ix_segment_sets_first_key", "first_key"),
    comment="columns of a segment, and which of its calls have a common word or label",
)

LATE_CALLS: Final = Table(
    "late_calls",
    METADATA,
    Column("call_key", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    comment="calls of segments that changed, came or went since: what a segment says of them is not so",
)

REMOVED: Final = Table(
    "removed_calls",
    METADATA,
    Column("call_id", Uuid, primary_key=True),
    Column("removed_us", BigInteger, nullable=False),
    Index("ix_removed_calls_removed", "removed_us"),
    comment="calls that somebody deleted a while ago: what comes late of them is not stored again",
    sqlite_with_rowid=False,
)

FILES: Final = Table(
    "call_files",
    METADATA,
    Column("call_key", BigInteger, primary_key=True, autoincrement=False),
    Column("file", Text, primary_key=True),
    comment="recordings of calls; one of a room belongs to several",
    sqlite_with_rowid=False,
)
Index("ix_call_files_file", FILES.c.file)


class Lexemes(UserDefinedType[str]):
    """PostgreSQL's tsvector, written as words with spaces between them."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Name the type."""
        return "TSVECTOR"


class LexemeQuery(UserDefinedType[str]):
    """PostgreSQL's tsquery."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Name the type."""
        return "TSQUERY"


# Each in a collection of its own: the index of words is of another kind in each database.
WORDS_SQLITE: Final = Table(
    "call_words",
    MetaData(),
    Column("rowid", Integer, primary_key=True),
    Column("words", Text, nullable=False),
    Column("call_words", Text),  # FTS5 has it in each of its tables, to match against
)

WORDS_POSTGRESQL: Final = Table(
    "call_words",
    MetaData(),
    Column("rowid", BigInteger, primary_key=True, autoincrement=False),
    Column("words", Lexemes, nullable=False),
    Index("ix_call_words_words", "words", postgresql_using="gin"),
)


def words_table(dialect: str) -> Table:
    """Return the table of words of a kind of database."""
    return WORDS_SQLITE if dialect == "sqlite" else WORDS_POSTGRESQL
