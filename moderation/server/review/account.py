"""Signing in and out, and how a moderator wants the page."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.errors import InputError, SignInFailed, SignInThrottled
from moderation.queue import Preferences
from moderation.queue.people import SHIFT
from moderation.server.review import appeals
from moderation.server.review.room import Door, Room, Visit, own_path

KEPT = "kept-"
"""What names of fields begin with that were typed into another form, before the session had ended."""


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes of one's own account."""
    return [
        Route("/sign-in", Door(room, sign_in_page, None), methods=["GET"]),
        Route("/sign-in", Door(room, sign_in, None), methods=["POST"]),
        Route("/sign-out", Door(room, sign_out), methods=["POST"]),
        Route("/preferences", Door(room, preferences_page), methods=["GET"]),
        Route("/preferences", Door(room, preferences), methods=["POST"]),
        Route("/password", Door(room, password), methods=["POST"]),
        Route("/rest", Door(room, rest), methods=["POST"]),
    ]


def sign_in_page(visit: Visit) -> Response:
    """Show the form; who is signed in already goes on."""
    wanted = own_path(visit.request.query_params.get("next")) or "/work"
    if visit.session is not None:
        return visit.go(wanted)
    return visit.render("sign_in.html", wanted=wanted, name="", problem=None, kept={})


def sign_in(visit: Visit) -> Response:
    """Open a session in place of the browser's last one. Too many failures have to wait, by account and by address."""
    wanted, name = own_path(visit.form.get("next")) or "/work", visit.form.get("name", "").strip()
    kept = {key.removeprefix(KEPT): value for key, value in visit.form.items() if key.startswith(KEPT)}
    about = {"wanted": wanted, "name": name, "kept": kept}
    try:
        secret, _ = visit.store.people.sign_in(
            name, visit.form.get("password", ""), address=visit.address, instead_of=visit.secret
        )
    except SignInThrottled as error:
        response = visit.render("sign_in.html", error.status, problem=str(error), **about)
        response.headers["retry-after"] = str(int(error.wait) + 1)
        return response
    except SignInFailed as error:
        return visit.render("sign_in.html", error.status, problem="Name and password do not fit.", **about)
    if kept:  # a redirect could carry it in an address alone
        visit.signed_in(secret)
        response = appeals.page(visit, kept)
    else:
        response = visit.go(wanted)
    set_cookie(visit, response, secret)
    return response


def set_cookie(visit: Visit, response: Response, secret: str) -> None:
    """Let the browser keep a session's secret, out of scripts' reach and of other sites'."""
    response.set_cookie(
        visit.cookie, secret, int(SHIFT.total_seconds()), path="/", httponly=True, samesite="lax", secure=visit.secure
    )


def sign_out(visit: Visit) -> Response:
    """End the session and give back what its moderator had open.

    The browser keeps what is stored: that single keys are off, and decisions that wait for a connection, which are
    sent when the same moderator signs in again. Pages are not kept (`no-store`).
    """
    visit.store.people.sign_out(visit.secret)
    response = visit.go("/sign-in")
    response.delete_cookie(visit.cookie, path="/", httponly=True, samesite="lax", secure=visit.secure)
    return response


def preferences_page(visit: Visit) -> Response:
    """Show how the page can look."""
    saved = visit.request.query_params.get("saved") == "yes"
    return visit.render("preferences.html", saved=saved, problem=None, preferences=visit.user.preferences)


def preferences(visit: Visit) -> Response:
    """Keep how the page is to look."""
    chosen = Preferences.from_json(
        {
            "blur": _number("blur", visit.field("blur")) if visit.field("blurred") else None,
            "grey": visit.field("grey") is not None,
            "break_after": _minutes(visit.field("break_after")) if visit.field("breaks") else None,
            "order": visit.field("order") or "severity",
            "theme": visit.field("theme") or "system",
        }
    )
    visit.store.people.set_preferences(visit.name, chosen)
    return visit.go("/preferences?saved=yes")


def _number(name: str, value: str | None) -> float:
    try:
        return float((value or "").replace(",", "."))
    except ValueError:
        raise InputError(f"{name}: expected a number") from None


def _minutes(value: str | None) -> int:
    if value is None or not value.isdecimal() or len(value) > 6:
        raise InputError("break_after: expected whole minutes")
    return int(value)


def password(visit: Visit) -> Response:
    """Change one's own password; the old one is asked for, as when signing in, and all other sessions end."""
    new, about = visit.form.get("new", ""), {"saved": False, "preferences": visit.user.preferences}
    try:
        if new != visit.form.get("again", ""):
            raise InputError("the new password was not typed the same twice")
        visit.store.people.change_password(visit.name, visit.form.get("old", ""), new, address=visit.address)
    except (SignInFailed, InputError) as error:
        return _not_saved(visit, about, error)
    secret, _ = visit.store.people.sign_in(visit.name, new, address=visit.address)
    response = visit.go("/preferences?saved=yes")
    set_cookie(visit, response, secret)
    return response


def _not_saved(visit: Visit, about: dict[str, Any], error: SignInFailed | InputError) -> Response:
    wrong = isinstance(error, SignInFailed) and not isinstance(error, SignInThrottled)
    problem = "The old password does not fit." if wrong else str(error)
    return visit.render("preferences.html", 400 if wrong else error.status, problem=problem, **about)


def rest(visit: Visit) -> Response:
    """Note that a break was taken: the reminder begins anew."""
    response = visit.json({}) if visit.scripted else visit.go(visit.back("/work"))
    now = int(visit.store.database.now().timestamp())
    response.set_cookie("rested", str(now), path="/", httponly=True, samesite="lax", secure=visit.secure)
    return response
