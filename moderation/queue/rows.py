"""From rows of the tables to values, and from a filter to conditions; shared by the rooms of the queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, literal_column, or_, select

from moderation.comment import MAX_REASONS, Article, Comment, Decision, Score, Span, Verdict
from moderation.errors import InputError, NotFound
from moderation.markup import beginning
from moderation.queue.folding import around
from moderation.queue.schema import (
    appeals,
    articles,
    bulks,
    comments,
    decisions,
    scores,
    skips,
    undoing,
    users,
    versions,
)
from moderation.queue.values import Entry, Filter, Order, Past, Version
from moderation.queue.words import Holds
from moderation.seen import seen

WAITING: ColumnElement[bool] = literal_column("comments.waiting > 0")
"""Written out, so that a database sees that the partial indexes hold what is asked for."""

SECOND: ColumnElement[bool] = literal_column("comments.waiting = 2")
"""What waits for a second person."""

SAMPLED: ColumnElement[bool] = literal_column("comments.waiting > 0 AND comments.origin = 'sample'")
"""What waits by chance."""

NOT_SAMPLED: ColumnElement[bool] = literal_column("NOT (comments.waiting > 0 AND comments.origin = 'sample')")
"""All but what waits by chance."""

DECIDABLE: tuple[ColumnElement[bool], ...] = (
    appeals.c.state == "open",
    comments.c.waiting == 0,
    comments.c.erased.is_(None),
)
"""Appeals that somebody can decide: their comments are there, and wait for no other decision."""


def had_a_hand(user: Any) -> ColumnElement[bool]:
    """Return whether a user has ever decided on an appeal's comment, also on an earlier text and also if it was undone.

    Such a user does not decide on the appeal.
    """
    own = decisions.c.comment_id == appeals.c.comment_id, decisions.c.user_id == user
    return exists().where(*own, decisions.c.act != "undo")


_SCORED: ColumnElement[bool] = literal_column("scores.waiting <> 0")
_MARKED: ColumnElement[bool] = literal_column("scores.waiting > 0 AND scores.marked")

claimer = users.alias("claimer")

_PRESENT = versions.alias("present")


def wanted(chosen: Filter) -> tuple[list[ColumnElement[bool]], bool]:
    """Return the conditions of a filter, and whether they need a join with `scores`.

    Raises `InputError` for words that hold nothing to look for.
    """
    where: list[ColumnElement[bool]] = []
    if chosen.state == "waiting":
        where.append(WAITING)
    elif chosen.state is not None:
        where.append(and_(comments.c.state == chosen.state, comments.c.waiting != 2))
    if chosen.site is not None:
        where.append(comments.c.site == chosen.site)
    if chosen.article is not None:
        where.append(comments.c.article_id == chosen.article)
    if chosen.author is not None:
        where.append(comments.c.author == chosen.author)
    if chosen.words is not None:
        where.append(_holds(chosen.terms))
    if chosen.label is None:
        return where + in_range(comments.c.score, chosen), False
    where.append(scores.c.label == chosen.label)
    if chosen.low is None and chosen.high is None:
        where.append(_MARKED if chosen.state == "waiting" else scores.c.marked)
    elif chosen.state == "waiting":
        where.append(_SCORED)
    return where + in_range(scores.c.score, chosen), True


def _holds(terms: Sequence[str]) -> ColumnElement[bool]:
    """Return whether a comment's present text holds all of some folded words; raise `InputError` for none."""
    if not terms:
        raise InputError("words: expected something to look for, got only quotation marks or what nobody sees")
    own = _PRESENT.c.comment_id == comments.c.id, _PRESENT.c.number == comments.c.version
    return exists().where(*own, *(Holds(_PRESENT.c.folded, term) for term in terms)).correlate(comments)


