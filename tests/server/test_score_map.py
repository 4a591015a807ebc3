"""The map to Perspective's scale: rising, fitted for the shipped model, and honest about its agreement."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import Scorer
from moderation.bundle import load_bundle
from moderation.errors import InputError
from moderation.server._attributes import NEAREST, NOT_HERE, OWN_LABELS, Attributes
from moderation.server.score_map import SHIPPED, ScoreMap, log_odds
from training.perspective_map import COLUMNS, FOLDS, FORMAT, THRESHOLDS, cross_mapped

MAP = json.loads(SHIPPED.read_text())
LABELS = load_bundle().labels


def test_it_is_fitted_for_the_shipped_model(shipped: Scorer) -> None:
    assert ScoreMap.load().model_id == shipped.model_id, "run: python -m training perspective-map"


def test_it_has_perspectives_attributes_and_their_labels() -> None:
    assert set(MAP["attributes"]) == set(OWN_LABELS) - {"INCITEMENT", "ABUSE"}
    for name, entry in MAP["attributes"].items():
        assert next(iter(entry["weights"])) == OWN_LABELS[name]
        assert all(weight >= 0 for weight in entry["weights"].values())
        assert sum(entry["weights"].values()) == pytest.approx(1, abs=1e-5)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=8), st.integers(0, 7), st.floats(0, 1))
def test_a_higher_probability_never_lowers_a_score(row: list[float], place: int, other: float) -> None:
    for column in ScoreMap.load().columns(LABELS).values():
        more = list(row)
        more[place] = max(row[place], other)
        assert 0 <= column.apply(row) <= column.apply(more) <= 1


def test_scores_keep_the_models_order_apart() -> None:
    column = ScoreMap.load().columns(LABELS)["PROFANITY"]
    probabilities = np.linspace(0.001, 0.999, 200).tolist()
    scores = [column.apply([p] * len(LABELS)) for p in probabilities]
    assert all(low < high for low, high in pairwise(scores))


def test_log_odds_are_bounded() -> None:
    assert log_odds(0.5) == 0
    assert log_odds(0.0) == pytest.approx(-log_odds(1.0), rel=1e-5)
    assert -30 < log_odds(0.0) < -20


def test_thresholds_keep_their_share_of_comments() -> None:
    for name, entry in MAP["attributes"].items():
        for threshold in THRESHOLDS:
            found = entry["agreement"][f"{threshold:g}"]
            assert found["ours"] == pytest.approx(found["perspective"], abs=0.01), name


def test_the_map_is_what_the_command_makes(shipped: Scorer, corpora: Path) -> None:
    from training.corpora import load_registry, read_corpus
    from training.perspective_map import CORPUS, fit_map

    found = fit_map(shipped, list(read_corpus(load_registry()[CORPUS], corpora)))
    assert found["model_id"] == MAP["model_id"]
    for name, entry in found["attributes"].items():
        kept = MAP["attributes"][name]
        assert entry["agreement"]["0.8"] == pytest.approx(kept["agreement"]["0.8"], abs=0.002)
        assert entry["knots"] == [pytest.approx(knot, abs=1e-3) for knot in kept["knots"]]


def test_cross_mapping_never_sees_the_held_fold() -> None:
    random = np.random.default_rng(0)
    theirs = np.round(random.random(400), 2)
    noise = random.normal(size=(400, 1))
    # Of a score that has nothing to do with ours no map can find anything again.
    assert abs(np.corrcoef(cross_mapped(noise, theirs), theirs)[0, 1]) < 0.15
    equal = np.log((theirs + 0.005) / (1.005 - theirs))[:, None]
    assert np.abs(cross_mapped(equal, theirs) - theirs).mean() < 0.01
    assert FOLDS == 10


@pytest.mark.parametrize(
    "text", ["{}", "[]", "x", json.dumps({"format": FORMAT}), json.dumps(MAP | {"format": "other"}),
             json.dumps(MAP | {"attributes": {"TOXICITY": {"weights": {"abuse": 1}, "knots": [[0, 1], [0, 2]]}}})]
)  # fmt: skip
def test_what_is_no_map_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(InputError, match="not a map"):
        ScoreMap.load(tmp_path / "map.json")


def test_attributes_that_nobody_has_are_named() -> None:
    strict = Attributes(LABELS, None, nearest=False)
    lenient = Attributes(LABELS, None, nearest=True)
    for name in (*NOT_HERE, *NEAREST):
        assert strict.column(name) is None
        assert (lenient.column(name) is not None) == (name in NEAREST)
    assert set(COLUMNS) <= set(strict.names)
    assert strict.label("SEVERE_TOXICITY@2", LABELS) == "severe_abuse"
    assert strict.label("SPAM", LABELS) is None
