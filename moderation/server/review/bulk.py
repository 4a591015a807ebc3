"""Many comments at once: a histogram, a range, what it would take in, the act, and its undo."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.errors import InputError
from moderation.queue import Filter
from moderation.queue.bulk import MOST
from moderation.server.review import charts
from moderation.server.review.choice import Choice
from moderation.server.review.room import Door, Room, Visit, whole
from moderation.server.review.work import filters, ruling, somebody_else

BARS = 20


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes of bulk acts."""
    return [
        Route("/bulk", Door(room, bulk), methods=["GET"]),
        Route("/bulk/preview", Door(room, preview), methods=["GET"]),
        Route("/bulk", Door(room, act), methods=["POST"]),
        Route("/bulk/{ref}", Door(room, one), methods=["GET"]),
        Route("/bulk/{ref}/undo", Door(room, undo), methods=["POST"]),
    ]


def bulk(visit: Visit) -> Response:
    """Show the histogram of a label's scores, and what the chosen range would take in."""
    chosen = _chosen(visit)
    query = visit.request.query_params
    made, left = query.get("made", ""), query.get("left", "")
    latest = visit.store.bulks.latest(None if visit.user.may("senior") else visit.name)
    return visit.render(
        "bulk.html",
        chosen=chosen,
        filters=filters(visit, Choice(chosen, "severity")),
        latest=latest,
        made=next((one for one in latest if str(one.ref) == made), None),
        left=left if left.isdecimal() and len(left) < 7 else None,
        here=f"/bulk?{_here(chosen, made=made)}",
        **_histogram(visit, chosen),
        **_previewed(visit, chosen),
    )


def preview(visit: Visit) -> Response:
    """Return the parts of the page that depend on its form, for its script: the bars only when it asks for them."""
    if other := somebody_else(visit):
        return other
    chosen = _chosen(visit)
    found = {"preview": visit.fragment("_preview.html", chosen=chosen, **_previewed(visit, chosen))}
    if visit.request.query_params.get("bars") == "yes":
        found["histogram"] = visit.fragment("_histogram.html", chosen=chosen, **_histogram(visit, chosen))
    return visit.json(found)


def _histogram(visit: Visit, chosen: Filter) -> dict[str, Any]:
    bars = visit.store.listing.histogram(chosen, bars=BARS)
    shapes = charts.bars(bars, chosen.low or 0.0, 1.0 if chosen.high is None else chosen.high)
    return {"bars": shapes, "total": sum(bar.count for bar in bars)}


def _previewed(visit: Visit, chosen: Filter) -> dict[str, Any]:
    preview = visit.store.bulks.preview(visit.name, chosen)
    articles = filters(visit, Choice(chosen, "severity"))["articles"]
    return {
        "article": next((title for ref, title, _ in articles if ref == chosen.article), None),
        "preview": preview,
        "carried": [(name, value) for name, value in chosen.to_json().items() if name != "state"],
        "seen": None if preview.seen is None else packed(preview.seen),
        "most": MOST,
        "reasons": list(visit.store.reasons.values()),
        "suggested": _suggested(visit, chosen.label) if (preview.mean or 0.0) >= 0.5 else None,
        "key": secrets.token_urlsafe(12),
        "now": visit.store.database.now(),
        "blur": visit.user.preferences.blur,
    }


def _suggested(visit: Visit, label: str | None) -> str | None:
    """Return the reason that says a label and least besides it."""
    fitting = [reason for reason in visit.store.reasons.values() if reason.labels.get(label or "")]
    return min(fitting, key=lambda reason: len(reason.labels)).code if fitting else None


def _chosen(visit: Visit) -> Filter:
    """Return what the address asks for; without range, words, author and article: a label's highest scores."""
    query = visit.request.query_params
    chosen = Choice.read(query).waiting()
    if {chosen.low, chosen.high, chosen.words, chosen.author, chosen.article} == {None}:
        label = chosen.label if "label" in query else _first_label(visit)  # a form that says Any means it
        return replace(chosen, label=label, low=0.9, high=1.0)
    return replace(chosen, low=chosen.low or 0.0, high=1.0 if chosen.high is None else chosen.high)


def _first_label(visit: Visit) -> str | None:
    """Return the first of the policy's labels that comments are scored for; None before any was scored."""
    labels = visit.store.listing.labels()
    return next((label for label in visit.room.policy.thresholds if label in labels), labels[0] if labels else None)


def act(visit: Visit) -> Response:
    """Decide alike on the comments that were shown, and on no other."""
    chosen = Choice.read(visit.form).waiting()
    if chosen.low is None or chosen.high is None:
        raise InputError("low, high: expected a range of scores")
    seen = unpacked(visit.field("seen") or "")
    done = visit.store.bulks.act(visit.name, chosen, ruling(visit.form), seen=seen, key=visit.field("key"))
    return visit.go(f"/bulk?{_here(chosen, made=done.ref, left=len(seen) - done.size or None)}")


def _here(chosen: Filter, **more: Any) -> str:
    return Choice(chosen, "severity").query(order=None, **more)


def packed(seen: Mapping[int, int]) -> str:
    """Write numbers with versions for a form: ``3-7,9:2`` is 3 to 7 in their first version, and 9 in its second."""
    runs: list[list[int]] = []
    for ref, version in sorted(seen.items()):
        if runs and runs[-1][1] == ref - 1 and runs[-1][2] == version:
            runs[-1][1] = ref
        else:
            runs.append([ref, ref, version])
    return ",".join(
        (f"{first}" if first == last else f"{first}-{last}") + (f":{version}" if version != 1 else "")
        for first, last, version in runs
    )


def unpacked(text: str) -> dict[int, int]:
    """Read what `packed` wrote; raise `InputError` for anything else, and for more than a preview names."""
    seen: dict[int, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?(?::(\d{1,9}))?", part, re.ASCII)
        first, last, version = (int(number) if number else None for number in found.groups()) if found else (0, 0, 0)
        if first is None or not found or (last or first) - first + len(seen) >= MOST:
            raise InputError(f"seen: expected the comments that the page showed, at most {MOST:,}")
        seen |= dict.fromkeys(range(first, (last or first) + 1), version or 1)
    return seen


def one(visit: Visit) -> Response:
    """Show one bulk act and the comments that it took in."""
    ref = visit.number("ref")
    after = whole(visit.request.query_params.get("after") or "0") or 0
    return visit.render(
        "bulk_act.html",
        act=visit.store.bulks.get(ref),
        page=visit.store.bulks.page(ref, visit.name, after=after),
        now=visit.store.database.now(),
        blur=visit.user.preferences.blur,
    )


def undo(visit: Visit) -> Response:
    """Take a bulk act back as one."""
    undone = visit.store.bulks.undo(visit.name, visit.number("ref"))
    return visit.go(visit.back(f"/bulk?made={undone.ref}"))
