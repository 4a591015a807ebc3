"""Decisions leave the queue: as labels for training, as a table, as statements of reasons."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import aliased

from moderation.formats.cells import safe_cell
from moderation.queue.database import Database
from moderation.queue.outcome import AFTER
from moderation.queue.reasons import Reason
from moderation.queue.rows import past
from moderation.queue.schema import comments, decisions, undoing, users, versions
from moderation.queue.statements import EEA, statement

CLEAN = {"incitement": 0, "abuse": 0, "threat": 0, "insult": 0, "identity_attack": 0, "severe_abuse": 0}
"""What an approval teaches. Profanity and lewdness stay unknown: many a site lets them pass."""

CHUNK = 1_000
"""Decisions read at once."""


class Exports:
    """Streams decisions, oldest first; each call reads the database a chunk at a time.

    `since` takes in decisions from that time on, `site` those of one site. Decisions that were undone, and those that
    another decision has replaced, are left out: what comes is where each comment stands. So is the first decision on a
    text that a second person has yet to look at, who may read exports, too; it comes once both are there.
    """

    def __init__(self, database: Database, reasons: Mapping[str, Reason], territory: tuple[str, ...] = EEA) -> None:
        self._database = database
        self._reasons = reasons
        self._territory = territory

    def records(self, *, since: datetime | None = None, site: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield one record per decided comment: its text, who decided what, and the labels that follow.

        A label is 1 or 0 under its own name, as ``python -m training evaluate`` reads it; what a decision does not tell
        is left out. Comments whose text was erased, escalated ones, and those on which two people disagree have none.
        """
        for row in self._rows(since, site):
            made = past(row)
            record: dict[str, Any] = {"id": row.name, "site": row.site, "text": row.text}
            record |= {name: value for name, value in (("parent_id", row.parent), ("language", row.language)) if value}
            if row.erased is None and (row.version != row.current or row.state == AFTER[row.act]):
                record |= self.labels(made.decision.act, made.decision.reason)
            decision = made.decision.to_json() | {"number": made.ref, "stage": made.stage, "sampled": made.sampled}
            if made.bulk is not None:
                decision["bulk"] = made.bulk
            yield record | {"decision": decision}

    def labels(self, act: str, reason: str | None) -> dict[str, int]:
        """Return the labels that a decision tells: those of its reason, or, for an approval, that none applies."""
        if act == "approve":
            return dict(CLEAN)
        known = self._reasons.get(reason or "") if act == "reject" else None
        return dict(known.labels) if known else {}

    def jsonl(self, *, since: datetime | None = None, site: str | None = None) -> Iterator[bytes]:
        """Yield `records` as JSON lines."""
        for record in self.records(since=since, site=site):
            yield _line(record)

    def csv(self, *, since: datetime | None = None, site: str | None = None) -> Iterator[bytes]:
        """Yield `records` as CSV. No cell can be taken for a formula: such a one has an apostrophe before it."""
        labels = sorted({*CLEAN, *(label for reason in self._reasons.values() for label in reason.labels)})
        own = ("comment_id", "moderator", "act", "decided", "reason", "note", "model_id", "policy_id", "automation",
               "number", "stage", "sampled", "bulk")  # fmt: skip
        columns = ["id", "site", "parent_id", "language", "text", *labels, *own[1:]]
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        for record in self.records(since=since, site=site):
            flat = record | record["decision"]
            writer.writerow({name: safe_cell(flat[name]) for name in columns if name in flat})
            yield _taken(buffer)
        if rest := _taken(buffer):
            yield rest

    def statements(self, *, since: datetime | None = None, site: str | None = None) -> Iterator[bytes]:
        """Yield a statement of reasons per rejection as JSON lines.

        Fields and values are those of the API of the DSA Transparency Database, which asks for what article 17(3) of
        the Digital Services Act asks for; `puid` is unique to the decision.
        """
        for row in self._rows(since, site):
            # The first of two judgements that do not agree removes nothing.
            if row.act == "reject" and (row.version != row.current or row.state == "rejected"):
                yield _line(statement(row, self._reasons.get(row.reason or ""), self._territory))

    def _rows(self, since: datetime | None, site: str | None) -> Iterator[Any]:
        """Yield the decision on which each comment's standing rests, a chunk of decisions at a time."""
        later, gone = aliased(decisions), aliased(decisions)
        replaced = (
            select(later.c.id)
            .outerjoin(gone, gone.c.undoes == later.c.id)
            .where(later.c.comment_id == decisions.c.comment_id, later.c.version == decisions.c.version)
            .where(later.c.id > decisions.c.id, later.c.act != "undo", gone.c.id.is_(None))
            .exists()
        )
        read_on = and_(versions.c.comment_id == decisions.c.comment_id, versions.c.number == decisions.c.version)
        read = (
            select(decisions, users.c.name.label("moderator"), comments.c.name, comments.c.site, comments.c.parent,
                   comments.c.language, comments.c.created, comments.c.erased, comments.c.state, comments.c.received,
                   comments.c.version.label("current"), versions.c.text,
                   undoing.c.id.label("gone"))
            .join(users, users.c.id == decisions.c.user_id)
            .join(comments, comments.c.id == decisions.c.comment_id)
            .join(versions, read_on)
            .outerjoin(undoing, undoing.c.undoes == decisions.c.id)
            .where(decisions.c.act != "undo", undoing.c.id.is_(None), ~replaced)
            .where(or_(comments.c.waiting != 2, decisions.c.version != comments.c.version))
            .order_by(decisions.c.id)
            .limit(CHUNK)
        )  # fmt: skip
        if since is not None:
            read = read.where(decisions.c.decided >= since)
        if site is not None:
            read = read.where(comments.c.site == site)
        last = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(read.where(decisions.c.id > last)).all()
            yield from rows
            if len(rows) < CHUNK:
                return
            last = rows[-1].id

    def size(self) -> int:
        """Return how many decisions there are, undone ones included."""
        with self._database.read() as connection:
            return connection.scalar(select(func.count()).select_from(decisions)) or 0


def _line(record: dict[str, Any]) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot hold, is written as an escape
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _taken(buffer: io.StringIO) -> bytes:
    taken = buffer.getvalue().encode("utf-8", "backslashreplace")
    buffer.seek(0)
    buffer.truncate()
    return taken
