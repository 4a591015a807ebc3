"""Column types that keep what came in, exactly, on every database."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

Key = BigInteger().with_variant(Integer, "sqlite")
"""A row number. SQLite counts up by itself only in a column that is called INTEGER."""

_HARD = re.compile("[\x00\x1b\ud800-\udfff]")
_SOFT = re.compile("\x1b([0-9a-f]+);")


class Words(TypeDecorator[str]):
    """Text from outside. PostgreSQL takes no NUL and neither database a lone surrogate, so these are escaped."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape what the database would refuse."""
        return None if value is None else _HARD.sub(lambda found: f"\x1b{ord(found[0]):x};", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it came in."""
        return None if value is None else _SOFT.sub(lambda found: chr(int(found[1], 16)), value)


class Json(TypeDecorator[Any]):
    """JSON data as ASCII text: PostgreSQL's own type refuses NUL, and nothing is asked of what is inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write JSON."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read JSON."""
        return None if value is None else json.loads(value)


class Moment(TypeDecorator[datetime]):
    """A time with zone. SQLite keeps it as ISO 8601 text in UTC with microseconds, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Take the database's own type where it has one with a zone."""
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Bring a time to UTC; a naive one is refused, for it could mean any."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected a time with zone, got a naive one")
        value = value.astimezone(UTC)
        return value.isoformat(timespec="microseconds") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return a time in UTC."""
        if value is None:
            return None
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
