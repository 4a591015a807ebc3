"""What moderators do: take a comment, decide, undo. Two never have the same one, and nothing they did is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from random import SystemRandom
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, case, delete, func, insert, or_, select, update

from moderation.errors import (
    AlreadyDecided,
    ClaimTaken,
    CommentChanged,
    Conflict,
    Forbidden,
    InputError,
    KeyReused,
    NotFound,
)
from moderation.queue.database import Database
from moderation.queue.listing import Listing, item
from moderation.queue.outbox import announce
from moderation.queue.outcome import Move, Stage, active, decided_again, lock, move, stage_of, standing
from moderation.queue.reasons import GROUNDS, LONGEST, VISIBILITIES, Reason
from moderation.queue.rows import SAMPLED, filtered, open_to, order_by, pasts
from moderation.queue.schema import comments, decisions, skips, users, versions
from moderation.queue.values import Filter, Item, Order, Outcome, Ruling

CLAIM = timedelta(minutes=5)
"""How long a comment is kept for the moderator who has it before them, from when they last took it up."""

MIX = 0.05
"""How often a moderator is given a comment of the random sample, which by severity would come last."""

SKIP = timedelta(hours=8)
"""How long a skipped comment is not given to the same moderator again: a shift."""

LONGEST_NOTE = 10_000
"""Characters of a note."""

_chance = SystemRandom().random

SENIOR = ("senior", "admin")
"""Roles that decide on escalated comments and revise others' decisions."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A decision that is about to be kept, as `standing` reads it."""

    act: str
    stage: str
    user_id: int
    bulk_id: int | None = None


_ACCOUNT = select(users.c.id, users.c.name, users.c.role).where(
    users.c.name == bindparam("name"), users.c.disabled.is_(False)
)
_OWN = select(comments.c.id).where(comments.c.claimed_by == bindparam("user"))
_GIVE_BACK = (
    update(comments)
    .where(comments.c.claimed_by == bindparam("user"), comments.c.id.not_in(bindparam("but", expanding=True)))
    .values(claimed_by=None, claimed_until=None)
)
_TAKE = (
    update(comments)
    .where(comments.c.id.in_(bindparam("refs", expanding=True)))
    .values(claimed_by=bindparam("user"), claimed_until=bindparam("until"))
)
_EXPOSURE = select(
    func.count().label("whole"), func.sum(case((decisions.c.severity >= bindparam("severe"), 1), else_=0)).label("hard")
).where(
    decisions.c.user_id == bindparam("user"),
    decisions.c.decided >= bindparam("since"),
    decisions.c.act != "undo",
    decisions.c.bulk_id.is_(None),
)
_SCORED = (
    select(
        versions.c.comment_id, versions.c.model_id, versions.c.policy_id, versions.c.action,
        versions.c.label, versions.c.severity, versions.c.probabilities,
    )
    .join(comments, and_(comments.c.id == versions.c.comment_id, comments.c.version == versions.c.number))
    .where(comments.c.id.in_(bindparam("ids", expanding=True)))
)  # fmt: skip
_KEEP = insert(decisions).returning(decisions.c.id)
_KEPT = select(decisions).where(decisions.c.key == bindparam("key"))
_RULED = ("act", "reason", "note", "ground", "law", "facts", "visibility", "automation")
_FREE = ("note", "law", "facts")


