"""Measures of a score against the truth: pure functions of arrays, each with its source.

In all of them `scores` has shape (n_rows,), `truth` holds 0 and 1, and `weights` (default: all equal) lets a sample
stand for another base rate than its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

Scores = NDArray[np.float64]
Truth = NDArray[np.int8]

RESAMPLES = 500
"""Bootstrap resamples behind every interval."""

FEWEST_FLAGGED = 20
"""Rows that a threshold must flag before missing a goal counts against all thresholds below it."""

INTERVAL = (2.5, 97.5)
"""Percentiles of the resamples that bound a 95 % interval."""


def bootstrap(
    measure: Callable[[NDArray[np.intp]], float], truth: Truth, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return a 95 % percentile interval of `measure`, which gets row numbers drawn with replacement.

    Positives and negatives are drawn apart, so that each resample has both (Efron and Tibshirani 1993).
    """
    random = np.random.default_rng(seed)
    kinds = [np.flatnonzero(truth == value) for value in (0, 1)]
    found = [
        measure(np.concatenate([random.choice(kind, len(kind)) for kind in kinds if len(kind)]))
        for _ in range(resamples)
    ]
    low, high = np.percentile(found, INTERVAL)
    return float(low), float(high)


def fast_auc(scores: Scores, truth: Truth) -> float:
    """Return the area under the ROC curve by ranks (Mann and Whitney 1947); ties count half."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    ranks = rankdata(scores)
    return float((ranks[truth == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_interval(scores: Scores, truth: Truth, *, seed: int = 0) -> tuple[float, float]:
    """Return a 95 % interval of the area under the ROC curve."""
    return bootstrap(lambda rows: fast_auc(scores[rows], truth[rows]), truth, seed=seed, resamples=200)


def at_threshold(scores: Scores, truth: Truth, threshold: float) -> dict[str, float]:
    """Return what flagging from `threshold` on gives: precision, recall, F1, true negative rate, flagged share."""
    flagged = scores >= threshold
    hits = int((flagged & (truth == 1)).sum())
    precision = hits / max(int(flagged.sum()), 1)
    recall = hits / max(int(truth.sum()), 1)
    return {
        "threshold": threshold,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-12),
        "true_negative_rate": float((~flagged[truth == 0]).mean()) if (truth == 0).any() else 1.0,
        "flagged": float(flagged.mean()),
    }


def rate_weights(truth: Truth, rate: float) -> NDArray[np.float64]:
    """Return weights under which the share of positives is `rate`; they add up to 1."""
    positives, negatives = (truth == 1).sum(), (truth == 0).sum()
    return np.asarray(np.where(truth == 1, rate / max(positives, 1), (1 - rate) / max(negatives, 1)))


def calibration_error(
    probabilities: Scores, truth: Truth, weights: NDArray[np.float64] | None = None, bins: int = 15
) -> float:
    """Return the expected calibration error over equal-width bins (Guo et al. 2017)."""
    return float(
        sum(weight * abs(said - true) for _, weight, said, true in reliability(probabilities, truth, weights, bins))
    )


def reliability(
    probabilities: Scores, truth: Truth, weights: NDArray[np.float64] | None = None, bins: int = 15
) -> list[tuple[int, float, float, float]]:
    """Return, per filled bin, its number, share of the weight, mean probability and share of positives."""
    weights = np.full(len(truth), 1 / max(len(truth), 1)) if weights is None else weights / weights.sum()
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    mass = np.bincount(place, weights, bins)
    said = np.bincount(place, weights * probabilities, bins)
    true = np.bincount(place, weights * truth, bins)
    filled = np.flatnonzero(mass).tolist()
    return [(k, float(mass[k]), float(said[k] / mass[k]), float(true[k] / mass[k])) for k in filled]


def to_rate(probabilities: Scores, stated: float, rate: float) -> Scores:
    """Move probabilities that were calibrated at base rate `stated` to base rate `rate` (Saerens et al. 2002)."""
    odds = probabilities / np.maximum(1 - probabilities, 1e-15)
    odds = odds * (rate / (1 - rate)) / (stated / (1 - stated))
    return np.asarray(odds / (1 + odds))


def operating_point(
    scores: Scores, truth: Truth, goal: str, bound: float, rate: float, *, seed: int = 0
) -> dict[str, Any] | None:
    """Return the lowest threshold that meets a goal at base rate `rate`, with what it gives and 95 % intervals.

    Parameters
    ----------
    goal : ``precision`` (at least `bound` of the flagged are right) or ``flagged`` (at most `bound` of all comments)

    Returns None when no threshold meets the goal.
    """
    threshold = _lowest(scores, truth, goal, bound, rate)
    if threshold is None:
        return None

    def at(rows: NDArray[np.intp]) -> tuple[float, float, float]:
        return _rates(scores[rows], truth[rows], threshold, rate)

    precision, recall, flagged = at(np.arange(len(truth)))
    point: dict[str, Any] = {"threshold": threshold, "goal": goal, "bound": bound, "base_rate": rate}
    for place, (name, value) in enumerate((("precision", precision), ("recall", recall), ("flagged", flagged))):
        low, high = bootstrap(lambda rows, place=place: at(rows)[place], truth, seed=seed, resamples=200)  # type: ignore[misc]
        point[name] = [round(value, 4), round(low, 4), round(high, 4)]
    return point


def _rates(scores: Scores, truth: Truth, threshold: float, rate: float) -> tuple[float, float, float]:
    """Return precision, recall and flagged share at base rate `rate`."""
    recall = float((scores[truth == 1] >= threshold).mean())
    false = float((scores[truth == 0] >= threshold).mean())
    flagged = rate * recall + (1 - rate) * false
    return rate * recall / max(flagged, 1e-12), recall, flagged


def _lowest(scores: Scores, truth: Truth, goal: str, bound: float, rate: float) -> float | None:
    """Find the lowest threshold that meets the goal and has none above it, but for the first few rows, that misses it.

    A threshold that flags fewer than `FEWEST_FLAGGED` rows of the sample is too uncertain to end the search.
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truth[order] == 1) / max(int((truth == 1).sum()), 1)
    wrong = np.cumsum(truth[order] == 0) / max(int((truth == 0).sum()), 1)
    flagged = rate * right + (1 - rate) * wrong
    good = rate * right / np.maximum(flagged, 1e-12) >= bound if goal == "precision" else flagged <= bound
    # Only the last row of a run of equal scores can be a threshold.
    last = np.append(np.diff(scores[order]) != 0, True)
    places = np.flatnonzero(last)
    bad = places[~good[places] & (places + 1 >= FEWEST_FLAGGED)]
    met = places[good[places] & (places < (bad[0] if len(bad) else len(scores)))]
    return float(scores[order][met[-1]]) if len(met) else None


