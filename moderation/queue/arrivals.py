"""Comments come in: each once, edited ones with their history, a random sample of what the policy let through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from moderation.comment import Span, Verdict
from moderation.errors import InputError
from moderation.queue.database import Database
from moderation.queue.folding import fold_seen
from moderation.queue.names import LONGEST_SITE, too_long
from moderation.queue.outcome import add_to_tallies, lock, settle, tallied
from moderation.queue.schema import articles, comments, scores, versions
from moderation.queue.values import Arrived, Incoming, Intake

CHUNK = 500
"""Comments in one transaction: enough to be quick, few enough that moderators do not wait for it."""

CHUNK_CHARACTERS = 500_000
"""Characters of text in one transaction, for the same end; a longer comment has one to itself."""

_KNOWN = select(
    *(comments.c[name] for name in ("id", "name", "version", "origin", "base", "state", "waiting", "erased")),
    *(versions.c[name] for name in ("text", "model_id", "policy_id", "action", "label", "threshold", "severity")),
).join(versions, (comments.c.id == versions.c.comment_id) & (comments.c.version == versions.c.number))
"""How comments stand, and what tells whether they come again as they were."""

_chance = SystemRandom().random


@dataclass(slots=True)
class _Ready:
    """A comment made ready for a transaction: what takes long or is left to chance is done before one begins."""

    one: Incoming
    row: dict[str, Any]
    """Its row in `comments`, but for when it came in and its article's number."""
    folded: str
    """Its text for searching."""
    words: Sequence[Span] | None = None
    """What the page is to explain; None while it would have to be worked out."""

    @property
    def name(self) -> str:
        """The comment's id."""
        return self.one.comment.id

    def explain(self) -> None:
        """Work out the words, which may take long."""
        spans = self.one.spans
        self.words = spans() if callable(spans) else spans


class _Unexplained(Exception):
    """In a transaction it turned out that people will look at comments whose words nobody has asked for."""

    def __init__(self, missing: Sequence[_Ready]) -> None:
        super().__init__(f"{len(missing)} comments")
        self.missing = missing


@dataclass(frozen=True, slots=True)
class _Change:
    """What becomes of a known comment that does not come again as it was."""

    known: Row[Any]
    ready: _Ready
    edited: bool
    base: str
    origin: str


class Arrivals:
    """Takes comments into the queue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, incoming: Iterable[Incoming], *, site: str, intake: Intake | None = None) -> Arrived:
        """Put comments in, in transactions of `CHUNK`; each is kept when its transaction ended.

        Idempotent by site and comment id: what comes again unchanged changes nothing, and an edited text becomes a
        new version that people look at again if the policy flags it, or if they had rejected or escalated it. No
        transaction is open while comments are scored or explained. Raises `InputError` for a name of site or comment
        that is too long, and `StoreError`.
        """
        if not site or len(site) > LONGEST_SITE:
            raise InputError(f"site: expected a name of 1 to {LONGEST_SITE} characters, got {len(site):,}")
        totals: Counter[str] = Counter()
        for chunk in _chunks(incoming):
            totals.update(self._take(self._ready(chunk, site, intake or Intake()), site, intake or Intake()))
        return Arrived(**totals)

    def _ready(self, chunk: Sequence[Incoming], site: str, intake: Intake) -> list[_Ready]:
        """Draw, and explain what people will look at as things stand."""
        ready = [
            _Ready(
                one, _row(one, site, intake), fold_seen(one.comment.text), None if callable(one.spans) else one.spans
            )
            for one in chunk
        ]
        with self._database.read() as connection:
            self._check(connection, chunk, site)
            names = comments.c.name.in_([one.name for one in ready])
            known = {row.name: row for row in connection.execute(_KNOWN.where(comments.c.site == site, names))}
        for one in ready:
            change = _change(known[one.name], one) if one.name in known else None
            base = one.row["base"] if one.name not in known else change and change.base
            if base == "queued":
                one.explain()
        return ready

    def _take(self, ready: Sequence[_Ready], site: str, intake: Intake) -> Counter[str]:
        """Put a chunk in, in one transaction."""
        while True:
            try:
                with self._database.write() as connection:
                    return self._put(connection, ready, site, intake)
            except _Unexplained as found:  # since `_ready` looked, somebody has decided on them, or deleted them
                for one in found.missing:
                    one.explain()

    def _put(self, connection: Connection, ready: Sequence[_Ready], site: str, intake: Intake) -> Counter[str]:
        known = self._articles(connection, [one.one for one in ready], site)
        kept = [
            one.row | {"received": self._database.now(), "article_id": known.get(_article(one.one))}
            for one in ready
            if intake.keep_passed or one.row["base"] == "queued"
        ]
        statement = self._database.insert(comments).on_conflict_do_nothing(index_elements=["site", "name"])
        fresh: dict[str, int] = {}
        if kept:
            made = connection.execute(
                statement.returning(comments.c.id, comments.c.name), self._ordered(connection, kept)
            )
            fresh = {row.name: row.id for row in made}
        new = [(fresh[one.name], one) for one in ready if one.name in fresh]
        totals: Counter[str] = Counter(new=len(new), queued=sum(one.row["base"] == "queued" for _, one in new))
        if new:
            self._write(connection, new, site)
        if again := [one for one in ready if one.name not in fresh]:
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
            if one.comment.article and (address := _article(one)):
                wanted.setdefault(address, one.comment.article.title)
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

    def _write(self, connection: Connection, new: Sequence[tuple[int, _Ready]], site: str) -> None:
        """Write versions, and scores of what goes into the queue, and count it."""
        waiting = [(ref, one) for ref, one in new if one.row["base"] == "queued"]
        _need_words([one for _, one in waiting])
        connection.execute(insert(versions), [_version(ref, 1, one, self._database) for ref, one in new])
        if not waiting:
            return
        rows = [row for ref, one in waiting for row in _scores(ref, one.one, 1)]
        connection.execute(insert(scores), rows)
        change = Counter((site, row["label"], "queued") for row in rows if row["marked"])
        change[site, "", "queued"] = len(waiting)
        add_to_tallies(self._database, connection, change)

    def _again(self, connection: Connection, again: Sequence[_Ready], site: str) -> Counter[str]:
        """Take in comments that are known already, or that passed and are not kept."""
        names = comments.c.name.in_([one.name for one in again])
        numbers = list(connection.scalars(select(comments.c.id).where(comments.c.site == site, names)))
        lock(connection, numbers)
        known = {row.name: row for row in connection.execute(_KNOWN.where(comments.c.id.in_(numbers)))}
        found = [_change(known[one.name], one) for one in again if one.name in known]
        changes = [change for change in found if change]
        _need_words([change.ready for change in changes if change.base == "queued"])
        totals = Counter("edited" if change.edited else "rescored" for change in changes)
        totals["unchanged"] = len(again) - len(changes)
        if changes:
            totals["queued"] = self._apply(connection, changes)
        return totals

    def _apply(self, connection: Connection, changes: Sequence[_Change]) -> int:
        """Write changes of locked comments; return how many wait that did not before."""
        refs = [change.known.id for change in changes]
        with tallied(self._database, connection, refs):
            connection.execute(delete(scores).where(scores.c.comment_id.in_(refs)))
            for change in changes:
                self._rewrite(connection, change)
            anew = [change for change in changes if change.base == "queued" or change.known.state != "passed"]
            rows = [row for change in anew for row in _scores(change.known.id, change.ready.one, change.known.waiting)]
            if rows:
                connection.execute(insert(scores), rows)
        settle(self._database, connection, refs, keep_claims=True)
        waiting = set(connection.scalars(select(comments.c.id).where(comments.c.id.in_(refs), comments.c.waiting > 0)))
        return sum(change.known.id in waiting and not change.known.waiting for change in changes)

    def _rewrite(self, connection: Connection, change: _Change) -> None:
        """Write a new version, or what is now said of the present one, and the comment's row."""
        known, row = change.known, change.ready.row
        number = known.version + 1 if change.edited else known.version
        version = _version(known.id, number, change.ready, self._database)
        if change.edited:
            connection.execute(insert(versions), version)
        else:
            version.pop("received")
            key = versions.c.comment_id == known.id, versions.c.number == number
            connection.execute(update(versions).where(*key).values(version))
        names = ("model_id", "action", "label", "score", "severity", "uncertainty")
        values = {name: row[name] for name in names}
        values |= {"version": number, "base": change.base, "origin": change.origin}
        if change.edited:
            values |= {name: row[name] for name in ("created", "language") if row[name] is not None}
        connection.execute(update(comments).where(comments.c.id == known.id).values(values))


