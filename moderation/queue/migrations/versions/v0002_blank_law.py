"""Let the law or clause of a decision be blanked, too: a moderator may have quoted the comment there."""

from __future__ import annotations

from alembic import op

from moderation.queue.migrations.guards import guard_decisions, unguard_decisions

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the triggers anew."""
    unguard_decisions(op)
    guard_decisions(op)
