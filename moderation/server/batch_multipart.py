"""Google's batch protocol: many calls in one multipart/mixed body, each with its own address and key."""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from itertools import islice
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from anyio import to_thread
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from moderation.server import google
from moderation.server.answers import json_bytes
from moderation.server.endpoint import PARSED_INLINE, Call, Endpoint, header, read_json
from moderation.server.faults import Fault
from moderation.server.fields import mask_of, select
from moderation.server.keys import key_of, unknown
from moderation.server.perspective import PREFIXES, Method, Perspective
from moderation.server.service import Service

BOUNDARY = "batch_moderation"

MAX_HEAD = 32 << 10
"""Bytes of a part's headers, and of its inner request's."""

NEWLINE = ord("\n")

_REST = re.compile(rb"(--)?[ \t]*(?=\r?\n|$)")
"""What may stand behind a boundary on its line."""

_BLANK = re.compile(rb"\r?\n\r?\n")
_REQUEST = re.compile(rb"POST +(\S+) +HTTP/1\.[01]\r?\n?")


@dataclass(frozen=True, slots=True)
class Part:
    """One call of a batch."""

    content_id: str
    """The part's Content-ID without its angle brackets, or ""."""
    target: SplitResult
    """Address of the inner request; empty when it is no POST request."""
    headers: Message
    """Headers of the inner request."""
    body: bytes
    """Body of the inner request."""

    @property
    def scope(self) -> Scope:
        """What of the inner request may carry a key."""
        headers = [(_latin(name.lower()), _latin(value)) for name, value in self.headers.items()]
        return {"query_string": _latin(self.target.query), "headers": headers}


def split(body: bytes, content_type: str, most: int) -> list[Part]:
    """Take a batch apart, its line ends LF or CRLF; raise a `Fault` when it is none or has more than `most` parts."""
    boundary = _boundary(content_type)
    pieces = list(islice(_pieces(body, boundary), most + 1))
    if not pieces:
        raise Fault("invalid", 400, "The batch request does not contain any parts")
    if len(pieces) > most:
        raise Fault("invalid", 400, f"The batch request exceeds the maximum of {most} calls")
    return [_part(piece) for piece in pieces]


def _boundary(content_type: str) -> bytes:
    outer = Message()
    outer["content-type"] = content_type
    try:
        boundary = outer.get_boundary()
    except ValueError:  # an encoded boundary in an encoding that cannot be read
        boundary = None
    if outer.get_content_maintype() != "multipart" or not boundary:
        raise Fault("invalid", 400, "Content-Type: expected multipart/mixed with a boundary")
    return boundary.encode("latin-1", "replace")


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    """Yield what stands between the lines of the boundary: each with the line end after the first of its lines."""
    begin = None
    for start, end, last in _lines(body, b"--" + boundary):
        if begin is not None:
            yield body[begin:start]
        if last:
            return
        begin = end
    # A body that ends without its closing line was cut short: the last piece may not be whole, so it is no call.


