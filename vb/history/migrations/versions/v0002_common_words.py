"""Make the tables in which common words are counted; the server fills them as it goes on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "common_words",
        sa.Column("word", sa.String(64), primary_key=True),
        sa.Column("pending", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "word_counts",
        sa.Column("word", sa.String(64), primary_key=True),
        sa.Column("period", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
