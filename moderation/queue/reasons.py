"""The reasons for which a site rejects comments, from a small TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from moderation.errors import InputError

DEFAULT = Path(__file__).parent / "reasons.toml"
"""The reasons that come with the package."""

Ground = Literal["illegal", "incompatible"]
"""Against the law, or only against the site's rules (Digital Services Act, article 17(3)(d) and (e))."""

GROUNDS = ("illegal", "incompatible")

LONGEST = {"clause": 500, "facts": 2_000}
"""Characters of what an author is told, as many as the DSA Transparency Database takes of it."""

VISIBILITIES = ("removed", "disabled", "demoted", "labelled")
"""What is done to a rejected comment."""

CATEGORIES = (
    "ANIMAL_WELFARE",
    "CONSUMER_INFORMATION",
    "CYBER_VIOLENCE",
    "CYBER_VIOLENCE_AGAINST_WOMEN",
    "DATA_PROTECTION_AND_PRIVACY_VIOLATIONS",
    "ILLEGAL_OR_HARMFUL_SPEECH",
    "INTELLECTUAL_PROPERTY_INFRINGEMENTS",
    "NEGATIVE_EFFECTS_ON_CIVIC_DISCOURSE_OR_ELECTIONS",
    "NOT_SPECIFIED_NOTICE",
    "OTHER_VIOLATION_TC",
    "PROTECTION_OF_MINORS",
    "RISK_FOR_PUBLIC_SECURITY",
    "SCAMS_AND_FRAUD",
    "SELF_HARM",
    "UNSAFE_AND_PROHIBITED_PRODUCTS",
    "VIOLENCE",
)
"""Headings of the DSA Transparency Database, without their ``STATEMENT_CATEGORY_``."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a comment may be rejected."""

    code: str
    """The site's code; stands in every decision."""
    title: str
    """What the menu says."""
    key: str
    """What is pressed in the menu."""
    ground: Ground
    """Whether this is against the law or only against the site's rules."""
    category: str
    """Heading of a statement of reasons; one of `CATEGORIES`."""
    clause: str
    """The law or clause that is broken."""
    facts: str
    """What the author is told, unless the moderator writes something else."""
    labels: Mapping[str, int]
    """What a rejection for this reason teaches: label to 1 or 0."""


def load_reasons(path: Path | str | None = None) -> dict[str, Reason]:
    """Read a file of reasons, or the default one, by code; raise `InputError` naming what is wrong."""
    path = DEFAULT if path is None else Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}") from error
    found = {code: _reason(f"{path}: [{code}]", code, table) for code, table in data.items()}
    if not found:
        raise InputError(f"{path}: expected at least one table [CODE]")
    keys = [reason.key for reason in found.values()]
    for code, reason in found.items():
        if keys.count(reason.key) > 1:
            raise InputError(f"{path}: [{code}] key: expected a key of its own, got {reason.key!r} twice")
    return found


def _reason(place: str, code: str, table: Any) -> Reason:
    if not isinstance(table, dict):
        raise InputError(f"{place}: expected a table, got {type(table).__name__}")
    known = [field.name for field in fields(Reason) if field.name != "code"]
    for name in {*table} ^ {*known}:
        raise InputError(f"{place}: expected the keys {', '.join(known)}; {name!r} is missing or unknown")
    for name in known[:-1]:
        if not isinstance(table[name], str) or not table[name]:
            raise InputError(f"{place} {name}: expected a string that is not empty")
        if len(table[name]) > LONGEST.get(name, 200):
            raise InputError(f"{place} {name}: expected at most {LONGEST.get(name, 200)} characters")
    for name, allowed in (("ground", GROUNDS), ("category", CATEGORIES)):
        if table[name] not in allowed:
            raise InputError(f"{place} {name}: expected one of {', '.join(allowed)}, got {table[name]!r}")
    labels = table["labels"]
    if not isinstance(labels, dict) or not all(type(value) is int and value in (0, 1) for value in labels.values()):
        raise InputError(f"{place} labels: expected a table of label to 1 or 0")
    return Reason(code, **table)
