"""The shipped model does not get worse unseen: floors on our own held-back comments, by label, kind and case.

A floor stands a little below what the model reaches today. Raise it when the model gets better; lower it only with a
line under "Scores changed" in the changelog.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moderation import Policy, Scorer
from training.bias import identity_table
from training.corpora import LABELS
from training.evaluate import LabelledSet, evaluate, sets_of
from training.goals import default_thresholds
from training.own import HeldBack, read_authored
from training.splits import assemble

AUC = {
    "incitement": 0.918,
    "abuse": 0.943,
    "threat": 0.91,
    "insult": 0.966,
    "identity_attack": 0.95,
    "profanity": 0.993,
    "severe_abuse": 0.93,
}
PAIRS = {"incitement": 0.93, "abuse": 0.89}
RECALL = {"incitement": 0.655, "abuse": 0.53}
TRUE_NEGATIVES = {"incitement": 0.926, "abuse": 0.99}

WORST_CASE = 0.67
"""Share of harmless comments that every case with enough of them must let pass."""


@pytest.fixture(scope="module")
def held_back(request: pytest.FixtureRequest) -> LabelledSet:
    """Our own comments that were never trained on."""
    folder = Path(request.config.rootpath) / "datasets" / "authored"
    (found,) = sets_of(assemble([(None, read_authored(folder))], HeldBack.load(folder)).part("test"))
    assert len(found.ids) > 3_000
    return found


@pytest.fixture(scope="module")
def measured(shipped: Scorer, held_back: LabelledSet) -> dict[str, dict[str, object]]:
    """The shipped model's measures on them, at its own default thresholds."""
    thresholds = default_thresholds(shipped.bundle.manifest["operating_points"], shipped.labels)
    return evaluate(shipped, [held_back], thresholds=thresholds)["authored"]


@pytest.mark.parametrize("label", AUC)
def test_ranks_harmful_comments_above_harmless_ones(measured: dict[str, dict[str, float]], label: str) -> None:
    assert measured[label]["auc"] >= AUC[label]


@pytest.mark.parametrize("label", PAIRS)
def test_tells_minimal_pairs_apart(measured: dict[str, dict[str, tuple[int, int]]], label: str) -> None:
    right, pairs = measured[label]["pairs"]
    assert right / pairs >= PAIRS[label]


@pytest.mark.parametrize("label", RECALL)
def test_finds_and_spares_at_the_default_threshold(
    measured: dict[str, dict[str, dict[str, float]]], label: str
) -> None:
    at = measured[label]["at_threshold"]
    assert at["recall"] >= RECALL[label]
    assert at["true_negative_rate"] >= TRUE_NEGATIVES[label]


@pytest.mark.parametrize("label", RECALL)
def test_no_case_of_harmless_comments_is_flagged_as_a_whole(
    measured: dict[str, dict[str, dict[str, dict[str, float]]]], label: str
) -> None:
    cases = measured[label]["cases"]
    harmless = {case: found for case, found in cases.items() if case.endswith("/ harmless") and found["rows"] >= 12}
    assert len(harmless) > 50
    assert {case: found["right"] for case, found in harmless.items() if found["right"] < WORST_CASE} == {}


def test_identity_words_alone_do_not_reach_a_moderator(shipped: Scorer) -> None:
    thresholds = default_thresholds(shipped.bundle.manifest["operating_points"], shipped.labels)
    flagged = {word: row["neutral flagged"] for word, row in identity_table(shipped, thresholds=thresholds).items()}
    assert len(flagged) > 50
    assert {word: share for word, share in flagged.items() if share} == {}


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Somebody should wait for her tonight with an iron bar. She has it coming.", "review"),
        ("Somebody should shoot that judge tonight, and hang his clerks from the bridge.", "hold"),
        ("You are a pathetic, lying little rat.", "hold"),
        ("Somebody should ask her tonight what the bridge has cost. She has some explaining to do.", "allow"),
        ("The minister lied to parliament and should resign today.", "allow"),
        ("United murdered them on Saturday, three headers and a rocket from thirty yards.", "allow"),
        ("What a shit morning, another hour on the bloody bus.", "allow"),
        ("I am a Muslim woman and I work at the post office.", "allow"),
    ],
)
def test_plain_cases_get_the_plain_answer(shipped: Scorer, text: str, action: str) -> None:
    assert Policy.load().decide(shipped.score(text)).action == action


def test_every_label_of_the_codebook_is_scored(shipped: Scorer) -> None:
    assert shipped.labels == LABELS
    assert np.isfinite(shipped.predict_proba(["", "a", "🔪"])).all()
