"""Accounts, passwords, sessions, tokens for machines, and the audit of what they were refused."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from argon2 import PasswordHasher
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from moderation.errors import Conflict, InputError, NotFound, SignInFailed
from moderation.queue.audit import Line, lines, note
from moderation.queue.database import Database
from moderation.queue.passwords import (
    AT_ONCE,
    LONGEST_PASSWORD,
    Passwords,
    check_length,
    count_try,
    forget_tries,
    watched_as,
)
from moderation.queue.preferences import Preferences
from moderation.queue.schema import comments, sessions, tokens, users

Role = Literal["moderator", "senior", "admin"]
"""A senior also decides on escalated comments and sees statistics; an admin also keeps accounts."""

ROLES: tuple[Role, ...] = get_args(Role)

Scope = Literal["queue", "appeals", "export"]
"""What a machine's token is good for: putting comments in, opening appeals, reading decisions."""

SCOPES: tuple[Scope, ...] = get_args(Scope)

NAMES_LOCK = 0x6D6F6466
"""Number of the advisory lock of PostgreSQL under which an account gets its name."""

IDLE = timedelta(hours=2)
"""A session ends when it was not used for this long."""

SHIFT = timedelta(hours=12)
"""A session ends this long after signing in."""


@dataclass(frozen=True, slots=True)
class User:
    """An account."""

    name: str
    """What they sign in with, and what stands in decisions."""
    role: Role
    """What they may do."""
    disabled: bool
    """Whether they can sign in no more; what they did stays."""
    preferences: Preferences
    """How they want the page."""
    created: datetime
    """When the account was made."""

    def may(self, role: Role) -> bool:
        """Whether the account has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    user: User
    """Who."""
    csrf: str
    """What every form of this session has to send back."""
    created: datetime
    """When they signed in."""


TokenState = Literal["in force", "revoked", "expired", "account disabled"]


@dataclass(frozen=True, slots=True)
class Token:
    """A machine's way in."""

    ref: int
    """Its number."""
    name: str
    """What it is for."""
    owner: str
    """The account that made it; it ends with that account."""
    scopes: tuple[Scope, ...]
    """What it is good for."""
    created: datetime
    """When it was made."""
    expires: datetime | None
    """When it ends by itself."""
    used: datetime | None
    """When it was last used, to the hour."""
    revoked: datetime | None
    """When it was taken back."""
    state: TokenState
    """Whether it lets anybody in, and why not."""