class Desk:
    """Gives comments to moderators and keeps what they decide."""

    def __init__(self, database: Database, listing: Listing, reasons: dict[str, Reason], mix: float) -> None:
        self._database = database
        self._listing = listing
        self._reasons = reasons
        self._mix = mix

    def claim(
        self,
        moderator: str,
        chosen: Filter | None = None,
        *,
        order: Order = "severity",
        hold: int = 1,
        first: int | None = None,
    ) -> list[Item]:
        """Return up to `hold` comments that only this moderator has, with all that surrounds them; see `hold`."""
        refs = self.hold(moderator, chosen, order=order, most=hold, first=first)
        return self._listing.items(refs, moderator)

    def hold(
        self,
        moderator: str,
        chosen: Filter | None = None,
        *,
        order: Order = "severity",
        most: int = 1,
        first: int | None = None,
    ) -> list[int]:
        """Claim up to `most` comments for this moderator alone; return their numbers, first those to look at first.

        Those that the moderator holds already and that still fit the filter come again, with their time renewed;
        those that do not fit are given back. The comment `first` comes before all, if it fits and nobody else has it:
        so a moderator comes back to it. No two moderators hold the same comment: on PostgreSQL locked rows are
        passed over, on SQLite one transaction claims at a time.
        """
        chosen = chosen or Filter()
        if chosen.state != "waiting":
            raise InputError(f"state: only waiting comments can be claimed, got {chosen.state!r}")
        if not 1 <= most <= 50:
            raise InputError(f"hold: expected 1 to 50 comments, got {most}")
        with self._database.write(durable=False) as connection:
            now = self._database.now()
            user = self._user(connection, moderator)
            if not self._database.is_sqlite:  # own ones are waited for, not passed over, when they are scored anew
                lock(connection, connection.scalars(_OWN, {"user": user.id}))

            def some(whose: str, order: Order, most: int, but: Sequence[int] = ()) -> list[int]:
                asked = {"user": user.id, "now": now, "most": most, "but": list(but), "first": first}
                return list(connection.scalars(_takeable(chosen, order, whose), asked)) if most else []

            named = some("named", order, 1) if first is not None else []
            kept = (named + [ref for ref in some("mine", order, most) if ref not in named])[:most]
            drawn = sum(_chance() < self._mix for _ in range(most - len(kept)))
            mixed = [ref for ref in some("sampled", "oldest", drawn) if ref not in named]
            got = kept + mixed
            got += some("free", order, most - len(got), named + mixed)
            connection.execute(_GIVE_BACK, {"user": user.id, "but": got})
            if got:
                connection.execute(_TAKE, {"user": user.id, "refs": got, "until": now + CLAIM})
        return got

    def take(self, moderator: str, ref: int) -> Item:
        """Claim one comment by its number, as when it is opened from a list.

        Raises `NotFound`; `ClaimTaken` when another moderator has it. A comment that this moderator could not decide
        on, for it is decided, or waits for a senior or for a second person than them, comes back unclaimed.
        """
        with self._database.write(durable=False) as connection:
            now = self._database.now()
            user = self._user(connection, moderator)
            row = self._comment(connection, ref)
            self._check_claim(connection, row, user.id, now)
            stage = stage_of(row, user.id)
            if stage in ("review", "second") or (stage == "senior" and user.role in SENIOR):
                connection.execute(
                    update(comments).where(comments.c.id == ref).values(claimed_by=user.id, claimed_until=now + CLAIM)
                )
            return item(connection, ref, now, user.id, blind=self._listing.blind)

    def renew(self, moderator: str, refs: Sequence[int]) -> list[int]:
        """Prolong claims; return those that the moderator still holds (also expired ones that nobody took)."""
        with self._database.write(durable=False) as connection:
            user = self._user(connection, moderator)
            held = comments.c.id.in_(list(refs)), comments.c.claimed_by == user.id
            connection.execute(update(comments).where(*held).values(claimed_until=self._database.now() + CLAIM))
            return list(connection.scalars(select(comments.c.id).where(*held).order_by(comments.c.id)))

    def release(self, moderator: str, refs: Sequence[int] | None = None, *, but: Sequence[int] = ()) -> int:
        """Give back claimed comments, or all of them (None), as when signing out, `but` some; return how many."""
        with self._database.write(durable=False) as connection:
            user = self._user(connection, moderator)
            held = [comments.c.claimed_by == user.id, comments.c.id.not_in(list(but))]
            if refs is not None:
                held.append(comments.c.id.in_(list(refs)))
            done = connection.execute(update(comments).where(*held).values(claimed_by=None, claimed_until=None))
            return int(done.rowcount)

    def skip(self, moderator: str, ref: int) -> None:
        """Give a comment back undecided and do not get it again this shift; that is no decision."""
        with self._database.write() as connection:
            now = self._database.now()
            user = self._user(connection, moderator)
            self._comment(connection, ref)
            statement = self._database.insert(skips).on_conflict_do_update(
                index_elements=["user_id", "comment_id"], set_={"until": now + SKIP}
            )
            connection.execute(statement, {"user_id": user.id, "comment_id": ref, "until": now + SKIP})
            held = comments.c.id == ref, comments.c.claimed_by == user.id
            connection.execute(update(comments).where(*held).values(claimed_by=None, claimed_until=None))

    def unskip(self, moderator: str, chosen: Filter | None = None) -> int:
        """Let a moderator be given again what they skipped, of a filter or all; return how many comments that are."""
        wanted = filtered(select(comments.c.id), chosen or Filter())
        with self._database.write() as connection:
            own = skips.c.user_id == self._user(connection, moderator).id, skips.c.comment_id.in_(wanted)
            return int(connection.execute(delete(skips).where(*own, skips.c.until > self._database.now())).rowcount)

    def decide(
        self,
        moderator: str,
        ref: int,
        ruling: Ruling,
        *,
        key: str | None = None,
        version: int | None = None,
        revise: bool = False,
    ) -> Outcome:
        """Keep a decision; when this returns, it is on disk.

        Parameters
        ----------
        key : names the request: the same key again gives the first outcome and has no second effect
        version : the version of the text that was read (`Item.version.number`)
        revise : decide anew on what is decided: one's own decision, or, as a senior, anybody's; not on what an appeal
            settled

        Raises, without effect: `InputError` for an incomplete ruling, `NotFound`, `ClaimTaken` when another moderator
        has the comment before them, `AlreadyDecided` when somebody was faster, `Conflict` when it was erased or an
        appeal settled it, `CommentChanged` when the text was edited since it was read, `KeyReused` when the key stood
        for another request, `Forbidden` when the role does not allow it.
        """
        ruling = self.check(ruling)
        with self._database.write() as connection:
            now = self._database.now()
            user = self._user(connection, moderator)
            row = self._comment(connection, ref)
            if repeated := self._repeated(connection, key, user.id, row, ruling):
                return self._repetition(connection, repeated, row)
            if row.erased is not None:  # nobody can judge it, and what is written of it would never be forgotten
                raise Conflict(f"comment {ref} was erased")
            self._check_claim(connection, row, user.id, now)
            if version is not None and version != row.version:
                raise CommentChanged(f"comment {ref} was edited: version {row.version} is new, {version} was read")
            stage = self._stage(connection, row, user, revise)
            return self._keep(connection, row, user.id, ruling, stage, now, key)

    def undo(self, moderator: str, decision: int, *, key: str | None = None) -> Outcome:
        """Take back one of one's own decisions: a row is added, and the comment stands as if it had not been made.

        Raises `NotFound`; `Forbidden` for another's decision; `Conflict` when it is undone already, or when somebody
        has decided on the comment after it.
        """
        with self._database.write() as connection:
            now = self._database.now()
            user = self._user(connection, moderator)
            made = connection.execute(select(decisions).where(decisions.c.id == decision)).one_or_none()
            if made is None or made.act == "undo":
                raise NotFound(f"no decision {decision} that could be undone")
            row = self._comment(connection, made.comment_id)
            if repeated := self._repeated(connection, key, user.id, row, Ruling("undo"), undoes=decision):
                return self._repetition(connection, repeated, row)
            if made.user_id != user.id:
                raise Forbidden(f"decision {decision} is another moderator's; only one's own can be undone")
            self._check_undo(connection, made, row)
            return self._keep(connection, row, user.id, Ruling("undo"), "undo", now, key, undoes=made)

    def check(self, ruling: Ruling) -> Ruling:
        """Return a ruling with what its reason says filled in; raise `InputError` when something is missing."""
        if ruling.act not in ("approve", "reject", "escalate"):
            raise InputError(f"act: expected approve, reject or escalate, got {str(ruling.act)[:40]!r}")
        for name, most in (("note", LONGEST_NOTE), ("law", LONGEST["clause"]), ("facts", LONGEST["facts"])):
            if len(getattr(ruling, name) or "") > most:
                raise InputError(f"{name}: expected at most {most} characters, got {len(getattr(ruling, name))}")
        if ruling.reason is not None and ruling.reason not in self._reasons:
            raise InputError(f"reason: expected one of {', '.join(self._reasons)}, got {ruling.reason[:40]!r}")
        if ruling.act == "escalate" and not (ruling.note or "").strip():
            raise InputError("note: expected some words for the senior, got nothing")
        if ruling.act != "reject":
            return replace(ruling, ground=None, law=None, facts=None, visibility=None)
        if ruling.reason is None:
            raise InputError(f"reason: expected one of {', '.join(self._reasons)}, got nothing")
        reason = self._reasons[ruling.reason]
        filled = replace(
            ruling,
            ground=ruling.ground or reason.ground,
            law=ruling.law or reason.clause,
            facts=ruling.facts or reason.facts,
            visibility=ruling.visibility or "removed",
        )
        for name, allowed in (("ground", GROUNDS), ("visibility", VISIBILITIES)):
            if getattr(filled, name) not in allowed:
                raise InputError(f"{name}: expected one of {', '.join(allowed)}, got {getattr(filled, name)[:40]!r}")
        return filled

    def _user(self, connection: Connection, name: str) -> Any:
        found = connection.execute(_ACCOUNT, {"name": name}).one_or_none()
        if found is None:
            raise Forbidden(f"no account {name[:40]!r} that may act")
        return found

    def _comment(self, connection: Connection, ref: int) -> Row[Any]:
        found = lock(connection, [ref])
        if not found:
            raise NotFound(f"no comment {ref} in the queue's database")
        return found[0]

    def _check_claim(self, connection: Connection, row: Row[Any], user: int, now: datetime) -> None:
        if row.claimed_by not in (None, user) and row.claimed_until > now:
            by = connection.scalar(select(users.c.name).where(users.c.id == row.claimed_by))
            raise ClaimTaken(f"comment {row.id} is before {by}", by=str(by))

    def _repeated(
        self, connection: Connection, key: str | None, user: int, row: Row[Any], ruling: Ruling, **about: int
    ) -> int | None:
        """Return the decision that was kept under a key; raise `KeyReused` when that was another request.

        `about` is the decision that the request undoes, or the appeal that it decides.
        """
        if key is None:
            return None
        if not 1 <= len(key) <= 200:
            raise InputError(f"key: expected 1 to 200 characters, got {len(key)}")
        made = connection.execute(_KEPT, {"key": key}).one_or_none()
        if made is None:
            return None
        asked = {"user_id": user, "comment_id": row.id, "undoes": None, "appeal_id": None} | about
        same = all(getattr(made, name) == value for name, value in asked.items())
        if not (same and same_ruling(made, ruling, erased=row.erased is not None)):
            raise KeyReused("key: it stands for another request already")
        return int(made.id)

    def _stage(self, connection: Connection, row: Row[Any], user: Row[Any], revise: bool) -> Stage:
        """Return in what role a user decides; raise when they cannot."""
        stage = stage_of(row, user.id)
        if stage == "senior" and user.role not in SENIOR:
            raise Forbidden(f"comment {row.id} is escalated; a senior decides")
        if stage != "revision":
            return stage
        made = active(connection, [row.id]).get(row.id, [])
        last = made[-1] if made else None
        if last is not None and revise:
            _check_settled(made)
        if last is not None and row.waiting == 2 and revise:
            raise Conflict(f"comment {row.id} waits for a second look; undo your decision to make another")
        if last is not None and not revise:
            by = connection.scalar(select(users.c.name).where(users.c.id == last.user_id))
            whom = "you" if last.user_id == user.id else by
            raise AlreadyDecided(f"comment {row.id} was decided by {whom}: {last.act}", by=str(by), act=last.act)
        if last is not None and last.user_id != user.id and user.role not in SENIOR:
            raise Forbidden(f"comment {row.id} was decided by another moderator; a senior may revise it")
        return stage

    def _check_undo(self, connection: Connection, made: Row[Any], row: Row[Any]) -> None:
        if connection.scalar(select(decisions.c.id).where(decisions.c.undoes == made.id)):
            raise Conflict(f"decision {made.id} is undone already")
        _check_settled([made])
        if decided_again(made.id, active(connection, [row.id]).get(row.id, [])):
            raise Conflict(f"comment {row.id} was decided again after decision {made.id}")

    def _keep(
        self,
        connection: Connection,
        row: Row[Any],
        user: int,
        ruling: Ruling,
        stage: Stage,
        now: datetime,
        key: str | None,
        *,
        undoes: Row[Any] | None = None,
        appeal: int | None = None,
    ) -> Outcome:
        """Add one decision, bring the locked comment to where it stands after it, and tell the webhooks."""
        made = active(connection, [row.id]).get(row.id, [])
        if undoes is None:
            made = [*made, _Made(ruling.act, stage, user)]
        else:
            made = [one for one in made if one.id != undoes.id]
        to = standing(row.base, row.double, made, erased=row.erased is not None)
        values = decision_values(connection, [row], user, ruling, stage, now, to.state)[0]
        values |= {"key": key, "undoes": None if undoes is None else undoes.id, "appeal_id": appeal}
        if undoes is not None:
            values["version"] = undoes.version
        number = int(connection.execute(_KEEP, values).scalar_one())
        in_bulk = bool(made) and made[-1].bulk_id is not None
        move(self._database, connection, [Move(row, to, in_bulk)])
        announce(self._database, connection, [number])
        past = pasts(connection, decisions.c.id == number)[0]
        return Outcome(past, to.state, past.sampled)

    def _repetition(self, connection: Connection, number: int, row: Row[Any]) -> Outcome:
        """Return what a decision that was kept before has come to."""
        past = pasts(connection, decisions.c.id == number)[0]
        return Outcome(past, row.state, past.sampled, repeated=True)

    def exposure(self, moderator: str, since: datetime, *, severe: float = 3.0) -> tuple[int, int]:
        """Return how many comments a moderator has decided on since a time, and how many were above a severity."""
        with self._database.read() as connection:
            user = self._user(connection, moderator)
            row = connection.execute(_EXPOSURE, {"user": user.id, "since": since, "severe": severe}).one()
        return int(row.whole), int(row.hard or 0)


