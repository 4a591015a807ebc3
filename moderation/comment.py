"""The values that flow: ``Comment -> Score -> Verdict``, and a person's ``Decision`` comes back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from moderation.errors import InputError

Action = Literal["allow", "review", "hold"]
"""What a policy advises. There is no delete: the model advises, a person decides."""

ACTIONS: tuple[Action, ...] = get_args(Action)

MAX_REASONS = 5
"""Words given as reasons in a verdict."""

Act = Literal["approve", "reject", "escalate", "undo"]
"""What a moderator does."""

Automation = Literal["none", "partial", "full"]
"""How far automated means took part in a decision (Digital Services Act, article 17(3)(c))."""


_LARGEST = sys.float_info.max


def _expect(kind: type[_Record], name: str, value: Any, allowed: str, ok: bool) -> Any:
    """Return `value` when `ok`; otherwise say where it stood, what was allowed and what came."""
    if not ok:
        raise InputError(f"{kind.__name__}.{name}: expected {allowed}, got {_describe(value)}")
    return value


def _describe(value: Any) -> str:
    """Name a wrong value by its type alone: it may hold a comment's text."""
    return "nothing" if value is None else type(value).__name__


def is_finite(value: Any) -> bool:
    """Say whether a value from JSON is a number that a float can hold: not true, not infinite, not 10**400."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


class _Record:
    """JSON in and out for the dataclasses below."""

    __slots__ = ()

    @classmethod
    def _check_keys(cls, data: Any) -> Mapping[str, Any]:
        """Require an object whose keys are fields of this class."""
        if not isinstance(data, Mapping):
            raise InputError(f"{cls.__name__}: expected an object, got {_describe(data)}")
        known = cls.__slots__
        for key in data:
            if key not in known:
                raise InputError(f"{cls.__name__}: unknown field {str(key)[:40]!r}; allowed are {', '.join(known)}")
        return data

    @classmethod
    def _text(cls, data: Mapping[str, Any], name: str) -> str:
        value = data.get(name)
        return str(_expect(cls, name, value, "a string", isinstance(value, str)))

    @classmethod
    def _text_or_none(cls, data: Mapping[str, Any], name: str) -> str | None:
        return None if data.get(name) is None else cls._text(data, name)

    @classmethod
    def _number(cls, data: Mapping[str, Any], name: str) -> float:
        value = data.get(name)
        return float(_expect(cls, name, value, "a finite number", is_finite(value)))

    @classmethod
    def _choice(cls, data: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> Any:
        value = data.get(name)
        return _expect(cls, name, value, "one of " + ", ".join(allowed), value in allowed)

    @classmethod
    def _probabilities(cls, data: Mapping[str, Any], name: str) -> dict[str, float]:
        value = data.get(name)
        ok = isinstance(value, Mapping) and all(
            isinstance(label, str) and isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1
            for label, p in value.items()
        )
        _expect(cls, name, value, "an object of label to probability in [0, 1]", ok)
        return {label: float(p) for label, p in data[name].items()}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; fields that are not set are left out."""
        out: dict[str, Any] = {}
        name: str
        for name in self.__slots__:  # the fields, in their order
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, str | int | float):
                if isinstance(value, _Record):
                    value = value.to_json()
                elif isinstance(value, tuple):
                    value = [item.to_json() for item in value]
                else:
                    allowed = "a string, a number or a mapping"
                    value = dict(_expect(type(self), name, value, allowed, isinstance(value, Mapping)))
            out[name] = value
        return out


@dataclass(frozen=True, slots=True)
class Article(_Record):
    """The news story under which a comment stands."""

    title: str | None = None
    """Headline of the story."""
    url: str | None = None
    """Address of the story."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Build from JSON data; raise `InputError` naming the field that is wrong."""
        data = cls._check_keys(data)
        return cls(cls._text_or_none(data, "title"), cls._text_or_none(data, "url"))


@dataclass(frozen=True, slots=True)
class Comment(_Record):
    """What a reader wrote, and where it stands."""

    id: str
    """Identifier, unique within its site."""
    text: str
    """The words as written; every span refers to this string."""
    author: str | None = None
    """Name under which it was written."""
    place: str | None = None
    """Where the author says to be."""
    created: str | None = None
    """When it was written: ISO 8601 where known, else as the page had it."""
    parent_id: str | None = None
    """Identifier of the comment that this one answers."""
    article: Article | None = None
    """The story under which it stands."""
    language: str | None = None
    """BCP 47 code, where known."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Build from JSON data; raise `InputError` naming the field that is wrong."""
        data = cls._check_keys(data)
        article = data.get("article")
        return cls(
            id=cls._text(data, "id"),
            text=cls._text(data, "text"),
            author=cls._text_or_none(data, "author"),
            place=cls._text_or_none(data, "place"),
            created=cls._text_or_none(data, "created"),
            parent_id=cls._text_or_none(data, "parent_id"),
            article=None if article is None else Article.from_json(article),
            language=cls._text_or_none(data, "language"),
        )


