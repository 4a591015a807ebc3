"""What every page shares: who asks, what they may, the form they sent, and how the answer looks."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from anyio import to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from moderation.errors import (
    AlreadyDecided,
    ClaimTaken,
    CommentChanged,
    Forbidden,
    InputError,
    ModerationError,
    NotFound,
    StoreError,
)
from moderation.policy import Policy
from moderation.queue import Session, Store, User
from moderation.queue.people import Role
from moderation.queue.values import LONGEST_WORDS
from moderation.scorer import Scorer
from moderation.server.body import read_body
from moderation.server.faults import ClientGone, Fault
from moderation.server.limits import Gate
from moderation.server.logs import frames
from moderation.server.review import words
from moderation.server.settings import Settings

logger = logging.getLogger("moderation.review")

STATIC = Path(__file__).parent / "static"
LONGEST_FORM = 256 << 10
"""Bytes of a form; the longest note is far below."""

POLLED = ("/counts", "/work/cards")
"""What the script asks for by itself: no sign that somebody is there, so that a session left alone ends."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: a browser would then send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class Room:
    """The parts that pages work with.

    Parameters
    ----------
    store : the queue
    scorer, policy : what scored and what advised; their names and thresholds are shown
    settings : the server's; `public_url` tells whether browsers come by https
    """

    def __init__(self, store: Store, scorer: Scorer, policy: Policy, settings: Settings) -> None:
        self.store = store
        self.scorer = scorer
        self.policy = policy
        self.settings = settings
        self.gate = Gate(self.settings.max_waiting, self.settings.max_buffered)
        self.menus: dict[tuple[str | None, int | None], tuple[float, dict[str, Sequence[Any]]]] = {}
        self.pages: list[BaseRoute] = []
        self.assets = {path.name: _version(path) for path in sorted(STATIC.iterdir())}
        self.templates = Environment(
            loader=PackageLoader("moderation.server.review"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters |= words.FILTERS
        self.templates.globals |= {"asset": self.asset, "KEYS": words.KEYS, "longest_words": LONGEST_WORDS}

    def is_page(self, where: str) -> bool:
        """Whether an address of ours is a page that can be asked for."""
        scope = {"type": "http", "method": "GET", "path": urlsplit(where).path}
        return any(page.matches(scope)[0] is Match.FULL for page in self.pages)

    def asset(self, name: str) -> str:
        """Return the address of a static file, which changes with its content."""
        return f"/assets/{name}?v={self.assets[name]}"


def _version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@dataclass
class Visit:
    """One request of a person, or of the script on a page."""

    room: Room
    request: Request
    form: Mapping[str, str] = field(default_factory=dict)
    """The form's fields; of a field that came twice, the last."""

    @property
    def store(self) -> Store:
        """The queue."""
        return self.room.store

    @cached_property
    def secret(self) -> str:
        """What the session's cookie holds, or ""."""
        return self.request.cookies.get(self.cookie, "")

    @cached_property
    def session(self) -> Session | None:
        """Who is signed in."""
        renew = self.request.url.path not in POLLED
        return self.store.people.session(self.secret, renew=renew) if self.secret else None

    def signed_in(self, secret: str) -> None:
        """Go on as who has just signed in."""
        self.secret, self.session = secret, self.store.people.session(secret)

    @property
    def user(self) -> User:
        """Who is signed in; only for pages that ask for a role."""
        assert self.session is not None
        return self.session.user

    @property
    def name(self) -> str:
        """The account's name."""
        return self.user.name

    @property
    def address(self) -> str | None:
        """The network address that asks."""
        return self.request.client.host if self.request.client else None

    @property
    def secure(self) -> bool:
        """Whether the browser came by https."""
        public = self.room.settings.public_url or ""
        return self.request.url.scheme == "https" or public.startswith("https:")

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers let no other host or path set one with this prefix."""
        return "__Host-moderation" if self.secure else "moderation"

    @property
    def scripted(self) -> bool:
        """Whether the page's script asks, and wants data."""
        return "application/json" in self.request.headers.get("accept", "")

    def number(self, name: str) -> int:
        """Return a number from the address; raise `NotFound` for what no row can have."""
        found = whole(self.request.path_params[name])
        if found is None:
            raise NotFound(f"there is nothing of number {self.request.path_params[name][:20]}")
        return found

    def field(self, name: str) -> str | None:
        """Return a field of the form without spaces around it; None when it is missing or empty."""
        return self.form.get(name, "").strip() or None

    def back(self, default: str) -> str:
        """Return where the form wants to go next: an address of ours, or the default."""
        return own_path(self.form.get("back")) or default

    @property
    def here(self) -> str:
        """The address that is asked for, without the host."""
        url = self.request.url
        return url.path + (f"?{url.query}" if url.query else "")

    @property
    def came_from(self) -> str | None:
        """The page of ours that a form stood on, or wanted to go to; None where that is not known."""
        try:
            told = urlsplit(self.request.headers.get("referer", ""))
        except ValueError:  # brackets that hold no IPv6 address
            told = urlsplit("")
        ours = self.request.headers.get("host"), urlsplit(self.room.settings.public_url or "").netloc
        stood = told._replace(scheme="", netloc="", fragment="").geturl() if told.netloc in ours else None
        known = (own_path(where) for where in (stood, self.form.get("back")))
        return next((where for where in known if where and self.room.is_page(where)), None)

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page."""
        session = self.session
        about: dict[str, Any] = {"visit": self, "user": session.user if session else None, "counts": None}
        if session is not None:
            about |= {"csrf": session.csrf, "counts": self.store.listing.counts(session.user.name)}
            about |= {"rest": words.rest(session, self.request.cookies.get("rested"), self.store.database.now())}
        page = self.room.templates.get_template(template).render(about | values)
        return HTMLResponse(page.encode("utf-8", "replace"), status, HEADERS)

    def fragment(self, template: str, **values: Any) -> str:
        """Return a piece of a page."""
        assert self.session is not None
        about = {"visit": self, "user": self.user, "csrf": self.session.csrf}
        return self.room.templates.get_template(template).render(about | values)

    def json(self, data: Any, status: int = 200) -> Response:
        """Return data for the page's script."""
        return JSONResponse(data, status, HEADERS)

    def go(self, where: str) -> Response:
        """Send the browser to another page, by GET."""
        return RedirectResponse(where, 303, HEADERS)


def whole(text: str) -> int | None:
    """Return the number that a text is, if a row could have it; Python reads no more than 4,300 digits."""
    found = int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 else 1 << 63
    return found if found < 1 << 63 else None


Line = TypeVar("Line")


def paged(found: list[Line], most: int, before: int | None, after: int | None) -> tuple[list[Line], bool, bool]:
    """Return a page of lines, latest first, and whether newer and older ones are known besides.

    `found` are the lines before or after a number, and one too many where there are more: with `after`, the latest.
    """
    more = len(found) > most
    lines = found[-most:] if after is not None else found[:most]
    newer, older = (more, True) if after is not None else (before is not None, more)
    return lines, newer and bool(lines), older and bool(lines)


Handler = Callable[[Visit], Response]


class Door:
    """An ASGI application for one page: lets in whom the role allows, and turns errors into pages.

    Parameters
    ----------
    room : the parts
    handler : the page's own work; runs in a thread, for the store blocks
    role : the least role that may enter; None: everybody
    keeps : fields of the form that the page for signing in carries on, where the session has ended meanwhile
    """

    def __init__(
        self, room: Room, handler: Handler, role: Role | None = "moderator", keeps: Sequence[str] = ()
    ) -> None:
        self.room = room
        self.handler = handler
        self.role = role
        self.keeps = keeps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["moderation.route"] = "page"
        request = Request(scope, receive)
        visit = Visit(self.room, request)
        try:
            if request.method == "POST":
                visit.form = await self._form(request)
        except ModerationError as error:
            response = await to_thread.run_sync(failed, visit, error)
        except Fault as fault:
            response = _refused(visit, fault)
        except ClientGone:
            scope["moderation.status"] = 499
            return
        else:
            response = await to_thread.run_sync(self._respond, visit)
        await response(scope, receive, send)

    async def _form(self, request: Request) -> dict[str, str]:
        """Return the fields of a form, as browsers send those without files; raise a `Fault` for a slow one."""
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise InputError("form: expected application/x-www-form-urlencoded")
        seconds = self.room.settings.body_timeout
        with self.room.gate.visit() as held:
            body = await read_body(request.scope, request.receive, held, limit=LONGEST_FORM, seconds=seconds)
        try:
            pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=5_000)
        except ValueError:
            raise InputError("form: expected UTF-8 and at most 5,000 fields") from None
        return {name: value.replace("\r\n", "\n") for name, value in pairs}

    def _respond(self, visit: Visit) -> Response:
        try:
            if self.role is not None and visit.session is None:
                return _sign_in_first(visit, self.keeps)
            self._admit(visit)
            return self.handler(visit)
        except ModerationError as error:
            return failed(visit, error)
        except Exception as error:
            logger.error("a page failed", extra={"error": frames(error)})
            return failed(visit, ModerationError())

    def _admit(self, visit: Visit) -> None:
        if visit.request.method == "POST":
            _same_origin(visit)
            # The sign-in form, which asks for no role, is older than the session that another tab may have begun since.
            if self.role is not None and not _token_fits(visit):
                raise Forbidden("the form does not belong to your session; load the page again")
        if self.role is not None and not visit.user.may(self.role):
            raise Forbidden(f"this page is for the role {self.role}; you are {visit.user.role}")


def failed(visit: Visit, error: ModerationError) -> Response:
    """Return an error as a page, or as data for the page's script; what was forbidden enters the audit."""
    if isinstance(error, Forbidden):
        what = f"{visit.request.method} {visit.request.url.path}"[:200]
        if visit.session is not None:  # strangers write nothing into the database
            visit.store.people.forbidden(visit.name, what, address=visit.address)
        logger.warning("forbidden", extra={"what": what})
    headers = {"retry-after": "2"} if error.status == 503 else {}
    detail = str(error) if error.status != 500 else "the server could not do this; its log has the place"
    if isinstance(error, StoreError):
        logger.error("the database cannot be used", extra={"error": frames(error), "detail": detail})
        detail = error.public
    try:
        if visit.scripted:
            response = visit.json({"error": detail, "by": getattr(error, "by", None)}, error.status)
        else:
            faster = isinstance(error, AlreadyDecided | ClaimTaken | CommentChanged)
            back = visit.came_from if visit.request.method == "POST" else None
            about = {"detail": detail, "code": error.status, "faster": faster, "back": back}
            response = visit.render("error.html", error.status, **about)
    except StoreError:  # the page's own frame needs the store
        response = HTMLResponse(f"<p>{error.status}: the queue's database cannot be used now.</p>", 503, HEADERS)
    response.headers.update(headers)
    return response


def _refused(visit: Visit, fault: Fault) -> Response:
    """Return the answer to a form that did not arrive, without a look into the database."""
    if visit.scripted:
        return JSONResponse({"error": fault.detail, "by": None}, fault.status, HEADERS | fault.headers)
    page = f"<!doctype html><title>{fault.status}</title><p>{fault.status}: {escape(fault.detail)}</p>"
    return HTMLResponse(page, fault.status, HEADERS | fault.headers)


def own_path(where: str | None) -> str | None:
    """Return an address if it leads to a page of ours: a path, and nothing that a browser takes for a host."""
    if not where or not where.startswith("/") or where[1:2] in ("/", "\\") or not where.isprintable():
        return None
    parts = urlsplit(where)
    return where if not parts.netloc and not parts.scheme else None


def _sign_in_first(visit: Visit, keeps: Sequence[str] = ()) -> Response:
    """Ask who is not signed in to sign in and to come back; what a form wanted is not done, and they are told so.

    What was typed into the fields `keeps` goes through the form for signing in, so that it enters no address, no log
    and no store. Forms of other sites are refused before that.
    """
    if visit.scripted:
        return visit.json({"error": "You are signed out."}, 401)
    url = visit.request.url
    kept = {name: visit.form[name] for name in keeps if visit.form.get(name, "").strip()}
    if kept:
        _same_origin(visit)
        return visit.render("sign_in.html", 401, wanted=url.path, name="", problem=None, kept=kept)
    if visit.request.method != "GET":
        where = visit.came_from or "/work"
        wanted = quote(f"{where}{'&' if '?' in where else '?'}lost=yes")
        return visit.go("/sign-in" if url.path == "/sign-out" else f"/sign-in?lost=yes&next={wanted}")
    return visit.go("/sign-in" if visit.here == "/" else f"/sign-in?next={quote(visit.here)}")


def _same_origin(visit: Visit) -> None:
    """Refuse what another site's page sends, also where there is no session yet whose token could tell."""
    headers = visit.request.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        good = site in ("same-origin", "none")
    else:
        origin = headers.get("origin")
        good = origin is None or _host(origin) == headers.get("host")
    if not good:
        raise Forbidden("the form was sent from another site")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # brackets that hold no IPv6 address
        return None


def _token_fits(visit: Visit) -> bool:
    assert visit.session is not None
    given = visit.form.get("csrf", "").encode("utf-8", "replace")
    return hmac.compare_digest(given, visit.session.csrf.encode())
