"""Which comments a page is about, read from its address and written back into addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlencode

from moderation.errors import InputError
from moderation.queue import Filter
from moderation.queue.values import ORDERS, Order

NAMES = ("state", "label", "low", "high", "site", "article", "author", "words")


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter and an order, as they stand in an address."""

    filter: Filter
    """Which comments."""
    order: Order
    """What comes first."""

    @classmethod
    def read(cls, query: Mapping[str, str], order: str = "severity") -> Self:
        """Read an address's parameters; raise `InputError` for wrong ones. Empty ones ask nothing."""
        given = {name: query.get(name, "").strip() for name in NAMES}
        state: Any = given["state"] or "waiting"
        chosen = Filter(
            state=None if state == "any" else state,
            label=given["label"] or None,
            low=_share("low", given["low"]),
            high=_share("high", given["high"]),
            site=given["site"] or None,
            article=_whole("article", given["article"]),
            author=given["author"] or None,
            words=given["words"] or None,
        )
        wanted = query.get("order") or order
        if wanted not in ORDERS:
            raise InputError(f"order: expected one of {', '.join(ORDERS)}, got {wanted[:40]!r}")
        return cls(chosen, wanted)

    def query(self, **changes: Any) -> str:
        """Return the parameters of an address, with some changed; None takes one away."""
        found = self.asked() | changes
        return urlencode({name: value for name, value in found.items() if value not in (None, "")})

    def in_bulk(self) -> str:
        """Return the parameters of the Bulk page for these comments; there a label has a range: here from one half."""
        ranged = (self.filter.low, self.filter.high) != (None, None)
        whole = {} if ranged else {"low": 0.5 if self.filter.label else 0, "high": 1}
        return self.query(order=None, **whole)

    def asked(self) -> dict[str, Any]:
        """Return the parameters by name, for the fields of a form."""
        found: dict[str, Any] = self.filter.to_json()
        if self.filter.state is None:
            found["state"] = "any"
        elif self.filter.state == "waiting":
            del found["state"]
        return found | {"order": self.order}

    @property
    def conditions(self) -> list[tuple[str, Any]]:
        """What is asked besides the state, by name."""
        return [(name, value) for name, value in self.filter.to_json().items() if name != "state"]

    def waiting(self) -> Filter:
        """Return the filter for what waits, whatever state was asked for."""
        return replace(self.filter, state="waiting")


def _share(name: str, value: str) -> float | None:
    if not value:
        return None
    try:
        return float(value.replace(",", "."))
    except ValueError:
        raise InputError(f"{name}: expected a number from 0 to 1") from None


def _whole(name: str, value: str) -> int | None:
    if not value:
        return None
    if not value.isdecimal() or len(value) > 12:
        raise InputError(f"{name}: expected a whole number")
    return int(value)
