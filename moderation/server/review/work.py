"""The work view: the next comment, and what a moderator does with it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.comment import Act
from moderation.errors import ClaimTaken, InputError, ModerationError, NotFound
from moderation.queue import Item, Outcome, Ruling
from moderation.server.review import marks, words
from moderation.server.review.choice import Choice
from moderation.server.review.room import Door, Room, Visit, whole

AHEAD = 3
"""Comments that the page's script holds: the one that is read, and two that are there before they are asked for."""

MOST = 12
"""Comments that one moderator may have open."""

MENU, MENUS = 5.0, 100
"""Seconds for which the filter's menus are kept, and for how many filters."""


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes of the work view."""
    return [
        Route("/work", Door(room, work), methods=["GET"]),
        Route("/work/cards", Door(room, cards), methods=["GET"]),
        Route("/work/hold", Door(room, hold), methods=["POST"]),
        Route("/work/release", Door(room, release), methods=["POST"]),
        Route("/counts", Door(room, counts), methods=["GET"]),
        Route("/token", Door(room, token), methods=["GET"]),
        Route("/comments/{ref}/decide", Door(room, decide), methods=["POST"]),
        Route("/comments/{ref}/skip", Door(room, skip), methods=["POST"]),
        Route("/work/unskip", Door(room, unskip), methods=["POST"]),
        Route("/decisions/{ref}/undo", Door(room, undo), methods=["POST"]),
    ]


def work(visit: Visit) -> Response:
    """Show the next comment, or the one that `at` in the address comes back to; it is claimed for who asks."""
    query = visit.request.query_params
    choice = Choice.read(query, visit.user.preferences.order)
    got = visit.store.desk.claim(visit.name, choice.waiting(), order=choice.order, first=whole(query.get("at", "")))
    listing = visit.store.listing
    latest = listing.decisions(visit.name, limit=1)
    undoable = listing.undoable(latest)
    return visit.render(
        "work.html",
        card=card(visit, got[0], choice) if got else None,
        choice=choice,
        skipped=0 if got else listing.skipped(visit.name, choice.waiting()),
        filters=filters(visit, choice),
        fitting=fitting(visit, choice),
        latest=next((one for one in latest if one.ref in undoable), None),
        **done(visit),
        exposure=exposure(visit),
    )


def cards(visit: Visit) -> Response:
    """Return the comments that the script is to have ready; they are claimed for who asks."""
    if other := somebody_else(visit):  # these claims would be hidden from them
        return other
    query = visit.request.query_params
    choice = Choice.read(query, visit.user.preferences.order)
    wanted = query.get("hold", str(AHEAD))
    many = min(int(wanted), MOST) if wanted.isdecimal() and len(wanted) < 4 else AHEAD
    known = set(query.get("known", "").split(","))
    held = visit.store.desk.hold(visit.name, choice.waiting(), order=choice.order, most=max(many, 1))
    fresh = visit.store.listing.items([ref for ref in held if str(ref) not in known], visit.name)
    cards = [{"ref": item.ref, "html": visit.fragment("_card.html", card=card(visit, item, choice))} for item in fresh]
    return visit.json({"held": held, "cards": cards} | status(visit))


def hold(visit: Visit) -> Response:
    """Prolong the claims of what is open, and take up again what was given back meanwhile."""
    refs = _refs(visit)
    held = visit.store.desk.renew(visit.name, refs)
    lost: dict[int, str] = {}
    for ref in set(refs) - set(held):
        try:
            visit.store.desk.take(visit.name, ref)
        except ClaimTaken as taken:
            lost[ref] = taken.by
        except NotFound:
            lost[ref] = ""
    return visit.json({"held": [ref for ref in refs if ref not in lost], "lost": lost} | status(visit))


def release(visit: Visit) -> Response:
    """Give comments back, these or all but some, as when the page is left."""
    refs = None if visit.field("all") else _refs(visit)
    return visit.json({"released": visit.store.desk.release(visit.name, refs, but=_refs(visit, "but"))})


def counts(visit: Visit) -> Response:
    """Return how much there is to do, and how much of it fits the filter that is asked for."""
    if other := somebody_else(visit):
        return other
    choice = Choice.read(visit.request.query_params, visit.user.preferences.order)
    return visit.json({"fitting": fitting(visit, choice)} | status(visit))


def somebody_else(visit: Visit) -> Response | None:
    """Return the answer to a page of somebody who is not signed in any more, for another signed in in another tab."""
    if visit.request.query_params.get("user", visit.name) == visit.name:
        return None
    return visit.json({"error": "Somebody else is signed in."}, 401)


def token(visit: Visit) -> Response:
    """Return who is signed in, and the token of their forms, for a page that was loaded in an earlier session."""
    assert visit.session is not None
    return visit.json({"user": visit.name, "csrf": visit.session.csrf})


def status(visit: Visit) -> dict[str, Any]:
    """Return what a page keeps up to date."""
    found = visit.store.listing.counts(visit.name)
    decided, severe = exposure(visit)
    return {
        "waiting": found.waiting,
        "escalated": found.escalated,
        "appeals": found.appeals,
        "decided": decided,
        "severe": severe,
    }


def fitting(visit: Visit, choice: Choice) -> int | None:
    """Return how many of the waiting comments fit a filter; None without one."""
    return visit.store.listing.fitting(visit.name, choice.waiting()) if choice.conditions else None


def decide(visit: Visit) -> Response:
    """Keep a decision."""
    ref = visit.number("ref")
    version = visit.field("version")
    read = None if version is None else whole(version)
    if version is not None and read is None:
        raise InputError("version: expected a whole number")
    outcome = visit.store.desk.decide(
        visit.name,
        ref,
        ruling(visit.form),
        key=visit.field("key"),
        version=read,
        revise=visit.field("revise") == "yes",
    )
    return answer(visit, outcome, "done")


def undo(visit: Visit) -> Response:
    """Take one's own decision back."""
    outcome = visit.store.desk.undo(visit.name, visit.number("ref"), key=visit.field("key"))
    return answer(visit, outcome, "done")


