"""The values that flow: to JSON and back, and what is said of JSON that is wrong."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import Article, Comment, Decision, Score, Span, Verdict
from moderation.errors import InputError

TEXT = st.text(max_size=20)
MAYBE = st.none() | TEXT
PROBABILITIES = st.dictionaries(TEXT, st.floats(0, 1), max_size=4)
SPANS = st.builds(
    lambda start, size, label, weight: Span(start, start + size, label, weight),
    st.integers(0, 1000), st.integers(0, 50), TEXT, st.floats(-50, 50),
)  # fmt: skip
VALUES = st.one_of(
    st.builds(Comment, TEXT, TEXT, MAYBE, MAYBE, MAYBE, MAYBE, st.none() | st.builds(Article, MAYBE, MAYBE), MAYBE),
    st.builds(Score, TEXT, TEXT, PROBABILITIES, st.booleans()),
    st.builds(Verdict, TEXT, st.sampled_from(["allow", "review", "hold"]), TEXT, MAYBE, st.none() | st.floats(0, 1),
              st.lists(SPANS, max_size=3).map(tuple)),
    st.builds(Decision, TEXT, TEXT, st.sampled_from(["approve", "reject", "escalate", "undo"]), TEXT, MAYBE, MAYBE, MAYBE,
              MAYBE, st.none() | PROBABILITIES, st.sampled_from(["none", "partial", "full"])),
)  # fmt: skip


@given(VALUES)
def test_through_json_and_back(value: Any) -> None:
    assert type(value).from_json(json.loads(json.dumps(value.to_json()))) == value


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (Comment, [], "Comment: expected an object, got list"),
        (Comment, {"id": "1"}, "Comment.text: expected a string, got nothing"),
        (Comment, {"id": 1, "text": "a"}, "Comment.id: expected a string, got int"),
        (
            Comment,
            {"id": "1", "text": "a", "colour": 1},
            "Comment: unknown field 'colour'; allowed are id, text, author",
        ),
        (Comment, {"id": "1", "text": "a", "article": "x"}, "Article: expected an object, got str"),
        (
            Score,
            {"comment_id": "1", "model_id": "m", "probabilities": {"a": 2}},
            "expected an object of label to probability",
        ),
        (
            Score,
            {"comment_id": "1", "model_id": "m", "probabilities": {}, "truncated": 1},
            "expected true or false, got int",
        ),
        (Span, {"start": -1, "end": 2, "label": "a", "weight": 1}, "Span.start: expected an integer from 0"),
        (Span, {"start": 3, "end": 2, "label": "a", "weight": 1}, "Span.end: expected an integer not below start"),
        (
            Span,
            {"start": 3, "end": 4, "label": "a", "weight": float("nan")},
            "Span.weight: expected a finite number, got float",
        ),
        (Span, {"start": 3, "end": 4, "label": "a", "weight": float("-inf")}, "expected a finite number, got float"),
        (Span, {"start": 3, "end": 4, "label": "a", "weight": 10**400}, "expected a finite number, got int"),
        (Span, {"start": 3, "end": 4, "label": "a", "weight": True}, "expected a finite number, got bool"),
        (
            Verdict,
            {"comment_id": "1", "action": "hold", "policy_id": "p", "threshold": float("inf")},
            "Verdict.threshold: expected a finite number, got float",
        ),
        (
            Verdict,
            {"comment_id": "1", "action": "delete", "policy_id": "p"},
            "Verdict.action: expected one of allow, review, hold",
        ),
        (
            Verdict,
            {"comment_id": "1", "action": "hold", "policy_id": "p", "reasons": 1},
            "Verdict.reasons: expected a list",
        ),
        (
            Decision,
            {"comment_id": "1", "moderator": "m", "act": "delete", "decided": "now"},
            "expected one of approve, reject",
        ),
    ],
)
def test_wrong_json_is_refused_with_its_field(kind: Any, data: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        kind.from_json(data)
    assert message in str(caught.value)


def test_an_error_never_repeats_the_text() -> None:
    with pytest.raises(InputError) as caught:
        Comment.from_json({"id": ["a reader's secret"], "text": "hello"})
    assert "secret" not in str(caught.value)


def test_there_is_no_delete() -> None:
    from typing import get_args

    from moderation.comment import Action

    assert set(get_args(Action)) == {"allow", "review", "hold"}


@pytest.mark.parametrize("kind", [Article, Comment, Score, Span, Verdict, Decision])
def test_every_field_is_explained(kind: Any) -> None:
    import ast
    import inspect
    import textwrap
    from itertools import pairwise

    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    explained = {
        first.target.id
        for first, second in pairwise(body)
        if isinstance(first, ast.AnnAssign) and isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant)
    }
    assert explained == {field.name for field in fields(kind)}


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Comment("1", "a").text = "b"  # type: ignore[misc]


def test_an_id_that_json_cannot_hold_is_named() -> None:
    with pytest.raises(InputError, match="Score.comment_id: expected a string, a number or a mapping, got int64"):
        Score(np.int64(1), "m", {"abuse": 0.5}).to_json()  # type: ignore[arg-type]
