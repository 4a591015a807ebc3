"""Make a head's number a probability at a stated base rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

BASE_RATES = {
    "incitement": 0.01,
    "abuse": 0.08,
    "threat": 0.005,
    "insult": 0.06,
    "identity_attack": 0.015,
    "profanity": 0.02,
    "severe_abuse": 0.01,
    "sexually_explicit": 0.005,
}
"""Share of news comments that carry each label, as assumed by the shipped model.

Corpora are enriched with abuse, so their own rates say nothing. Moderated news sites report 5 to 10 % abuse and
well below 1 % threats; the values here are round numbers of that order, stated so that a site can restate them.
"""


def rate_weights(labels: NDArray[np.int8], rate: float) -> NDArray[np.float64]:
    """Return weights under which the share of positives is `rate`; they add up to 1."""
    positives, negatives = (labels == 1).sum(), (labels == 0).sum()
    return np.asarray(np.where(labels == 1, rate / max(positives, 1), (1 - rate) / max(negatives, 1)))


def fit_platt(scores: NDArray[np.float64], labels: NDArray[np.int8], rate: float) -> tuple[float, float]:
    """Return slope and offset that turn a score into log-odds at base rate `rate` (Platt 1999).

    The map is monotone and linear, so it folds into the head's weights: the model stays one logistic regression.
    """
    weights = rate_weights(labels, rate) * len(labels)
    model = LogisticRegression(C=1e6).fit(scores[:, None], labels, sample_weight=weights)
    slope = float(model.coef_[0, 0])
    if slope <= 0:
        raise ValueError(f"calibration: expected scores that rise with the label, got a slope of {slope:.3g}")
    return slope, float(model.intercept_[0])


def calibration_error(
    probabilities: NDArray[np.float64], labels: NDArray[np.int8], weights: NDArray[np.float64], bins: int = 15
) -> float:
    """Return the expected calibration error: mean distance of probability and truth over equal-width bins.

    Guo et al. 2017, with weights so that it can be taken at another base rate than the sample's.
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    total = np.bincount(place, weights, bins)
    gap = np.bincount(place, weights * (probabilities - labels), bins)
    return float(np.abs(gap).sum() / total.sum())