def skip(visit: Visit) -> Response:
    """Give a comment back without a decision."""
    visit.store.desk.skip(visit.name, visit.number("ref"))
    return visit.json(status(visit)) if visit.scripted else visit.go(visit.back("/work"))


def unskip(visit: Visit) -> Response:
    """Take up again what one skipped of a filter, and go on with it."""
    choice = Choice.read(visit.form, visit.user.preferences.order)
    visit.store.desk.unskip(visit.name, choice.waiting())
    return visit.go(f"/work?{choice.query(state=None)}")


def answer(visit: Visit, outcome: Outcome, name: str) -> Response:
    """Say what a decision did: as data, or by going on to the next page."""
    if visit.scripted:
        about = {"decision": outcome.past.ref, "act": outcome.past.decision.act, "state": outcome.state}
        about |= {"sampled": outcome.sampled, "repeated": outcome.repeated, "comment": outcome.past.comment_ref}
        return visit.json(about | status(visit))
    where = visit.back("/work")
    return visit.go(f"{where}{'&' if '?' in where else '?'}{name}={outcome.past.ref}")


def ruling(form: Mapping[str, str]) -> Ruling:
    """Return what a form says is to be done; raise `InputError` for what it cannot say."""
    act = form.get("act", "")
    if act not in ("approve", "reject", "escalate"):
        raise InputError("act: expected approve, reject or escalate")
    given = {name: form.get(name, "").strip() or None for name in ("reason", "note", "ground", "law", "facts")}
    if act != "reject":  # the bulk form sends one with either act
        given["reason"] = None
    return Ruling(cast(Act, act), visibility=form.get("visibility") or None, **given)  # type: ignore[arg-type]


def done(visit: Visit) -> dict[str, Any]:
    """Return the decision that the page before has made, if it is this moderator's, and whether it can be undone."""
    given, nothing = visit.request.query_params.get("done", ""), {"done": None, "done_undoable": False}
    if not given.isdecimal() or len(given) > 15:
        return nothing
    try:
        found = visit.store.listing.decision(int(given))
    except ModerationError:
        return nothing
    if found.decision.moderator != visit.name:
        return nothing
    return {"done": found, "done_undoable": bool(visit.store.listing.undoable([found]))}


def exposure(visit: Visit) -> tuple[int, int]:
    """Return how many comments, and how many severe ones, were decided since signing in."""
    assert visit.session is not None
    since = visit.session.created - timedelta(seconds=1)
    return visit.store.desk.exposure(visit.name, since, severe=words.SEVERE)


