"""What seniors see: what was passed on to them, how people decide, and the way out for decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from moderation.errors import NotFound
from moderation.queue import Filter
from moderation.server.review import charts
from moderation.server.review.room import HEADERS, Door, Room, Visit

PERIODS = {"7": 7, "30": 30, "90": 90, "all": None}


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes for seniors."""
    return [
        Route("/senior", Door(room, senior, "senior"), methods=["GET"]),
        Route("/export/{name}", Door(room, export, "senior"), methods=["GET"]),
    ]


def senior(visit: Visit) -> Response:
    """Show escalated comments and how the queue is worked."""
    period = visit.request.query_params.get("days", "30")
    period = period if period in PERIODS else "30"
    since = _since(visit, period)
    statistics = visit.store.statistics
    weeks = statistics.weeks(visit.store.database.now() - timedelta(weeks=26))
    escalated = visit.store.listing.page(Filter(state="escalated"), order="oldest").entries
    return visit.render(
        "senior.html",
        period=period,
        periods=list(PERIODS),
        escalated=escalated,
        escalations=visit.store.listing.escalations([entry.ref for entry in escalated]),
        work=statistics.work(since),
        agreement=statistics.agreement(since),
        overturned=statistics.overturned(since, limit=50),
        lines=[
            charts.line("Flag rate", weeks, [week.flag_rate for week in weeks]),
            charts.line("Override rate", weeks, [week.override_rate for week in weeks]),
            charts.line("Misses in the random sample", weeks, [week.miss_rate for week in weeks]),
        ],
        weeks=weeks,
        now=visit.store.database.now(),
        blur=visit.user.preferences.blur,
    )


def _since(visit: Visit, period: str) -> datetime | None:
    days = PERIODS[period]
    return None if days is None else visit.store.database.now() - timedelta(days=days)


def export(visit: Visit) -> Response:
    """Stream decisions as a download; that it was taken is kept in the audit."""
    exports = visit.store.exports
    kinds: dict[str, tuple[Callable[..., Iterator[bytes]], str]] = {
        "decisions.jsonl": (exports.jsonl, "application/x-ndjson"),
        "decisions.csv": (exports.csv, "text/csv; charset=utf-8"),
        "statements.jsonl": (exports.statements, "application/x-ndjson"),
    }
    name = visit.request.path_params["name"]
    if name not in kinds:
        raise NotFound(f"there is no export of this name; there are {', '.join(kinds)}")
    period = visit.request.query_params.get("days", "all")
    made, kind = kinds[name]
    visit.store.people.note("exported", user=visit.name, address=visit.address, detail=name)
    headers = HEADERS | {"content-disposition": f'attachment; filename="{name}"'}
    stream = made(since=_since(visit, period if period in PERIODS else "all"))
    return StreamingResponse(stream, media_type=kind, headers=headers)
