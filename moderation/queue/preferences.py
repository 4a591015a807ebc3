"""How a moderator wants the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from moderation.errors import InputError


@dataclass(frozen=True, slots=True)
class Preferences:
    """How a moderator wants the page."""

    blur: float | None = 1.5
    """Comments from this severity on are blurred until a key is pressed; None: never."""
    grey: bool = False
    """Show the page without colours."""
    break_after: int | None = 50
    """Minutes after which a break is proposed; None: never."""
    order: str = "severity"
    """What comes first in the queue: severity, oldest, newest or uncertainty."""
    theme: str = "system"
    """light, dark or system."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from JSON data, with the default for what is missing; raise `InputError` for what is wrong."""
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        found = cls(**known)
        number = found.blur is None or (type(found.blur) in (int, float) and 0 <= found.blur < 1e6)
        pause = found.break_after is None or (type(found.break_after) is int and 1 <= found.break_after <= 600)
        for name, good, allowed in (
            ("blur", number, "a severity from 0 on, or nothing"),
            ("grey", type(found.grey) is bool, "true or false"),
            ("break_after", pause, "minutes from 1 to 600, or nothing"),
            ("order", found.order in ("severity", "oldest", "newest", "uncertainty"), "an order of the queue"),
            ("theme", found.theme in ("light", "dark", "system"), "light, dark or system"),
        ):
            if not good:
                raise InputError(f"{name}: expected {allowed}")
        return found
