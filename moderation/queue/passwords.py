"""Passwords: how they are hashed and checked, and how long somebody who guesses at them has to wait."""

from __future__ import annotations

import secrets
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Network, ip_address
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, select, update

from moderation.errors import InputError, SignInThrottled
from moderation.queue.database import Database
from moderation.queue.schema import failures

SHORTEST_PASSWORD = 10
"""Characters of a password, at least."""

LONGEST_PASSWORD = 1_000
"""Characters of a password, at most: hashing must not become a way to keep the server busy."""

AT_ONCE = 3
"""Passwords hashed or checked at the same time in one process; each takes 64 MB, and others wait their turn."""

FREE_TRIES = 5
"""Sign-ins to one account that may fail in a row before the next has to wait."""

FREE_TRIES_FROM_ADDRESS = 20
"""The same for one address, behind which a whole newsroom may begin its shift."""

LONGEST_WAIT = timedelta(minutes=15)
"""Most that a sign-in has to wait; the wait doubles from a second with every failure."""


class Passwords:
    """Hashes passwords with argon2id and checks them, a few at a time."""

    def __init__(self, hasher: PasswordHasher | None = None, at_once: int = AT_ONCE) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turn = BoundedSemaphore(at_once)
        # Checked when there is no such account, so that an unknown name takes as long as a wrong password.
        self._nobody = self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """Return what is kept of a password; raise `InputError` for one that is too short or too long."""
        check_length(password)
        with self._turn:
            return self._hasher.hash(password.encode("utf-8", "surrogatepass"))

    def fits(self, hashed: str | None, password: str) -> bool:
        """Whether a password is the one that was hashed; without a hash it takes as long, and is not."""
        with self._turn:
            try:
                self._hasher.verify(hashed or self._nobody, password.encode("utf-8", "surrogatepass"))
            except (VerificationError, InvalidHashError):
                return False
        return hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether a password was hashed with less effort than is taken now."""
        return self._hasher.check_needs_rehash(hashed)


def check_length(password: str) -> None:
    """Raise `InputError` for a password that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InputError(
            f"password: expected {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, got {len(password)}"
        )


def watched_as(name: str, address: str | None) -> list[str]:
    """Return under what the failures of a name, and of an address, are counted."""
    return [f"name {name.lower()}"] + ([f"address {_caller(address)}"] if address else [])


def _caller(address: str) -> str:
    """Return what one caller has of an address: of IPv6 its /64 network, in which a single machine has them all."""
    try:
        known = ip_address(address)
    except ValueError:  # the name of a test's client, or of a socket
        return address[:100]
    if isinstance(known, IPv4Address):
        return str(known)
    return str(known.ipv4_mapped or IPv6Network((int(known), 64), strict=False))


def count_try(database: Database, watched: list[str]) -> None:
    """Count a try as a failure, or raise `SignInThrottled` when it comes too soon; others wait for the answer."""
    with database.write() as connection:
        begun = database.now()
        connection.execute(delete(failures).where(failures.c.last < begun - 4 * LONGEST_WAIT))
        first = database.insert(failures).on_conflict_do_nothing(index_elements=["what"])
        connection.execute(first, [{"what": what, "n": 0, "last": begun} for what in sorted(watched)])
        known = failures.c.what.in_(watched)
        rows = connection.execute(select(failures).where(known).order_by(failures.c.what).with_for_update()).all()
        now = database.now()  # after the locks: tries before this one have their time by then
        wait = max((row.last + _wait(row.what, row.n) - now).total_seconds() for row in rows)
        if wait > 0:
            raise SignInThrottled(f"too many sign-ins failed; try again in {int(wait) + 1} seconds", wait=wait)
        connection.execute(update(failures).where(known).values(n=failures.c.n + 1, last=now))


def forget_tries(connection: Connection, watched: list[str]) -> None:
    """Begin to count anew, as after a success."""
    connection.execute(delete(failures).where(failures.c.what.in_(watched)))


def _wait(what: str, n: int) -> timedelta:
    free = FREE_TRIES_FROM_ADDRESS if what.startswith("address ") else FREE_TRIES
    if n < free:
        return timedelta(0)
    return min(LONGEST_WAIT, timedelta(seconds=2 ** min(n - free, 20)))
