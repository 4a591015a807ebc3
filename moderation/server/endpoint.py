"""What every scoring route does around its own work: bounds, key, body, errors in its protocol's shape."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from moderation.server.body import parse_json, read_body
from moderation.server.faults import ClientGone, Fault, problem
from moderation.server.logs import frames
from moderation.server.service import Service

logger = logging.getLogger("moderation.server")

PARSED_INLINE = 1 << 16
"""Bytes of a body that are parsed at once; more goes to a thread, so that small requests do not wait behind it."""

Render = Callable[[Fault], Response]
"""Gives a fault the shape of a protocol's errors."""


class Call:
    """One request: its raw body, and what its address and headers say."""

    __slots__ = ("caller", "raw", "scope")

    def __init__(self, scope: Scope, raw: bytes, caller: str | None) -> None:
        self.scope = scope
        self.raw = raw
        self.caller = caller

    async def json(self) -> Any:
        """Return the body as JSON; raise a `Fault` when it is not."""
        return await read_json(self.raw)

    def header(self, name: bytes) -> str:
        """Return a header, given in lower case, or ""."""
        return header(self.scope, name)


async def read_json(raw: bytes) -> Any:
    """Return a body as JSON, a large one without keeping others waiting; raise a `Fault` when it is not JSON."""
    if len(raw) <= PARSED_INLINE:
        return parse_json(raw)
    return await to_thread.run_sync(parse_json, raw)


def header(scope: Scope, name: bytes) -> str:
    """Return a header of a request, given in lower case, or ""."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


Answer = Callable[[Call], Awaitable[Response]]


class Endpoint:
    """An ASGI application for one route.

    Parameters
    ----------
    service : the server's parts
    name : the route's name in metrics and logs, one of `metrics.ROUTES`
    answer : the route's own work
    render : the shape of its errors
    limit : largest body in bytes; None: the one of the settings
    """

    def __init__(
        self,
        service: Service,
        name: str,
        answer: Answer,
        render: Render = problem,
        *,
        limit: int | None = None,
    ) -> None:
        self.service = service
        self.name = name
        self.answer = answer
        self.render = render
        self.limit = service.settings.max_body if limit is None else limit
        self._admit: Callable[[Scope], str | None] = service.keys.admit
        self._strangers = False
        self._vouch: Callable[[Scope, bytes], None] | None = None

    def ask_in_body(
        self, admit: Callable[[Scope], str | None], vouch: Callable[[Scope, bytes], None] | None = None
    ) -> None:
        """Ask for something else than an API key in the address or the headers, where keys are in use.

        Parameters
        ----------
        admit : returns a caller's name, None for a stranger, whom only the body can name; raises a `Fault`
        vouch : raises a `Fault` unless the beginning of a stranger's large body shows that we know the sender
        """
        self._admit, self._vouch, self._strangers = admit, vouch, True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["moderation.route"] = self.name
        try:
            response = await self._respond(scope, receive)
        except Fault as fault:
            response = self.render(fault)
        except ClientGone:
            scope["moderation.status"] = 499
            return
        except Exception as error:
            logger.error("a request failed", extra={"route": self.name, "error": frames(error)})
            response = self.render(Fault("internal", 500, "Internal error; the log has its place"))
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        service = self.service
        service.origins.check(scope)
        caller = scope["moderation.caller"] = self._admit(scope)
        stranger = self._strangers and caller is None
        vouch = partial(self._vouch, scope) if stranger and self._vouch else None
        with service.gate.visit(stranger=stranger) as visit:
            seconds = service.settings.body_timeout
            raw = await read_body(scope, receive, visit, limit=self.limit, seconds=seconds, vouch=vouch)
            await visit.wait()
            return await self.answer(Call(scope, raw, caller))
