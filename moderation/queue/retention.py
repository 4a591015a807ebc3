"""Forgetting: texts and authors go, the trail of decisions stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    true,
    type_coerce,
    update,
)

from moderation.errors import ErasureUnfinished, InputError
from moderation.queue.audit import note
from moderation.queue.database import Database
from moderation.queue.outcome import lock, settle, tallied
from moderation.queue.schema import appeals, bulks, comments, decisions, outbox, scores, skips, versions, webhooks

ERASED = "(erased)"
"""What stands in the filter of a bulk act for an author or words that were forgotten."""

TELLING = ("author", "words")
"""Conditions of a filter that tell of people."""

CHUNK = 500
"""Comments in one transaction, so that moderators do not wait for it."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten."""

    erased: int = 0
    """Comments whose text and author were erased; their decisions stay."""
    deleted: int = 0
    """Comments that were deleted whole: nobody had decided on them."""


class Retention:
    """Erases by age or by author. What is gone is gone: there is no undo."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def purge(
        self, older_than: timedelta, *, passed_older_than: timedelta | None = None, waiting: bool = False
    ) -> Forgotten:
        """Forget decided comments whose last decision, and passed ones that came in, longer ago than an age.

        Parameters
        ----------
        older_than : age of the last decision
        passed_older_than : age of comments that the policy let through; default: `older_than`
        waiting : forget comments that still wait for a person, too, by the time they came in

        Comments with an open appeal stay. Webhook events of that age that were delivered, or will never be, go, too,
        and so do authors' names and words in the filters of bulk acts. Raises `InputError` for a negative age, and
        `ErasureUnfinished` when all this is done but SQLite's log could not be emptied of it; the next run tries again.
        """
        for age in (older_than, passed_older_than):
            if age is not None and age < timedelta(0):
                raise InputError("older_than: expected an age of 0 days or more")
        now = self._database.now()
        before, passed = now - older_than, now - (older_than if passed_older_than is None else passed_older_than)
        recent = exists().where(decisions.c.comment_id == comments.c.id, decisions.c.decided >= before)
        appealed = exists().where(appeals.c.comment_id == comments.c.id, appeals.c.state == "open")
        decided = and_(
            comments.c.state.in_(("approved", "rejected")),
            comments.c.received < before,
            comments.c.waiting == 0,
            ~recent,
        )
        old = [decided, and_(comments.c.state == "passed", comments.c.received < passed)]
        if waiting:
            unsettled = or_(comments.c.waiting > 0, comments.c.state == "escalated")
            old.append(and_(unsettled, comments.c.received < before, ~recent))
        found = self._forget([or_(*old), ~appealed], "purged", f"older than {older_than.days} days")
        with self._database.write() as connection:
            removed = select(webhooks.c.id).where(webhooks.c.removed.is_not(None))
            untold = and_(outbox.c.created < before, outbox.c.webhook_id.in_(removed))
            connection.execute(delete(outbox).where(or_(outbox.c.delivered < before, untold)))
            _blank_filters(connection, bulks.c.made < before)
        return self._wipe(found)

    def erase(self, site: str, author: str) -> Forgotten:
        """Forget all comments of an author on a site, wherever they stand; those that wait leave the queue.

        Raises `ErasureUnfinished` when this is done but SQLite's log could not be emptied of it; do it again then.
        """
        found = self._forget([comments.c.site == site, comments.c.author == author], "erased", f"an author of {site}")
        with self._database.write() as connection:
            _blank_filters(
                connection, true(), lambda chosen: chosen.get("author") == author and chosen.get("site") in (None, site)
            )
        return self._wipe(found)

    def _forget(self, where: Sequence[ColumnElement[bool]], kind: str, detail: str) -> Forgotten:
        erased = deleted = last = 0
        where = [*where, comments.c.erased.is_(None)]
        while True:
            with self._database.write() as connection:
                query = select(comments.c.id).where(*where, comments.c.id > last).order_by(comments.c.id).limit(CHUNK)
                some = list(connection.scalars(query))
                if not some:
                    note(self._database, connection, kind, detail=f"{detail}: {erased} erased, {deleted} deleted")
                    break
                lock(connection, some)
                # PostgreSQL may have waited for somebody who edited one, or opened an appeal: what now is so counts.
                still = list(connection.scalars(select(comments.c.id).where(*where, comments.c.id.in_(some))))
                kept = self._with_trail(connection, still)
                self._erase(connection, kept)
                self._delete(connection, [ref for ref in still if ref not in kept])
            erased, deleted, last = erased + len(kept), deleted + len(still) - len(kept), some[-1]
        return Forgotten(erased, deleted)

    def _wipe(self, found: Forgotten) -> Forgotten:
        """Empty SQLite's log, in which erased texts linger (see `secure_delete`); raise `ErasureUnfinished`."""
        if self._database.empty_log():
            return found
        raise ErasureUnfinished(
            f"{self._database.name}: {found.erased:,} comments erased and {found.deleted:,} deleted, but the log "
            "beside the file still holds their texts, because somebody reads; run it again when nobody does"
        )

    def _with_trail(self, connection: Connection, refs: Sequence[int]) -> set[int]:
        """Return those comments that somebody decided on."""
        found = set(
            connection.scalars(select(decisions.c.comment_id).where(decisions.c.comment_id.in_(refs)).distinct())
        )
        return found | set(connection.scalars(select(appeals.c.comment_id).where(appeals.c.comment_id.in_(refs))))

    def _erase(self, connection: Connection, chosen: set[int]) -> None:
        refs = sorted(chosen)
        if not refs:
            return
        # Words that a bulk act looked for may be the erased comment's own.
        acts = select(decisions.c.bulk_id).where(decisions.c.comment_id.in_(refs), decisions.c.bulk_id.is_not(None))
        _blank_filters(connection, bulks.c.id.in_(acts), names=("words",))
        connection.execute(update(versions).where(versions.c.comment_id.in_(refs)).values(text="", folded="", spans={}))
        words = (decisions.c.note, decisions.c.facts, decisions.c.law)
        written = or_(*(column.is_not(None) for column in words))
        blank = dict.fromkeys(column.name for column in words)
        connection.execute(update(decisions).where(decisions.c.comment_id.in_(refs), written).values(blank))
        connection.execute(update(appeals).where(appeals.c.comment_id.in_(refs)).values(statement=None, contact=None))
        for number, body in connection.execute(
            select(outbox.c.id, outbox.c.body).where(outbox.c.comment_id.in_(refs))
        ).all():
            for name in ("facts", "clause"):
                body["data"].pop(name, None)
            connection.execute(update(outbox).where(outbox.c.id == number).values(body=body))
        with tallied(self._database, connection, refs):
            connection.execute(
                update(comments).where(comments.c.id.in_(refs))
                .values(author=None, place=None, erased=self._database.now(), base="passed", double=False)
            )  # fmt: skip
        settle(self._database, connection, refs)

    def _delete(self, connection: Connection, refs: Sequence[int]) -> None:
        if not refs:
            return
        with tallied(self._database, connection, refs):
            for table in (scores, skips, versions):
                connection.execute(delete(table).where(table.c.comment_id.in_(refs)))
            connection.execute(delete(comments).where(comments.c.id.in_(refs)))

    def oldest(self) -> timedelta | None:
        """Return the age of the oldest comment whose text is still kept; None when there is none."""
        with self._database.read() as connection:
            found = connection.scalar(select(func.min(comments.c.received)).where(comments.c.erased.is_(None)))
        return None if found is None else self._database.now() - found


def _blank_filters(
    connection: Connection,
    where: ColumnElement[bool],
    wanted: Callable[[dict[str, Any]], bool] = lambda chosen: True,
    names: Sequence[str] = TELLING,
) -> None:
    """Blank what tells of people in the filters of bulk acts; that it was asked for stays to be seen."""
    written = type_coerce(bulks.c.filter, Text)
    named = or_(*(written.like(f'%"{name}":%') for name in names))
    for number, chosen in connection.execute(select(bulks.c.id, bulks.c.filter).where(where, named)).all():
        if wanted(chosen):
            blank = {name: ERASED for name in names if name in chosen}
            connection.execute(update(bulks).where(bulks.c.id == number).values(filter=chosen | blank))
