"""Where a comment stands, as its decisions make it; nothing else sets a comment's state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, Select, and_, bindparam, select, update

from moderation.queue.database import Database
from moderation.queue.schema import comments, decisions, scores, tallies, undoing

State = Literal["passed", "queued", "escalated", "approved", "rejected"]
"""Where a comment stands: let through by the policy, waiting for a person, or as a person left it."""

STATES: tuple[State, ...] = get_args(State)

Stage = Literal["review", "second", "senior", "revision", "appeal", "undo"]
"""In what role a decision was made; see `stage_of`."""

FINAL = ("senior", "revision", "appeal")
"""Stages whose last decision stands, whatever came before."""

AFTER: dict[str, State] = {"approve": "approved", "reject": "rejected", "escalate": "escalated"}
"""The state that an act leaves a comment in."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows from the decisions on a comment's current version."""

    state: State
    """Where it stands."""
    waiting: int
    """1: for a first look; 2: for a second person's, who does not see the first; 0: for nobody in the queue."""
    first_by: int | None
    """Who had the first look, when a second one is due or done."""


def standing(base: State, double: bool, made: Sequence[Any], *, erased: bool = False) -> Standing:
    """Return where a comment stands.

    Parameters
    ----------
    base : its state without any decision
    double : whether two people are to look at it
    made : decisions on the current version that are not undone, oldest first, with `act`, `stage` and `user_id`
    erased : whether its text was erased: then no senior can decide, and nothing is escalated
    """
    found = _standing(base, double, made)
    return replace(found, state=base) if erased and found.state == "escalated" else found


def _standing(base: State, double: bool, made: Sequence[Any]) -> Standing:
    final = [one for one in made if one.stage in FINAL]
    first = next((one for one in made if one.stage == "review"), None)
    second = next((one for one in made if one.stage == "second"), None)
    first_by = first.user_id if first else None
    if final:
        return Standing(AFTER[final[-1].act], 0, first_by)
    if first is None:
        alone = second.act if second else None  # the first look was undone: the second one now is the only one
        if alone is None:
            return Standing(base, int(base == "queued"), None)
        return Standing(AFTER[alone], 0, None)
    if second is not None and second.act != first.act:
        return Standing("escalated", 0, first_by)
    due = double and second is None and first.act != "escalate"
    return Standing(AFTER[first.act], 2 if due else 0, first_by)


def stage_of(comment: Row[Any], user_id: int) -> Stage:
    """Return in what role a user decides on a comment as it stands now."""
    if comment.state == "escalated":
        return "senior"
    if comment.waiting == 1:
        return "review"
    if comment.waiting == 2 and comment.first_by != user_id:
        return "second"
    return "revision"


_ACTIVE = (
    select(decisions.c.id, decisions.c.comment_id, decisions.c.act, decisions.c.stage, decisions.c.user_id,
           decisions.c.bulk_id, decisions.c.decided)
    .join(comments, and_(comments.c.id == decisions.c.comment_id, comments.c.version == decisions.c.version))
    .outerjoin(undoing, undoing.c.undoes == decisions.c.id)
    .where(decisions.c.comment_id.in_(bindparam("ids", expanding=True)))
    .where(decisions.c.act != "undo", undoing.c.id.is_(None))
    .order_by(decisions.c.id)
)  # fmt: skip
# Statements of every page are made once: making one costs more than the database takes for it.
_LOCK = select(comments).where(comments.c.id.in_(bindparam("ids", expanding=True)))
_LOCK = _LOCK.order_by(comments.c.id).with_for_update()


def active(connection: Connection, comment_ids: Iterable[int]) -> dict[int, list[Any]]:
    """Return, per comment, the decisions on its current version that nobody has undone, oldest first."""
    found: dict[int, list[Any]] = {}
    for row in connection.execute(_ACTIVE, {"ids": list(comment_ids)}):
        found.setdefault(row.comment_id, []).append(row)
    return found


def decided_again(made: int, counting: Iterable[Any]) -> bool:
    """Whether one after a decision has the last word; `counting` are those that `active` returns for its comment."""
    return any(one.id > made and one.stage in FINAL for one in counting)


def lock(connection: Connection, ids: Iterable[int]) -> list[Row[Any]]:
    """Return comments as they stand, locked until the transaction ends, always in the same order."""
    return list(connection.execute(_LOCK, {"ids": list(ids)}))


@dataclass(frozen=True, slots=True)
class Move:
    """A locked comment on its way to where its decisions put it."""

    row: Row[Any]
    """The comment as it was: ``id``, ``site``, ``state`` and ``waiting``."""
    to: Standing
    """Where it stands from now on."""
    in_bulk: bool
    """Whether a bulk act made the last decision."""


