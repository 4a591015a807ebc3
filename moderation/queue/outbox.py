"""Events for webhooks, written in the transaction of the decision that they tell of, so that none is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from moderation.queue.database import Database
from moderation.queue.schema import comments, decisions, outbox, users, webhooks


def announce(database: Database, connection: Connection, numbers: Sequence[int]) -> None:
    """Put an event per decision and webhook into the outbox."""
    hooks = connection.execute(
        select(webhooks.c.id, webhooks.c.site).where(webhooks.c.removed.is_(None)).order_by(webhooks.c.id)
    ).all()
    if not hooks:
        return
    rows = connection.execute(
        select(decisions, users.c.name.label("moderator"), comments.c.name, comments.c.site, comments.c.state)
        .join(users, users.c.id == decisions.c.user_id)
        .join(comments, comments.c.id == decisions.c.comment_id)
        .where(decisions.c.id.in_(list(numbers)))
        .order_by(decisions.c.id)
    ).all()
    now = database.now()
    events = [
        {"event": f"decision-{row.id}", "webhook_id": hook.id, "comment_id": row.comment_id, "body": _body(row),
         "created": now, "attempts": 0, "due": now}
        for row in rows
        for hook in hooks
        if hook.site in (None, row.site)
    ]  # fmt: skip
    if events:
        connection.execute(insert(outbox), events)


def _body(row: Any) -> dict[str, Any]:
    """Return what a webhook is told of a decision; never the text, nor the note, which is for colleagues."""
    data = {
        "site": row.site,
        "comment_id": row.name,
        "decision": row.id,
        "undoes": row.undoes,
        "act": row.act,
        "state": row.state,
        "stage": row.stage,
        "moderator": row.moderator,
        "reason": row.reason,
        "ground": row.ground,
        "clause": row.law,
        "facts": row.facts,
        "visibility": row.visibility,
        "automation": row.automation,
        "model": row.model_id,
        "policy": row.policy_id,
    }
    return {
        "type": "decision.made" if row.act != "undo" else "decision.undone",
        "timestamp": row.decided.isoformat(timespec="milliseconds"),
        "data": {name: value for name, value in data.items() if value is not None},
    }
