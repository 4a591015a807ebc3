"""The server together with a queue: pages at ``/``, routes for machines, webhooks, and what scoring puts in."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from anyio import to_thread
from starlette.applications import Starlette

from moderation.comment import Comment, Score, Verdict
from moderation.intake import heaviest, make_demo
from moderation.policy import Policy
from moderation.queue import Incoming, Store, load_reasons
from moderation.queue.names import shortened
from moderation.queue.statements import territory
from moderation.scorer import Scorer
from moderation.server import _queue_openapi, intake, review
from moderation.server.app import create_app
from moderation.server.service import OnScored
from moderation.server.settings import Settings

SENDER_SECONDS = 5.0
"""How long a server that ends waits for a webhook's receiver to answer."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """Which queue the server shows; plain data, for every worker gets a copy."""

    database: str
    """Path of an SQLite file, or a URL."""
    scored: str | None = None
    """Site under which comments that the scoring routes were asked about enter the queue; None: they do not."""
    reasons: str | None = None
    """Path of a TOML file of the reasons for rejections; None: those that come with the package."""
    territory: str = "EEA"
    """Where a rejected comment is not shown, for statements of reasons: EEA, EU, or countries as in ``DE,AT``."""

    def open(self) -> Store:
        """Open the queue; raise what `Store.open`, `load_reasons` and `territory` raise."""
        reasons = None if self.reasons is None else load_reasons(self.reasons)
        return Store.open(self.database, reasons=reasons, territory=territory(self.territory))


def prepare(options: QueueOptions, scorer: Scorer, policy: Policy, *, demo: bool = False) -> str:
    """Make the queue ready before the first worker opens it; return what the operator should know, or "".

    With `demo`, invented comments and an account are put in.
    """
    with options.open() as store:
        if demo:
            name, password = make_demo(store, scorer, policy)
            return f"demonstration: sign in as {name}, password {password}"
        if not store.people.all():
            return "nobody can sign in yet: moderation users add NAME --role admin"
    return ""


def create_queue_app(scorer: Scorer, policy: Policy, settings: Settings, options: QueueOptions) -> Starlette:
    """Return the server's application with the queue; it closes the queue when it ends.

    Raises what `create_app` and `Store.open` raise.
    """
    store = options.open()
    app = create_app(
        scorer,
        policy,
        settings,
        extra_routes=[
            *intake.routes(store, scorer, policy, settings),
            *review.routes(store, scorer, policy, settings),
        ],
        extra_document=_queue_openapi.described(),
        on_scored=into_queue(store, scorer, policy, options.scored) if options.scored else None,
    )
    app.router.lifespan_context = _with_queue(app.router.lifespan_context, store)
    return app


def into_queue(store: Store, scorer: Scorer, policy: Policy, site: str) -> OnScored:
    """Return a function that puts comments which the scoring routes have just scored into the queue."""

    def put(comments: Sequence[Comment], scores: Sequence[Score], verdicts: Sequence[Verdict]) -> None:
        found = (
            Incoming(shortened(comment), score, verdict, policy.severity(score), partial(heaviest, scorer, comment))
            for comment, score, verdict in zip(comments, scores, verdicts, strict=True)
        )
        store.arrivals.put(found, site=site)

    return put


def _with_queue(inner, store: Store):  # type: ignore[no-untyped-def]
    """Send webhooks while the application runs, and close the queue after its last answer."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        stop = threading.Event()
        sender = threading.Thread(target=store.webhooks.run, args=(stop,), name="webhooks", daemon=True)
        sender.start()
        try:
            async with inner(app):
                yield
        finally:
            stop.set()
            await to_thread.run_sync(sender.join, SENDER_SECONDS)  # an event that it is at is sent again another time
            store.close()

    return lifespan
