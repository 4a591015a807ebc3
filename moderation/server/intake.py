"""Routes for machines: ``POST /v1/queue`` puts comments into the queue, ``POST /v1/appeals`` opens appeals, and
``GET /v1/decisions`` streams decisions."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec
from anyio import to_thread
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from moderation.comment import Comment
from moderation.errors import ModerationError, StoreError
from moderation.intake import incoming
from moderation.policy import Policy
from moderation.queue import Intake, Store, Token
from moderation.queue.names import too_long
from moderation.queue.people import Scope as TokenScope
from moderation.scorer import Scorer
from moderation.server.answers import json_answer
from moderation.server.body import parse_json, read_body
from moderation.server.faults import ClientGone, Fault, convert, problem
from moderation.server.keys import key_of
from moderation.server.limits import Gate
from moderation.server.logs import frames
from moderation.server.native import CommentIn, read
from moderation.server.settings import Settings

STRETCH = 64 << 10
"""Bytes of an export that are sent at once."""

logger = logging.getLogger("moderation.server")


Site = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class QueueOne(msgspec.Struct, forbid_unknown_fields=True):
    """A comment of a site for its moderators. A known id with a new text is an edit."""

    site: Site
    comment: CommentIn


class QueueMany(msgspec.Struct, forbid_unknown_fields=True):
    """Comments of a site for its moderators."""

    site: Site
    comments: Annotated[list[CommentIn], msgspec.Meta(min_length=1)]


class QueueAnswer(msgspec.Struct):
    """What became of the comments."""

    new: int
    edited: int
    rescored: int
    unchanged: int
    queued: int
    results: list[dict[str, Any]]


class AppealIn(msgspec.Struct, forbid_unknown_fields=True):
    """An author's objection to a rejection."""

    site: Site
    id: Annotated[str, msgspec.Meta(min_length=1)]
    statement: Annotated[str, msgspec.Meta(max_length=10_000)] | None = None
    contact: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class AppealAnswer(msgspec.Struct):
    """The name under which the author can ask for the appeal, and how it stands."""

    reference: str
    state: str


def routes(
    store: Store,
    scorer: Scorer,
    policy: Policy,
    settings: Settings | None = None,
    intake: Intake | None = None,
) -> list[BaseRoute]:
    """Return the routes; all ask for a token of the queue (``Authorization: Bearer``).

    Parameters
    ----------
    store : where comments go
    scorer, policy : what scores and advises
    settings : bounds of bodies
    intake : how comments are sorted
    """
    bounds, sorting = settings or Settings(), intake or Intake()

    def put(data: Any) -> Response:
        site, comments = _comments(data, bounds.max_comments)
        found = list(incoming(comments, scorer, policy))
        arrived = store.arrivals.put(found, site=site, intake=sorting)
        results = [
            {"id": one.comment.id, "action": one.verdict.action, "ref": store.listing.find(site, one.comment.id)}
            for one in found
        ]
        return json_answer(
            QueueAnswer(arrived.new, arrived.edited, arrived.rescored, arrived.unchanged, arrived.queued, results)
        )

    def appeal(data: Any) -> Response:
        asked = convert(data, AppealIn)
        opened = store.appeals.open(asked.site, asked.id, statement=asked.statement, contact=asked.contact)
        return json_answer(AppealAnswer(opened.reference, opened.state), 201)

    gate = Gate(bounds.max_waiting, bounds.max_buffered)
    return [
        Route("/v1/queue", Question(store, "queue", put, gate, bounds, bounds.max_batch_body), methods=["POST"]),
        Route("/v1/appeals", Question(store, "appeals", appeal, gate, bounds, bounds.max_body), methods=["POST"]),
        Route("/v1/decisions", Export(store, "export"), methods=["GET"]),
    ]


def _comments(data: Any, most: int) -> tuple[str, list[Comment]]:
    if not isinstance(data, dict) or ("comment" in data) == ("comments" in data):
        raise Fault("invalid", 400, "body: expected an object with site and either comment or comments")
    request = convert(data, QueueOne if "comment" in data else QueueMany)
    one = isinstance(request, QueueOne)
    comments, _, _ = read({name: value for name, value in data.items() if name != "site"}, most)
    for place, given in enumerate([request.comment] if isinstance(request, QueueOne) else request.comments):
        if not given.id:
            path = "comment.id" if one else f"comments[{place}].id"
            raise Fault("invalid", 400, f"{path}: expected the comment's id at the site, got nothing", path=path)
        if wrong := too_long(comments[place]):
            path = f"comment.{wrong[0]}" if one else f"comments[{place}].{wrong[0]}"
            raise Fault("invalid", 400, f"{path}: {wrong[1]}", path=path)
    return request.site, comments


