"""Reading a request's body: bounded in size, time and memory, and strict about JSON."""

from __future__ import annotations

import asyncio
import json
import math
import zlib
from collections.abc import Callable
from typing import Any

from anyio import to_thread
from starlette.types import Receive, Scope

from moderation.server.faults import ClientGone, Fault
from moderation.server.limits import CLOSE, Visit

VOUCHED = 1 << 16
"""Bytes of a body by which its sender must have shown who it is, where its address and headers do not say it."""


MOST_PARTS = 100_000
"""Opening brackets and braces that any body may have, those in texts among them."""

BYTES_PART = 32
"""A larger body may have one for so many bytes."""

QUOTES = 8
"""Quotes that count as much as one."""


async def read_body(
    scope: Scope,
    receive: Receive,
    visit: Visit,
    *,
    limit: int,
    seconds: float,
    vouch: Callable[[bytes], None] | None = None,
) -> bytes:
    """Return the body; raise a `Fault` when it is over `limit` bytes, too slow, or too much for the memory we allow.

    The bytes count as held for the visit until it ends. `vouch` gets the beginning of a body of more than `VOUCHED`
    bytes, and raises a `Fault` unless it shows that we know the sender. A gzipped body (Google's Java client sends no
    other) is unpacked, and `limit` holds for what comes out too.
    """
    packed = _is_packed(scope)
    declared = _declared_length(scope)
    if declared > limit:
        raise Fault("large", 413, f"body: expected at most {limit:,} bytes, got {declared:,}", headers=CLOSE)
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                visit.hold(len(part))
                if size > limit:
                    raise Fault("large", 413, f"body: expected at most {limit:,} bytes", headers=CLOSE)
                parts.append(part)
                if vouch is not None and size > VOUCHED:
                    beginning = b"".join(parts)
                    vouch(unpack(beginning, 2 * VOUCHED, whole=False) if packed else beginning)
                    visit.trust()
                    vouch = None
    except TimeoutError:
        detail = f"body: expected all of it within {seconds:g} seconds, got {size:,} bytes"
        raise Fault("slow", 408, detail, headers=CLOSE) from None
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    if not packed:
        return raw
    raw = await to_thread.run_sync(unpack, raw, limit)
    visit.hold(len(raw))
    return raw


def _is_packed(scope: Scope) -> bool:
    given = [value.strip().lower() for name, value in scope["headers"] if name == b"content-encoding"]
    if given and given not in ([b"gzip"], [b"x-gzip"], [b"identity"]):
        detail = "Content-Encoding: expected gzip or none, got something else"
        raise Fault("encoding", 415, detail, headers={"accept-encoding": "gzip"})
    return bool(given) and given != [b"identity"]


def unpack(packed: bytes, limit: int, *, whole: bool = True) -> bytes:
    """Return what a gzipped body holds; raise a `Fault` when it is not gzip or holds more than `limit` bytes.

    With ``whole=False`` it may be cut short, and the first `limit` bytes are returned.
    """
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        found = reader.decompress(packed, limit + 1)
    except zlib.error:
        raise Fault("encoding", 400, "body: expected gzip, as Content-Encoding says, got something else") from None
    if whole and len(found) > limit:
        raise Fault("large", 413, f"body: expected at most {limit:,} bytes when unpacked")
    if whole and (not reader.eof or reader.unused_data):
        raise Fault("encoding", 400, "body: expected gzip, whole and nothing after it")
    return found[:limit]


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            try:
                return int(value)
            except ValueError:
                return 0
    return 0


def parse_json(raw: bytes) -> Any:
    """Read a body as JSON, whatever its Content-Type; raise a `Fault` that names the place and never quotes.

    Refused are invalid UTF-8, NaN and infinities, a key that stands twice in one object (which of the two is meant
    nobody can tell), nesting beyond what the parser can follow, and more lists, objects and strings than any request
    has, which take up to twenty times the room of the text.
    """
    if raw.count(b"[") + raw.count(b"{") + raw.count(b'"') // QUOTES > max(MOST_PARTS, len(raw) // BYTES_PART):
        raise Fault("json", 400, "body: expected longer texts, got next to nothing but brackets and quotes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault("json", 400, f"body: expected UTF-8, got something else at byte {error.start}") from None
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        what = error.msg if raw else "nothing"
        raise Fault("json", 400, f"body: expected JSON, got {what} at character {error.pos}") from None
    except RecursionError:
        raise Fault("json", 400, "body: expected JSON, got more nesting than we follow") from None
    except ValueError as error:
        what = str(error) if str(error) in _OURS else "expected numbers of a sensible length"
        raise Fault("json", 400, f"body: {what}") from None


_TWICE = "expected each key once in an object, got one twice"
_CONSTANT = "expected a finite number, got NaN or an infinity"
_OURS = (_TWICE, _CONSTANT)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(_TWICE)
    return found


def _no_constant(_: str) -> float:
    raise ValueError(_CONSTANT)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):  # 1e999
        raise ValueError(_CONSTANT)
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
