"""Appeals: what an author objects to, and the second decision by somebody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.errors import Conflict, InputError
from moderation.queue import Appeal, Past
from moderation.server.review.room import Door, Room, Visit
from moderation.server.review.work import card, ruling

TYPED = ("site", "id", "statement", "contact")
"""Fields of the form for a new appeal."""


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes of appeals."""
    return [
        Route("/appeals", Door(room, appeals), methods=["GET"]),
        Route("/appeals", Door(room, enter, keeps=TYPED), methods=["POST"]),
        Route("/appeals/{ref}", Door(room, appeal), methods=["GET"]),
        Route("/appeals/{ref}/decide", Door(room, decide), methods=["POST"]),
    ]


def appeals(visit: Visit) -> Response:
    """Show the appeals that who asks may decide, and the form for a new one."""
    return page(visit, visit.request.query_params)


def page(visit: Visit, typed: Mapping[str, str]) -> Response:
    """Show the page of appeals, its form filled with what is known."""
    waiting = visit.store.appeals.waiting(visit.name)
    comments = {one.ref: visit.store.listing.item(one.comment_ref, visit.name) for one in waiting[:50]}
    return visit.render(
        "appeals.html",
        waiting=waiting[:50],
        comments=comments,
        sites=visit.store.listing.sites(),
        now=visit.store.database.now(),
        typed={name: typed.get(name, "") for name in TYPED},
    )


def enter(visit: Visit) -> Response:
    """Open an appeal that came by letter or telephone."""
    site, named = visit.field("site"), visit.field("id")
    if site is None or named is None:
        raise InputError("site, id: expected the comment's site and its id")
    opened = visit.store.appeals.open(site, named, statement=visit.field("statement"), contact=visit.field("contact"))
    return visit.go(f"/appeals/{opened.ref}")


def appeal(visit: Visit) -> Response:
    """Show one appeal with its comment and the first decision; not while somebody is to look without knowing that."""
    found = visit.store.appeals.get(visit.number("ref"))
    item = visit.store.listing.item(found.comment_ref, visit.name)
    if item.state == "queued":
        raise Conflict(f"appeal {found.reference} rests while its comment waits for a decision")
    mine = any(past.decision.moderator == visit.name and past.decision.act != "undo" for past in item.history)
    return visit.render(
        "appeal.html",
        appeal=found,
        against=_against(found, item.history),
        settled=_settled(found, item.history),
        card=card(visit, item, back=f"/appeals/{found.ref}", acts=False),
        mine=mine,
    )


def _against(appeal: Appeal, history: Sequence[Past]) -> Past | None:
    """Return the rejection that stood when an appeal was opened."""
    earlier = [past for past in history if datetime.fromisoformat(past.decision.decided) <= appeal.opened]
    undone = {past.undoes for past in earlier}
    standing = [past for past in earlier if past.decision.act == "reject" and past.ref not in undone]
    return standing[-1] if standing else None


def _settled(appeal: Appeal, history: Sequence[Past]) -> Past | None:
    """Return the decision that settled an appeal; both were written down at the same moment."""
    if appeal.decided is None:
        return None
    when = appeal.decided.isoformat(timespec="milliseconds")
    return next((past for past in history if past.stage == "appeal" and past.decision.decided == when), None)


def decide(visit: Visit) -> Response:
    """Uphold the rejection, or overturn it."""
    ref = visit.number("ref")
    visit.store.appeals.decide(visit.name, ref, ruling(visit.form), key=visit.field("key"))
    return visit.go(f"/appeals/{ref}")
