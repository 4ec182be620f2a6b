"""Make the tables of calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None

FTS5 = (
    "CREATE VIRTUAL TABLE call_words USING fts5("
    "words, detail=none, columnsize=0, tokenize='unicode61 remove_diacritics 0')"
)


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Uuid, primary_key=True),
        sa.Column("instance_id", sa.String(255), nullable=False),
        sa.Column("seen_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "calls",
        sa.Column(
            "call_key",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("call_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("joined_us", sa.BigInteger, nullable=False),
        sa.Column("ended_us", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("time_of_day_us", sa.BigInteger, nullable=False),
        sa.Column("auto_delete", sa.SmallInteger, nullable=False),
        sa.Column("labels", sa.LargeBinary, nullable=False),
    )
    for name in ("joined", "ended", "duration", "time_of_day"):
        op.create_index(f"ix_calls_{name}", "calls", [f"{name}_us", "call_key"])
    doomed = sa.column("auto_delete") == 1
    op.create_index(
        "ix_calls_auto_delete", "calls", ["call_key"], sqlite_where=doomed, postgresql_where=doomed
    )
    op.create_table(
        "call_parts",
        sa.Column("call_key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "call_labels",
        sa.Column("label", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("call_key", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_counts",
        sa.Column("dimension", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_files",
        sa.Column("call_key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("file", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_call_files_file", "call_files", ["file"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(FTS5)
        return
    op.create_table(
        "call_words",
        sa.Column("rowid", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("words", TSVECTOR, nullable=False),
    )
    op.create_index("ix_call_words_words", "call_words", ["words"], postgresql_using="gin")
