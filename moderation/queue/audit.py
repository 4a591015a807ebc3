"""The audit: who signed in, what was refused, and what was done to accounts, tokens and kept texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, or_, select

from moderation.queue.database import Database
from moderation.queue.schema import audit, users

KINDS = (
    *("signed_in", "signed_out", "sign_in_failed", "forbidden"),
    *("user_added", "role_changed", "password_changed", "user_disabled", "user_enabled", "token_made", "token_revoked"),
    *("exported", "erased", "purged"),
)
"""What can happen, as lines of the audit call it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the audit."""

    ref: int
    """Its number; later lines have higher ones."""
    at: datetime
    """When."""
    kind: str
    """What happened: one of `KINDS`."""
    user: str | None
    """Who did it, where known."""
    address: str | None
    """From which network address, where known."""
    detail: str | None
    """What it was about; never a comment's text nor a password."""


def note(
    database: Database,
    connection: Connection,
    kind: str,
    *,
    user_id: int | None = None,
    address: str | None = None,
    detail: str | None = None,
) -> None:
    """Add a line to the audit in a transaction that is open."""
    values = {"at": database.now(), "kind": kind[:40], "user_id": user_id, "address": address and address[:100],
              "detail": detail and detail[:500]}  # fmt: skip
    connection.execute(insert(audit), values)


def lines(
    connection: Connection,
    *,
    kind: str | None = None,
    name: str | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int = 200,
) -> list[Line]:
    """Return lines of the audit, latest first; see `People.audit`."""
    query = select(audit, users.c.name).outerjoin(users, users.c.id == audit.c.user_id)
    if kind is not None:
        query = query.where(audit.c.kind == kind)
    if name is not None:  # details about an account begin with its name
        about = (audit.c.detail.startswith(f"{name}{end}", autoescape=True) for end in (" ", ": "))
        query = query.where(or_(users.c.name == name, audit.c.detail == name, *about))
    if before is not None:
        query = query.where(audit.c.id < before)
    if after is not None:
        query = query.where(audit.c.id > after)
    rows = connection.execute(query.order_by(audit.c.id if after is not None else audit.c.id.desc()).limit(limit))
    found = [Line(row.id, row.at, row.kind, row.name, row.address, row.detail) for row in rows]
    return sorted(found, key=lambda line: -line.ref)
