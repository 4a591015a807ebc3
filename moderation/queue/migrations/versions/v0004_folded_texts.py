"""Keep texts folded beside themselves, so that they are searched as readers see them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moderation.queue.columns import Key, Words
from moderation.queue.folding import fold_seen

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHUNK = 500
"""Texts in memory at a time."""

_VERSIONS = sa.table(
    "versions",
    sa.column("comment_id", Key),
    sa.column("number", sa.Integer),
    sa.column("text", Words),
    sa.column("folded", Words),
)


def upgrade() -> None:
    """Add the column and fold what is there."""
    op.add_column("versions", sa.Column("folded", Words(), nullable=False, server_default=sa.text("''")))
    connection, table = op.get_bind(), _VERSIONS.c
    key = sa.tuple_(table.comment_id, table.number)
    query = sa.select(table.comment_id, table.number, table.text).order_by(table.comment_id, table.number).limit(CHUNK)
    change = sa.update(_VERSIONS).where(table.comment_id == sa.bindparam("ref"), table.number == sa.bindparam("which"))
    last = (-1, -1)
    while rows := connection.execute(query.where(key > last)).all():
        changes = [{"ref": row.comment_id, "which": row.number, "folded": fold_seen(row.text)} for row in rows]
        connection.execute(change.values(folded=sa.bindparam("folded")), changes)
        last = rows[-1].comment_id, rows[-1].number