def card(
    visit: Visit,
    item: Item,
    choice: Choice | None = None,
    *,
    back: str | None = None,
    acts: bool = True,
    sought: str = "",
) -> dict[str, Any]:
    """Return everything that the template of one comment needs.

    `acts` False leaves the buttons out; `sought` are the words with which it was found, by default those of `choice`.
    """
    version, asked = item.version, visit.request.query_params.get("show")
    sought = sought or (choice.filter.words if choice else None) or ""
    reading = marks.Reading(version.text, () if item.blind else version.spans, sought)
    probabilities = version.score.probabilities
    policy = visit.room.policy
    thresholds = policy.thresholds
    ranked = sorted(probabilities, key=lambda name: (name not in thresholds, -probabilities[name]))
    scores = [(name, probabilities[name], thresholds.get(name, {})) for name in ranked]
    likely = {name for name, probability, limits in scores if limits or probability >= 0.1 or name == item.label}
    shown = asked if asked in probabilities else item.label
    whole = visit.request.query_params.get("whole") == "yes"
    fold, cut = marks.folded(reading.text, whole)
    blur = visit.user.preferences.blur
    now = visit.store.database.now()
    on_work = f"/work?{choice.query()}" if choice else "/work"
    return {
        "item": item,
        "shown": shown,
        "other_policy": policy.id if policy.id != version.verdict.policy_id else None,
        "scores": [score for score in scores if score[0] in likely],
        "others": [score for score in scores if score[0] not in likely],
        "drivers": {name: reading.drivers(name) for name in ranked},
        "text": reading.text,
        "head": reading.pieces(0, fold),
        "rest": reading.pieces(fold, cut),
        "sought": sought,
        "unfolded": any(last > fold for _, last in reading.hits),
        "beyond": any(last > cut for _, last in reading.hits),
        "cut": len(reading.text) - cut,
        "source": reading.source and reading.source[: None if whole else marks.MOST],
        "blurred": blur is not None and (item.blind or item.severity >= blur) and not item.erased,
        "reasons": list(visit.store.reasons.values()),
        "undoable": visit.store.listing.undoable([one for one in item.history if one.decision.moderator == visit.name]),
        "key": secrets.token_urlsafe(12),
        "now": now,
        "back": back or on_work,
        "here": back or f"{on_work}{'&' if choice else '?'}at={item.ref}",
        "open": item.state in ("queued", "escalated"),
        "settled": settled(item),
        "acts": acts and _may_act(visit, item),
    }


def _may_act(visit: Visit, item: Item) -> bool:
    """Whether who asks may decide: on what they have claimed, or anew on what they, or as a senior anybody, decided."""
    if item.state == "queued":
        return item.claimed_by == visit.name
    if item.state == "escalated":
        return item.claimed_by == visit.name and visit.user.may("senior")
    if item.state == "passed" or not item.history or settled(item):
        return False
    return visit.user.may("senior") or item.history[-1].decision.moderator == visit.name


def settled(item: Item) -> bool:
    """Whether an appeal settled where the present text stands, so that no revision can change it."""
    return any(past.stage == "appeal" and past.version == item.version.number for past in item.history)


def filters(visit: Visit, choice: Choice) -> dict[str, Sequence[Any]]:
    """Return what the filter's menus offer, at most `MENU` seconds old: it is the costliest part of a page."""
    key, now = (choice.filter.site, choice.filter.article), time.monotonic()
    made, found = visit.room.menus.get(key, (0.0, {}))
    if not found or now - made > MENU:
        listing = visit.store.listing
        articles = listing.articles(site=key[0], also=key[1])
        found = {"labels": listing.labels(), "sites": listing.sites(), "articles": articles}
        if len(visit.room.menus) >= MENUS:
            visit.room.menus.clear()
        visit.room.menus[key] = (now, found)
    return found


def _refs(visit: Visit, name: str = "refs") -> list[int]:
    given = [part for part in visit.form.get(name, "").split(",") if part]
    if len(given) > 50 or not all(part.isdecimal() and len(part) < 16 for part in given):
        raise InputError(f"{name}: expected at most 50 numbers with commas between them")
    return [int(part) for part in given]
