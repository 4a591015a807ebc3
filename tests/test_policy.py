"""Policies: which action follows from which score, and what is said of a policy that is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moderation import Policy, Score, Scorer
from moderation.errors import InputError, PolicyError
from moderation.policy import DEFAULT
from training.goals import default_policy

POLICY = """\
id = "strict-3"
description = "for tests"

[thresholds.incitement]
review = 0.4
hold = 0.9

[thresholds.abuse]
review = 0.6
"""


def score(**probabilities: float) -> Score:
    return Score("c1", "m1", probabilities)


@pytest.mark.parametrize(
    ("incitement", "abuse", "action", "label", "threshold"),
    [
        (0.0, 0.0, "allow", None, None),
        (0.39, 0.59, "allow", None, None),
        # a probability equal to the threshold reaches it
        (0.4, 0.0, "review", "incitement", 0.4),
        (0.0, 0.6, "review", "abuse", 0.6),
        (0.9, 0.0, "hold", "incitement", 0.9),
        # the strictest action decides, whatever the other label says
        (0.9, 1.0, "hold", "incitement", 0.9),
        # of two labels with one action, the one further above its threshold
        (0.5, 0.95, "review", "abuse", 0.6),
        (0.8, 0.65, "review", "incitement", 0.4),
        (1.0, 1.0, "hold", "incitement", 0.9),
    ],
)
def test_decides(incitement: float, abuse: float, action: str, label: str | None, threshold: float | None) -> None:
    verdict = Policy.parse(POLICY).decide(score(incitement=incitement, abuse=abuse))
    assert (verdict.action, verdict.label, verdict.threshold) == (action, label, threshold)
    assert (verdict.comment_id, verdict.policy_id) == ("c1", "strict-3")


def test_gives_the_words_that_drove_the_deciding_label(small_scorer: Scorer) -> None:
    text = "Somebody ought to burn his house down tonight."
    policy = Policy.parse('id = "all"\n[thresholds.abuse]\nreview = 0.0\n')
    verdict = policy.decide(small_scorer.score(text), small_scorer.explain(text))
    assert verdict.reasons
    assert {reason.label for reason in verdict.reasons} == {"abuse"}


def test_a_label_that_the_model_lacks() -> None:
    with pytest.raises(
        PolicyError, match="policy strict-3: has thresholds for 'abuse', but the model scores incitement"
    ):
        Policy.parse(POLICY).decide(score(incitement=0.1))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            'id = "a"\n\n[thresholds.abuse]\ndelete = 0.9\n',
            "p.toml, line 4: unknown action 'delete'; allowed are review, hold",
        ),
        (
            'id = "a"\n[thresholds.abuse]\nreview = 1.5\n',
            "p.toml, line 3: review: expected a probability from 0 to 1, got 1.5",
        ),
        ('id = "a"\n[thresholds.abuse]\nreview = "x"\n', "line 3: review: expected a probability from 0 to 1, got 'x'"),
        (
            'id = "a"\n[thresholds.abuse]\nreview = true\n',
            "line 3: review: expected a probability from 0 to 1, got True",
        ),
        ('id = "a"\n[thresholds.abuse]\nreview = nan\n', "line 3: review: expected a probability from 0 to 1, got nan"),
        (
            'id = "a"\n[thresholds.abuse]\nhold = 0.2\nreview = 0.5\n',
            "line 3: hold: expected a threshold not below review's",
        ),
        ('id = "a"\n[thresholds.abuse]\n', "line 2: abuse: expected review or hold with a probability"),
        ('id = "a"\n[thresholds]\nabuse = 0.3\n', "line 3: abuse: expected review or hold with a probability"),
        ('id = "a"\nthresholds.abuse.reviev = 0.3\n', "line 2: unknown action 'reviev'"),
        ('id = "a"\n', "expected a table [thresholds.LABEL] for at least one label"),
        ("[thresholds.abuse]\nreview = 0.5\n", "id: expected a string, got None"),
        ('id = ""\n[thresholds.abuse]\nreview = 0.5\n', "line 1: id: expected a string, got ''"),
        (
            'id = "a"\nlabels = 3\n[thresholds.abuse]\nreview = 0.5\n',
            "line 2: unknown key 'labels'; allowed are id, description",
        ),
        # what stands inside another key's value is found by that key
        ("thresholds = { abuse = { review = 2 } }\nid = 'a'\n\n\n\n# end\n", "p.toml, line 1: review: expected a"),
        ("thresholds = { abuse = { reviev = 1 } }\nid = 'a'\n\n", "p.toml, line 1: unknown action 'reviev'"),
        ("thresholds = { abuse = 1 }\nid = 'a'\n\n", "p.toml, line 1: abuse: expected review or hold"),
        ("id = 'a'\nthresholds = 4\n\n", "p.toml, line 2: expected a table [thresholds.LABEL]"),
        ("id = 'a'\n[thresholds]\nabuse = { review = 0.4 }\nthreat = { hold = 2 }\n\n", "line 4: hold: expected"),
        ("id = 'a'\nthresholds.threat = { hold = 1 }\nthresholds.abuse = { hold = 2 }\n\n", "line 3: hold: expected"),
        ("id = 'a'\n[thresholds.threat]\nhold = 1\n[thresholds.abuse]\n'hold' = 2\n\n", "line 5: hold: expected"),
        ('id = "a\n', "p.toml: Illegal character"),
        ("", "id: expected a string"),
    ],
)
def test_a_wrong_policy_names_the_line(source: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(source, name="p.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('id = "n"\n\n[thresholds.abuse]\nreview = 0.5\n[thresholds.incitment]\nhold = 0.9\n', 5),
        ('id = "n"\nthresholds.incitment.hold = 0.9\n', 2),
        ('id = "n"\n[thresholds]\nincitment = { hold = 1 }\n', 3),
    ],
)
def test_a_label_that_the_model_lacks_is_told_with_its_line(source: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(source)
    Policy.load(tmp_path / "p.toml")
    with pytest.raises(PolicyError) as caught:
        Policy.load(tmp_path / "p.toml", labels=["incitement", "abuse"])
    message = f"line {line}: unknown label 'incitment'; the model scores incitement, abuse"
    assert str(caught.value) == f"{tmp_path / 'p.toml'}, {message}"
    with pytest.raises(PolicyError, match=f"^policy, {message}"):
        Policy.parse(source, labels=("incitement", "abuse"))


def test_a_policy_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        Policy.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="not UTF-8"):
        Policy.load(tmp_path / "bad.toml")


def test_a_byte_order_mark_is_no_part_of_a_policy(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('id = "p"\n[thresholds.abuse]\nreview = 0.5\n', encoding="utf-8-sig")
    assert Policy.load(tmp_path / "p.toml").id == "p"


def test_the_default_policy_follows_from_the_models_operating_points(shipped: Scorer) -> None:
    manifest = shipped.bundle.manifest
    assert DEFAULT.read_text() == default_policy(shipped.model_id, manifest["operating_points"])


def test_the_default_policy_fits_the_shipped_model(shipped: Scorer) -> None:
    policy = Policy.load()
    assert set(policy.thresholds) <= set(shipped.labels)
    assert policy.decide(shipped.score("A lovely day in the park.")).action == "allow"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("x", {"abuse": {"reviw": 0.2}}), "Policy: unknown action 'reviw'; allowed are review, hold"),
        (("x", "a description", {"abuse": {"review": 0.2}}), "Policy: description: expected a string, got dict"),
        (("x", {"abuse": {"review": 2}}), "Policy: review: expected a probability from 0 to 1, got 2"),
        (("x", {}), "Policy: expected a table"),
        ((None, {"abuse": {"review": 0.2}}), "Policy: id: expected a string, got NoneType"),
    ],
)
def test_a_policy_made_in_python_is_checked_like_a_file(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(message)):
        Policy(*given)


def test_thresholds_of_numpy_are_numbers() -> None:
    policy = Policy("x", {"abuse": {"review": np.float32(0.5)}})  # type: ignore[dict-item]
    verdict = policy.decide(Score("1", "m", {"abuse": 0.7}))
    assert (verdict.action, verdict.to_json()["threshold"]) == ("review", 0.5)
    assert type(verdict.threshold) is float


def test_a_score_that_is_no_number_is_not_let_through() -> None:
    with pytest.raises(InputError, match="abuse: expected a probability in \\[0, 1\\], got NaN"):
        Policy.parse(POLICY).decide(Score("1", "m", {"abuse": float("nan"), "incitement": 0.1}))