def _lines(body: bytes, dashed: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each line of the boundary begins (with the line end before it) and ends, and whether it closes."""
    # `find` and not one expression over all of it, which would keep the interpreter for as long as it reads.
    at = body.find(dashed)
    while at >= 0:
        rest = _REST.match(body, at + len(dashed))
        if rest and (at == 0 or body[at - 1] == NEWLINE):
            start = at - (0 if at == 0 else 2 if body[at - 2 : at] == b"\r\n" else 1)
            yield start, rest.end(), rest.group(1) is not None
        at = body.find(dashed, at + len(dashed))


def _part(piece: bytes) -> Part:
    """Take a part apart; one without headers of its own begins with a blank line."""
    parser = BytesHeaderParser()
    outer, _, inner = _cut(piece)
    outer = outer.lstrip(b"\r\n")
    head, _, content = _cut(inner.lstrip(b"\r\n"))
    if len(outer) > MAX_HEAD or len(head) > MAX_HEAD:
        raise Fault("invalid", 400, f"The batch holds a call with more than {MAX_HEAD:,} bytes of headers")
    request = _REQUEST.match(head)
    target = _address(request.group(1).decode("latin-1") if request else "")
    about = parser.parsebytes(head[request.end() :] if request else b"")
    content_id = str(parser.parsebytes(outer).get("content-id") or "").strip()
    return Part(content_id.removeprefix("<").removesuffix(">"), target, about, content)


def _address(target: str) -> SplitResult:
    try:
        return urlsplit(target)
    except ValueError:  # brackets that hold no IPv6 address
        return urlsplit("")


def _cut(data: bytes) -> tuple[bytes, bytes, bytes]:
    blank = _BLANK.search(data)
    if blank is None:
        return data, b"", b""
    return data[: blank.start()], blank.group(), data[blank.end() :]


class Batch:
    """Answers every part of a batch as the method that it names would."""

    def __init__(self, service: Service, perspective: Perspective) -> None:
        self.service = service
        self.methods = {
            f"{prefix}/comments:{name}": method for prefix in PREFIXES for name, method in perspective.methods.items()
        }

    async def __call__(self, call: Call) -> Response:
        """Answer one batch, its parts in their order."""
        about = call.raw, call.header(b"content-type"), self.service.settings.max_comments
        parts = split(*about) if len(call.raw) <= PARSED_INLINE else await to_thread.run_sync(split, *about)
        replies = []
        for part in parts:
            replies.append(_reply(part, *await self._answer(part, call.scope)))
            await asyncio.sleep(0)  # other requests go on between the parts
        end = f"--{BOUNDARY}--\r\n".encode()
        return Response(b"".join([*replies, end]), headers={"content-type": f"multipart/mixed; boundary={BOUNDARY}"})

    def admit(self, scope: Scope) -> str | None:
        """Refuse a whole batch that comes with a wrong key; Google's clients give none, for their parts carry it."""
        name = self.service.keys.name_of(scope)
        if name is None and key_of(scope) is not None:
            raise unknown()
        return name

    def vouch(self, scope: Scope, beginning: bytes) -> None:
        """Refuse a large batch whose first part has no known key: nobody gets to send megabytes as a stranger."""
        boundary = _boundary(header(scope, b"content-type"))
        first = next(_lines(beginning, b"--" + boundary), None)
        part = _part(beginning[first[1] :]) if first else None
        if part is None or self.service.keys.name_of(part.scope) is None:
            raise unknown()

    async def _answer(self, part: Part, whole: Scope) -> tuple[int, dict[str, Any]]:
        try:
            method = self._method(part.target)
            if len(part.body) > self.service.settings.max_body:
                raise Fault("large", 413, f"body: expected at most {self.service.settings.max_body:,} bytes")
            self.service.keys.admit(whole if key_of(part.scope) is None else part.scope)
            mask = mask_of(part.scope)
            return 200, select(await method(await read_json(part.body.rstrip(b"\r\n"))), mask)
        except Fault as fault:
            body = google.error_body(fault)
            return body["error"]["code"], body

    def _method(self, target: SplitResult) -> Method:
        """Return the method that an address names; raise a `Fault` when it names none."""
        path = unquote(target.path)
        root = "/".join(["", *path.split("/")[-2:]])  # a server that is mounted below another path
        method = self.methods.get(path) or self.methods.get(root)
        if method is None:
            raise Fault("missing", 404, "The batch holds a call to an address that is not here")
        return method


def _latin(value: object) -> bytes:
    return str(value).encode("latin-1", "replace")


def _reply(part: Part, status: int, body: dict[str, Any]) -> bytes:
    """Return a part of the answer: CRLF throughout, a reason in the status line, the Content-ID that was asked with."""
    identity = re.sub(r"[\r\n<>]", "", part.content_id)
    head = [f"--{BOUNDARY}", "Content-Type: application/http"]
    head += [f"Content-ID: <response-{identity}>"] if identity else []
    content = json_bytes(body)
    inner = [
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}",
        f"Content-Type: {google.JSON}",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*head, "", *inner, "", ""]).encode("latin-1", "replace") + content + b"\r\n"


def routes(service: Service) -> list[BaseRoute]:
    """Return the batch's route."""
    batch = Batch(service, Perspective(service))
    endpoint = Endpoint(service, "batch", batch, google.render, limit=service.settings.max_batch_body)
    if service.keys.keys:
        endpoint.ask_in_body(batch.admit, batch.vouch)
    return [Route("/batch", endpoint, methods=["POST"])]