class People:
    """Keeps accounts, sessions and tokens. Passwords are hashed with argon2id, tokens with SHA-256.

    What changes an account or a token takes `by`, the account that does it, and `address`, from where, for the audit.
    """

    def __init__(self, database: Database, hasher: PasswordHasher | None = None, *, at_once: int = AT_ONCE) -> None:
        self._database = database
        self._passwords = Passwords(hasher, at_once)

    # Accounts

    def add(
        self, name: str, role: Role, password: str | None = None, *, by: str | None = None, address: str | None = None
    ) -> User:
        """Make an account; without a password nobody can sign in to it. Raises `InputError`, `Conflict`."""
        if not name or name != name.strip() or len(name) > 100 or not name.isprintable():
            raise InputError("name: expected 1 to 100 printable characters without spaces around them")
        _check_role(role)
        hashed = None if password is None else self._passwords.hash(password)
        with self._database.write() as connection:
            self._one_at_a_time(connection)
            if _alike(connection, name) is not None:
                raise Conflict(f"there is an account {name!r} already")
            values = {"name": name, "role": role, "password": hashed, "preferences": asdict(Preferences()),
                      "disabled": False, "created": self._database.now()}  # fmt: skip
            try:
                connection.execute(insert(users), values)
            except IntegrityError:  # of a process of an earlier version, which takes no lock
                raise Conflict(f"there is an account {name!r} already") from None
            user = _number(connection, by)
            note(self._database, connection, "user_added", user_id=user, address=address, detail=f"{name}: {role}")
        return self.get(name)

    def _one_at_a_time(self, connection: Connection) -> None:
        """Let accounts be added one after the other, as SQLite does anyway: names are compared before one is added."""
        if not self._database.is_sqlite:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({NAMES_LOCK})")

    def get(self, name: str) -> User:
        """Return an account; raise `NotFound`."""
        with self._database.read() as connection:
            return _user(_account(connection, name))

    def all(self) -> list[User]:
        """Return all accounts by name."""
        with self._database.read() as connection:
            return [_user(row) for row in connection.execute(select(users).order_by(users.c.name))]

    def set_password(self, name: str, password: str, *, by: str | None = None, address: str | None = None) -> None:
        """Change a password and end all sessions of the account."""
        hashed = self._passwords.hash(password)
        self._change(name, "password_changed", {"password": hashed}, by=by, address=address)

    def change_password(self, name: str, old: str, new: str, *, address: str | None = None) -> None:
        """Change one's own password, as `set_password` does.

        Raises `InputError` for the new one, and as `sign_in` does unless the old one fits.
        """
        check_length(new)
        row, watched = self._fitting(name, old, address)
        change = {"password": self._passwords.hash(new)}
        self._change(row.name, "password_changed", change, by=row.name, address=address, checked=row)
        with self._database.write() as connection:
            forget_tries(connection, watched)

    def set_role(self, name: str, role: Role, *, by: str | None = None, address: str | None = None) -> None:
        """Change a role and end all sessions of the account.

        Raises `InputError`, `NotFound`, and `Conflict` where no other admin could sign in.
        """
        self._change(name, "role_changed", {"role": _check_role(role)}, role, by=by, address=address)

    def disable(self, name: str, *, by: str | None = None, address: str | None = None) -> None:
        """Let nobody sign in to an account any more; its sessions, tokens and claims end, what it did stays.

        Raises `NotFound`, and `Conflict` where no other admin could sign in.
        """
        self._change(name, "user_disabled", {"disabled": True}, by=by, address=address)

    def enable(self, name: str, *, by: str | None = None, address: str | None = None) -> None:
        """Let a disabled account sign in again."""
        self._change(name, "user_enabled", {"disabled": False}, by=by, address=address)

    def set_preferences(self, name: str, preferences: Preferences) -> None:
        """Keep how a moderator wants the page; raise `InputError` for what is wrong."""
        values = asdict(Preferences.from_json(asdict(preferences)))
        with self._database.write() as connection:
            number = _account(connection, name).id
            connection.execute(update(users).where(users.c.id == number).values(preferences=values))

    def _change(
        self,
        name: str,
        kind: str,
        values: Mapping[str, Any],
        detail: str = "",
        *,
        by: str | None = None,
        address: str | None = None,
        checked: Row[Any] | None = None,
    ) -> None:
        with self._database.write() as connection:
            ends = values.get("disabled") or values.get("role", "admin") != "admin"
            admins = _admins(connection) if ends else []
            row = _account(connection, name) if checked is None else _still(connection, checked)
            if admins == [row.id]:
                raise Conflict(f"{row.name!r} is the last admin who can sign in: make somebody else one first")
            connection.execute(update(users).where(users.c.id == row.id).values(**values))
            connection.execute(delete(sessions).where(sessions.c.user_id == row.id))
            held = update(comments).where(comments.c.claimed_by == row.id)
            connection.execute(held.values(claimed_by=None, claimed_until=None))
            user = _number(connection, by)
            note(self._database, connection, kind, user_id=user, address=address, detail=f"{name} {detail}".strip())

    # Signing in

    def sign_in(
        self, name: str, password: str, *, address: str | None = None, instead_of: str = ""
    ) -> tuple[str, Session]:
        """Return a new session and the secret for its cookie; the session of the secret `instead_of` ends.

        Raises `SignInFailed`; after `FREE_TRIES` failures in a row for the account, or `FREE_TRIES_FROM_ADDRESS` from
        the address (of IPv6, its /64 network), `SignInThrottled`, which says how many seconds to wait. A try counts as
        failed from its beginning, so that many at the same time are not one; success clears the count. Whose password
        is changed, or whose account is disabled, while the old one is being checked, is not let in by it.
        """
        row, watched = self._fitting(name, password, address)
        try:
            return self._open(row, password[:LONGEST_PASSWORD], watched, address, instead_of)
        except SignInFailed:
            self.note("sign_in_failed", address=address, detail=row.name)
            raise

    def _fitting(self, name: str, password: str, address: str | None) -> tuple[Row[Any], list[str]]:
        """Return the account that a password fits, and under what its failures are counted; raise `SignInFailed`."""
        name, password = name[:200], password[:LONGEST_PASSWORD]
        watched = watched_as(name, address)
        count_try(self._database, watched)
        with self._database.read() as connection:
            row = _alike(connection, name)
        usable = row is not None and row.password is not None and not row.disabled
        good = self._passwords.fits(row.password if row is not None and usable else None, password)
        if row is None or not (usable and good):
            # Only the name of an account is kept, for what is typed as a name may be a password.
            self.note("sign_in_failed", address=address, detail=None if row is None else row.name)
            raise SignInFailed("name and password do not fit")
        return row, watched

    def _open(
        self, row: Row[Any], password: str, watched: list[str], address: str | None, instead_of: str
    ) -> tuple[str, Session]:
        secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        renewed = self._passwords.hash(password) if self._passwords.outdated(row.password) else None
        with self._database.write() as connection:
            now = self._database.now()
            row = _still(connection, row)
            forget_tries(connection, watched)
            connection.execute(
                delete(sessions).where((sessions.c.created < now - SHIFT) | (sessions.c.seen < now - IDLE))
            )
            if renewed:
                connection.execute(update(users).where(users.c.id == row.id).values(password=renewed))
            self._end(connection, instead_of, stays=row.id)
            values = {"digest": _digest(secret), "user_id": row.id, "csrf": csrf, "created": now, "seen": now}
            connection.execute(insert(sessions), values | {"address": address and address[:100]})
            note(self._database, connection, "signed_in", user_id=row.id, address=address)
        return secret, Session(_user(row), csrf, now)

    def session(self, secret: str, *, renew: bool = True) -> Session | None:
        """Return the session of a cookie; None when there is none, or it ended.

        It counts as used by this, unless ``renew=False``.
        """
        now = self._database.now()
        with self._database.read() as connection:
            row = connection.execute(
                select(users, sessions.c.csrf, sessions.c.created.label("since"), sessions.c.seen)
                .join(sessions, sessions.c.user_id == users.c.id)
                .where(sessions.c.digest == _digest(secret), users.c.disabled.is_(False))
            ).one_or_none()
        if row is None or row.since < now - SHIFT or row.seen < now - IDLE:
            return None
        if renew and row.seen < now - timedelta(minutes=1):  # not a write for every page
            with self._database.write(durable=False) as connection:
                connection.execute(update(sessions).where(sessions.c.digest == _digest(secret)).values(seen=now))
        return Session(_user(row), row.csrf, row.since)

    def sign_out(self, secret: str) -> None:
        """End a session and give back what its moderator had before them."""
        with self._database.write() as connection:
            self._end(connection, secret)

    def _end(self, connection: Connection, secret: str, *, stays: int | None = None) -> None:
        """End a session; its moderator is signed out by it, unless it is the account that `stays`."""
        number = connection.scalar(select(sessions.c.user_id).where(sessions.c.digest == _digest(secret)))
        if number is None:
            return
        connection.execute(delete(sessions).where(sessions.c.digest == _digest(secret)))
        if number != stays:
            held = update(comments).where(comments.c.claimed_by == number)
            connection.execute(held.values(claimed_by=None, claimed_until=None))
            note(self._database, connection, "signed_out", user_id=number)

    # Tokens for machines

    def make_token(
        self,
        owner: str,
        name: str,
        scopes: Iterable[Scope] = ("queue",),
        *,
        lasts: timedelta | None = None,
        address: str | None = None,
    ) -> tuple[str, Token]:
        """Make a token and return it with its secret, which is shown only this once.

        Raises `InputError`, `NotFound`, and `Conflict` where the account is disabled.
        """
        chosen = sorted(set(scopes))
        for scope in chosen or ("nothing",):
            if scope not in SCOPES:
                raise InputError(f"scopes: expected some of {', '.join(SCOPES)}, got {scope[:40]!r}")
        secret = f"mod_{secrets.token_urlsafe(32)}"
        with self._database.write() as connection:
            now = self._database.now()
            row = _account(connection, owner)
            if row.disabled:
                raise Conflict(f"the account {row.name!r} is disabled, and its tokens with it")
            values = {"name": name[:200], "digest": _digest(secret), "user_id": row.id, "scopes": chosen,
                      "created": now, "expires": now + lasts if lasts else None}  # fmt: skip
            number = connection.execute(insert(tokens).returning(tokens.c.id), values).scalar_one()
            note(self._database, connection, "token_made", user_id=row.id, address=address, detail=name[:200])
        return secret, next(token for token in self.tokens() if token.ref == number)

    def token(self, secret: str, scope: Scope) -> Token | None:
        """Return the token of a secret if it is good for a scope; None otherwise."""
        now = self._database.now()
        with self._database.read() as connection:
            row = connection.execute(_tokens().where(tokens.c.digest == _digest(secret))).one_or_none()
        found = None if row is None else _token(row, now)
        if found is None or found.state != "in force" or scope not in found.scopes:
            return None
        if found.used is None or found.used < now - timedelta(hours=1):
            with self._database.write(durable=False) as connection:
                connection.execute(update(tokens).where(tokens.c.id == found.ref).values(used=now))
        return found

    def tokens(self) -> list[Token]:
        """Return all tokens, oldest first."""
        with self._database.read() as connection:
            now = self._database.now()
            return [_token(row, now) for row in connection.execute(_tokens().order_by(tokens.c.id))]

    def revoke_token(self, ref: int, *, by: str | None = None, address: str | None = None) -> None:
        """Take a token back; raise `NotFound`."""
        with self._database.write() as connection:
            done = connection.execute(
                update(tokens)
                .where(tokens.c.id == ref, tokens.c.revoked.is_(None))
                .values(revoked=self._database.now())
            )
            if not done.rowcount:
                raise NotFound(f"no token {ref} that is in force")
            user = _number(connection, by)
            note(self._database, connection, "token_revoked", user_id=user, address=address, detail=str(ref))

    # Audit

    def forbidden(self, user: str | None, what: str, *, address: str | None = None) -> None:
        """Keep that somebody asked for a page or an act without the right to it."""
        self.note("forbidden", user=user, address=address, detail=what)

    def note(
        self, kind: str, *, user: str | None = None, address: str | None = None, detail: str | None = None
    ) -> None:
        """Add a line to the audit; `detail` must not hold a comment's text."""
        with self._database.write() as connection:
            note(self._database, connection, kind, user_id=_number(connection, user), address=address, detail=detail)

    def audit(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int = 200,
    ) -> list[Line]:
        """Return lines of the audit, latest first: the latest, or those next to the line `before` or `after` which
        they are; of one kind, and of what one account did or was the subject of, where these are given.
        """
        with self._database.read() as connection:
            return lines(connection, kind=kind, name=name, before=before, after=after, limit=limit)