_STANDING: Select[Any] = select(
    comments.c.id,
    comments.c.site,
    comments.c.state,
    comments.c.waiting,
    comments.c.base,
    comments.c.double,
    comments.c.erased,
).where(comments.c.id.in_(bindparam("ids", expanding=True)))
_MOVED: dict[str, Any] = {name: bindparam(name) for name in ("state", "waiting", "first_by", "in_bulk")}
_MOVE = update(comments).where(comments.c.id == bindparam("pk")).values(_MOVED)
_MOVE_AND_RELEASE = _MOVE.values(claimed_by=None, claimed_until=None)
_MARKED = select(scores.c.comment_id, scores.c.label).where(
    scores.c.marked, scores.c.comment_id.in_(bindparam("ids", expanding=True))
)
_WAITING = (
    update(scores)
    .where(scores.c.comment_id.in_(bindparam("ids", expanding=True)), scores.c.waiting != bindparam("to"))
    .values(waiting=bindparam("to"))
)


def settle(database: Database, connection: Connection, ids: Sequence[int], *, keep_claims: bool = False) -> None:
    """Bring locked comments to where their decisions put them, with their scores and the tallies."""
    made = active(connection, ids)
    moves = []
    for row in connection.execute(_STANDING, {"ids": ids}):
        decided = made.get(row.id, [])
        in_bulk = bool(decided) and decided[-1].bulk_id is not None
        to = standing(row.base, row.double, decided, erased=row.erased is not None)
        moves.append(Move(row, to, in_bulk))
    move(database, connection, moves, keep_claims=keep_claims)


def move(database: Database, connection: Connection, moves: Sequence[Move], *, keep_claims: bool = False) -> None:
    """Write where locked comments stand now, with their scores and the tallies in step; claims end."""
    if not moves:
        return
    marked: dict[int, list[str]] = {}
    for number, label in connection.execute(_MARKED, {"ids": [one.row.id for one in moves]}):
        marked.setdefault(number, []).append(label)
    change: Counter[tuple[str, str, str]] = Counter()
    for one in moves:
        names = ("", *marked.get(one.row.id, ()))
        for place, by in ((place_of(one.row.state, one.row.waiting), -1), (place_of(one.to.state, one.to.waiting), 1)):
            if place is not None:
                change.update({(one.row.site, name, place): by for name in names})
    connection.execute(
        _MOVE if keep_claims else _MOVE_AND_RELEASE,
        [
            {"pk": one.row.id, "state": one.to.state, "waiting": one.to.waiting, "first_by": one.to.first_by,
             "in_bulk": one.in_bulk}
            for one in moves
        ],
    )  # fmt: skip
    for waiting in (0, 1, 2):
        if some := [one.row.id for one in moves if one.to.waiting == waiting]:
            connection.execute(_WAITING, {"ids": some, "to": waiting})
    add_to_tallies(database, connection, change)


@contextmanager
def tallied(database: Database, connection: Connection, ids: Sequence[int]) -> Iterator[None]:
    """Keep the tallies in step with what happens to locked comments inside the block."""
    change = count(connection, ids, -1)
    yield
    change.update(count(connection, ids, 1))
    add_to_tallies(database, connection, change)


def place_of(state: str, waiting: int) -> str | None:
    """Return under which name a comment is tallied; None for one that nobody has to look at."""
    if waiting:
        return "queued" if waiting == 1 else "second"
    return "escalated" if state == "escalated" else None


def count(connection: Connection, ids: Sequence[int], by: int) -> Counter[tuple[str, str, str]]:
    """Return what comments add to the tallies: one per comment under no label, and one per marked label."""
    rows = connection.execute(
        select(comments.c.id, comments.c.site, comments.c.state, comments.c.waiting, scores.c.label)
        .outerjoin(scores, and_(scores.c.comment_id == comments.c.id, scores.c.marked))
        .where(comments.c.id.in_(ids))
    )
    found: Counter[tuple[str, str, str]] = Counter()
    seen: set[int] = set()
    for number, site, state, waiting, label in rows:
        if place := place_of(state, waiting):
            if label is not None:
                found[site, label, place] += by
            if number not in seen:
                found[site, "", place] += by
                seen.add(number)
    return found


def add_to_tallies(database: Database, connection: Connection, change: Counter[tuple[str, str, str]]) -> None:
    """Add to the tallies, all at the end of the transaction and in one order, so that no two wait for each other."""
    database.at_end(connection, _write_tallies).update(change)


def _write_tallies(database: Database, connection: Connection, change: Counter[tuple[str, str, str]]) -> None:
    rows = [
        {"site": site, "label": label, "place": place, "n": n}
        for (site, label, place), n in sorted(change.items())
        if n
    ]
    if rows:
        statement = database.insert(tallies)
        statement = statement.on_conflict_do_update(
            index_elements=["site", "label", "place"], set_={"n": tallies.c.n + statement.excluded.n}
        )
        connection.execute(statement, rows)
