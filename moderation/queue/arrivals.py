"""Comments come in: each once, edited ones with their history, a random sample of what the policy let through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from random import SystemRandom
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from moderation.comment import Verdict
from moderation.errors import InputError
from moderation.queue.database import Database
from moderation.queue.names import LONGEST_SITE, too_long
from moderation.queue.outcome import add_to_tallies, lock, settle, tallied
from moderation.queue.schema import articles, comments, scores, versions
from moderation.queue.values import Arrived, Incoming, Intake

CHUNK = 500
"""Comments in one transaction: enough to be quick, few enough that moderators do not wait for it."""

_JUDGED = (
    versions.c.comment_id, versions.c.text, versions.c.model_id, versions.c.policy_id, versions.c.action,
    versions.c.label, versions.c.threshold, versions.c.severity,
)  # fmt: skip
"""What tells whether a comment comes again as it was."""

_chance = SystemRandom().random


class Arrivals:
    """Takes comments into the queue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, incoming: Iterable[Incoming], *, site: str, intake: Intake | None = None) -> Arrived:
        """Put comments in, in transactions of `CHUNK`; each is kept when its transaction ended.

        Idempotent by site and comment id: what comes again unchanged changes nothing, and an edited text becomes a
        new version that people look at again if the policy flags it, or if they had rejected or escalated it.
        """
        if not site or len(site) > LONGEST_SITE:
            raise InputError(f"site: expected a name of 1 to {LONGEST_SITE} characters, got {len(site):,}")
        totals: Counter[str] = Counter()
        for chunk in _chunks(incoming):
            with self._database.write() as connection:
                totals.update(self._put(connection, chunk, site, intake or Intake()))
        return Arrived(**totals)

    def _put(self, connection: Connection, chunk: Sequence[Incoming], site: str, intake: Intake) -> Counter[str]:
        self._check(connection, chunk, site)
        known = self._articles(connection, chunk, site)
        rows = [self._row(one, site, intake, known) for one in chunk]
        kept = [row for row in rows if intake.keep_passed or row["base"] == "queued"]
        statement = self._database.insert(comments).on_conflict_do_nothing(index_elements=["site", "name"])
        fresh: dict[str, int] = {}
        if kept:
            made = connection.execute(
                statement.returning(comments.c.id, comments.c.name), self._ordered(connection, kept)
            )
            fresh = {row.name: row.id for row in made}
        both = list(zip(chunk, rows, strict=True))
        new = [(fresh[one.comment.id], one, row["base"] == "queued") for one, row in both if one.comment.id in fresh]
        if new:
            self._write(connection, new, site)
        totals: Counter[str] = Counter(new=len(new), queued=sum(queued for *_, queued in new))
        if again := [(one, row) for one, row in both if one.comment.id not in fresh]:
            totals.update(self._again(connection, again, site))
        return totals

    def _ordered(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Return new comments numbered as they came, in the order of their names.

        On PostgreSQL two deliveries of the same comments in different orders would wait for each other otherwise.
        """
        if self._database.is_sqlite:
            return rows
        following = func.nextval(func.pg_get_serial_sequence(comments.name, "id"))
        numbers = sorted(connection.scalars(select(following).select_from(func.generate_series(1, len(rows)))))
        numbered = [row | {"id": number} for row, number in zip(rows, numbers, strict=True)]
        return sorted(numbered, key=lambda row: str(row["name"]))

    def _check(self, connection: Connection, chunk: Sequence[Incoming], site: str) -> None:
        """Raise `InputError` for a new comment with a name too long to look it up by; older versions kept such."""
        wrong = {one.comment.id: found for one in chunk if (found := too_long(one.comment))}
        if not wrong:
            return
        known = select(comments.c.name).where(comments.c.site == site, comments.c.name.in_(list(wrong)))
        for name in wrong.keys() - set(connection.scalars(known)):
            raise InputError(f"comment {name[:40]!r}: {wrong[name][0]}: {wrong[name][1]}")

    def _articles(self, connection: Connection, chunk: Sequence[Incoming], site: str) -> dict[str, int]:
        """Return the number of each article by address (by title, where it has none), making those that are new."""
        wanted: dict[str, str | None] = {}
        for one in chunk:
            article = one.comment.article
            if article and (article.url or article.title):
                wanted.setdefault(article.url or article.title or "", article.title)
        if not wanted:
            return {}
        statement = self._database.insert(articles).on_conflict_do_nothing(index_elements=["site", "url"])
        connection.execute(
            statement, [{"site": site, "url": url, "title": title} for url, title in sorted(wanted.items())]
        )
        found = connection.execute(
            select(articles.c.url, articles.c.id).where(articles.c.site == site, articles.c.url.in_(list(wanted)))
        )
        return {row.url: row.id for row in found}

    def _row(self, one: Incoming, site: str, intake: Intake, known: dict[str, int]) -> dict[str, Any]:
        comment, article = one.comment, one.comment.article
        flagged = one.verdict.action != "allow"
        sampled = not flagged and not intake.queue_all and _chance() < intake.sample
        queued = flagged or sampled or intake.queue_all
        label = deciding(one)
        p = one.score.probabilities[label]
        return {
            "site": site,
            "name": comment.id,
            "parent": comment.parent_id,
            "author": comment.author,
            "place": comment.place,
            "created": comment.created,
            "language": comment.language,
            "article_id": known.get((article.url or article.title or "") if article else ""),
            "received": self._database.now(),
            "version": 1,
            "model_id": one.score.model_id,
            "action": one.verdict.action,
            "label": label,
            "score": p,
            "severity": one.severity,
            "uncertainty": 4 * p * (1 - p),
            "origin": "policy" if flagged else "sample" if sampled else "request",
            "base": "queued" if queued else "passed",
            "state": "queued" if queued else "passed",
            "waiting": int(queued),
            "double": queued and _chance() < intake.double,
            "in_bulk": False,
        }

    def _write(self, connection: Connection, new: Sequence[tuple[int, Incoming, bool]], site: str) -> None:
        """Write versions, and scores of what goes into the queue, and count it."""
        connection.execute(
            insert(versions), [_version(ref, 1, one, self._database, explain=queued) for ref, one, queued in new]
        )
        waiting = [(ref, one) for ref, one, queued in new if queued]
        if not waiting:
            return
        rows = [row for ref, one in waiting for row in _scores(ref, one, 1)]
        connection.execute(insert(scores), rows)
        change = Counter((site, row["label"], "queued") for row in rows if row["marked"])
        change[site, "", "queued"] = len(waiting)
        add_to_tallies(self._database, connection, change)

    def _again(
        self, connection: Connection, again: Sequence[tuple[Incoming, dict[str, Any]]], site: str
    ) -> Counter[str]:
        """Take in comments that are known already."""
        names = [one.comment.id for one, _ in again]
        numbers = connection.scalars(select(comments.c.id).where(comments.c.site == site, comments.c.name.in_(names)))
        before = {row.name: row for row in lock(connection, list(numbers))}
        texts = {
            row.comment_id: row
            for row in connection.execute(
                select(*_JUDGED)
                .join(comments, (comments.c.id == versions.c.comment_id) & (comments.c.version == versions.c.number))
                .where(comments.c.id.in_([row.id for row in before.values()]))
            )
        }
        totals: Counter[str] = Counter()
        for one, row in again:
            if one.comment.id not in before:
                totals["unchanged"] += 1  # passed, and passed comments are not kept
                continue
            known = before[one.comment.id]
            text = texts[known.id]
            edited = text.text != one.comment.text
            verdict = Verdict(one.comment.id, text.action, text.policy_id, text.label, text.threshold)
            same = text.model_id == one.score.model_id and one.judged_as(verdict, text.severity)
            if known.erased or (same and not edited):
                totals["unchanged"] += 1
                continue
            totals["edited" if edited else "rescored"] += 1
            totals["queued"] += self._change(connection, known, one, row, edited)
        return totals

    def _change(self, connection: Connection, known: Row[Any], one: Incoming, row: dict[str, Any], edited: bool) -> int:
        """Write a new version, or new scores for the present one; return 1 if the comment waits that did not before."""
        number = known.version + 1 if edited else known.version
        base, origin = row["base"], row["origin"]
        if base == "passed" and edited and known.state in ("rejected", "escalated"):
            base, origin = "queued", "request"  # a person decided, so a person looks again
        if base == "passed" and known.base == "queued" and known.origin != "policy":
            base, origin = "queued", known.origin
        names = ("model_id", "action", "label", "score", "severity", "uncertainty")
        values = {name: row[name] for name in names} | {"version": number, "base": base, "origin": origin}
        if edited:
            values |= {name: row[name] for name in ("created", "language") if row[name] is not None}
        with tallied(self._database, connection, [known.id]):
            version = _version(known.id, number, one, self._database, explain=base == "queued")
            if edited:
                connection.execute(insert(versions), version)
            else:
                version.pop("received")
                key = versions.c.comment_id == known.id, versions.c.number == number
                connection.execute(update(versions).where(*key).values(version))
            connection.execute(delete(scores).where(scores.c.comment_id == known.id))
            if base == "queued" or known.state != "passed":
                connection.execute(insert(scores), list(_scores(known.id, one, known.waiting)))
            connection.execute(update(comments).where(comments.c.id == known.id).values(values))
        settle(self._database, connection, [known.id], keep_claims=True)
        now = connection.scalar(select(comments.c.waiting).where(comments.c.id == known.id))
        return int(bool(now) and not known.waiting)


def deciding(one: Incoming) -> str:
    """Return the label that decided the verdict, or the likeliest."""
    probabilities = one.score.probabilities
    if not probabilities:
        raise InputError(f"comment {one.comment.id[:40]!r}: expected at least one probability")
    return one.verdict.label or max(probabilities, key=lambda label: (probabilities[label], label))


def _version(ref: int, number: int, one: Incoming, database: Database, *, explain: bool) -> dict[str, Any]:
    given = one.spans if not callable(one.spans) else one.spans() if explain else ()
    spans: dict[str, list[tuple[int, int, float]]] = {}
    for span in given or one.verdict.reasons:
        spans.setdefault(span.label, []).append((span.start, span.end, round(span.weight, 4)))
    return {
        "comment_id": ref,
        "number": number,
        "text": one.comment.text,
        "received": database.now(),
        "model_id": one.score.model_id,
        "policy_id": one.verdict.policy_id,
        "action": one.verdict.action,
        "label": one.verdict.label,
        "threshold": one.verdict.threshold,
        "severity": one.severity,
        "probabilities": dict(one.score.probabilities),
        "spans": spans,
        "truncated": one.score.truncated,
    }


def _scores(ref: int, one: Incoming, waiting: int) -> Iterator[dict[str, Any]]:
    first = deciding(one)
    for label, p in one.score.probabilities.items():
        yield {"comment_id": ref, "label": label, "score": p, "marked": label == first or p >= 0.5,
               "severity": one.severity, "waiting": waiting}  # fmt: skip


def _chunks(incoming: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """Cut into chunks in which no comment comes twice."""
    chunk: dict[str, Incoming] = {}
    for one in incoming:
        if one.comment.id in chunk or len(chunk) >= CHUNK:
            yield list(chunk.values())
            chunk = {}
        chunk[one.comment.id] = one
    if chunk:
        yield list(chunk.values())
