"""Make a head's number a probability at a stated base rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from training.measures import rate_weights

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
