"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from starlette.responses import Response

_encode = msgspec.json.Encoder().encode


def json_bytes(data: Any) -> bytes:
    """Return JSON in UTF-8; strings that UTF-8 cannot hold (lone surrogates) are escaped."""
    try:
        return _encode(data)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(data), separators=(",", ":")).encode("ascii")


def json_answer(data: Any, status: int = 200, *, media_type: str = "application/json") -> Response:
    """Return data as a JSON response."""
    return Response(json_bytes(data), status, media_type=media_type)
