"""Accounts, tokens for machines, and the audit; for admins."""

from __future__ import annotations

import secrets
from typing import Any, cast
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.errors import Conflict, InputError
from moderation.queue.audit import KINDS
from moderation.queue.people import ROLES, SCOPES, Role
from moderation.server.review.room import Door, Room, Visit, paged, whole

LINES = 200
"""Lines of the audit on a page."""


def routes(room: Room) -> list[BaseRoute]:
    """Return the routes for admins."""
    return [
        Route("/people", Door(room, people, "admin"), methods=["GET"]),
        Route("/people", Door(room, add, "admin"), methods=["POST"]),
        Route("/people/change", Door(room, change, "admin"), methods=["POST"]),
        Route("/tokens", Door(room, make_token, "admin"), methods=["POST"]),
        Route("/tokens/{ref}/revoke", Door(room, revoke, "admin"), methods=["POST"]),
        Route("/audit", Door(room, audit, "admin"), methods=["GET"]),
    ]


def people(visit: Visit, **values: Any) -> Response:
    """Show accounts and tokens."""
    about: dict[str, Any] = {"secret": None, "token": None, "password": None, "named": None}
    return visit.render(
        "people.html",
        people=visit.store.people.all(),
        tokens=visit.store.people.tokens(),
        roles=ROLES,
        scopes=SCOPES,
        **(about | values),
    )


def add(visit: Visit) -> Response:
    """Make an account with a first password, which is shown this once."""
    name, role, password = visit.field("name") or "", visit.field("role"), secrets.token_urlsafe(12)
    visit.store.people.add(name, _role(role), password, by=visit.name, address=visit.address)
    return people(visit, password=password, named=name)


def change(visit: Visit) -> Response:
    """Change an account: its role, a new password, disable or enable."""
    name, what = visit.form.get("name", ""), visit.form.get("what")
    if name == visit.name and what in ("disable", "role"):
        raise Conflict("you cannot take your own rights away; another admin can")
    if name == visit.name and what == "password":
        raise Conflict("change yours under Preferences")
    if what == "password":
        password = secrets.token_urlsafe(12)
        visit.store.people.set_password(name, password, by=visit.name, address=visit.address)
        return people(visit, password=password, named=name)
    if what == "role":
        visit.store.people.set_role(name, _role(visit.field("role")), by=visit.name, address=visit.address)
    elif what == "disable":
        visit.store.people.disable(name, by=visit.name, address=visit.address)
    elif what == "enable":
        visit.store.people.enable(name, by=visit.name, address=visit.address)
    else:
        raise InputError("what: expected password, role, disable or enable")
    return visit.go("/people")


def _role(given: str | None) -> Role:
    return cast(Role, given or "")  # the store says which there are


def make_token(visit: Visit) -> Response:
    """Make a token for a machine; its secret is shown this once."""
    scopes = [scope for scope in SCOPES if visit.field(f"scope-{scope}")]
    name = visit.field("name") or "unnamed"
    secret, token = visit.store.people.make_token(visit.name, name, scopes, address=visit.address)
    return people(visit, secret=secret, token=token)


def revoke(visit: Visit) -> Response:
    """Take a token back."""
    visit.store.people.revoke_token(visit.number("ref"), by=visit.name, address=visit.address)
    return visit.go("/people")


def audit(visit: Visit) -> Response:
    """Show what happened to accounts, and what was refused: a page of it, of one kind and about one account or all."""
    query = visit.request.query_params
    kind, name = query.get("kind") or None, query.get("name") or None
    before, after = whole(query.get("before", "")), whole(query.get("after", ""))
    lines = visit.store.people.audit(kind=kind, name=name, before=before, after=after, limit=LINES + 1)
    lines, newer, older = paged(lines, LINES, before, after)
    return visit.render(
        "audit.html",
        lines=lines,
        newer=_page(kind, name, after=lines[0].ref) if newer else None,
        older=_page(kind, name, before=lines[-1].ref) if older else None,
        kinds=KINDS,
        names=[user.name for user in visit.store.people.all()],
        kind=kind,
        name=name,
    )


def _page(kind: str | None, name: str | None, **beside: int) -> str:
    """Return the parameters of an address of the audit."""
    asked: dict[str, Any] = {"kind": kind, "name": name}
    return urlencode({key: value for key, value in (asked | beside).items() if value is not None}, errors="replace")
