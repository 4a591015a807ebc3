"""Turning the pages of a list, forth and back, by where a page began and ended."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, or_

from moderation.errors import InputError
from moderation.queue.columns import Moment
from moderation.queue.rows import order_by
from moderation.queue.values import Order

Turned = tuple[Sequence[Row[Any]], str | None, str | None]
"""The rows of a page, and the marks of where it begins and ends: None for one at which the list does."""


def turn(
    connection: Connection, query: Select[Any], order: Order, label: str | None, limit: int, after: str | None
) -> Turned:
    """Return the page of a list of comments that follows the mark `after`; the first one without a mark.

    Raises `InputError` for a broken mark.
    """
    rows = _beyond(connection, query, order, label, limit, after)
    column = order_by(order, label)[0].name
    first = _mark(rows[0], column) if rows and after is not None else None
    return rows[:limit], first, _mark(rows[limit - 1], column) if len(rows) > limit else None


def turn_back(
    connection: Connection, query: Select[Any], order: Order, label: str | None, limit: int, before: str
) -> Turned:
    """Return the page that ends before the mark `before`; the first one where no more than a page is left there."""
    rows = _beyond(connection, query, order, label, limit, before, back=True)
    if len(rows) <= limit:
        return turn(connection, query, order, label, limit, None)
    column, rows = order_by(order, label)[0].name, rows[limit - 1 :: -1]
    return rows, _mark(rows[0], column), _mark(rows[-1], column)


def _beyond(
    connection: Connection, query: Select[Any], order: Order, label: str | None, limit: int, mark: str | None,
    back: bool = False,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Return the rows beyond a mark, the nearest first, and one too many where there are more than `limit`."""
    column, tie, highest = order_by(order, label)
    falling, tie_falling = highest is not back, (order == "newest") is not back
    if mark is not None:
        value, number = _read(mark, column)
        further = column < value if falling else column > value
        query = query.where(or_(further, and_(column == value, tie < number if tie_falling else tie > number)))
    query = query.order_by(column.desc() if falling else column, tie.desc() if tie_falling else tie)
    return connection.execute(query.limit(limit + 1)).all()


def _mark(row: Row[Any], column: str) -> str:
    value = getattr(row, column)
    value = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(json.dumps([value, row.id]).encode()).decode().rstrip("=")


def _read(mark: str, column: Any) -> tuple[Any, int]:
    """Read what `_mark` wrote; raise `InputError` for what no row of either database can have."""
    try:
        value, number = json.loads(base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4)))
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise ValueError
        if isinstance(column.type, Moment):
            when = datetime.fromisoformat(value)
            if when.tzinfo is None:
                raise ValueError
            return when.astimezone(UTC), number
        if type(value) not in (int, float) or not isfinite(value):
            raise ValueError
        return float(value), number
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InputError("after, before: expected where a page ends or begins, as it was given") from None