def in_range(score: Any, chosen: Filter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter's range: from `low`, below `high`, and 1 itself where `high` is 1."""
    where = [] if chosen.low is None else [score >= chosen.low]
    if chosen.high is not None and chosen.high < 1:
        where.append(score < chosen.high)
    return where


def filtered(query: Any, chosen: Filter) -> Any:
    """Add a filter's conditions to a query over `comments`."""
    where, joined = wanted(chosen)
    if joined:
        query = query.join(scores, scores.c.comment_id == comments.c.id)
    return query.where(*where)


def counted(columns: Sequence[Any], chosen: Filter) -> Any:
    """Return a query that counts over a filter: over `scores` alone where that can tell, else over `comments`."""
    elsewhere = (chosen.site, chosen.article, chosen.author, chosen.words) != (None, None, None, None)
    if chosen.label is None or chosen.state != "waiting" or elsewhere:
        return filtered(select(*columns).select_from(comments), chosen)
    marked = chosen.low is None and chosen.high is None
    where = [scores.c.label == chosen.label, _MARKED if marked else scores.c.waiting.in_((1, 2))]
    return select(*columns).select_from(scores).where(*where, *in_range(scores.c.score, chosen))


def order_by(order: Order, label: str | None) -> tuple[Any, Any, bool]:
    """Return the column to sort by, the one that breaks ties, and whether the highest comes first."""
    if order == "severity":
        return (scores.c.severity if label else comments.c.severity), comments.c.id, True
    if order == "uncertainty":
        return comments.c.uncertainty, comments.c.id, True
    return comments.c.received, comments.c.id, order == "newest"


def skipped(user_id: Any, now: Any) -> ColumnElement[bool]:
    """Return the condition that a user has put a comment aside."""
    return exists().where(skips.c.user_id == user_id, skips.c.comment_id == comments.c.id, skips.c.until > now)


def open_to(user_id: Any, now: Any) -> list[ColumnElement[bool]]:
    """Return the conditions under which a waiting comment may be given to a user."""
    return [
        or_(comments.c.waiting == 1, comments.c.first_by != user_id),
        or_(comments.c.claimed_by.is_(None), comments.c.claimed_by == user_id, comments.c.claimed_until <= now),
        ~skipped(user_id, now),
    ]


ENTRY = (
    comments,
    versions.c.text,
    articles.c.title.label("article_title"),
    articles.c.url.label("article_url"),
    claimer.c.name.label("claimer"),
)


_ENTRIES = (
    select(*ENTRY)
    .join(versions, and_(versions.c.comment_id == comments.c.id, versions.c.number == comments.c.version))
    .outerjoin(articles, articles.c.id == comments.c.article_id)
    .outerjoin(claimer, claimer.c.id == comments.c.claimed_by)
)


def entries() -> Select[Any]:
    """Return the query that `entry` reads the rows of."""
    return _ENTRIES


def comment_of(row: Row[Any], longest: int | None = None) -> Comment:
    """Return the comment of a row of `entries`, its text cut to what shows `longest` characters."""
    known = row.article_url is not None
    article = Article(row.article_title, row.article_url if row.article_url != row.article_title else None)
    text = row.text if longest is None else beginning(row.text, longest)
    return Comment(
        row.name, text, row.author, row.place, row.created, row.parent, article if known else None,
        row.language,
    )  # fmt: skip


def entry(row: Row[Any], now: datetime, longest: int, terms: Sequence[str] = ()) -> Entry:
    """Return the line of a list for a row of `entries`; `terms` are the folded words that were looked for."""
    held = row.claimed_until is not None and row.claimed_until > now
    return Entry(
        ref=row.id,
        site=row.site,
        comment=comment_of(row, longest),
        state="queued" if row.waiting else row.state,
        label=row.label,
        probability=row.score,
        severity=row.severity,
        uncertainty=row.uncertainty,
        received=row.received,
        article_ref=row.article_id,
        claimed_by=row.claimer if held else None,
        language=row.language,
        around=around(seen(row.text), terms, longest) if terms else None,
    )


VERSION = tuple(column for column in versions.c if column is not versions.c.folded)
"""The columns that `version_of` reads."""


def version_of(row: Row[Any], name: str) -> Version:
    """Return one version of the comment called `name`."""
    spans = [Span(start, end, label, weight) for label, some in row.spans.items() for start, end, weight in some]
    reasons = sorted((s for s in spans if s.label == row.label and s.weight > 0), key=lambda s: (-s.weight, s.start))
    return Version(
        number=row.number,
        text=row.text,
        received=row.received,
        score=Score(name, row.model_id, row.probabilities, row.truncated),
        verdict=Verdict(name, row.action, row.policy_id, row.label, row.threshold, tuple(reasons[:MAX_REASONS])),
        severity=row.severity,
        spans=tuple(sorted(spans, key=lambda span: (span.start, span.label))),
    )


_PASTS = (
    select(decisions, users.c.name.label("moderator"), comments.c.name, comments.c.site, undoing.c.id.label("gone"))
    .join(users, users.c.id == decisions.c.user_id)
    .join(comments, comments.c.id == decisions.c.comment_id)
    .outerjoin(undoing, undoing.c.undoes == decisions.c.id)
)


_UNDONE = decisions.alias("undone")
_WHOLE_UNDO = (
    exists()
    .where(_UNDONE.c.id == decisions.c.undoes, bulks.c.id == _UNDONE.c.bulk_id, decisions.c.decided >= bulks.c.undone)
    .correlate(decisions)
)
SINGLY: tuple[ColumnElement[bool], ...] = (
    decisions.c.bulk_id.is_(None),
    or_(decisions.c.undoes.is_(None), ~_WHOLE_UNDO),
)
"""Decisions made one by one. An undo of one comment of a bulk act is one, too: it came before the whole was undone."""


def pasts(
    connection: Connection, *where: ColumnElement[bool], limit: int | None = None, first: bool = False
) -> list[Past]:
    """Return decisions, oldest first; with a limit, the latest ones, or the `first` ones."""
    query = _PASTS.where(*where) if where else _PASTS
    if limit is None or first:
        return [past(row) for row in connection.execute(query.order_by(decisions.c.id).limit(limit))]
    rows: Sequence[Row[Any]] = connection.execute(query.order_by(decisions.c.id.desc()).limit(limit)).all()
    return [past(row) for row in reversed(rows)]


def past(row: Row[Any]) -> Past:
    """Return a decision with what surrounds it."""
    return Past(
        ref=row.id,
        comment_ref=row.comment_id,
        site=row.site,
        decision=Decision(
            comment_id=row.name,
            moderator=row.moderator,
            act=row.act,
            decided=row.decided.isoformat(timespec="milliseconds"),
            reason=row.reason,
            note=row.note,
            model_id=row.model_id,
            policy_id=row.policy_id,
            probabilities=row.probabilities,
            automation=row.automation,
        ),
        stage=row.stage,
        before=row.before,
        after=row.after,
        version=row.version,
        undoes=row.undoes,
        undone=row.gone is not None,
        bulk=row.bulk_id,
        sampled=row.sampled,
        ground=row.ground,
        law=row.law,
        facts=row.facts,
        visibility=row.visibility,
    )


def user_id(connection: Connection, name: str) -> int:
    """Return the number of an account; raise `NotFound` when there is none that may act."""
    found = connection.scalar(select(users.c.id).where(users.c.name == name, users.c.disabled.is_(False)))
    if found is None:
        raise NotFound(f"no account {name[:40]!r} that may act")
    return int(found)
