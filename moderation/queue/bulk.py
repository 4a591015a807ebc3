"""Many comments in one act: see beforehand what a range takes in, act, and undo it as one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import SystemRandom
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, or_, select, update

from moderation.errors import Conflict, Forbidden, InputError, KeyReused, NotFound
from moderation.queue.database import Database
from moderation.queue.desk import SENIOR, Desk, decision_values, same_ruling
from moderation.queue.listing import Listing
from moderation.queue.outbox import announce
from moderation.queue.outcome import AFTER, FINAL, active, lock, settle, standing
from moderation.queue.retention import ERASED, TELLING
from moderation.queue.rows import NOT_SAMPLED, SAMPLED, SECOND, WAITING, counted, entries, entry, filtered, in_range
from moderation.queue.schema import articles, bulks, comments, decisions, scores, users
from moderation.queue.values import Bulk, Filter, Page, Preview, Ruling

CHUNK = 1_000
"""Comments handled by one statement."""

MOST = 10_000
"""Comments that a preview names one by one: more than anybody answers for at once, and little for the database."""

MOST_EARLIER = 5_000
"""Comments that an expected precision is taken from, at most: enough for an interval of about 3 points."""

MOST_READ = 20_000
"""Decided comments whose texts are searched for words, at most, where no author or article is asked for: .2 s."""

BULK_LOCK = 0x62756C6B
"""First number of the advisory locks that let one request of a key act at a time on PostgreSQL."""

Z95 = 1.959963984540054
"""Quantile of the normal distribution for a two-sided 95 % interval."""

_random = SystemRandom()


class Bulks:
    """Acts on all comments that a filter takes in."""

    def __init__(self, database: Database, desk: Desk) -> None:
        self._database = database
        self._desk = desk

    def preview(self, moderator: str, chosen: Filter, *, sample: int = 10) -> Preview:
        """Return what an act on a filter would take in, and how often people rejected such comments before."""
        _check(chosen)
        with self._database.read() as connection:
            user = self._desk._user(connection, moderator)
            now = self._database.now()
            seen, mean = None, None
            whole = connection.execute(counted([func.count()], chosen)).scalar_one()
            if whole <= MOST:
                seen, mean = self._seen(connection, chosen, user.id)
                count, refs = len(seen), sorted(_random.sample(sorted(seen), min(sample, len(seen))))
            else:
                count = whole - self._left_out(connection, chosen, user.id)
                refs = self._drawn(connection, chosen, user.id, sample)
            shown = connection.execute(entries().where(comments.c.id.in_(refs)).order_by(comments.c.id)).all()
            rejected, decided = self._earlier(connection, chosen)
        return Preview(
            count=count,
            sample=tuple(entry(row, now, Listing.SHORT, chosen.terms) for row in shown),
            mean=mean,
            rejected=rejected,
            decided=decided,
            precision=rejected / decided if decided else None,
            interval=wilson(rejected, decided) if decided else None,
            claimed=whole - count,
            seen=seen,
        )

    def _seen(self, connection: Connection, chosen: Filter, user: int) -> tuple[dict[int, int], float | None]:
        """Return the versions of the comments that an act may take in, by number, and their mean score."""
        score = scores.c.score if chosen.label else comments.c.score
        query = self._free(chosen, user).with_only_columns(comments.c.id, comments.c.version, score.label("score"))
        rows = connection.execute(query).all()
        mean = sum(row.score for row in rows) / len(rows) if rows else None
        return {row.id: row.version for row in rows}, mean

    def _free(self, chosen: Filter, user: int) -> Any:
        """Return the query of comments that an act may take in: for a first look, and not before somebody else.

        Comments of the random sample are looked at one by one, for they are there so that misses are seen.
        """
        now = self._database.now()
        return filtered(select(comments.c.id).select_from(comments), chosen).where(
            comments.c.waiting == 1,
            comments.c.origin != "sample",
            or_(comments.c.claimed_by.is_(None), comments.c.claimed_by == user, comments.c.claimed_until <= now),
        )

    def _left_out(self, connection: Connection, chosen: Filter, user: int) -> int:
        """Return how many comments of a filter an act may not take in; they are few."""
        held = comments.c.claimed_by.is_not(None), comments.c.claimed_by != user, comments.c.origin != "sample"
        number = 0
        for where in (
            [SECOND],
            [SAMPLED, comments.c.waiting == 1],
            [*held, comments.c.claimed_until > self._database.now(), comments.c.waiting == 1],
        ):
            query = filtered(select(func.count()).select_from(comments), chosen).where(*where)
            number += connection.execute(query).scalar_one()
        return number

    def _drawn(self, connection: Connection, chosen: Filter, user: int, most: int) -> list[int]:
        """Draw some comments by chance that an act would take in: more than are asked for, for some may be left out."""
        pick = scores.c.comment_id if chosen.label else comments.c.id
        drawn = list(connection.scalars(counted([pick], chosen).order_by(func.random()).limit(4 * most + 100)))
        free = self._free(chosen, user).where(comments.c.id.in_(drawn)).limit(most)
        return list(connection.scalars(free.order_by(func.random())))

    def _earlier(self, connection: Connection, chosen: Filter) -> tuple[int, int]:
        """Count rejections, and rejections and approvals, made one by one of such comments, on the present model.

        Decisions of bulk acts do not count: they would only confirm themselves. Where they may be many, some are drawn
        by chance.
        """
        present = select(comments.c.model_id).where(WAITING).order_by(comments.c.received.desc()).limit(1)
        singly = [
            comments.c.state.in_(("approved", "rejected")),
            comments.c.waiting == 0,
            comments.c.in_bulk.is_(False),
            comments.c.model_id == present.scalar_subquery(),
        ]
        query = select(comments.c.state, func.count().label("n")).select_from(comments)
        query = filtered(query, replace(chosen, state=None)).where(*singly).group_by(comments.c.state)
        if chosen.article is None and chosen.author is None and (chosen.label or chosen.words):
            query = query.where(comments.c.id.in_(_some_decided(chosen, singly)))
        found = {row.state: int(row.n) for row in connection.execute(query)}
        return found.get("rejected", 0), found.get("rejected", 0) + found.get("approved", 0)

    def act(
        self,
        moderator: str,
        chosen: Filter,
        ruling: Ruling,
        *,
        seen: Mapping[int, int] | None = None,
        key: str | None = None,
    ) -> Bulk:
        """Decide alike on all comments that a filter takes in; all of them or, on any error, none.

        Parameters
        ----------
        seen : what the moderator was shown (`Preview.seen`): nothing else is taken in, neither what came or was edited
            since nor what others have given back; None: whatever the filter takes in now
        key : names the request: the same key again gives the first outcome and has no second effect

        Comments that others have before them, and those that wait for a second look, are left out. Automation is
        `partial`: the model's scores chose the comments. Raises `Conflict` when nothing of what was seen is left.
        """
        _check(chosen)
        if ruling.act == "escalate":
            raise InputError("act: expected approve or reject for many at once, got escalate")
        ruling = self._desk.check(ruling)
        with self._database.write() as connection:
            user = self._desk._user(connection, moderator)
            if key is not None and not self._database.is_sqlite:  # a double click waits for the first
                connection.execute(select(func.pg_advisory_xact_lock(BULK_LOCK, func.hashtext(key))))
            if key is not None and (before := self._repeated(connection, key, user.id, chosen, ruling)):
                return before
            refs = self._locked(connection, chosen, user.id, seen)
            if seen is not None and not refs:
                raise Conflict(f"none of the {len(seen)} comments waits any more, as it was shown")
            number = connection.execute(
                insert(bulks).returning(bulks.c.id),
                {"user_id": user.id, "act": ruling.act, "made": self._database.now(), "filter": chosen.to_json(),
                 "size": len(refs), "key": key},
            ).scalar_one()  # fmt: skip
            for some in _chunks(refs):
                self._decide(connection, lock(connection, some), user.id, ruling, number)
            return _bulk(_row(connection, number))

    def _locked(self, connection: Connection, chosen: Filter, user: int, seen: Mapping[int, int] | None) -> list[int]:
        """Lock and return the comments that an act takes in, in the order of their numbers."""
        query = self._free(chosen, user).with_only_columns(comments.c.id, comments.c.version)
        query = query.order_by(comments.c.id).with_for_update(skip_locked=True, of=comments)
        if seen is None:
            return [row.id for row in connection.execute(query)]
        return [
            row.id
            for some in _chunks(sorted(seen))
            for row in connection.execute(query.where(comments.c.id.in_(some)))
            if row.version == seen[row.id]
        ]

    def _decide(self, connection: Connection, rows: Sequence[Row[Any]], user: int, ruling: Ruling, number: int) -> None:
        after = AFTER[ruling.act]
        values = decision_values(connection, rows, user, ruling, "review", self._database.now(), after)
        for one in values:
            one |= {"bulk_id": number, "automation": "partial"}
        made = list(connection.scalars(insert(decisions).returning(decisions.c.id), values))
        settle(self._database, connection, [row.id for row in rows])
        announce(self._database, connection, made)

    def _repeated(self, connection: Connection, key: str, user: int, chosen: Filter, ruling: Ruling) -> Bulk | None:
        row = connection.execute(select(bulks.c.id).where(bulks.c.key == key)).one_or_none()
        if row is None:
            return None
        found = _row(connection, row.id)
        asked = chosen.to_json()
        # A name that was erased leaves no digest either, for that could be found by trying: there the key alone tells.
        asked |= {name: ERASED for name in TELLING if name in asked and found.filter.get(name) == ERASED}
        same = (found.user_id, found.act, found.filter) == (user, ruling.act, asked)
        if not (same and self._ruled(connection, found.id, ruling)):
            raise KeyReused("key: it stands for another request already")
        return _bulk(found)

    def _ruled(self, connection: Connection, number: int, ruling: Ruling) -> bool:
        """Return whether an act was made with this ruling, as a decision of it says, best one that is not erased."""
        made = connection.execute(
            select(decisions, comments.c.erased)
            .join(comments, comments.c.id == decisions.c.comment_id)
            .where(decisions.c.bulk_id == number)
            .order_by(comments.c.erased.is_not(None), decisions.c.id)
            .limit(1)
        ).one_or_none()
        if made is None:  # an act on no comments
            return True
        return same_ruling(made, replace(ruling, automation="partial"), erased=made.erased is not None)

    def undo(self, moderator: str, ref: int) -> Bulk:
        """Take back a bulk act, one's own or, as a senior, anybody's: a row per comment, all in one transaction.

        Comments on which somebody has decided anew since then keep that decision. Raises `NotFound`, `Forbidden`, and
        `Conflict` when it is undone already.
        """
        with self._database.write() as connection:
            user = self._desk._user(connection, moderator)
            row = _row(connection, ref)
            if row.user_id != user.id and user.role not in SENIOR:
                raise Forbidden(f"bulk act {ref} is another moderator's; a senior may undo it")
            done = connection.execute(
                update(bulks).where(bulks.c.id == ref, bulks.c.undone.is_(None)).values(undone=self._database.now())
            )
            if not done.rowcount:
                raise Conflict(f"bulk act {ref} is undone already")
            made = connection.execute(
                select(decisions.c.id, decisions.c.comment_id)
                .where(decisions.c.bulk_id == ref)
                .order_by(decisions.c.comment_id)
            ).all()
            for some in _chunks(made):
                self._take_back(connection, some, user.id)
            return _bulk(_row(connection, ref))

    def _take_back(self, connection: Connection, made: Sequence[Row[Any]], user: int) -> None:
        rows = lock(connection, [one.comment_id for one in made])
        made_on = active(connection, [row.id for row in rows])
        number = {one.comment_id: one.id for one in made}
        still = [
            row for row in rows
            if any(one.id == number[row.id] for one in made_on.get(row.id, []))
            and not any(one.stage in FINAL for one in made_on[row.id])
        ]  # fmt: skip
        if not still:
            return
        now = self._database.now()
        after = {}
        for row in still:
            left = [one for one in made_on[row.id] if one.id != number[row.id]]
            after[row.id] = standing(row.base, row.double, left, erased=row.erased is not None).state
        values = decision_values(connection, still, user, Ruling("undo"), "undo", now, "queued")
        for one in values:
            one |= {"undoes": number[one["comment_id"]], "after": after[one["comment_id"]]}
        undone = list(connection.scalars(insert(decisions).returning(decisions.c.id), values))
        settle(self._database, connection, [row.id for row in still])
        announce(self._database, connection, undone)

    def get(self, ref: int) -> Bulk:
        """Return one bulk act; raise `NotFound`."""
        with self._database.read() as connection:
            return _named(connection, [_bulk(_row(connection, ref))])[0]

    def latest(self, moderator: str | None = None, *, limit: int = 20) -> list[Bulk]:
        """Return the latest bulk acts, of one moderator or all, latest first."""
        query = select(bulks, users.c.name).join(users, users.c.id == bulks.c.user_id)
        if moderator is not None:
            query = query.where(users.c.name == moderator)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(bulks.c.id.desc()).limit(limit)).all()
            return _named(connection, [_bulk(row) for row in rows])

    def page(self, ref: int, moderator: str, *, limit: int = 50, after: int = 0) -> Page:
        """Return a page of the comments that a bulk act took in, in the order of their numbers.

        `after` is where the page before ended (`Page.after`). Comments that wait for another person than `moderator` to
        be the second to look are left out, for the list would tell what the first decided; and so are those that wait
        by chance, as in `Listing.page`.
        """
        taken = select(decisions.c.comment_id).where(decisions.c.bulk_id == ref, decisions.c.comment_id > after)
        with self._database.read() as connection:
            own = comments.c.first_by == self._desk._user(connection, moderator).id
            query = entries().where(comments.c.id.in_(taken), NOT_SAMPLED, or_(comments.c.waiting != 2, own))
            rows = connection.execute(query.order_by(comments.c.id).limit(limit + 1)).all()
        now = self._database.now()
        found = tuple(entry(row, now, Listing.SHORT) for row in rows[:limit])
        return Page(found, str(found[-1].ref) if len(rows) > limit else None)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a share after Wilson (1927), which holds for small numbers and near 0 and 1."""
    share = hits / trials
    middle = share + Z95**2 / (2 * trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + Z95**2 / (4 * trials**2))
    scale = 1 + Z95**2 / trials
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _some_decided(chosen: Filter, singly: Sequence[ColumnElement[bool]]) -> Any:
    """Return the query that draws, in a filter's range, the comments whose texts or rows are read."""
    if chosen.words is not None:
        drawn = filtered(select(comments.c.id), replace(chosen, state=None, words=None)).where(*singly)
        return drawn.order_by(func.random()).limit(MOST_READ)
    drawn = select(scores.c.comment_id).where(scores.c.label == chosen.label, scores.c.waiting == 0)
    return drawn.where(*in_range(scores.c.score, chosen)).order_by(func.random()).limit(MOST_EARLIER)


def _check(chosen: Filter) -> None:
    if chosen.state != "waiting":
        raise InputError(f"state: a bulk act takes in waiting comments, got {chosen.state!r}")


def _row(connection: Connection, ref: int) -> Row[Any]:
    found = connection.execute(
        select(bulks, users.c.name).join(users, users.c.id == bulks.c.user_id).where(bulks.c.id == ref)
    ).one_or_none()
    if found is None:
        raise NotFound(f"no bulk act {ref}")
    return found


def _bulk(row: Row[Any]) -> Bulk:
    return Bulk(row.id, row.name, row.act, row.made, Filter(**{"state": None, **row.filter}), row.size, row.undone)


def _named(connection: Connection, found: Sequence[Bulk]) -> list[Bulk]:
    """Return bulk acts with the titles of their articles."""
    refs = {one.filter.article for one in found} - {None}
    rows = connection.execute(select(articles.c.id, articles.c.title, articles.c.url).where(articles.c.id.in_(refs)))
    titles = {row.id: row.title or row.url for row in rows}
    return [replace(one, article=titles.get(one.filter.article)) for one in found]


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
