"""Which web pages may call.

A browser sends what a page asks for to any address, also to one that only this machine can reach: without this check
any page that somebody looks at could leave feedback here or fill the queue. Programs send no Origin, and are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.types import Scope

from moderation.errors import InputError
from moderation.server.faults import ECHOED, Fault

_ASKED = {b"origin": "origin", b"host": "host", b"sec-fetch-site": "site"}


class Origins:
    """Tells the pages that may call from those that may not.

    Parameters
    ----------
    allowed : origins as browsers write them (``https://news.example``), or ``*`` for any
    public_url : the address under which pages of our own are seen, where a proxy hides it
    loopback : whether only this machine can reach us. Then a page under a name that is not this machine's, which
        reached us without a proxy's TLS, has turned its name on us (DNS rebinding) and is none of ours

    Raises
    ------
    InputError
        when one of `allowed` is no origin
    """

    def __init__(self, allowed: Sequence[str] = (), *, public_url: str | None = None, loopback: bool = False) -> None:
        for origin in allowed:
            if origin not in ("*", "null") and not _is_origin(origin):
                raise InputError(f"--cors: expected an origin as in https://news.example, or *, got {origin!r}")
        self._allowed = frozenset(allowed)
        self._public = _origin_of(public_url) if public_url else None
        self._loopback = loopback

    def check(self, scope: Scope) -> None:
        """Raise a `Fault` (403) when a page sent the request that may not."""
        found = {_ASKED[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _ASKED}
        origin, site = found.get("origin"), found.get("site")
        if origin is None:
            good = site in (None, "same-origin", "none")
        else:
            good = "*" in self._allowed or origin in self._allowed or self._own(origin, found.get("host", ""), site)
        if not good:
            came = "another site's page" if origin is None else origin[:ECHOED]
            detail = f"Origin: expected a page of this server, or of an origin given with --cors, got {came}"
            raise Fault("origin", 403, detail)

    def _own(self, origin: str, host: str, site: str | None) -> bool:
        if self._public is not None and origin == self._public:
            return True
        try:
            page = urlsplit(origin)
            if page.netloc.lower() != host.lower():
                return site == "same-origin"  # a proxy changed the host
            return not self._loopback or page.scheme == "https" or _is_here(page)
        except ValueError:
            return False


def _is_here(address: SplitResult) -> bool:
    """Tell whether a host is a number, or the name that every machine has for itself: nobody can turn these on us."""
    name = address.hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_origin(text: str) -> bool:
    try:
        return _origin_of(text) == text and urlsplit(text).scheme != ""
    except ValueError:
        return False


def _origin_of(url: str) -> str:
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc.lower()}"
