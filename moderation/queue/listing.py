"""Looking at the queue: lists, one comment with all that surrounds it, counts and histograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Integer, Row, bindparam, cast, func, select

from moderation.comment import MAX_REASONS, Comment, Score, Verdict
from moderation.errors import InputError, NotFound
from moderation.queue.database import Database
from moderation.queue.outcome import active, decided_again
from moderation.queue.paging import turn, turn_back
from moderation.queue.rows import (
    DECIDABLE,
    NOT_SAMPLED,
    SAMPLED,
    SECOND,
    SINGLY,
    VERSION,
    WAITING,
    comment_of,
    counted,
    entries,
    entry,
    filtered,
    had_a_hand,
    pasts,
    skipped,
    user_id,
    version_of,
)
from moderation.queue.schema import appeals, articles, comments, decisions, scores, tallies, versions
from moderation.queue.values import (
    ORDERS,
    Bar,
    Counts,
    Entry,
    Filter,
    Incoming,
    Item,
    Order,
    Page,
    Past,
    Record,
    Version,
)

THREAD = 200
"""Comments of an article that are shown at a time."""

BARS = (10, 20, 25, 40)
"""Numbers of bars for which `low` and `high` of a bar, given to a `Filter`, take in just what the bar counts."""


BLIND = 0.1
"""Share of the flagged comments that are decided on without a look at their scores, as the random sample is: so that
a comment without scores is not known to be one that the policy let through."""


class Listing:
    """Looks at the queue without changing it; `blind` is the share of `BLIND`, in [0, 1]."""

    SHORT = 600
    """Characters of a text in a list."""

    REPLIES = 20
    """Replies that come with a comment."""

    def __init__(self, database: Database, blind: float = BLIND) -> None:
        self._database = database
        self.blind = blind

    def page(
        self,
        chosen: Filter | None = None,
        *,
        order: Order = "severity",
        limit: int = 50,
        after: str | None = None,
        before: str | None = None,
    ) -> Page:
        """Return a page of comments: the first, or the one after or before another (`Page.after`, `Page.before`).

        Where no more than a page is left before another, that is the first page, whole.
        Comments that wait by chance are left out: their place among the others would tell what they are.

        Raises `InputError` for an unknown order, or a broken `after` or `before`.
        """
        if order not in ORDERS:
            raise InputError(f"order: expected one of {', '.join(ORDERS)}, got {str(order)[:40]!r}")
        chosen = chosen or Filter()
        asked = filtered(entries(), chosen).where(NOT_SAMPLED), order, chosen.label, limit
        with self._database.read() as connection:
            rows, first, last = (
                turn(connection, *asked, after) if before is None else turn_back(connection, *asked, before)
            )
        now = self._database.now()
        found = tuple(entry(row, now, self.SHORT, chosen.terms) for row in rows)
        return Page(found, last, first)

    def item(self, ref: int, moderator: str | None = None) -> Item:
        """Return one comment with its thread, its author's record and its history; raise `NotFound`.

        Who waits to be the second to look at it is not shown the first decision; who made that, as `moderator`, is.
        """
        with self._database.read() as connection:
            viewer = user_id(connection, moderator) if moderator else None
            return item(connection, ref, self._database.now(), viewer, self.REPLIES, self.blind)

    def items(self, refs: Sequence[int], moderator: str) -> list[Item]:
        """Return several comments as `item` does, for instance those that a moderator holds."""
        with self._database.read() as connection:
            viewer, now = user_id(connection, moderator), self._database.now()
            return [item(connection, ref, now, viewer, self.REPLIES, self.blind) for ref in refs]

    def find(self, site: str, comment_id: str) -> int | None:
        """Return the number of a comment by the site's own id; None when it is not known."""
        with self._database.read() as connection:
            return connection.scalar(
                select(comments.c.id).where(comments.c.site == site, comments.c.name == comment_id)
            )

    def versions(self, ref: int) -> list[Version]:
        """Return all texts that a comment has had, oldest first."""
        with self._database.read() as connection:
            name = _one(connection, ref).name
            rows = connection.execute(select(*VERSION).where(versions.c.comment_id == ref).order_by(versions.c.number))
            return [version_of(row, name) for row in rows]

    def thread(self, ref: int, *, limit: int = THREAD) -> list[Entry]:
        """Return the comments of the same article (of the same site, where there is none), oldest first.

        Of more than `limit` these are the ones that came nearest, before and after.
        """
        with self._database.read() as connection:
            row = _one(connection, ref)
            same = comments.c.site == row.site
            if row.article_id is not None:
                same = comments.c.article_id == row.article_id
            chosen = entries().where(same)
            before = connection.execute(chosen.where(comments.c.id <= ref).order_by(comments.c.id.desc()).limit(limit))
            after = connection.execute(chosen.where(comments.c.id > ref).order_by(comments.c.id).limit(limit))
            earlier, later = list(before)[::-1], list(after)
        earlier = earlier[-max(limit - limit // 2, limit - len(later)) :]
        now = self._database.now()
        return [entry(row, now, self.SHORT) for row in (earlier + later)[:limit]]

    def counts(self, moderator: str | None = None) -> Counts:
        """Return how much there is to do; for one moderator, without what waits for another person than them."""
        with self._database.read() as connection:
            by_label: Counter[str] = Counter()
            by_site: Counter[str] = Counter()
            waiting = escalated = 0
            for site, label, place, n in connection.execute(_TALLIES):
                if place == "escalated":
                    escalated += n if label == "" else 0
                elif label == "":
                    waiting += n
                    by_site[site] += n
                else:
                    by_label[label] += n
            user = user_id(connection, moderator) if moderator else None
            own = self._own(connection, user) if user is not None else Counter()
            for site, n in own.items():
                waiting -= n
                by_site[site] -= n
            open_appeals = connection.scalar(_OPEN_APPEALS if user is None else _THEIR_APPEALS, {"user": user}) or 0
            claimed = connection.scalar(_CLAIMED, {"now": self._database.now()})
        return Counts(waiting, escalated, open_appeals, dict(by_label), dict(by_site), claimed or 0)

    def _own(self, connection: Connection, number: int) -> Counter[str]:
        rows = connection.execute(_OWN, {"user": number})
        return Counter({row.site: row.n for row in rows})

    def count(self, chosen: Filter) -> int:
        """Return how many comments a filter takes in, exactly; those that wait by chance are left out, as in `page`."""
        by_chance = filtered(select(func.count()).select_from(comments), chosen).where(SAMPLED)
        with self._database.read() as connection:
            whole = connection.execute(counted([func.count()], chosen)).scalar_one()
            return int(whole - connection.execute(by_chance).scalar_one())

    def fitting(self, moderator: str, chosen: Filter) -> int:
        """Return how many of the comments that `counts` says wait for a moderator fit a filter, also by chance."""
        own = filtered(select(func.count()).select_from(comments), chosen).where(SECOND)
        with self._database.read() as connection:
            whole = connection.execute(counted([func.count()], chosen)).scalar_one()
            user = user_id(connection, moderator)
            return int(whole - connection.execute(own.where(comments.c.first_by == user)).scalar_one())

    def skipped(self, moderator: str, chosen: Filter | None = None) -> int:
        """Return how many comments of a filter are not given to a moderator, because they skipped them this shift.

        Comments that wait by chance are left out, as in `page`.
        """
        query = filtered(select(func.count()).select_from(comments), chosen or Filter())
        with self._database.read() as connection:
            own = skipped(user_id(connection, moderator), self._database.now())
            return int(connection.execute(query.where(own, NOT_SAMPLED)).scalar_one())

    def histogram(self, chosen: Filter | None = None, *, bars: int = 20) -> list[Bar]:
        """Return how the probabilities of a label (of the deciding one, without a label) are spread.

        The filter's own range is left out, so that the histogram shows what lies around it.
        """
        if bars not in BARS:
            raise InputError(f"bars: expected one of {', '.join(map(str, BARS))}, got {bars}")
        chosen = chosen or Filter()
        wide = replace(chosen, low=0.0 if chosen.label else None, high=None)
        column = scores.c.score if chosen.label else comments.c.score
        # CAST cuts off on SQLite, where floor is a slow call back into Python, and rounds on PostgreSQL.
        whole = column * bars if self._database.is_sqlite else func.floor(column * bars)
        place = cast(whole, Integer).label("place")
        query = counted([place, func.count()], wide).group_by(place)
        with self._database.read() as connection:
            found: Counter[int] = Counter()
            for bar, n in connection.execute(query):
                found[min(int(bar), bars - 1)] += n
        return [Bar(k / bars, (k + 1) / bars, found[k]) for k in range(bars)]

    def waiting(self, site: str) -> Iterator[Incoming]:
        """Yield all waiting comments of a site, whole, as they were last scored and judged, without their words."""
        last = 0
        judged = versions.c.policy_id, versions.c.label.label("decided"), versions.c.threshold, versions.c.probabilities
        query = entries().add_columns(*judged).where(comments.c.site == site, WAITING)
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(comments.c.id > last).order_by(comments.c.id).limit(500)).all()
            if not rows:
                return
            for row in rows:
                score = Score(row.name, row.model_id, row.probabilities)
                verdict = Verdict(row.name, row.action, row.policy_id, row.decided, row.threshold)
                yield Incoming(comment_of(row), score, verdict, row.severity)
            last = rows[-1].id

    def sites(self) -> list[str]:
        """Return the names of all sites of which anything was ever in the queue."""
        with self._database.read() as connection:
            return sorted(connection.scalars(select(tallies.c.site).distinct()))

    def site_besides(self, site: str) -> str | None:
        """Return the name of another site that has comments, wherever they stand; None when there is none."""
        with self._database.read() as connection:
            return connection.scalar(select(comments.c.site).where(comments.c.site != site).limit(1))

    def labels(self) -> list[str]:
        """Return the labels that comments in the queue are scored for."""
        with self._database.read() as connection:
            return sorted(connection.scalars(select(tallies.c.label).where(tallies.c.label != "").distinct()))

    def articles(
        self, *, site: str | None = None, limit: int = 50, also: int | None = None
    ) -> list[tuple[int, str, int]]:
        """Return number, title (or address) and waiting comments of the articles with most to do, and of `also`."""
        busy = (
            select(comments.c.article_id, func.count().label("waiting"))
            .where(WAITING, comments.c.article_id.is_not(None))
            .group_by(comments.c.article_id)
            .subquery()
        )
        query = (
            select(articles.c.id, articles.c.title, articles.c.url, busy.c.waiting)
            .join(busy, busy.c.article_id == articles.c.id)
            .where(*([articles.c.site == site] if site else []))
            .order_by(busy.c.waiting.desc(), articles.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            found = [(row.id, row.title or row.url, row.waiting) for row in connection.execute(query)]
            one = select(articles.c.title, articles.c.url).where(articles.c.id == also)
            more = connection.execute(one).one_or_none() if also not in (None, *(ref for ref, *_ in found)) else None
        if more is not None and also is not None:
            found.append((also, more.title or more.url, self.count(Filter(article=also))))
        return found

    def decisions(
        self,
        moderator: str | None = None,
        *,
        since: datetime | None = None,
        singly: bool = False,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[Past]:
        """Return the latest decisions, of one moderator or all, latest first.

        Parameters
        ----------
        since : from when on
        singly : without what bulk acts, and undos of whole bulk acts, added
        before, after : only decisions with lower or higher numbers; with `after` those next to it
        """
        with self._database.read() as connection:
            where = [] if moderator is None else [decisions.c.user_id == user_id(connection, moderator)]
            if since is not None:
                where.append(decisions.c.decided >= since)
            if singly:
                where += SINGLY
            if before is not None:
                where.append(decisions.c.id < before)
            if after is not None:
                where.append(decisions.c.id > after)
            return pasts(connection, *where, limit=limit, first=after is not None)[::-1]

    def entries(self, refs: Collection[int], *, longest: int = SHORT) -> dict[int, Entry]:
        """Return comments as lines of a list, by number; their texts are cut to what shows `longest` characters."""
        with self._database.read() as connection:
            rows = connection.execute(entries().where(comments.c.id.in_(refs))).all()
        now = self._database.now()
        return {row.id: entry(row, now, longest) for row in rows}

    def escalations(self, refs: Collection[int]) -> dict[int, list[Past]]:
        """Return, per escalated comment, why it is: the decision to escalate it, or the two that disagree."""
        found: dict[int, list[Past]] = {ref: [] for ref in refs}
        with self._database.read() as connection:
            counting = [one.id for some in active(connection, refs).values() for one in some]
            for past in pasts(connection, decisions.c.id.in_(counting)):
                found[past.comment_ref].append(past)
        return {ref: made[-1:] if made and made[-1].decision.act == "escalate" else made for ref, made in found.items()}

    def escalated(self, made: Sequence[Past]) -> dict[int, Past | None]:
        """Return, per decision that escalated, what was decided on it last; None while it waits for a senior.

        Decisions that are undone, or on an earlier text, are left out, and so are comments that wait for another look.
        """
        left = [one for one in made if one.decision.act == "escalate" and not one.undone]
        last: dict[int, int | None] = {}
        with self._database.read() as connection:
            rows = connection.execute(_STATES, {"refs": [one.comment_ref for one in left]})
            states = {row.id: row.state for row in rows}
            counting = active(connection, states)
            for one in left:
                on_it = counting.get(one.comment_ref, [])
                since = [other.id for other in on_it if decided_again(one.ref, [other])]
                if any(other.id == one.ref for other in on_it) and (since or states[one.comment_ref] == "escalated"):
                    last[one.ref] = since[-1] if since else None
            told = {past.ref: past for past in pasts(connection, decisions.c.id.in_(set(last.values()) - {None}))}
        return {ref: None if number is None else told[number] for ref, number in last.items()}

    def undoable(self, made: Sequence[Past]) -> set[int]:
        """Return the numbers of those decisions that can still be undone, by who made them.

        Not those that are undone or settled an appeal, nor those after which somebody had the last word.
        """
        left = [one for one in made if not one.undone and one.decision.act != "undo" and one.stage != "appeal"]
        if not left:
            return set()
        with self._database.read() as connection:
            counting = active(connection, {one.comment_ref for one in left})
        return {one.ref for one in left if not decided_again(one.ref, counting.get(one.comment_ref, ()))}

    def decision(self, ref: int) -> Past:
        """Return one decision; raise `NotFound`."""
        with self._database.read() as connection:
            found = pasts(connection, decisions.c.id == ref)
        if not found:
            raise NotFound(f"no decision {ref}")
        return found[0]


_STATES = select(comments.c.id, comments.c.state).where(
    comments.c.id.in_(bindparam("refs", expanding=True)), comments.c.waiting == 0
)
_ENTRY = entries().where(comments.c.id == bindparam("ref"))
_PARENT = entries().where(comments.c.site == bindparam("site"), comments.c.name == bindparam("name"))
_ANSWERS = comments.c.site == bindparam("site"), comments.c.parent == bindparam("name")
_REPLIES = entries().where(*_ANSWERS).order_by(comments.c.id).limit(bindparam("most"))
_RECORD = (
    select(comments.c.state, comments.c.waiting, func.count())
    .where(comments.c.site == bindparam("site"), comments.c.author == bindparam("author"))
    .group_by(comments.c.state, comments.c.waiting)
)
_TALLIES = select(tallies.c.site, tallies.c.label, tallies.c.place, tallies.c.n).where(tallies.c.n != 0)
_APPEALED = select(func.count()).join_from(appeals, comments, comments.c.id == appeals.c.comment_id)
_OPEN_APPEALS = _APPEALED.where(*DECIDABLE)
_THEIR_APPEALS = _OPEN_APPEALS.where(~had_a_hand(bindparam("user")))
_CLAIMED = select(func.count()).where(comments.c.claimed_by.is_not(None), comments.c.claimed_until > bindparam("now"))
_OWN = (
    select(comments.c.site, func.count().label("n"))
    .where(SECOND, comments.c.first_by == bindparam("user"))
    .group_by(comments.c.site)
)
_VERSION = select(*VERSION).where(versions.c.comment_id == bindparam("ref"), versions.c.number == bindparam("number"))


def _one(connection: Connection, ref: int) -> Row[Any]:
    row = connection.execute(_ENTRY, {"ref": ref}).one_or_none()
    if row is None:
        raise NotFound(f"no comment {ref} in the queue's database")
    return row


def item(
    connection: Connection,
    ref: int,
    now: datetime,
    viewer: int | None = None,
    most_replies: int = Listing.REPLIES,
    blind: float = BLIND,
) -> Item:
    """Return one comment with all that surrounds it; raise `NotFound`."""
    row = _one(connection, ref)
    version = connection.execute(_VERSION, {"ref": ref, "number": row.version}).one()
    hidden = row.waiting == 2 and (viewer is None or row.first_by != viewer)
    history = () if hidden else tuple(pasts(connection, decisions.c.comment_id == ref))
    held = row.claimed_until is not None and row.claimed_until > now
    replies, reply_count = _replies(connection, row, most_replies)
    return Item(
        ref=row.id,
        site=row.site,
        comment=comment_of(row),
        state="queued" if row.waiting else row.state,
        version=_blind(version_of(version, row.name), row.label) if row.waiting else version_of(version, row.name),
        label=row.label,
        probability=row.score,
        severity=row.severity,
        uncertainty=row.uncertainty,
        received=row.received,
        article_ref=row.article_id,
        claimed_by=row.claimer if held else None,
        claimed_until=row.claimed_until if held else None,
        parent=_parent(connection, row),
        replies=replies,
        reply_count=reply_count,
        author=_record(connection, row),
        history=history,
        versions=row.version,
        erased=row.erased is not None,
        sampled=row.origin == "sample"
        if any(one.decision.act != "undo" and not one.undone for one in history)
        else None,
        blind=bool(row.waiting)
        and not (row.waiting == 2 and row.first_by == viewer)
        and (row.origin == "sample" or _drawn(row.id, blind)),
    )


def _drawn(ref: int, share: float) -> bool:
    """Whether a comment is one of a share of all, always the same ones."""
    return int.from_bytes(blake2b(str(ref).encode(), digest_size=4).digest()) < share * (1 << 32)


def _blind(version: Version, label: str) -> Version:
    """Return a version as who decides sees it: what is here by chance looks like what was flagged."""
    if version.verdict.action != "allow":
        return version
    towards = [span for span in version.spans if span.label == label and span.weight > 0]
    reasons = tuple(sorted(towards, key=lambda span: (-span.weight, span.start))[:MAX_REASONS])
    return replace(version, verdict=replace(version.verdict, action="review", label=label, reasons=reasons))


def _parent(connection: Connection, row: Row[Any]) -> Comment | None:
    if row.parent is None:
        return None
    found = connection.execute(_PARENT, {"site": row.site, "name": row.parent}).first()
    return comment_of(found) if found else None


def _replies(connection: Connection, row: Row[Any], most: int) -> tuple[tuple[Comment, ...], int]:
    found = connection.execute(_REPLIES, {"site": row.site, "name": row.name, "most": most + 1}).all()
    number = len(found)
    if number > most:
        count = select(func.count()).select_from(comments).where(*_ANSWERS)
        number = connection.scalar(count, {"site": row.site, "name": row.name}) or 0
    return tuple(comment_of(answer) for answer in found[:most]), number


def _record(connection: Connection, row: Row[Any]) -> Record | None:
    if row.author is None:
        return None
    found: Counter[str] = Counter()
    by_state = connection.execute(_RECORD, {"site": row.site, "author": row.author})
    for state, waits, n in by_state:
        found["queued" if waits else state] += n  # who is to look second would see the first decision here
    found["queued" if row.waiting else row.state] -= 1
    return Record(
        comments=found.total(),
        approved=found["approved"],
        rejected=found["rejected"],
        waiting=found["queued"] + found["escalated"],
        passed=found["passed"],
    )
