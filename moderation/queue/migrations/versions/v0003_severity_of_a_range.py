"""Let the severest comments of a label's range of scores be found without sorting all that lie in it."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index over the scores of what waits."""
    waiting = text("waiting <> 0")
    columns = [text(name) for name in ("label", "severity DESC", "comment_id", "score")]
    op.create_index("ix_scores_waiting", "scores", columns, sqlite_where=waiting, postgresql_where=waiting)
