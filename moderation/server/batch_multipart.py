"""Google's batch protocol: many calls in one multipart/mixed body, each with its own address and key."""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from moderation.server import google
from moderation.server.answers import json_bytes
from moderation.server.body import parse_json
from moderation.server.endpoint import Call, Endpoint
from moderation.server.faults import Fault
from moderation.server.perspective import PREFIXES, Perspective
from moderation.server.service import Service

BOUNDARY = "batch_moderation"

MAX_HEAD = 32 << 10
"""Bytes of a part's headers, and of its inner request's."""

_BLANK = re.compile(rb"\r?\n\r?\n")
_REQUEST = re.compile(rb"POST +(\S+) +HTTP/1\.[01]\r?\n?")

Method = Callable[[Any], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Part:
    """One call of a batch."""

    content_id: str
    """The part's Content-ID without its angle brackets, or ""."""
    target: str
    """Path and query; "" when the part is no POST request."""
    headers: Message
    """Headers of the inner request."""
    body: bytes
    """Body of the inner request."""


def split(body: bytes, content_type: str, most: int) -> list[Part]:
    """Take a batch apart, its line ends LF or CRLF; raise a `Fault` when it is none or has more than `most` parts."""
    outer = Message()
    outer["content-type"] = content_type
    try:
        boundary = outer.get_boundary()
    except ValueError:  # an encoded boundary in an encoding that cannot be read
        boundary = None
    if outer.get_content_maintype() != "multipart" or not boundary:
        raise Fault("invalid", 400, "Content-Type: expected multipart/mixed with a boundary")
    pieces = list(_pieces(body, boundary.encode("latin-1", "replace")))
    if not pieces:
        raise Fault("invalid", 400, "The batch request does not contain any parts")
    if len(pieces) > most:
        raise Fault("invalid", 400, f"The batch request exceeds the maximum of {most} calls")
    return [_part(piece) for piece in pieces]


def _pieces(body: bytes, boundary: bytes) -> Iterator[bytes]:
    line = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|$)")
    begin = None
    for match in line.finditer(body):
        if begin is not None:
            yield body[begin : match.start()]
        if match.group(1):
            return
        begin = match.end()
    # A body that ends without its closing line was cut short: the last piece may not be whole, so it is no call.


def _part(piece: bytes) -> Part:
    parser = BytesHeaderParser()
    outer, _, inner = _cut(piece.lstrip(b"\r\n"))
    head, _, content = _cut(inner.lstrip(b"\r\n"))
    if len(outer) > MAX_HEAD or len(head) > MAX_HEAD:
        raise Fault("invalid", 400, f"The batch holds a call with more than {MAX_HEAD:,} bytes of headers")
    request = _REQUEST.match(head)
    target = request.group(1).decode("latin-1") if request else ""
    about = parser.parsebytes(head[request.end() :] if request else b"")
    content_id = str(parser.parsebytes(outer).get("content-id") or "").strip()
    return Part(content_id.removeprefix("<").removesuffix(">"), target, about, content)


def _cut(data: bytes) -> tuple[bytes, bytes, bytes]:
    blank = _BLANK.search(data)
    if blank is None:
        return data, b"", b""
    return data[: blank.start()], blank.group(), data[blank.end() :]


class Batch:
    """Answers every part of a batch as the method that it names would."""

    def __init__(self, service: Service, perspective: Perspective) -> None:
        self.service = service
        names: dict[str, Method] = {"analyze": perspective.analyze, "suggestscore": perspective.suggest}
        self.methods = {f"{prefix}/comments:{name}": method for prefix in PREFIXES for name, method in names.items()}

    async def __call__(self, call: Call) -> Response:
        """Answer one batch, its parts in their order."""
        parts = split(call.raw, call.header(b"content-type"), self.service.settings.max_comments)
        replies = []
        for part in parts:
            replies.append(_reply(part, *await self._answer(part)))
            await asyncio.sleep(0)  # other requests go on between the parts
        end = f"--{BOUNDARY}--\r\n".encode()
        return Response(b"".join([*replies, end]), headers={"content-type": f"multipart/mixed; boundary={BOUNDARY}"})

    async def _answer(self, part: Part) -> tuple[int, dict[str, Any]]:
        try:
            method, query = self._method(part.target)
            if len(part.body) > self.service.settings.max_body:
                raise Fault("large", 413, f"body: expected at most {self.service.settings.max_body:,} bytes")
            headers = [
                (name.lower().encode("latin-1", "replace"), _latin(value)) for name, value in part.headers.items()
            ]
            self.service.keys.admit({"query_string": _latin(query), "headers": headers})
            return 200, await method(parse_json(part.body.rstrip(b"\r\n")))
        except Fault as fault:
            body = google.error_body(fault)
            return body["error"]["code"], body

    def _method(self, target: str) -> tuple[Method, str]:
        """Return the method that an address names, and its query; raise a `Fault` when it names none."""
        try:
            address = urlsplit(target)
        except ValueError:  # brackets that hold no IPv6 address
            address = urlsplit("")
        path = unquote(address.path)
        root = "/".join(["", *path.split("/")[-2:]])  # a server that is mounted below another path
        method = self.methods.get(path) or self.methods.get(root)
        if method is None:
            raise Fault("missing", 404, "The batch holds a call to an address that is not here")
        return method, address.query


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
    limit = service.settings.max_batch_body
    # The parts carry the keys, the whole has none.
    return [
        Route("/batch", Endpoint(service, "batch", batch, google.render, limit=limit, keyed=False), methods=["POST"])
    ]
