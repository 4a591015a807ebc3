"""Google's partial responses: ``?fields=attributeScores(TOXICITY/summaryScore),languages`` leaves out the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from moderation.server import google
from moderation.server.faults import ECHOED

Mask = dict[str, Any]
"""Names to what of them is wanted; nothing: all of it. ``*`` stands for every name."""

DEEPEST = 10
"""Levels of parentheses that are followed; an answer has fewer."""

_MARKS = ",()/"
_TOKEN = re.compile(r"[,()/]|[^,()/\s]+")


def mask_of(scope: Scope) -> Mask:
    """Return the selection that a request asks for, empty for everything; raise a `Fault` when it cannot be read."""
    if b"fields=" not in scope["query_string"]:
        return {}
    query = parse_qsl(scope["query_string"].decode("latin-1"))
    return parse(next((value for name, value in query if name == "fields"), ""))


def parse(text: str) -> Mask:
    """Return a selection: names apart by commas, below a name by ``/``, several below it in parentheses."""
    mask: Mask = {}
    if text:
        try:
            if _read(iter(_TOKEN.findall(text)), mask, DEEPEST):
                raise ValueError
        except (ValueError, StopIteration):
            raise google.invalid(f"Invalid field selection {text[:ECHOED]}") from None
    return mask


def _read(tokens: Iterator[str], mask: Mask, deeper: int) -> str:
    """Read names into a selection; return what ended them: a parenthesis, or "" at the end of the text."""
    if not deeper:
        raise ValueError
    while True:
        node, token = mask, "/"
        while token == "/":
            name = next(tokens)
            if name in _MARKS:
                raise ValueError
            node = node.setdefault(name, {})
            token = next(tokens, "")
        if token == "(":
            if _read(tokens, node, deeper - 1) != ")":
                raise ValueError
            token = next(tokens, "")
        else:
            node["*"] = {}
        if token != ",":
            return token


def select(data: Any, mask: Mask) -> Any:
    """Return the part of an answer that was asked for; what is not there is left out."""
    if not mask or mask.get("*") == {}:
        return data
    if isinstance(data, list):
        return [select(item, mask) for item in data]
    if not isinstance(data, dict):
        return data
    every: Mask | None = mask.get("*")
    chosen = mask if every is None else dict.fromkeys(data, every) | mask
    return {name: select(value, chosen[name]) for name, value in data.items() if name in chosen}
