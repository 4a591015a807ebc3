"""The outermost layer: counts and logs every request, sets security headers, and lets no exception out."""

from __future__ import annotations

import logging
from time import perf_counter, time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moderation.server.faults import Fault, problem
from moderation.server.logs import Request, access_log, frames
from moderation.server.service import Service

logger = logging.getLogger("moderation.server")

SECURITY: dict[bytes, bytes] = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
"""Headers of every answer that does not set them itself; a route with pages sets its own."""


class Observe:
    """Counts, logs and guards; the route's name comes from ``scope["moderation.route"]``, never from the address."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service
        self.note = access_log()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"] = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                headers += [header for header in SECURITY.items() if header[0] not in present]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            logger.error("a request failed", extra={"route": _route(scope), "error": frames(error)})
            if status:
                raise RuntimeError("the answer had begun") from None
            await problem(Fault("internal", 500, "Internal error; the log has its place"))(scope, receive, watched)
        finally:
            self._note(scope, scope.get("moderation.status", status) or 499, perf_counter() - begin)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self.service.metrics.request(route, status, seconds)
        if self.note is not None:
            self.note(Request(time(), route, scope["method"], status, seconds, scope.get("moderation.caller")))


def _route(scope: Scope) -> str:
    return str(scope.get("moderation.route", "other"))