@dataclass(frozen=True, slots=True)
class Score(_Record):
    """What a model says of one comment."""

    comment_id: str
    """The comment that was scored."""
    model_id: str
    """The model that scored it; scores of two models are not comparable."""
    probabilities: Mapping[str, float]
    """Calibrated probability in [0, 1] for each label; labels do not exclude each other."""
    truncated: bool = False
    """Whether only the beginning of an over-long text was scored."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Build from JSON data; raise `InputError` naming the field that is wrong."""
        data = cls._check_keys(data)
        truncated = data.get("truncated", False)
        return cls(
            comment_id=cls._text(data, "comment_id"),
            model_id=cls._text(data, "model_id"),
            probabilities=cls._probabilities(data, "probabilities"),
            truncated=_expect(cls, "truncated", truncated, "true or false", isinstance(truncated, bool)),
        )


@dataclass(frozen=True, slots=True)
class Span(_Record):
    """A stretch of the original text that moved a label's score."""

    start: int
    """First code point, counted from 0."""
    end: int
    """One past the last code point."""
    label: str
    """The label that it moved."""
    weight: float
    """Its share of the label's decision value, in log-odds; negative pulls away from the label."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Build from JSON data; raise `InputError` naming the field that is wrong."""
        data = cls._check_keys(data)
        start, end = data.get("start"), data.get("end")
        _expect(cls, "start", start, "an integer from 0", type(start) is int and start >= 0)
        _expect(cls, "end", end, "an integer not below start", type(end) is int and end >= start)
        return cls(int(data["start"]), int(data["end"]), cls._text(data, "label"), cls._number(data, "weight"))


@dataclass(frozen=True, slots=True)
class Verdict(_Record):
    """What a policy advises for one score."""

    comment_id: str
    """The comment that was judged."""
    action: Action
    """What to do: publish, let a person look, or keep back until a person has looked."""
    policy_id: str
    """The policy that decided."""
    label: str | None = None
    """The label that decided; none when the comment is allowed."""
    threshold: float | None = None
    """The threshold that the label's probability reached; none when the comment is allowed."""
    reasons: tuple[Span, ...] = ()
    """The words that drove the deciding label, those of the sentences that drove it before others."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Build from JSON data; raise `InputError` naming the field that is wrong."""
        data = cls._check_keys(data)
        reasons = data.get("reasons", [])
        _expect(cls, "reasons", reasons, "a list of spans", isinstance(reasons, list | tuple))
        return cls(
            comment_id=cls._text(data, "comment_id"),
            action=cls._choice(data, "action", ACTIONS),
            policy_id=cls._text(data, "policy_id"),
            label=cls._text_or_none(data, "label"),
            threshold=None if data.get("threshold") is None else cls._number(data, "threshold"),
            reasons=tuple(Span.from_json(reason) for reason in reasons),
        )


@dataclass(frozen=True, slots=True)
class Decision(_Record):
    """What a moderator did with one comment. Decisions are added, never changed."""

    comment_id: str
    """The comment that was decided on."""
    moderator: str
    """Who decided."""
    act: Act
    """What was done."""
    decided: str
    """When: ISO 8601 with time zone."""
    reason: str | None = None
    """Code of the site's rule that the comment broke."""
    note: str | None = None
    """Free words for colleagues."""
    model_id: str | None = None
    """The model whose score the moderator saw."""
    policy_id: str | None = None
    """The policy whose advice the moderator saw."""
    probabilities: Mapping[str, float] | None = None
    """The scores at that time."""
    automation: Automation = "none"
    """How far automated means took part."""

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Build from JSON data; raise `InputError` naming the field that is wrong."""
        data = cls._check_keys(data)
        return cls(
            comment_id=cls._text(data, "comment_id"),
            moderator=cls._text(data, "moderator"),
            act=cls._choice(data, "act", get_args(Act)),
            decided=cls._text(data, "decided"),
            reason=cls._text_or_none(data, "reason"),
            note=cls._text_or_none(data, "note"),
            model_id=cls._text_or_none(data, "model_id"),
            policy_id=cls._text_or_none(data, "policy_id"),
            probabilities=None if data.get("probabilities") is None else cls._probabilities(data, "probabilities"),
            automation=cls._choice({"automation": "none", **data}, "automation", get_args(Automation)),
        )
