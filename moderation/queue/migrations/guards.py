"""Triggers that let the database itself refuse to change or delete a decision.

Erasure may blank what is free text (`FREE_TEXT`); nothing else of a decision can be altered, by any program.
"""

from __future__ import annotations

from typing import Any

FREE_TEXT = ("note", "facts", "law")
"""Columns that may be set to NULL."""

KEPT = (
    *("id", "comment_id", "version", "user_id", "act", "stage", "decided", "undoes", "bulk_id", "appeal_id", "key"),
    *("before", "after", "reason", "ground", "visibility", "model_id", "policy_id", "action", "label"),
    *("severity", "probabilities", "automation", "sampled"),
)
"""Columns that never change."""

MESSAGE = "decisions are added, never changed"


def guard_decisions(op: Any) -> None:
    """Make the triggers; `op` is Alembic's."""
    if op.get_bind().dialect.name == "sqlite":
        same = " AND ".join(f'NEW."{name}" IS OLD."{name}"' for name in KEPT)
        blank = " AND ".join(f'(NEW."{name}" IS NULL OR NEW."{name}" IS OLD."{name}")' for name in FREE_TEXT)
        op.execute(
            f"CREATE TRIGGER decisions_unchanged BEFORE UPDATE ON decisions WHEN NOT ({same} AND {blank}) "
            f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
        op.execute(
            f"CREATE TRIGGER decisions_undeleted BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
        )
        return
    same = " AND ".join(f'NEW."{name}" IS NOT DISTINCT FROM OLD."{name}"' for name in KEPT)
    blank = " AND ".join(
        f'(NEW."{name}" IS NULL OR NEW."{name}" IS NOT DISTINCT FROM OLD."{name}")' for name in FREE_TEXT
    )
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'UPDATE' THEN IF {same} AND {blank} THEN RETURN NEW; END IF; END IF; "
        f"RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER decisions_unchanged BEFORE UPDATE OR DELETE ON decisions "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER decisions_uncut BEFORE TRUNCATE ON decisions "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def unguard_decisions(op: Any) -> None:
    """Take the triggers away, before a migration that makes them anew."""
    if op.get_bind().dialect.name == "sqlite":
        for name in ("decisions_unchanged", "decisions_undeleted"):
            op.execute(f"DROP TRIGGER {name}")
        return
    for name in ("decisions_unchanged", "decisions_uncut"):
        op.execute(f"DROP TRIGGER {name} ON decisions")
    op.execute("DROP FUNCTION refuse_change()")
