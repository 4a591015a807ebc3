"""The tables of the queue.

A comment's row is slim, so that claiming and counting never touch a text; texts and scores stand in its versions.
``waiting``, ``state`` and ``first_by`` follow from the decisions (`moderation.queue.outcome`), and ``tallies`` from
``waiting`` and ``state``; they are kept so that a page needs no counting over 100,000 rows.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from moderation.queue.columns import Json, Key, Moment, Words

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

users = Table(
    "users",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("password", String(200)),
    Column("disabled", Boolean, nullable=False, server_default=text("false")),
    Column("preferences", Json, nullable=False),
    Column("created", Moment, nullable=False),
    CheckConstraint("role in ('moderator', 'senior', 'admin')", name="role"),
)

articles = Table(
    "articles",
    metadata,
    Column("id", Key, primary_key=True),
    Column("site", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("title", Words),
    UniqueConstraint("site", "url"),
)

comments = Table(
    "comments",
    metadata,
    Column("id", Key, primary_key=True),
    Column("site", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("parent", Words),
    Column("author", Words),
    Column("place", Words),
    Column("created", Words),
    Column("language", Words),
    Column("article_id", Key, ForeignKey(articles.c.id)),
    Column("received", Moment, nullable=False),
    # What the current version's score says
    Column("version", Integer, nullable=False),
    Column("model_id", Words, nullable=False),
    Column("action", String(10), nullable=False),
    Column("label", Words, nullable=False),
    Column("score", Float, nullable=False),
    Column("severity", Float, nullable=False),
    Column("uncertainty", Float, nullable=False),
    # Where it stands
    Column("origin", String(10), nullable=False),
    Column("base", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("double", Boolean, nullable=False),
    Column("first_by", Key, ForeignKey(users.c.id)),
    Column("in_bulk", Boolean, nullable=False, server_default=text("false")),
    Column("claimed_by", Key, ForeignKey(users.c.id)),
    Column("claimed_until", Moment),
    Column("erased", Moment),
    UniqueConstraint("site", "name"),
    CheckConstraint("state in ('passed', 'queued', 'escalated', 'approved', 'rejected')", name="state"),
    CheckConstraint("waiting in (0, 1, 2)", name="waiting"),
)

_WAITING = text("waiting > 0")


def _waiting_index(name: str, *columns: object) -> Index:
    """Make an index over the comments that wait for a person: small, and left as soon as they are decided."""
    return Index(name, *columns, sqlite_where=_WAITING, postgresql_where=_WAITING)  # type: ignore[arg-type]


_waiting_index("ix_waiting_severity", comments.c.severity.desc(), comments.c.id)
_waiting_index("ix_waiting_received", comments.c.received, comments.c.id)
_waiting_index("ix_waiting_uncertainty", comments.c.uncertainty.desc(), comments.c.id)
_waiting_index("ix_waiting_site", comments.c.site, comments.c.severity.desc(), comments.c.id)
# With `waiting`, SQLite counts articles from this index alone; a partial index it does not take for covering otherwise.
_waiting_index(
    "ix_waiting_article", comments.c.article_id, comments.c.severity.desc(), comments.c.id, comments.c.waiting
)
_waiting_index("ix_waiting_author", comments.c.author, comments.c.severity.desc(), comments.c.id)
Index(
    "ix_waiting_second",
    comments.c.first_by,
    sqlite_where=text("waiting = 2"),
    postgresql_where=text("waiting = 2"),
)
Index(
    "ix_waiting_sample",
    comments.c.id,
    sqlite_where=text("waiting > 0 AND origin = 'sample'"),
    postgresql_where=text("waiting > 0 AND origin = 'sample'"),
)
Index(
    "ix_claims",
    comments.c.claimed_by,
    sqlite_where=text("claimed_by IS NOT NULL"),
    postgresql_where=text("claimed_by IS NOT NULL"),
)
Index("ix_comments_state", comments.c.state, comments.c.received, comments.c.id)
Index("ix_comments_author", comments.c.site, comments.c.author, comments.c.state)
Index("ix_comments_parent", comments.c.site, comments.c.parent)
Index("ix_comments_article", comments.c.article_id, comments.c.id)
Index("ix_comments_received", comments.c.received)

versions = Table(
    "versions",
    metadata,
    Column("comment_id", Key, ForeignKey(comments.c.id), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("text", Words, nullable=False),
    Column("received", Moment, nullable=False),
    Column("model_id", Words, nullable=False),
    Column("policy_id", Words, nullable=False),
    Column("action", String(10), nullable=False),
    Column("label", Words),
    Column("threshold", Float),
    Column("severity", Float, nullable=False),
    Column("probabilities", Json, nullable=False),
    Column("spans", Json, nullable=False),
    Column("truncated", Boolean, nullable=False, server_default=text("false")),
    # What readers see of the text, folded, which is searched for words
    Column("folded", Words, nullable=False, server_default=text("''")),
)

scores = Table(
    "scores",
    metadata,
    Column("comment_id", Key, ForeignKey(comments.c.id, ondelete="CASCADE"), primary_key=True),
    Column("label", Words, primary_key=True),
    Column("score", Float, nullable=False),
    Column("marked", Boolean, nullable=False),
    Column("severity", Float, nullable=False),
    Column("waiting", Integer, nullable=False),
)
Index("ix_scores_range", scores.c.label, scores.c.waiting, scores.c.score)
# Holds the score, too, so that of a range the severest are found without a look at any comment outside it. For
# `waiting > 0` SQLite would take `ix_scores_range`, and sort.
_OPEN = text("waiting <> 0")
Index(
    "ix_scores_waiting",
    scores.c.label,
    scores.c.severity.desc(),
    scores.c.comment_id,
    scores.c.score,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
Index(
    "ix_scores_marked",
    scores.c.label,
    scores.c.severity.desc(),
    sqlite_where=text("waiting > 0 AND marked"),
    postgresql_where=text("waiting > 0 AND marked"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("comment_id", Key, ForeignKey(comments.c.id), nullable=False),
    Column("version", Integer, nullable=False),
    Column("user_id", Key, ForeignKey(users.c.id), nullable=False),
    Column("act", String(10), nullable=False),
    Column("stage", String(10), nullable=False),
    Column("decided", Moment, nullable=False),
    Column("undoes", Key, ForeignKey("decisions.id"), unique=True),
    Column("bulk_id", Key, ForeignKey("bulks.id")),
    Column("appeal_id", Key, ForeignKey("appeals.id")),
    Column("key", String(200), unique=True),
    Column("before", String(10), nullable=False),
    Column("after", String(10), nullable=False),
    Column("reason", Words),
    Column("note", Words),
    Column("ground", String(20)),
    Column("law", Words),
    Column("facts", Words),
    Column("visibility", String(20)),
    Column("model_id", Words, nullable=False),
    Column("policy_id", Words, nullable=False),
    Column("action", String(10), nullable=False),
    Column("label", Words),
    Column("severity", Float, nullable=False),
    Column("probabilities", Json, nullable=False),
    Column("automation", String(10), nullable=False),
    Column("sampled", Boolean, nullable=False),
    CheckConstraint("act in ('approve', 'reject', 'escalate', 'undo')", name="act"),
    CheckConstraint("(act = 'undo') = (undoes is not null)", name="undo"),
    CheckConstraint("automation in ('none', 'partial', 'full')", name="automation"),
)
Index("ix_decisions_comment", decisions.c.comment_id, decisions.c.id)
Index("ix_decisions_user", decisions.c.user_id, decisions.c.decided)
Index("ix_decisions_decided", decisions.c.decided)
Index("ix_decisions_bulk", decisions.c.bulk_id)

undoing = decisions.alias("undoing")
"""The row that takes a decision back, for outer joins. Aliases are made once: that costs more than most queries."""

bulks = Table(
    "bulks",
    metadata,
    Column("id", Key, primary_key=True),
    Column("user_id", Key, ForeignKey(users.c.id), nullable=False),
    Column("act", String(10), nullable=False),
    Column("made", Moment, nullable=False),
    Column("filter", Json, nullable=False),
    Column("size", Integer, nullable=False),
    Column("key", String(200), unique=True),
    Column("undone", Moment),
)

appeals = Table(
    "appeals",
    metadata,
    Column("id", Key, primary_key=True),
    Column("reference", String(40), nullable=False, unique=True),
    Column("comment_id", Key, ForeignKey(comments.c.id), nullable=False),
    Column("opened", Moment, nullable=False),
    Column("statement", Words),
    Column("contact", Words),
    Column("state", String(10), nullable=False),
    Column("decided", Moment),
    CheckConstraint("state in ('open', 'upheld', 'overturned')", name="state"),
)
Index("ix_appeals_state", appeals.c.state, appeals.c.opened)
Index("ix_appeals_comment", appeals.c.comment_id)

skips = Table(
    "skips",
    metadata,
    Column("user_id", Key, ForeignKey(users.c.id), primary_key=True),
    Column("comment_id", Key, ForeignKey(comments.c.id, ondelete="CASCADE"), primary_key=True),
    Column("until", Moment, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    Column("site", Words, primary_key=True),
    Column("label", Words, primary_key=True),
    Column("place", String(10), primary_key=True),
    Column("n", Integer, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user_id", Key, ForeignKey(users.c.id), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created", Moment, nullable=False),
    Column("seen", Moment, nullable=False),
    Column("address", String(100)),
)
Index("ix_sessions_user", sessions.c.user_id)

failures = Table(
    "failures",
    metadata,
    Column("what", String(300), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("last", Moment, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("user_id", Key, ForeignKey(users.c.id), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("created", Moment, nullable=False),
    Column("expires", Moment),
    Column("used", Moment),
    Column("revoked", Moment),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Key, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("user_id", Key, ForeignKey(users.c.id)),
    Column("address", String(100)),
    Column("detail", Words),
)
Index("ix_audit_at", audit.c.at)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Key, primary_key=True),
    Column("url", Words, nullable=False),
    Column("secrets", Json, nullable=False),
    Column("site", Words),
    Column("created", Moment, nullable=False),
    Column("removed", Moment),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Key, primary_key=True),
    Column("event", String(40), nullable=False),
    Column("webhook_id", Key, ForeignKey(webhooks.c.id), nullable=False),
    Column("comment_id", Key, ForeignKey(comments.c.id), nullable=False),
    Column("body", Json, nullable=False),
    Column("created", Moment, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Moment, nullable=False),
    Column("delivered", Moment),
    Column("answer", String(200)),
    UniqueConstraint("event", "webhook_id"),
)
Index("ix_outbox_comment", outbox.c.comment_id, outbox.c.webhook_id)
Index(
    "ix_outbox_due",
    outbox.c.due,
    sqlite_where=text("delivered IS NULL"),
    postgresql_where=text("delivered IS NULL"),
)
