"""Searching texts for words, alike on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Holds(FunctionElement[bool]):
    """``Holds(text, words)``: whether a text holds words as they are written, but for capitals.

    No index helps: the texts that the other conditions leave are read. SQLite's own ``lower`` knows the letters of
    English alone, so there `holds` does it; PostgreSQL's knows those of the database's locale.
    """

    type = Boolean()
    inherit_cache = True


def holds(text: str | None, words: str) -> bool:
    """Do what `Holds` says; SQLite calls it."""
    return words.casefold() in (text or "").casefold()


@compiles(Holds, "sqlite")
def _sqlite(element: Holds, compiler: Any, **how: Any) -> str:
    return f"holds({compiler.process(element.clauses, **how)})"


@compiles(Holds, "postgresql")
def _postgresql(element: Holds, compiler: Any, **how: Any) -> str:
    text, words = (compiler.process(one, **how) for one in element.clauses)
    return f"(strpos(lower({text}), lower({words})) > 0)"
