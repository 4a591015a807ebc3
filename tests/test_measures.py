"""Measures: hand-computed values, agreement with scikit-learn, and their limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from training import measures
from training.bias import subgroup_table
from training.evaluate import LabelledSet

SCORED = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.4, 0.4, 0.9, 1.0]), st.integers(0, 1)), min_size=4, max_size=40
)


def arrays(rows: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows]), np.array([truth for _, truth in rows], np.int8)


@given(SCORED)
def test_fast_auc_is_scikit_learns(rows: list[tuple[float, int]]) -> None:
    scores, truth = arrays(rows)
    if 0 < truth.sum() < len(truth):
        assert_allclose(measures.fast_auc(scores, truth), roc_auc_score(truth, scores), atol=1e-12)


@given(SCORED, st.sampled_from([0.05, 0.4, 0.95]))
def test_f1_is_scikit_learns(rows: list[tuple[float, int]], threshold: float) -> None:
    scores, truth = arrays(rows)
    found = measures.at_threshold(scores, truth, threshold)
    assert_allclose(found["f1"], f1_score(truth, scores >= threshold, zero_division=0), atol=1e-9)


def test_calibration_error_by_hand() -> None:
    # Two bins of two: said .1 and .3, true 0 and .5 -> gaps .1 and .2, each with half the weight.
    probabilities, truth = np.array([0.1, 0.1, 0.3, 0.3]), np.array([0, 0, 0, 1], np.int8)
    assert_allclose(measures.calibration_error(probabilities, truth, bins=5), 0.15)
    weights = np.array([1.0, 1, 0, 0])
    assert_allclose(measures.calibration_error(probabilities, truth, weights, bins=5), 0.1)


def test_moving_to_another_base_rate() -> None:
    assert_allclose(measures.to_rate(np.array([0.5, 0.01]), 0.01, 0.01), [0.5, 0.01])
    assert_allclose(measures.to_rate(np.array([0.01]), 0.01, 0.5), [0.5])


def test_an_operating_point_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    truth = np.array([1, 1, 0, 1, 0, 0], np.int8)
    # At base rate 1/2: from .8 on precision is 1, from .6 on 1 / (1 + 1/3) = .75.
    point = measures.operating_point(scores, truth, "precision", 0.75, 0.5)
    assert point is not None
    assert point["threshold"] == 0.6
    assert_allclose([point["precision"][0], point["recall"][0]], [0.75, 1.0])
    strict = measures.operating_point(scores, truth, "precision", 0.9, 0.5)
    assert strict is not None
    assert strict["threshold"] == 0.8
    few = measures.operating_point(scores, truth, "flagged", 0.34, 0.5)
    assert few is not None
    assert (few["threshold"], few["flagged"][0]) == (0.8, pytest.approx(1 / 3, abs=1e-4))
    assert few["flagged"][1] <= few["flagged"][0] <= few["flagged"][2]


def test_a_goal_that_cannot_be_met() -> None:
    assert measures.operating_point(np.array([0.5, 0.5]), np.array([0, 1], np.int8), "precision", 0.9, 0.5) is None


def test_bias_aucs_by_hand() -> None:
    scores = np.array([0.1, 0.9, 0.8, 0.95])
    truth = np.array([0, 1, 0, 1], np.int8)
    subgroup = np.array([False, False, True, True])
    found = measures.bias_aucs(scores, truth, subgroup)
    assert found == {"subgroup_auc": 1.0, "bpsn_auc": 1.0, "bnsp_auc": 1.0}
    raised = measures.bias_aucs(np.array([0.1, 0.7, 0.8, 0.95]), truth, subgroup)
    assert raised["bpsn_auc"] == 0.0
    assert measures.bias_aucs(scores, truth, np.zeros(4, bool))["subgroup_auc"] is None


def test_pairs_in_order() -> None:
    scores = np.array([0.9, 0.1, 0.2, 0.6, 0.5, 0.5])
    truth = np.array([1, 0, 1, 0, 1, 0], np.int8)
    pair = np.array(["a", "a", "b", "b", "", ""])
    assert measures.pairs_in_order(scores, truth, pair) == (1, 2)


def test_an_interval_holds_the_value_and_narrows() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 1_000).astype(np.int8)
    scores = rng.normal(truth, 1.0)
    low, high = measures.auc_interval(scores, truth)
    few = np.arange(0, 2_000, 20)
    wide_low, wide_high = measures.auc_interval(scores[few], truth[few])
    assert low < measures.fast_auc(scores, truth) < high
    assert high - low < wide_high - wide_low


def test_a_model_does_not_differ_from_itself() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 200).astype(np.int8)
    scores = rng.normal(truth, 1.0)
    assert measures.paired_difference(scores, scores, truth) == {"difference": 0.0, "low": 0.0, "high": 0.0}
    better = measures.paired_difference(scores, scores + truth, truth)
    assert better["low"] > 0


def test_rank_correlation() -> None:
    assert_allclose(measures.rank_correlation(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40])), 1)
    # With a tie, by hand: ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4 give 4.5 / sqrt(4.5 * 5).
    assert_allclose(measures.rank_correlation(np.array([1.0, 2, 2, 4]), np.array([1.0, 3, 2, 4])), 0.9486833, atol=1e-7)


class Shouter:
    """Scores a comment by its capital letters."""

    labels = ("abuse",)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([[sum(map(str.isupper, text)) / len(text)] for text in texts])


def test_comments_that_mention_an_identity_are_measured_apart() -> None:
    texts = [f"the muslim neighbour {k}" for k in range(12)] + [f"THE MUSLIM NEIGHBOUR {k}" for k in range(12)]
    texts += [f"Some Gay Pride {k}" for k in range(12)] + [f"rain at noon {k}" for k in range(12)]
    truth = np.array([0] * 12 + [1] * 12 + [0] * 24, np.int8)
    ids = [str(k) for k in range(len(texts))]
    labelled = LabelledSet("made", ids, texts, {"abuse": truth}, [""] * len(ids), [""] * len(ids))
    found = subgroup_table(Shouter(), labelled)
    assert set(found) == {"Muslim"}
    assert found["Muslim"] == {"comments": 24, "subgroup_auc": 1.0, "bpsn_auc": None, "bnsp_auc": 1.0}
    assert subgroup_table(Shouter(), labelled, "threat") == {}