class Machine(ABC):
    """An ASGI application for one route of machines.

    Parameters
    ----------
    store : the queue, which knows the tokens
    scope : what a token has to be good for
    """

    def __init__(self, store: Store, scope: TokenScope) -> None:
        self.store = store
        self.scope = scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["moderation.route"] = self.scope
        try:
            response = await self.respond(scope, receive)
        except Fault as fault:
            response = problem(fault)
        except ClientGone:
            scope["moderation.status"] = 499
            return
        except ModerationError as error:
            response = problem(_fault(error))
        except Exception as error:
            logger.error("a request failed", extra={"route": self.scope, "error": frames(error)})
            response = problem(Fault("internal", 500, "Internal error; the log has its place"))
        await response(scope, receive, send)

    @abstractmethod
    async def respond(self, scope: Scope, receive: Receive) -> Response:
        """Return the answer to one request."""

    async def admit(self, scope: Scope) -> Token:
        """Return the token of who asks; raise `Fault` when it is not good for this."""
        secret = key_of(scope) or ""
        token = await to_thread.run_sync(self.store.people.token, secret, self.scope) if secret else None
        if token is None:
            detail = f"expected a token of the queue that is good for {self.scope}"
            raise Fault("key", 401, detail, headers={"www-authenticate": "Bearer"})
        scope["moderation.caller"] = token.name
        return token


class Question(Machine):
    """A route that reads JSON and answers it.

    Parameters
    ----------
    store, scope : see `Machine`
    answer : the route's own work; runs in a thread, for the store blocks
    gate, settings, limit : bounds
    """

    def __init__(
        self,
        store: Store,
        scope: TokenScope,
        answer: Callable[[Any], Response],
        gate: Gate,
        settings: Settings,
        limit: int,
    ) -> None:
        super().__init__(store, scope)
        self.answer = answer
        self.gate = gate
        self.settings = settings
        self.limit = limit

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        """Return the answer to one request."""
        with self.gate.visit() as visit:
            await self.admit(scope)
            raw = await read_body(scope, receive, visit, limit=self.limit, seconds=self.settings.body_timeout)
            await visit.wait()
            return await to_thread.run_sync(lambda: self.answer(parse_json(raw)))


class Export(Machine):
    """A route that streams decisions as JSON lines, a stretch at a time, whatever their number."""

    async def respond(self, scope: Scope, receive: Receive) -> Response:
        """Return the answer to one request."""
        token = await self.admit(scope)
        since, site = _asked(scope["query_string"])
        noted = partial(self.store.people.note, "exported", user=token.owner, detail=f"decisions, token {token.name}")
        await to_thread.run_sync(noted)
        lines = self.store.exports.jsonl(since=since, site=site)
        return StreamingResponse(_stretches(lines), media_type="application/x-ndjson")


def _asked(query: bytes) -> tuple[datetime | None, str | None]:
    """Return from when on, and of which site, decisions are asked for."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for name, values in given.items():
        if name not in ("since", "site"):
            raise Fault("invalid", 400, f"{name[:40]}: expected since or site in the address", path=name[:40])
        if len(values) > 1:
            raise Fault("invalid", 400, f"{name}: expected it once, got it {len(values)} times", path=name)
    try:
        since = datetime.fromisoformat(given["since"][0]) if "since" in given else None
        since = since and since.replace(tzinfo=since.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Fault("invalid", 400, "since: expected a day or time such as 2026-11-25", path="since") from None
    return since, given["site"][0] if "site" in given else None


def _stretches(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Put lines together, for each one that is sent costs a change of threads."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= STRETCH:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _fault(error: ModerationError) -> Fault:
    if error.status == 500:
        logger.error("a request failed", extra={"error": frames(error)})
        return Fault("internal", 500, "Internal error; the log has its place")
    detail = str(error)
    if isinstance(error, StoreError):
        logger.error("the database cannot be used", extra={"error": frames(error), "detail": detail})
        detail = error.public
    kind = "busy" if error.status in (503, 507) else "missing" if error.status == 404 else "invalid"
    return Fault(kind, error.status, detail, headers={"retry-after": "2"} if error.status == 503 else None)  # type: ignore[arg-type]