def _row(one: Incoming, site: str, intake: Intake) -> dict[str, Any]:
    comment = one.comment
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


def _article(one: Incoming) -> str:
    """Return the address of a comment's article, or its title, or nothing."""
    article = one.comment.article
    return (article.url or article.title or "") if article else ""


def _change(known: Row[Any], ready: _Ready) -> _Change | None:
    """Return what becomes of a known comment; None when it comes again as it was, or was erased."""
    one = ready.one
    edited = known.text != one.comment.text
    verdict = Verdict(one.comment.id, known.action, known.policy_id, known.label, known.threshold)
    same = known.model_id == one.score.model_id and one.judged_as(verdict, known.severity)
    if known.erased or (same and not edited):
        return None
    base, origin = ready.row["base"], ready.row["origin"]
    if base == "passed" and edited and known.state in ("rejected", "escalated"):
        base, origin = "queued", "request"  # a person decided, so a person looks again
    if base == "passed" and known.base == "queued" and known.origin != "policy":
        base, origin = "queued", known.origin
    return _Change(known, ready, edited, base, origin)


def _need_words(ready: Sequence[_Ready]) -> None:
    """Raise `_Unexplained` for comments whose words nobody has asked for."""
    if missing := [one for one in ready if one.words is None]:
        raise _Unexplained(missing)


def deciding(one: Incoming) -> str:
    """Return the label that decided the verdict, or the likeliest."""
    probabilities = one.score.probabilities
    if not probabilities:
        raise InputError(f"comment {one.comment.id[:40]!r}: expected at least one probability")
    return one.verdict.label or max(probabilities, key=lambda label: (probabilities[label], label))


def _version(ref: int, number: int, ready: _Ready, database: Database) -> dict[str, Any]:
    one = ready.one
    spans: dict[str, list[tuple[int, int, float]]] = {}
    for span in ready.words or one.verdict.reasons:
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
        "folded": ready.folded,
    }


def _scores(ref: int, one: Incoming, waiting: int) -> Iterator[dict[str, Any]]:
    first = deciding(one)
    for label, p in one.score.probabilities.items():
        yield {"comment_id": ref, "label": label, "score": p, "marked": label == first or p >= 0.5,
               "severity": one.severity, "waiting": waiting}  # fmt: skip


def _chunks(incoming: Iterable[Incoming]) -> Iterator[list[Incoming]]:
    """Cut into chunks in which no comment comes twice, by number and by characters."""
    chunk: dict[str, Incoming] = {}
    size = 0
    for one in incoming:
        size += len(one.comment.text)
        if one.comment.id in chunk or len(chunk) >= CHUNK or (chunk and size > CHUNK_CHARACTERS):
            yield list(chunk.values())
            chunk, size = {}, len(one.comment.text)
        chunk[one.comment.id] = one
    if chunk:
        yield list(chunk.values())
