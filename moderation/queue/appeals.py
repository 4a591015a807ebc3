"""Appeals: an author objects to a rejection, and another moderator than those who rejected decides."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from moderation.errors import Conflict, Forbidden, InputError, NotFound
from moderation.queue.database import Database
from moderation.queue.desk import LONGEST_NOTE, Desk
from moderation.queue.rows import DECIDABLE, had_a_hand
from moderation.queue.schema import appeals, comments
from moderation.queue.values import Appeal, Outcome, Ruling

_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


class Appeals:
    """Keeps appeals and who may decide on them."""

    def __init__(self, database: Database, desk: Desk) -> None:
        self._database = database
        self._desk = desk

    def open(self, site: str, comment_id: str, *, statement: str | None = None, contact: str | None = None) -> Appeal:
        """Open an appeal against the rejection of a comment, or return the one that is open already.

        Raises `NotFound` for an unknown comment, `Conflict` when it is not rejected, or waits for a person: who is to
        look at it second must not learn here what the first one decided.
        """
        for name, value in (("statement", statement), ("contact", contact)):
            if len(value or "") > LONGEST_NOTE:
                raise InputError(f"{name}: expected at most {LONGEST_NOTE} characters, got {len(value or '')}")
        with self._database.write() as connection:
            row = connection.execute(
                select(comments.c.id, comments.c.state, comments.c.waiting, comments.c.erased)
                .where(comments.c.site == site, comments.c.name == comment_id).with_for_update()
            ).one_or_none()  # fmt: skip
            if row is None:
                raise NotFound(f"no comment {comment_id[:40]!r} of this site")
            if row.waiting:
                raise Conflict(f"comment {comment_id[:40]!r} waits for a decision; an appeal can be opened after it")
            known = connection.execute(
                select(appeals).where(appeals.c.comment_id == row.id, appeals.c.state == "open")
            ).one_or_none()
            if known is not None:
                return _appeal(known)
            if row.erased is not None:  # nobody could judge it, and what the author says would never be forgotten
                raise Conflict(f"comment {comment_id[:40]!r} was erased")
            if row.state != "rejected":
                raise Conflict(f"comment {comment_id[:40]!r} is not rejected, but {row.state}")
            letters = "".join(secrets.choice(_LETTERS) for _ in range(10))
            reference = f"{letters[:5]}-{letters[5:]}"
            number = connection.execute(
                insert(appeals).returning(appeals.c.id),
                {"reference": reference, "comment_id": row.id, "opened": self._database.now(), "statement": statement,
                 "contact": contact, "state": "open"},
            ).scalar_one()  # fmt: skip
            return _appeal(_row(connection, number))

    def find(self, reference: str) -> Appeal:
        """Return an appeal by its reference, in any case and with or without the dash; raise `NotFound`."""
        plain = "".join(letter for letter in reference.upper() if letter in _LETTERS)
        with self._database.read() as connection:
            row = connection.execute(
                select(appeals).where(appeals.c.reference == f"{plain[:5]}-{plain[5:]}")
            ).one_or_none()
        if row is None:
            raise NotFound("no appeal with this reference")
        return _appeal(row)

    def get(self, ref: int) -> Appeal:
        """Return an appeal by its number; raise `NotFound`."""
        with self._database.read() as connection:
            return _appeal(_row(connection, ref))

    def waiting(self, moderator: str, *, limit: int = 100) -> list[Appeal]:
        """Return open appeals that this moderator may decide, oldest first; see `DECIDABLE`."""
        with self._database.read() as connection:
            user = self._desk._user(connection, moderator)
            rows = connection.execute(
                select(appeals).join(comments, comments.c.id == appeals.c.comment_id)
                .where(*DECIDABLE, ~had_a_hand(user.id)).order_by(appeals.c.opened, appeals.c.id).limit(limit)
            ).all()  # fmt: skip
        return [_appeal(row) for row in rows]

    def decide(self, moderator: str, ref: int, ruling: Ruling, *, key: str | None = None) -> Outcome:
        """Decide an appeal: reject upholds, approve overturns. Kept as a decision of the stage `appeal`.

        Raises `Forbidden` for a moderator who has decided on the comment before, `Conflict` when the appeal is
        decided already, or its comment waits for a person or was erased, and what `Desk.decide` raises for an
        incomplete ruling.
        """
        if ruling.act not in ("approve", "reject"):
            raise InputError(f"act: expected approve or reject for an appeal, got {str(ruling.act)[:40]!r}")
        ruling = self._desk.check(ruling)
        with self._database.write() as connection:
            now = self._database.now()
            user = self._desk._user(connection, moderator)
            comment_id = _row(connection, ref).comment_id
            row = self._desk._comment(connection, comment_id)
            if repeated := self._desk._repeated(connection, key, user.id, row, ruling, appeal_id=ref):
                return self._desk._repetition(connection, repeated, row)
            found = _row(connection, ref)
            if found.state != "open":
                raise Conflict(f"appeal {found.reference} is decided already: {found.state}")
            if connection.scalar(select(appeals.c.id).where(appeals.c.id == ref, had_a_hand(user.id))):
                raise Forbidden(f"appeal {found.reference}: another moderator than the first decides")
            if row.waiting or row.erased is not None:
                why = "was erased" if row.erased is not None else "waits for a decision first"
                raise Conflict(f"appeal {found.reference}: its comment {why}")
            state = "upheld" if ruling.act == "reject" else "overturned"
            connection.execute(update(appeals).where(appeals.c.id == ref).values(state=state, decided=now))
            return self._desk._keep(connection, row, user.id, ruling, "appeal", now, key, appeal=ref)


def _row(connection: Connection, ref: int) -> Row[Any]:
    found = connection.execute(select(appeals).where(appeals.c.id == ref)).one_or_none()
    if found is None:
        raise NotFound(f"no appeal {ref}")
    return found


def _appeal(row: Row[Any]) -> Appeal:
    return Appeal(row.id, row.reference, row.comment_id, row.opened, row.statement, row.contact, row.state, row.decided)
