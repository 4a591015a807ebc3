"""What a senior wants to know: who decided how much, how far people agree, and how often they overrule the policy."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, and_, func, literal_column, select
from sqlalchemy.orm import aliased

from moderation.queue.database import Database
from moderation.queue.outcome import FINAL
from moderation.queue.rows import pasts
from moderation.queue.schema import comments, decisions, undoing, users
from moderation.queue.values import Past


@dataclass(frozen=True, slots=True)
class Work:
    """What one moderator did."""

    moderator: str
    """Who."""
    approved: int
    """Approvals, one by one."""
    rejected: int
    """Rejections, one by one."""
    escalated: int
    """Comments passed on to a senior."""
    bulk: int
    """Decisions made in bulk acts."""
    undone: int
    """Decisions of theirs that were undone."""
    overturned: int
    """Decisions of theirs that another overturned."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two people agree who decided on the same comments without seeing each other's decision."""

    pairs: int
    """Comments that two people decided on."""
    agreed: int
    """Comments on which they did the same."""
    kappa: float | None
    """Cohen's kappa: agreement beyond chance, 1 at most; None where chance alone would agree always, or no pairs."""

    @property
    def share(self) -> float | None:
        """Share of pairs that agreed; None without pairs."""
        return self.agreed / self.pairs if self.pairs else None


@dataclass(frozen=True, slots=True)
class Week:
    """One week of intake and decisions."""

    monday: date
    """First day, in UTC."""
    received: int
    """Comments that came in and are still kept."""
    flagged: int
    """Those that the policy flagged."""
    decided: int
    """Approvals and rejections of flagged comments."""
    overridden: int
    """Flagged comments that people approved."""
    sampled: int
    """Decisions on comments that the policy had let through."""
    missed: int
    """Those of them that people rejected."""

    @property
    def flag_rate(self) -> float | None:
        """Share of what came in that the policy flagged; None when nothing came in."""
        return self.flagged / self.received if self.received else None

    @property
    def override_rate(self) -> float | None:
        """Share of decisions on flagged comments that approved; None without decisions."""
        return self.overridden / self.decided if self.decided else None

    @property
    def miss_rate(self) -> float | None:
        """Share of decisions on the random sample that rejected; None without decisions."""
        return self.missed / self.sampled if self.sampled else None


