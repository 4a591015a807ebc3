"""Statements of reasons, as the DSA Transparency Database takes them.

Names, allowed values and lengths are those of its API (https://transparency.dsa.ec.europa.eu/page/api-documentation),
in the version of July 2025. It wants no personal data: `facts` are the moderator's own words, so tell moderators.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from moderation.comment import Automation
from moderation.errors import InputError
from moderation.queue.reasons import Reason

EU = (
    *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV"),
    *("MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
)
"""Countries of the European Union."""

EEA = tuple(sorted((*EU, "IS", "LI", "NO")))
"""Countries of the European Economic Area: those that a statement may name."""

FIRST_DAY = date(2000, 1, 1)
"""The earliest day of a comment that is taken."""

_AUTOMATED: dict[Automation, str] = {"none": "NOT_AUTOMATED", "partial": "PARTIALLY", "full": "FULLY"}


def territory(text: str) -> tuple[str, ...]:
    """Return the countries in which a rejected comment is not shown: ``EEA``, ``EU``, or some with commas between."""
    names = [part.strip().upper() for part in text.split(",")]
    found = {country for name in names for country in {"EEA": EEA, "EU": EU}.get(name, (name,))}
    if wrong := sorted(found - {*EEA}):
        raise InputError(f"territory: expected EEA, EU, or some of {', '.join(EEA)}, got {wrong[0][:40]!r}")
    return tuple(sorted(found))


def statement(row: Any, reason: Reason | None, countries: tuple[str, ...]) -> dict[str, Any]:
    """Return the statement of reasons for a rejection.

    Parameters
    ----------
    row : the decision with its comment, as `Exports` reads it
    reason : what the decision's code stands for; it fills in what was left out, or erased
    countries : where the comment is not shown
    """
    illegal = row.ground == "illegal"
    word = "illegal_content" if illegal else "incompatible_content"
    facts = row.facts or (reason.facts if reason else "The comment breaks the rules of the site.")
    language = (row.language or "").split("-")[0].upper()
    return {
        "puid": re.sub("[^A-Za-z0-9_-]", "_", f"{row.site}-{row.name}")[:400] + f"-{row.id}",
        "decision_visibility": [f"DECISION_VISIBILITY_CONTENT_{(row.visibility or 'removed').upper()}"],
        "decision_ground": f"DECISION_GROUND_{'ILLEGAL' if illegal else 'INCOMPATIBLE'}_CONTENT",
        f"{word}_{'legal_ground' if illegal else 'ground'}": row.law or (reason.clause if reason else row.reason),
        f"{word}_explanation": facts,
        "decision_facts": facts,
        "category": f"STATEMENT_CATEGORY_{reason.category if reason else 'OTHER_VIOLATION_TC'}",
        "content_type": ["CONTENT_TYPE_TEXT"],
        "content_date": _day(row.created, row.received).isoformat(),
        **({"content_language": language} if re.fullmatch("[A-Z]{2}", language) else {}),
        "application_date": row.decided.date().isoformat(),
        "source_type": "SOURCE_VOLUNTARY",
        "automated_detection": "Yes" if row.action != "allow" else "No",
        "automated_decision": f"AUTOMATED_DECISION_{_AUTOMATED[row.automation]}",
        "territorial_scope": list(countries),
    }


def _day(created: str | None, received: datetime) -> date:
    """Return the day of a comment's own date, or, where it is none that is taken, the day on which it came in."""
    try:
        day = datetime.fromisoformat(created or "").date()
    except ValueError:
        return received.date()
    return day if FIRST_DAY <= day <= received.date() else received.date()
