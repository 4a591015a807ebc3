"""Webhooks: every decision is sent to the addresses that asked for it, signed, until it has arrived.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): headers ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature``, the last one HMAC-SHA256 over ``id.timestamp.body``. ``webhook-id`` is
the same at every try, so that a receiver that remembers it acts once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import secrets
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.orm import aliased

from moderation.errors import InputError, ModerationError, NotFound, StoreUnavailable
from moderation.queue.database import Database
from moderation.queue.posting import post
from moderation.queue.schema import outbox, webhooks

logger = logging.getLogger("moderation.webhooks")

LEASE = timedelta(seconds=60)
"""How long a sender has an event to itself; if it dies, another takes it up after that."""

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=6)
"""Waiting time after the first failure, four times as long after every further one, and the longest."""

LONGEST_REST = timedelta(minutes=5)
"""How long a receiver that failed is left alone at most; the first time `FIRST_WAIT`, then four times as long."""

_LABEL = re.compile("[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
"""A part of a host's name; underscores are not in DNS, but in many a container's name."""

Send = Callable[[str, bytes, Mapping[str, str]], int]
"""Posts a body with headers to an address and returns the status; raises `OSError` when there is no answer."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of decisions."""

    ref: int
    """Its number."""
    url: str
    """Where events are posted."""
    site: str | None
    """Only decisions of this site; None: of all."""
    created: datetime
    """When it was added."""
    pending: int
    """Events that have not arrived yet."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one round of sending did."""

    sent: int
    """Events that arrived."""
    failed: int
    """Events that did not; they are tried again later."""


class Webhooks:
    """Keeps addresses and sends them events from the outbox."""

    def __init__(self, database: Database, send: Send | None = None) -> None:
        self._database = database
        self._send = send or post
        self._last = 0
        self._resting: dict[int, tuple[int, datetime]] = {}
        """Receivers that failed: how often in a row, and until when they are left alone."""

    def add(self, url: str, *, site: str | None = None) -> tuple[str, Webhook]:
        """Add an address; return the secret that its receiver checks signatures with, and the webhook.

        Raises `InputError` for an address that nothing could ever be posted to.
        """
        check_url(url)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        with self._database.write() as connection:
            values = {"url": url, "secrets": [secret], "site": site, "created": self._database.now()}
            number = connection.execute(insert(webhooks).returning(webhooks.c.id), values).scalar_one()
        return secret, next(hook for hook in self.all() if hook.ref == number)

    def rotate(self, ref: int) -> str:
        """Return a new secret; until the next rotation events are signed with it and with the one before.

        Raises `NotFound`, also for a webhook that was removed.
        """
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        with self._database.write() as connection:
            query = select(webhooks.c.secrets).where(webhooks.c.id == ref, webhooks.c.removed.is_(None))
            known = connection.scalar(query.with_for_update(key_share=True))  # two at once would lose a secret
            if known is None:
                raise NotFound(f"no webhook {ref}")
            connection.execute(update(webhooks).where(webhooks.c.id == ref).values(secrets=[secret, known[0]]))
        return secret

    def remove(self, ref: int) -> None:
        """Tell an address nothing more, not even what is pending; raise `NotFound`."""
        with self._database.write() as connection:
            gone = update(webhooks).where(webhooks.c.id == ref, webhooks.c.removed.is_(None))
            if not connection.execute(gone.values(removed=self._database.now())).rowcount:
                raise NotFound(f"no webhook {ref}")

    def all(self) -> list[Webhook]:
        """Return all webhooks that are told of decisions."""
        pending = (
            select(func.count())
            .where(outbox.c.webhook_id == webhooks.c.id, outbox.c.delivered.is_(None))
            .scalar_subquery()
            .label("pending")
        )
        query = select(webhooks, pending).where(webhooks.c.removed.is_(None)).order_by(webhooks.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Webhook(row.id, row.url, row.site, row.created, row.pending) for row in rows]

    def deliver(self, *, limit: int = 100, stop: threading.Event | None = None) -> Delivered:
        """Send what is due, each event once at most, those of one comment in their order; return what became of it.

        Several processes may do this at once. An event counts as arrived when the answer is 2xx; redirects are not
        followed. Receivers take turns, and one that failed is left alone for a while, so that it keeps no other
        waiting. After `stop` is set nothing more is begun.
        """
        sent = failed = 0
        while sent + failed < limit and not (stop and stop.is_set()) and (row := self._next()):
            body = json.dumps(row.body, separators=(",", ":")).encode()
            headers = sign(row.event, self._database.now(), body, row.secrets)
            try:
                status = self._send(row.url, body, headers)
                good, answer = 200 <= status < 300, str(status)
            except (OSError, ValueError) as error:  # a host that cannot be written as IDNA is a UnicodeError
                good, answer = False, type(error).__name__
            self._rest(row.webhook_id, good)
            self._keep(row.id, row.attempts, good, answer)
            sent, failed = sent + good, failed + (not good)
        return Delivered(sent, failed)

    def run(self, stop: threading.Event, *, every: float = 2.0) -> None:
        """Deliver until `stop` is set, looking every so many seconds; whatever fails is tried again.

        What fails is logged once, until it is over or something else fails: a database that is away is away in every
        round. A log is no place for a comment's text, so of an error that we do not know the message is left out.
        """
        trouble = None
        while not stop.wait(every):
            before = trouble
            try:
                self.deliver(stop=stop)
                trouble = None
            except StoreUnavailable as error:
                trouble = f"webhooks wait for the database: {error}"
            except Exception as error:  # the thread must not end: nobody would send any more, or say so
                trouble = f"webhooks cannot be sent: {_told(error)}"
            if trouble != before:
                logger.log(logging.ERROR if trouble else logging.INFO, trouble or "webhooks are sent again")

    def _next(self) -> Any:
        """Take an event of the receiver whose turn it is, or of the next one that has any and does not rest."""
        now = self._database.now()
        with self._database.read() as connection:
            query = select(webhooks.c.id).where(webhooks.c.removed.is_(None)).order_by(webhooks.c.id)
            hooks = list(connection.scalars(query))
        for hook in sorted(hooks, key=lambda hook: (hook <= self._last, hook)):
            _, until = self._resting.get(hook, (0, now))
            if until <= now and (row := self._take(hook)):
                self._last = hook
                return row
        return None

    def _take(self, hook: int) -> Any:
        """Take a receiver's event that is due longest, unless an earlier one of the same comment has not arrived."""
        earlier = aliased(outbox)
        blocked = exists().where(
            earlier.c.webhook_id == outbox.c.webhook_id, earlier.c.comment_id == outbox.c.comment_id,
            earlier.c.delivered.is_(None), earlier.c.id < outbox.c.id,
        )  # fmt: skip
        with self._database.write() as connection:
            now = self._database.now()
            row = connection.execute(
                select(
                    outbox.c.id,
                    outbox.c.webhook_id,
                    outbox.c.event,
                    outbox.c.body,
                    outbox.c.attempts,
                    webhooks.c.url,
                    webhooks.c.secrets,
                )
                .join(webhooks, webhooks.c.id == outbox.c.webhook_id)
                .where(outbox.c.webhook_id == hook, outbox.c.delivered.is_(None), outbox.c.due <= now)
                .where(webhooks.c.removed.is_(None), ~blocked)
                .order_by(outbox.c.due, outbox.c.id)
                .limit(1)
                .with_for_update(skip_locked=True, of=outbox)
            ).one_or_none()
            if row is not None:
                taken = update(outbox).where(outbox.c.id == row.id)
                connection.execute(taken.values(due=now + LEASE, attempts=row.attempts + 1))
        return row

    def _rest(self, hook: int, good: bool) -> None:
        """Leave a receiver alone for a while that failed, the longer the more often it did."""
        if good:
            self._resting.pop(hook, None)
            return
        failures, _ = self._resting.get(hook, (0, None))
        until = self._database.now() + min(LONGEST_REST, wait_after(failures))
        self._resting[hook] = (failures + 1, until)

    def _keep(self, number: int, attempts: int, good: bool, answer: str) -> None:
        with self._database.write() as connection:
            now = self._database.now()
            values = {"delivered": now if good else None, "answer": answer[:200], "due": now + wait_after(attempts)}
            # A sender that was slower than its lease does not undo what another has delivered since.
            waits = update(outbox).where(outbox.c.id == number, outbox.c.delivered.is_(None))
            connection.execute(waits.values(values))


