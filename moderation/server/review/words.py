"""How numbers, labels and times are put into words; the same on every page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from moderation.markup import plain
from moderation.queue import Past, Session
from moderation.seen import seen
from moderation.server.review.marks import sought

LABELS = {
    "incitement": "Incites violence",
    "abuse": "Abuse",
    "threat": "Threat",
    "insult": "Insult",
    "identity_attack": "Attacks a group",
    "profanity": "Coarse language",
    "severe_abuse": "Severe abuse",
    "sexually_explicit": "Sexually explicit",
}

HIGH, SEVERE = 1.5, 3.0
"""From which severity a comment is called high and severe; 1 is where the policy first asks for a person."""

STATES = {
    "queued": "waiting",
    "escalated": "escalated",
    "approved": "approved",
    "rejected": "rejected",
    "passed": "let through by the policy",
}
ACTS = {"approve": "approved", "reject": "rejected", "escalate": "escalated", "undo": "undid"}
GROUNDS = {"illegal": "against the law", "incompatible": "against the site's rules"}
VISIBILITIES = {"removed": "removed", "disabled": "disabled", "demoted": "shown less", "labelled": "labelled"}
CONDITIONS = {
    "label": "Label:",
    "low": "Score from",
    "high": "Score to",
    "site": "Site:",
    "article": "Article:",
    "author": "Author:",
    "words": "Words:",
}
"""Conditions of a filter, as its form calls them."""
STAGES = {
    "review": "",
    "second": "second look",
    "senior": "as senior",
    "revision": "revised",
    "appeal": "on appeal",
    "undo": "",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the work view."""

    key: str
    """What is pressed."""
    does: str
    """What it does."""


KEYS = (
    Key("a", "Approve"),
    Key("r", "Reject: then press the reason's key"),
    Key("e", "Escalate to a senior, with a note"),
    Key("s", "Skip for this shift"),
    Key("u", "Undo this decision, or your last one; twice for one in bulk"),
    Key("j", "Next comment, without a decision (also n)"),
    Key("k", "Previous comment (also p)"),
    Key("b", "Show or blur the text; in a list, of the one that j or k went to"),
    Key("l", "Highlight the words of the next label"),
    Key("/", "Filter, beginning with words in the text"),
    Key("?", "This help"),
    Key("Esc", "Close a menu, the filter or this help"),
)
"""What the help shows; the script acts on the same ones."""

# Bidirectional controls, zero-width characters, and the tag characters that nobody sees.
_HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def label(name: str) -> str:
    """Return a label as people say it."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def likely(probability: float) -> str:
    """Return a calibrated probability in words."""
    for below, word in ((0.05, "very unlikely"), (0.2, "unlikely"), (0.5, "possible"), (0.8, "likely")):
        if probability < below:
            return word
    return "very likely" if probability < 0.95 else "almost certain"


def level(severity: float) -> str:
    """Return a severity as one of three words."""
    return "severe" if severity >= SEVERE else "high" if severity >= HIGH else "moderate" if severity >= 1 else "low"


def two(number: float) -> str:
    """Return a number with two digits behind the point, never rounded up to 1."""
    return f"{min(number, 0.99) if 0.99 < number < 1 else number:.2f}"


def percent(share: float | None) -> str:
    """Return a share in percent; a dash where there is none."""
    return "–" if share is None else f"{share * 100:.0f} %"


def number(value: int) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    seconds = max(0, (now - moment).total_seconds())
    for size, unit in ((86_400 * 2, 86_400), (5_400, 3_600), (90, 60)):
        if seconds >= size:
            name = {86_400: "days", 3_600: "h", 60: "min"}[unit]
            return f"{round(seconds / unit)} {name} ago"
    return "just now"


def moment(value: datetime | str | None) -> str:
    """Return a time as people write it, in UTC where its zone is known; a comment's own date may be any text."""
    try:
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    if when is None:
        return ""
    if when.tzinfo is None:
        return f"{when:%-d %b %Y, %H:%M}"
    try:
        return f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
    except OverflowError:  # midnight of the first day of all, east of Greenwich
        return str(value)


def deed(past: Past) -> str:
    """Return what a decision did; of a rejection that removes nothing, what is done instead."""
    act = ACTS.get(past.decision.act, past.decision.act)
    if past.visibility in (None, "removed"):
        return act
    return f"{act}: {VISIBILITIES.get(past.visibility, past.visibility)}"


def hidden(text: str) -> int:
    """Count characters that are not seen but change how a text reads."""
    return len(_HIDDEN.findall(text))


def web(address: str | None) -> bool:
    """Whether an address is one of the web; any other scheme may run a script."""
    return (address or "").lower().startswith(("https://", "http://"))


def condition(name: str, value: Any, articles: Iterable[tuple[int, str, int]]) -> str:
    """Return a condition of a filter in the words of its form; `articles` are those that the form offers."""
    if name == "article":
        value = next((headline(title) for ref, title, _ in articles if ref == value), "") or "no title"
    if name in ("low", "high"):
        value = f"{value:g}"
    return f"{CONDITIONS[name]} {label(value) if name == 'label' else value}"


def headline(title: str | None) -> str:
    """Return a story's title without markup; sites send what stands in their pages."""
    return " ".join(plain(title or "").split()) or title or ""


def plural(n: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number(n)} {one if n == 1 else many}"


@dataclass(frozen=True, slots=True)
class Rest:
    """When a break is due."""

    minutes: int
    """Minutes of work since signing in or since the last break."""
    due: int | None
    """Minutes after which a break is proposed; None: never."""
    ends: str | None
    """When the break is due, for the page's script."""

    @property
    def now(self) -> bool:
        """Whether it is due."""
        return self.due is not None and self.minutes >= self.due


def rest(session: Session, rested: str | None, now: datetime) -> Rest:
    """Return when a break is due; `rested` is the time of the last one, from a cookie."""
    begun = session.created
    try:
        last = datetime.fromtimestamp(int(rested or 0), UTC)
    except (ValueError, OverflowError, OSError):
        last = begun
    begun = max(begun, last) if last <= now else begun
    due = session.user.preferences.break_after
    ends = (begun + timedelta(minutes=due)).isoformat() if due is not None else None
    return Rest(int((now - begun).total_seconds() // 60), due, ends)


FILTERS: dict[str, Callable[..., Any]] = {
    "label": label,
    "likely": likely,
    "level": level,
    "two": two,
    "percent": percent,
    "number": number,
    "age": age,
    "moment": moment,
    "hidden": hidden,
    "seen": seen,
    "sought": sought,
    "headline": headline,
    "plural": plural,
    "web": web,
    "condition": lambda pair, articles: condition(pair[0], pair[1], articles),
    "query": lambda values: urlencode(values, errors="replace"),  # names may hold lone surrogates
    "state": lambda name: STATES.get(name, name),
    "act": lambda name: ACTS.get(name, name),
    "deed": deed,
    "ground": lambda name: GROUNDS.get(name, name),
    "visibility": lambda name: VISIBILITIES.get(name, name),
    "stage": lambda name: STAGES.get(name, name),
    "reference": lambda value: f"#{value}",
}
