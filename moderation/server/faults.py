"""What can be wrong with a request, before any protocol gives it its own shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_type_hints

import msgspec
from starlette.responses import Response

from moderation.server.answers import json_bytes

Kind = Literal[
    "invalid",
    "key",
    "origin",
    "rate",
    "busy",
    "large",
    "slow",
    "json",
    "signature",
    "encoding",
    "internal",
    "missing",
    "method",
]

ECHOED = 100
"""Characters of a name out of the request that an error message repeats."""

TITLES: Mapping[Kind, str] = {
    "invalid": "The request is not what this address expects",
    "key": "The API key is not known here",
    "origin": "Pages of this origin may not call",
    "rate": "Too many requests for this key",
    "busy": "Too many requests at a time",
    "large": "The body is too large",
    "slow": "The body took too long to arrive",
    "json": "The body is not readable as JSON",
    "encoding": "The body is packed in a way that is not read here",
    "signature": "The signature does not fit the body",
    "internal": "Internal error",
    "missing": "There is nothing at this address",
    "method": "This address takes another method",
}


class Fault(Exception):
    """A request that gets no answer to its question; each room renders it in its protocol's shape.

    Parameters
    ----------
    kind : what is wrong, for programs
    status : HTTP status
    detail : what is wrong, in a sentence; never holds text of a comment
    path : place in the body, as in ``comments[3].text``, or ""
    headers : headers of the answer
    extra : members that only one protocol knows
    """

    def __init__(
        self,
        kind: Kind,
        status: int,
        detail: str,
        *,
        path: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind: Kind = kind
        self.status = status
        self.detail = detail
        self.path = path
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def problem(fault: Fault) -> Response:
    """Render a fault as problem details (RFC 9457)."""
    body: dict[str, Any] = {"type": "about:blank", "title": TITLES[fault.kind], "status": fault.status}
    body["detail"] = fault.detail
    if fault.path:
        body["errors"] = [{"path": fault.path, "detail": fault.detail}]
    return Response(json_bytes(body | fault.extra), fault.status, fault.headers, media_type="application/problem+json")


def convert(data: Any, kind: Any) -> Any:
    """Return JSON data as a msgspec type; raise a `Fault` that names the place, what was allowed and what came."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        message, path = message[: 2 * ECHOED], place.rstrip("`").removeprefix("$").removeprefix(".")[: 2 * ECHOED]
        if message.startswith("Invalid enum value") and (allowed := get_args(get_type_hints(kind).get(path))):
            message = f"Expected {' or '.join(map(repr, allowed))}, got {message.removeprefix('Invalid enum value ')}"
        where = f"{path}: " if path else ""
        raise Fault("invalid", 400, where + message[:1].lower() + message[1:], path=path) from None