def _told(error: Exception) -> str:
    """Return the words of an error of ours; of another one what it is and where it arose."""
    if isinstance(error, ModerationError):
        return f"{type(error).__name__}: {error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.filename}:{place.lineno}"


def check_url(url: str) -> None:
    """Raise `InputError` unless an address can be posted to: its scheme, host and port, and what it is written in."""
    if any(char.isspace() or not char.isprintable() for char in url):
        raise InputError("url: expected no spaces and nothing that is not seen")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InputError("url: expected a host, and a port from 1 to 65535 if any") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise InputError("url: expected http:// or https:// with a host and without a name and password")
    if port == 0:
        raise InputError("url: expected a port from 1 to 65535, got 0")
    if not _is_host(host):
        raise InputError(f"url: expected the name or number of a host, got {host[:60]!r}")
    if not (parts.path + parts.query).isascii():
        raise InputError("url: expected letters beyond ASCII in a path as %XX")


def _is_host(host: str) -> bool:
    try:
        if ":" in host or host.rstrip(".").rpartition(".")[2].isdecimal():
            return bool(ip_address(host))
        name = host.encode("idna").decode().removesuffix(".")
    except ValueError:  # also UnicodeError, for labels that are empty or too long
        return False
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def wait_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures before the last one."""
    return min(LONGEST_WAIT, FIRST_WAIT * float(4 ** min(failures, 10)))


def sign(event: str, now: datetime, body: bytes, keys: list[str]) -> dict[str, str]:
    """Return the headers of an event: its id, the time, and one signature per secret."""
    seconds = str(int(now.timestamp()))
    signed = f"{event}.{seconds}.".encode() + body
    digests = [hmac.digest(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256) for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": "moderation",
        "webhook-id": event,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