class Statistics:
    """Counts over decisions; `since` None takes in all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def work(self, since: datetime | None = None) -> list[Work]:
        """Return what each moderator did, busiest first."""
        query = (
            select(users.c.name, decisions.c.act, decisions.c.bulk_id.is_not(None).label("bulk"),
                   undoing.c.id.is_not(None).label("undone"), func.count().label("n"))
            .join(users, users.c.id == decisions.c.user_id)
            .outerjoin(undoing, undoing.c.undoes == decisions.c.id)
            .where(decisions.c.act != "undo", *_since(since))
            .group_by(users.c.name, decisions.c.act, literal_column("bulk"), literal_column("undone"))
        )  # fmt: skip
        found: dict[str, Counter[str]] = defaultdict(Counter)
        with self._database.read() as connection:
            for row in connection.execute(query):
                found[row.name]["bulk" if row.bulk else row.act] += row.n
                found[row.name]["undone"] += row.n if row.undone else 0
            overturned = Counter(before.decision.moderator for before, _ in self._overturned(connection, since))
        made = [
            Work(name, n["approve"], n["reject"], n["escalate"], n["bulk"], n["undone"], overturned[name])
            for name, n in found.items()
        ]
        return sorted(made, key=lambda one: (-one.approved - one.rejected - one.escalated - one.bulk, one.moderator))

    def agreement(self, since: datetime | None = None) -> Agreement:
        """Return how far first and second looks agree, over pairs of which neither is undone."""
        first, second = aliased(decisions), aliased(decisions)
        gone, gone_too = aliased(decisions), aliased(decisions)
        query = (
            select(first.c.act, second.c.act, func.count())
            .join(second, and_(second.c.comment_id == first.c.comment_id, second.c.version == first.c.version))
            .outerjoin(gone, gone.c.undoes == first.c.id)
            .outerjoin(gone_too, gone_too.c.undoes == second.c.id)
            .where(first.c.stage == "review", second.c.stage == "second", gone.c.id.is_(None), gone_too.c.id.is_(None))
            .where(*([] if since is None else [second.c.decided >= since]))
            .group_by(first.c.act, second.c.act)
        )
        with self._database.read() as connection:
            return agreement({(a, b): n for a, b, n in connection.execute(query)})

    def overturned(self, since: datetime | None = None, *, limit: int = 200) -> list[tuple[Past, Past]]:
        """Return decisions that another person overturned, with the one that did, latest first."""
        with self._database.read() as connection:
            return self._overturned(connection, since, limit)

    def _overturned(
        self, connection: Connection, since: datetime | None, limit: int | None = None
    ) -> list[tuple[Past, Past]]:
        later = pasts(connection, decisions.c.stage.in_(FINAL), decisions.c.act != "escalate", *_since(since))
        later = [one for one in later if not one.undone][::-1]
        refs = {one.comment_ref for one in later}
        before: dict[int, list[Past]] = defaultdict(list)
        for some in _chunks(sorted(refs)):
            for one in pasts(connection, decisions.c.comment_id.in_(some), decisions.c.act.in_(("approve", "reject"))):
                before[one.comment_ref].append(one)
        found = []
        for one in later:
            earlier = [
                other for other in before[one.comment_ref]
                if other.ref < one.ref and other.version == one.version and not other.undone
                and other.decision.moderator != one.decision.moderator
            ]  # fmt: skip
            if earlier and earlier[-1].decision.act != one.decision.act:
                found.append((earlier[-1], one))
        return found[:limit]

    def weeks(self, since: datetime | None = None) -> list[Week]:
        """Return intake and decisions week by week, oldest first; weeks without either are left out."""
        found: dict[date, Counter[str]] = defaultdict(Counter)
        with self._database.read() as connection:
            day = self._day(comments.c.received)
            came = select(day, comments.c.origin, func.count()).group_by(day, comments.c.origin)
            if since is not None:
                came = came.where(comments.c.received >= since)
            for when, origin, n in connection.execute(came):
                week = found[_monday(when)]
                week["received"] += n
                week["flagged"] += n if origin == "policy" else 0
            day = self._day(decisions.c.decided)
            made = (
                select(day, decisions.c.act, decisions.c.action, decisions.c.sampled, func.count())
                .outerjoin(undoing, undoing.c.undoes == decisions.c.id)
                .where(decisions.c.act.in_(("approve", "reject")), undoing.c.id.is_(None), *_since(since))
                .where(decisions.c.stage == "review", decisions.c.bulk_id.is_(None))  # a bulk act looks at no comment
                .group_by(day, decisions.c.act, decisions.c.action, decisions.c.sampled)
            )
            for when, act, action, sampled, n in connection.execute(made):
                week = found[_monday(when)]
                if sampled:
                    week["sampled"] += n
                    week["missed"] += n if act == "reject" else 0
                elif action != "allow":
                    week["decided"] += n
                    week["overridden"] += n if act == "approve" else 0
        names = ("received", "flagged", "decided", "overridden", "sampled", "missed")
        return [Week(monday, *(n[name] for name in names)) for monday, n in sorted(found.items())]

    def _day(self, column: Any) -> Any:
        """Return a time's day in UTC as ISO text, on either database."""
        if self._database.is_sqlite:
            return func.substr(column, 1, 10).label("day")
        utc = func.timezone(literal_column("'UTC'", String), column)
        return func.to_char(utc, literal_column("'YYYY-MM-DD'", String)).label("day")


def agreement(pairs: dict[tuple[str, str], int]) -> Agreement:
    """Return share and Cohen's kappa (1960) of a table of (first, second) decisions to how often they occurred."""
    n = sum(pairs.values())
    agreed = sum(times for (a, b), times in pairs.items() if a == b)
    first, second = Counter[str](), Counter[str]()
    for (a, b), times in pairs.items():
        first[a] += times
        second[b] += times
    chance = sum(first[act] * second[act] for act in first) / n**2 if n else 1.0
    kappa = None if chance == 1 else (agreed / n - chance) / (1 - chance)
    return Agreement(n, agreed, kappa)


def _since(since: datetime | None) -> list[ColumnElement[bool]]:
    return [] if since is None else [decisions.c.decided >= since]


def _monday(day: str) -> date:
    found = date.fromisoformat(day)
    return found - timedelta(days=found.weekday())


def _chunks(items: Sequence[int]) -> list[Sequence[int]]:
    return [items[start : start + 1_000] for start in range(0, len(items), 1_000)]
