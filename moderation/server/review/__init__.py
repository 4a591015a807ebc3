"""The page that moderators work in: server-rendered, keyboard first, usable without a script.

::

    app = create_app(scorer, policy, settings, extra_routes=review.routes(store, scorer, policy, settings))
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from moderation.policy import Policy
from moderation.queue import Store
from moderation.scorer import Scorer
from moderation.server.review import account, appeals, browse, bulk, people, senior, work
from moderation.server.review.room import HEADERS, STATIC, Room
from moderation.server.settings import Settings


def routes(store: Store, scorer: Scorer, policy: Policy, settings: Settings | None = None) -> list[BaseRoute]:
    """Return the routes of all pages; they take ``/`` for themselves.

    Parameters
    ----------
    store : the queue; it has to outlive the routes
    scorer, policy : what comments are scored by
    settings : the server's; a `public_url` with https makes cookies secure
    """
    room = Room(store, scorer, policy, settings or Settings())
    rooms = (work, browse, bulk, appeals, senior, people, account)
    room.pages = [route for one in rooms for route in one.routes(room)]
    return [*room.pages, Route("/assets/{name}", _asset(room))]


def _asset(room: Room):  # type: ignore[no-untyped-def]
    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in room.assets:
            return Response("there is no such file", 404, HEADERS)
        kept = {"cache-control": "public, max-age=31536000, immutable"} if "v" in request.query_params else {}
        return FileResponse(STATIC / name, headers=HEADERS | kept)

    return asset
