"""What must always hold in a store, counted anew from the tables."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import select

from moderation.queue import Store
from moderation.queue.folding import fold_seen
from moderation.queue.outcome import active, place_of, standing
from moderation.queue.schema import comments, scores, tallies, versions


def check(store: Store) -> None:
    """States follow from decisions, scores and tallies from states, folded texts from texts."""
    with store.database.read() as connection:
        for row in connection.execute(select(versions.c.text, versions.c.folded)):
            assert row.folded == fold_seen(row.text)
        rows = connection.execute(select(comments)).all()
        made = active(connection, [row.id for row in rows])
        marked: dict[int, set[str]] = {}
        for row in connection.execute(select(scores)):
            marked.setdefault(row.comment_id, set()).update({row.label} if row.marked else ())
            assert row.waiting == next(one.waiting for one in rows if one.id == row.comment_id)
        expected: Counter[tuple[str, str, str]] = Counter()
        for row in rows:
            found = standing(row.base, row.double, made.get(row.id, []), erased=row.erased is not None)
            assert row.erased is None or found.state != "escalated"
            assert (row.state, row.waiting, row.first_by) == (found.state, found.waiting, found.first_by)
            place = place_of(row.state, row.waiting)
            if place:
                expected.update((row.site, label, place) for label in {"", *marked.get(row.id, ())})
        kept = {(row.site, row.label, row.place): row.n for row in connection.execute(select(tallies)) if row.n}
    assert kept == dict(expected)