def bias_aucs(scores: Scores, truth: Truth, subgroup: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return subgroup AUC, BPSN AUC and BNSP AUC (Borkan et al. 2019, Jigsaw's definitions).

    BPSN: background positives against subgroup negatives (low: the identity raises the score of harmless comments).
    BNSP: background negatives against subgroup positives (low: the identity lowers the score of harmful ones).
    """
    positive = truth == 1
    chosen = {
        "subgroup_auc": subgroup,
        "bpsn_auc": (~subgroup & positive) | (subgroup & ~positive),
        "bnsp_auc": (~subgroup & ~positive) | (subgroup & positive),
    }
    return {
        name: float(roc_auc_score(truth[rows], scores[rows])) if 0 < truth[rows].sum() < rows.sum() else None
        for name, rows in chosen.items()
    }


def rank_correlation(first: Scores, second: Scores) -> float:
    """Return Spearman's rank correlation; ties get their mean rank."""
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def pairs_in_order(scores: Scores, truth: Truth, pair: NDArray[np.str_]) -> tuple[int, int]:
    """Return how many minimal pairs have the higher score on the positive half, and how many pairs there are.

    `pair` names each row's pair, "" for rows without one; pairs whose halves have the same label are left out.
    """
    right = total = 0
    for name in np.unique(pair[pair != ""]):
        rows = np.flatnonzero(pair == name)
        if len(rows) == 2 and truth[rows].sum() == 1:
            total += 1
            right += int(scores[rows[truth[rows] == 1]][0] > scores[rows[truth[rows] == 0]][0])
    return right, total


def paired_difference(first: Scores, second: Scores, truth: Truth, *, seed: int = 0) -> dict[str, float]:
    """Return the second model's AUC less the first's on the same rows, with a 95 % interval by paired bootstrap."""
    low, high = bootstrap(
        lambda rows: fast_auc(second[rows], truth[rows]) - fast_auc(first[rows], truth[rows]), truth, seed=seed
    )
    return {"difference": fast_auc(second, truth) - fast_auc(first, truth), "low": low, "high": high}
