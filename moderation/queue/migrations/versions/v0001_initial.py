"""The first schema, and the triggers that keep decisions as they were made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from moderation.queue.columns import Json, Key, Moment, Words
from moderation.queue.migrations.guards import guard_decisions

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "articles",
        sa.Column("id", Key, nullable=False),
        sa.Column("site", Words(), nullable=False),
        sa.Column("url", Words(), nullable=False),
        sa.Column("title", Words(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_articles"),
        sa.UniqueConstraint("site", "url", name="uq_articles_site"),
    )
    op.create_table(
        "failures",
        sa.Column("what", sa.String(length=300), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("last", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("what", name="pk_failures"),
    )
    op.create_table(
        "tallies",
        sa.Column("site", Words(), nullable=False),
        sa.Column("label", Words(), nullable=False),
        sa.Column("place", sa.String(length=10), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "label", "place", name="pk_tallies"),
    )
    op.create_table(
        "users",
        sa.Column("id", Key, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("password", sa.String(length=200), nullable=True),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("preferences", Json(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.CheckConstraint("role in ('moderator', 'senior', 'admin')", name="ck_users_role"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", Key, nullable=False),
        sa.Column("url", Words(), nullable=False),
        sa.Column("secrets", Json(), nullable=False),
        sa.Column("site", Words(), nullable=True),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("removed", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    op.create_table(
        "audit",
        sa.Column("id", Key, nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("user_id", Key, nullable=True),
        sa.Column("address", sa.String(length=100), nullable=True),
        sa.Column("detail", Words(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_audit_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
    op.create_table(
        "bulks",
        sa.Column("id", Key, nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("act", sa.String(length=10), nullable=False),
        sa.Column("made", Moment(), nullable=False),
        sa.Column("filter", Json(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("undone", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_bulks_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_bulks"),
        sa.UniqueConstraint("key", name="uq_bulks_key"),
    )
    op.create_table(
        "comments",
        sa.Column("id", Key, nullable=False),
        sa.Column("site", Words(), nullable=False),
        sa.Column("name", Words(), nullable=False),
        sa.Column("parent", Words(), nullable=True),
        sa.Column("author", Words(), nullable=True),
        sa.Column("place", Words(), nullable=True),
        sa.Column("created", Words(), nullable=True),
        sa.Column("language", Words(), nullable=True),
        sa.Column("article_id", Key, nullable=True),
        sa.Column("received", Moment(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model_id", Words(), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("label", Words(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("uncertainty", sa.Float(), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("base", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("double", sa.Boolean(), nullable=False),
        sa.Column("first_by", Key, nullable=True),
        sa.Column("in_bulk", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("claimed_by", Key, nullable=True),
        sa.Column("claimed_until", Moment(), nullable=True),
        sa.Column("erased", Moment(), nullable=True),
        sa.CheckConstraint(
            "state in ('passed', 'queued', 'escalated', 'approved', 'rejected')", name="ck_comments_state"
        ),
        sa.CheckConstraint("waiting in (0, 1, 2)", name="ck_comments_waiting"),
        sa.ForeignKeyConstraint(["article_id"], ["articles.id"], name="fk_comments_article_id_articles"),
        sa.ForeignKeyConstraint(["claimed_by"], ["users.id"], name="fk_comments_claimed_by_users"),
        sa.ForeignKeyConstraint(["first_by"], ["users.id"], name="fk_comments_first_by_users"),
        sa.PrimaryKeyConstraint("id", name="pk_comments"),
        sa.UniqueConstraint("site", "name", name="uq_comments_site"),
    )
    op.create_index(
        "ix_claims",
        "comments",
        ["claimed_by"],
        unique=False,
        sqlite_where=sa.text("claimed_by IS NOT NULL"),
        postgresql_where=sa.text("claimed_by IS NOT NULL"),
    )
    op.create_index("ix_comments_article", "comments", ["article_id", "id"], unique=False)
    op.create_index("ix_comments_author", "comments", ["site", "author", "state"], unique=False)
    op.create_index("ix_comments_parent", "comments", ["site", "parent"], unique=False)
    op.create_index("ix_comments_received", "comments", ["received"], unique=False)
    op.create_index("ix_comments_state", "comments", ["state", "received", "id"], unique=False)
    op.create_index(
        "ix_waiting_article",
        "comments",
        ["article_id", sa.literal_column("severity DESC"), "id", "waiting"],
        unique=False,
        sqlite_where=sa.text("waiting > 0"),
        postgresql_where=sa.text("waiting > 0"),
    )
    op.create_index(
        "ix_waiting_author",
        "comments",
        ["author", sa.literal_column("severity DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("waiting > 0"),
        postgresql_where=sa.text("waiting > 0"),
    )
    op.create_index(
        "ix_waiting_received",
        "comments",
        ["received", "id"],
        unique=False,
        sqlite_where=sa.text("waiting > 0"),
        postgresql_where=sa.text("waiting > 0"),
    )
    op.create_index(
        "ix_waiting_sample",
        "comments",
        ["id"],
        unique=False,
        sqlite_where=sa.text("waiting > 0 AND origin = 'sample'"),
        postgresql_where=sa.text("waiting > 0 AND origin = 'sample'"),
    )
    op.create_index(
        "ix_waiting_second",
        "comments",
        ["first_by"],
        unique=False,
        sqlite_where=sa.text("waiting = 2"),
        postgresql_where=sa.text("waiting = 2"),
    )
    op.create_index(
        "ix_waiting_severity",
        "comments",
        [sa.literal_column("severity DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("waiting > 0"),
        postgresql_where=sa.text("waiting > 0"),
    )
    op.create_index(
        "ix_waiting_site",
        "comments",
        ["site", sa.literal_column("severity DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("waiting > 0"),
        postgresql_where=sa.text("waiting > 0"),
    )
    op.create_index(
        "ix_waiting_uncertainty",
        "comments",
        [sa.literal_column("uncertainty DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("waiting > 0"),
        postgresql_where=sa.text("waiting > 0"),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("seen", Moment(), nullable=False),
        sa.Column("address", sa.String(length=100), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id_users"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_user", "sessions", ["user_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", Key, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("expires", Moment(), nullable=True),
        sa.Column("used", Moment(), nullable=True),
        sa.Column("revoked", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tokens_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )
    op.create_table(
        "appeals",
        sa.Column("id", Key, nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("comment_id", Key, nullable=False),
        sa.Column("opened", Moment(), nullable=False),
        sa.Column("statement", Words(), nullable=True),
        sa.Column("contact", Words(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("decided", Moment(), nullable=True),
        sa.CheckConstraint("state in ('open', 'upheld', 'overturned')", name="ck_appeals_state"),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name="fk_appeals_comment_id_comments"),
        sa.PrimaryKeyConstraint("id", name="pk_appeals"),
        sa.UniqueConstraint("reference", name="uq_appeals_reference"),
    )
    op.create_index("ix_appeals_comment", "appeals", ["comment_id"], unique=False)
    op.create_index("ix_appeals_state", "appeals", ["state", "opened"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", Key, nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("webhook_id", Key, nullable=False),
        sa.Column("comment_id", Key, nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", Moment(), nullable=False),
        sa.Column("delivered", Moment(), nullable=True),
        sa.Column("answer", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name="fk_outbox_comment_id_comments"),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name="fk_outbox_webhook_id_webhooks"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("event", "webhook_id", name="uq_outbox_event"),
    )
    op.create_index("ix_outbox_comment", "outbox", ["comment_id", "webhook_id"], unique=False)
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["due"],
        unique=False,
        sqlite_where=sa.text("delivered IS NULL"),
        postgresql_where=sa.text("delivered IS NULL"),
    )
    op.create_table(
        "scores",
        sa.Column("comment_id", Key, nullable=False),
        sa.Column("label", Words(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["comment_id"], ["comments.id"], name="fk_scores_comment_id_comments", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("comment_id", "label", name="pk_scores"),
    )
    op.create_index(
        "ix_scores_marked",
        "scores",
        ["label", sa.literal_column("severity DESC")],
        unique=False,
        sqlite_where=sa.text("waiting > 0 AND marked"),
        postgresql_where=sa.text("waiting > 0 AND marked"),
    )
    op.create_index("ix_scores_range", "scores", ["label", "waiting", "score"], unique=False)
    op.create_table(
        "skips",
        sa.Column("user_id", Key, nullable=False),
        sa.Column("comment_id", Key, nullable=False),
        sa.Column("until", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["comment_id"], ["comments.id"], name="fk_skips_comment_id_comments", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_skips_user_id_users"),
        sa.PrimaryKeyConstraint("user_id", "comment_id", name="pk_skips"),
    )
    op.create_table(
        "versions",
        sa.Column("comment_id", Key, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("text", Words(), nullable=False),
        sa.Column("received", Moment(), nullable=False),
        sa.Column("model_id", Words(), nullable=False),
        sa.Column("policy_id", Words(), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("label", Words(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("probabilities", Json(), nullable=False),
        sa.Column("spans", Json(), nullable=False),
        sa.Column("truncated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name="fk_versions_comment_id_comments"),
        sa.PrimaryKeyConstraint("comment_id", "number", name="pk_versions"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", Key, nullable=False),
        sa.Column("comment_id", Key, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", Key, nullable=False),
        sa.Column("act", sa.String(length=10), nullable=False),
        sa.Column("stage", sa.String(length=10), nullable=False),
        sa.Column("decided", Moment(), nullable=False),
        sa.Column("undoes", Key, nullable=True),
        sa.Column("bulk_id", Key, nullable=True),
        sa.Column("appeal_id", Key, nullable=True),
        sa.Column("key", sa.String(length=200), nullable=True),
        sa.Column("before", sa.String(length=10), nullable=False),
        sa.Column("after", sa.String(length=10), nullable=False),
        sa.Column("reason", Words(), nullable=True),
        sa.Column("note", Words(), nullable=True),
        sa.Column("ground", sa.String(length=20), nullable=True),
        sa.Column("law", Words(), nullable=True),
        sa.Column("facts", Words(), nullable=True),
        sa.Column("visibility", sa.String(length=20), nullable=True),
        sa.Column("model_id", Words(), nullable=False),
        sa.Column("policy_id", Words(), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("label", Words(), nullable=True),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("probabilities", Json(), nullable=False),
        sa.Column("automation", sa.String(length=10), nullable=False),
        sa.Column("sampled", sa.Boolean(), nullable=False),
        sa.CheckConstraint("(act = 'undo') = (undoes is not null)", name="ck_decisions_undo"),
        sa.CheckConstraint("act in ('approve', 'reject', 'escalate', 'undo')", name="ck_decisions_act"),
        sa.CheckConstraint("automation in ('none', 'partial', 'full')", name="ck_decisions_automation"),
        sa.ForeignKeyConstraint(["appeal_id"], ["appeals.id"], name="fk_decisions_appeal_id_appeals"),
        sa.ForeignKeyConstraint(["bulk_id"], ["bulks.id"], name="fk_decisions_bulk_id_bulks"),
        sa.ForeignKeyConstraint(["comment_id"], ["comments.id"], name="fk_decisions_comment_id_comments"),
        sa.ForeignKeyConstraint(["undoes"], ["decisions.id"], name="fk_decisions_undoes_decisions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_decisions_user_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.UniqueConstraint("key", name="uq_decisions_key"),
        sa.UniqueConstraint("undoes", name="uq_decisions_undoes"),
    )
    op.create_index("ix_decisions_bulk", "decisions", ["bulk_id"], unique=False)
    op.create_index("ix_decisions_comment", "decisions", ["comment_id", "id"], unique=False)
    op.create_index("ix_decisions_decided", "decisions", ["decided"], unique=False)
    op.create_index("ix_decisions_user", "decisions", ["user_id", "decided"], unique=False)
    guard_decisions(op)
