"""Asking a database whether a text holds something, alike on both."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Holds(FunctionElement[bool]):
    """``Holds(text, part)``: whether a text holds another, sign by sign.

    No index helps: the texts that the other conditions leave are read.
    """

    type = Boolean()
    inherit_cache = True


@compiles(Holds, "sqlite")
def _sqlite(element: Holds, compiler: Any, **how: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **how)}) > 0)"


@compiles(Holds, "postgresql")
def _postgresql(element: Holds, compiler: Any, **how: Any) -> str:
    return f"(strpos({compiler.process(element.clauses, **how)}) > 0)"
