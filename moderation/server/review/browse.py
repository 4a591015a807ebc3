"""Lists of comments, one comment with its history, its thread, and one's own decisions."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.errors import ClaimTaken, NotFound
from moderation.queue import Item
from moderation.queue.listing import THREAD
from moderation.queue.values import LONGEST_WORDS
from moderation.server.review.choice import Choice
from moderation.server.review.room import Door, Room, Visit, own_path, paged, whole
from moderation.server.review.work import card, done, filters

LONGEST_WAY = 4_000
"""Characters of the way back from a thread; each thread that is opened from another's makes it longer."""

DECISIONS, BEGINNING = 50, 80
"""Decisions on a page of one's own, and how many characters of the comment stand beside each."""


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes of lists and single comments."""
    return [
        Route("/", Door(room, queue), methods=["GET"]),
        Route("/comments/{ref}", Door(room, comment), methods=["GET"]),
        Route("/comments/{ref}/thread", Door(room, thread), methods=["GET"]),
        Route("/find", Door(room, find), methods=["GET"]),
        Route("/mine", Door(room, mine), methods=["GET"]),
        Route("/help", Door(room, help_page), methods=["GET"]),
    ]


def queue(visit: Visit) -> Response:
    """Show the list of comments that wait, or of those that are asked for."""
    query = visit.request.query_params
    choice = Choice.read(query, visit.user.preferences.order)
    after, before = query.get("after") or None, query.get("before") or None
    page = visit.store.listing.page(choice.filter, order=choice.order, after=after, before=before)
    return visit.render(
        "queue.html",
        page=page,
        first=page.before is None and after is None,
        choice=choice,
        filters=filters(visit, choice),
        total=visit.store.listing.count(choice.filter),
        skipped=visit.store.listing.skipped(visit.name, choice.filter) if choice.filter.state == "waiting" else 0,
        now=visit.store.database.now(),
        blur=visit.user.preferences.blur,
    )


def comment(visit: Visit) -> Response:
    """Show one comment with all that happened to it; one that waits is claimed, if nobody else has it."""
    ref = visit.number("ref")
    item, taken = _opened(visit, ref)
    came = _came(visit)
    here = f"/comments/{ref}" + (f"?{urlencode({'back': came}, errors='replace')}" if came else "")
    return visit.render(
        "comment.html",
        card=card(visit, item, back=here, sought=_sought(visit, came)),
        came=came,
        taken=taken,
        versions=visit.store.listing.versions(ref),
        **done(visit),
    )


def _came(visit: Visit) -> str | None:
    """Return the list from which a comment was opened: a page of ours, as its address or the page before it says.

    After a decision, its undo or a look at the whole text the page before is the comment's own.
    """
    before = urlsplit(visit.came_from or "")
    given = visit.request.query_params.get("back")
    if given is None and before.path == visit.request.url.path:
        given = dict(parse_qsl(before.query)).get("back")
    came = own_path(given)
    return came if came and visit.room.is_page(came) else None


def _sought(visit: Visit, came: str | None) -> str:
    """Return the words with which a comment was found, as its own address or that of the list says."""
    listed = dict(parse_qsl(urlsplit(came or "").query)).get("words", "")
    return (visit.request.query_params.get("words") or listed)[:LONGEST_WORDS]


def _opened(visit: Visit, ref: int) -> tuple[Item, str | None]:
    """Return a comment, claimed if who asks may decide on it; and who else has it open."""
    item = visit.store.listing.item(ref, visit.name)
    had_a_look = any(
        past.decision.moderator == visit.name and past.decision.act != "undo" and not past.undone
        for past in item.history
        if past.version == item.version.number
    )
    wanted = not had_a_look if item.state == "queued" else item.state == "escalated" and visit.user.may("senior")
    if not wanted:
        return item, None
    try:
        return visit.store.desk.take(visit.name, ref), None
    except ClaimTaken as error:
        return item, error.by


def thread(visit: Visit) -> Response:
    """Show the comments under the same article, oldest first; the one that was being read stays claimed."""
    ref = visit.number("ref")
    item, _ = _opened(visit, ref)
    entries = visit.store.listing.thread(ref)
    return visit.render(
        "thread.html",
        item=item,
        came=_way_back(visit, f"/comments/{ref}"),
        held=item.claimed_by == visit.name,
        entries=entries,
        most=THREAD,
        named={entry.comment.id: entry for entry in entries},
        now=visit.store.database.now(),
        blur=visit.user.preferences.blur,
    )


def _way_back(visit: Visit, default: str) -> str:
    """Return where a thread was opened, as its address says, if that is a page of ours."""
    given = own_path(visit.request.query_params.get("back"))
    return given if given and len(given) <= LONGEST_WAY and visit.room.is_page(given) else default


def find(visit: Visit) -> Response:
    """Go to a comment that is named by its site and the site's own id, or to an appeal by its reference."""
    query = visit.request.query_params
    named = query.get("id", "").strip()
    if reference := query.get("reference", "").strip().upper():
        return visit.go(f"/appeals/{visit.store.appeals.find(reference).ref}")
    for site in [query["site"]] if query.get("site") else visit.store.listing.sites():
        if (ref := visit.store.listing.find(site, named)) is not None:
            return visit.go(f"/comments/{ref}")
    raise NotFound("there is no comment with this id")


def mine(visit: Visit) -> Response:
    """Show a page of one's own single decisions, each with its undo, and one's latest bulk acts."""
    query = visit.request.query_params
    before, after = whole(query.get("before", "")), whole(query.get("after", ""))
    listing = visit.store.listing
    found = listing.decisions(visit.name, singly=True, before=before, after=after, limit=DECISIONS + 1)
    decisions, newer, older = paged(found, DECISIONS, before, after)
    return visit.render(
        "mine.html",
        decisions=decisions,
        entries=listing.entries({one.comment_ref for one in decisions}, longest=2 * BEGINNING),
        newer=decisions[0].ref if newer else None,
        older=decisions[-1].ref if older else None,
        escalated=listing.escalated(decisions),
        undoable=listing.undoable(decisions),
        bulks=visit.store.bulks.latest(visit.name),
        now=visit.store.database.now(),
        blur=visit.user.preferences.blur,
        **done(visit),
    )


def help_page(visit: Visit) -> Response:
    """Show the keys and what the numbers mean."""
    return visit.render("help.html", thresholds=visit.room.policy.thresholds, policy=visit.room.policy)
