"""What the tests of saved pages share: pages written on the spot, and short views of what was read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moderation.comment import Comment
from moderation.formats.pages import read_page

PAGES = Path(__file__).parent / "pages"


def read(page: str) -> list[Comment]:
    return read_page(page.encode())


def linked(*blocks: Any, head: str = "", body: str = "") -> str:
    """Make a page of JSON-LD blocks."""
    scripts = "".join(
        f'<script type="application/ld+json">{block if isinstance(block, str) else json.dumps(block)}</script>'
        for block in blocks
    )
    return f"<!doctype html><html><head>{head}{scripts}</head><body>{body}</body></html>"


def comment(text: str, **more: Any) -> dict[str, Any]:
    return {"@type": "Comment", "text": text, **more}


COMMENT = 'itemscope itemtype="https://schema.org/Comment"'


def items(body: str) -> str:
    """Make a page of microdata, where ``<div C>`` opens a comment."""
    return f"<!doctype html><html><body>{body.replace(' C>', f' {COMMENT}>')}</body></html>"


def texts(comments: list[Comment]) -> list[str]:
    return [comment.text for comment in comments]


def links(comments: list[Comment]) -> dict[str, str | None]:
    """Return who answers whom, by text."""
    by_id = {comment.id: comment.text for comment in comments}
    return {comment.text: by_id.get(comment.parent_id or "") for comment in comments}
