"""Make the tables of segments; the server fills them as it goes on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "call_segments",
        sa.Column("first_key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last_key", sa.BigInteger, nullable=False),
        sa.Column("mark", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("words", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segment_sets",
        sa.Column("term", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first_key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_segment_sets_first_key", "segment_sets", ["first_key"])
    op.create_table(
        "late_calls",
        sa.Column(
            "call_key",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        # What is told apart by nothing but noise is not worth the time of making it smaller.
        op.execute("ALTER TABLE segment_sets ALTER COLUMN data SET STORAGE EXTERNAL")