def _check_role(role: str) -> Any:
    if role not in ROLES:
        raise InputError(f"role: expected one of {', '.join(ROLES)}, got {str(role)[:40]!r}")
    return role


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _account(connection: Connection, name: str) -> Row[Any]:
    row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"no account {name[:100]!r}")
    return row


def _still(connection: Connection, checked: Row[Any]) -> Row[Any]:
    """Return an account as it is now, locked; raise `SignInFailed` unless the password that was checked still holds.

    Checking takes a while, and is done outside of the transaction that acts on it.
    """
    query = select(users).where(users.c.id == checked.id).with_for_update(key_share=True)
    row = connection.execute(query).one()
    if row.disabled or row.password != checked.password:
        raise SignInFailed("name and password do not fit")
    return row


def _admins(connection: Connection) -> list[int]:
    """Return who can sign in as admin, locked, so that two who disable each other do it one after the other.

    Whoever locks accounts does it in the order of their numbers, and before anything else, so as to wait in no ring.
    """
    able = users.c.role == "admin", users.c.disabled.is_(False), users.c.password.is_not(None)
    query = select(users.c.id).where(*able).order_by(users.c.id).with_for_update(key_share=True)
    return list(connection.scalars(query))


def _number(connection: Connection, name: str | None) -> int | None:
    return None if name is None else connection.scalar(select(users.c.id).where(users.c.name == name))


def _alike(connection: Connection, name: str) -> Row[Any] | None:
    """Return the account of a name in any case. Databases fold only ASCII, or as their locale says, so we do."""
    rows = connection.execute(select(users)).all()
    exact = [row for row in rows if row.name == name]
    return next(iter(exact or [row for row in rows if row.name.lower() == name.lower()]), None)


def _user(row: Row[Any]) -> User:
    return User(row.name, row.role, row.disabled, Preferences.from_json(row.preferences), row.created)


def _tokens() -> Any:
    return select(tokens, users.c.name.label("owner"), users.c.disabled).join(users, users.c.id == tokens.c.user_id)


def _token(row: Row[Any], now: datetime) -> Token:
    state: TokenState = "in force"
    if row.revoked:
        state = "revoked"
    elif row.disabled:
        state = "account disabled"
    elif row.expires and row.expires <= now:
        state = "expired"
    return Token(row.id, row.name, row.owner, tuple(row.scopes), row.created, row.expires, row.used, row.revoked, state)