def _check_settled(made: Sequence[Row[Any]]) -> None:
    """Raise `Conflict` when one of some decisions settled an appeal: the author was told what came of it."""
    if settled := next((one for one in made if one.stage == "appeal"), None):
        raise Conflict(f"decision {settled.id} settled an appeal; open another appeal to change it")


def same_ruling(made: Row[Any], ruling: Ruling, *, erased: bool) -> bool:
    """Return whether a decision was made with this ruling, as far as can be told: erasure blanks its free words."""
    gone = [name for name in _FREE if erased and getattr(made, name) is None]
    return all(getattr(made, name) == getattr(ruling, name) for name in _RULED if name not in gone)


@lru_cache(maxsize=1024)
def _takeable(chosen: Filter, order: Order, whose: str) -> Select[tuple[int]]:
    """Return the query for comments that `user` can be given at `now`, at most `most` and none of `but`.

    `whose` says which of them: ``mine``, that the user holds already, ``free``, or free ones that wait by chance
    (``sampled``); ``named`` is the one of number `first`, either way.
    """
    user: Any = bindparam("user")
    now: Any = bindparam("now", type_=comments.c.claimed_until.type)
    column, tie, highest = order_by(order, chosen.label)
    if whose == "sampled":
        by = [comments.c.id]
    else:
        by = [column.desc() if highest else column, tie.desc() if order == "newest" else tie]
    if whose == "mine":
        where = [comments.c.claimed_by == user, comments.c.claimed_until > now]
    elif whose == "named":
        where = [comments.c.id == bindparam("first")]
    else:
        where = [or_(comments.c.claimed_by.is_(None), comments.c.claimed_until <= now)]
    if whose == "sampled":
        where.append(SAMPLED)
    if whose == "free":
        where.append(comments.c.id.not_in(bindparam("but", expanding=True)))
    query: Select[tuple[int]] = filtered(select(comments.c.id).select_from(comments), chosen)
    query = query.where(*open_to(user, now), *where)
    return query.order_by(*by).limit(bindparam("most")).with_for_update(skip_locked=True, of=comments)


def decision_values(
    connection: Connection, rows: Sequence[Row[Any]], user: int, ruling: Ruling, stage: Stage, now: datetime, after: str
) -> list[dict[str, Any]]:
    """Return the rows of `decisions` for one ruling on several locked comments, with the scores of now."""
    scored = {row.comment_id: row for row in connection.execute(_SCORED, {"ids": [row.id for row in rows]})}
    given = {name: getattr(ruling, name) for name in _RULED}
    return [
        given
        | {
            "comment_id": row.id,
            "version": row.version,
            "user_id": user,
            "stage": stage,
            "decided": now,
            "before": row.state,
            "after": after,
            "model_id": scored[row.id].model_id,
            "policy_id": scored[row.id].policy_id,
            "action": scored[row.id].action,
            "label": scored[row.id].label,
            "severity": scored[row.id].severity,
            "probabilities": scored[row.id].probabilities,
            "sampled": row.origin == "sample",
        }
        for row in rows
    ]
