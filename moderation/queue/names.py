"""How long a comment's id, author, parent and article may be: what it is looked up by stands in indexes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from moderation.comment import Article, Comment

LONGEST_SITE = 200
"""Characters of a site's name."""

LONGEST_NAME = 1_800
"""Bytes of ids, authors and addresses, which with a site's name have to fit into PostgreSQL's indexes."""


def too_long(comment: Comment) -> tuple[str, str] | None:
    """Return the field of a comment that is longer than `LONGEST_NAME`, and what was expected of it; None: none is."""
    for field, value in named(comment).items():
        if value is not None and (size := len(value.encode("utf-8", "surrogatepass"))) > LONGEST_NAME:
            return field, f"expected at most {LONGEST_NAME:,} bytes in UTF-8, got {size:,}"
    return None


def named(comment: Comment) -> dict[str, str | None]:
    """Return the fields of a comment that the queue looks comments up by; an article's title only without address."""
    found = {"id": comment.id, "author": comment.author, "parent_id": comment.parent_id}
    if comment.article is not None:
        name = "url" if comment.article.url else "title"
        found[f"article.{name}"] = getattr(comment.article, name)
    return found


def shortened(comment: Comment) -> Comment:
    """Return a comment whose names all fit: of a longer one its beginning and a digest, so that equal ones stay so."""
    if too_long(comment) is None:
        return comment
    fit = {name: value and _short(value) for name, value in named(comment).items()}
    article = comment.article and Article(
        fit.get("article.title", comment.article.title), fit.get("article.url", comment.article.url)
    )
    changed = {name: value for name, value in fit.items() if "." not in name}
    return replace(comment, article=article, **changed)  # type: ignore[arg-type]


def _short(value: str) -> str:
    raw = value.encode("utf-8", "surrogatepass")
    return value if len(raw) <= LONGEST_NAME else f"{value[:200]}... {hashlib.sha256(raw).hexdigest()[:24]}"
