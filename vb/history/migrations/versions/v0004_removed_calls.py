"""Make the table of calls that were deleted, so that none comes back with what is told of it late."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Take the step."""
    op.create_table(
        "removed_calls",
        sa.Column("call_id", sa.Uuid, primary_key=True),
        sa.Column("removed_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_removed_calls_removed", "removed_calls", ["removed_us"])
