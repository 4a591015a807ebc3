"""Fit one logistic regression per label, over many corpora at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How the heads are fitted."""

    inverse_strength: float = 0.5
    """scikit-learn's C."""
    corpus_power: float = 0.5
    """A corpus of n rows weighs ``n ** corpus_power`` in all, so that none drowns the others."""
    own_factor: float = 1.5
    """Our own comments, which alone know the codebook well, weigh this many times what their number gives them."""
    tolerance: float = 2e-6
    """scikit-learn's tol."""
    most_steps: int = 200
    """scikit-learn's max_iter."""


OWN = "authored"
"""Name of our own comments among the corpora."""


def corpus_weights(corpora: NDArray[np.str_], power: float, own_factor: float = 1.5) -> NDArray[np.float64]:
    """Return a weight per row with mean 1, so that a corpus of n rows weighs in proportion to ``n ** power``.

    Our own comments weigh `own_factor` times as much.
    """
    _, place, count = np.unique(corpora, return_inverse=True, return_counts=True)
    weights = count[place].astype(np.float64) ** (power - 1) * np.where(corpora == OWN, own_factor, 1.0)
    return np.asarray(weights * (len(weights) / weights.sum()), dtype=np.float64)


def fit_head(
    matrix: Any, labels: NDArray[np.int8], corpora: NDArray[np.str_], settings: FitSettings
) -> tuple[NDArray[np.float64], float]:
    """Fit one label and return its weights, shape (n_features,), and the mean intercept of its corpora.

    Rows whose label is unknown (-1) do not count. A column per corpus absorbs the corpora's different base rates, so
    that the words need not explain them; these intercepts are averaged afterwards, and calibration sets the level.
    """
    known = labels >= 0
    names, place = np.unique(corpora[known], return_inverse=True)
    weights = corpus_weights(corpora[known], settings.corpus_power, settings.own_factor)
    one_hot = sp.csr_matrix((np.ones(len(place)), (np.arange(len(place)), place)), shape=(len(place), len(names)))
    model = LogisticRegression(
        C=settings.inverse_strength, solver="lbfgs", tol=settings.tolerance, max_iter=settings.most_steps
    )
    columns = sp.hstack([matrix[known], one_hot.astype(matrix.dtype)], format="csr")
    with warnings.catch_warnings():
        # The last steps change nothing that held-out rows would show.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(columns, labels[known], sample_weight=weights.astype(matrix.dtype))
    coefficients = model.coef_[0].astype(np.float64)
    offsets = coefficients[matrix.shape[1] :]
    return coefficients[: matrix.shape[1]], float(model.intercept_[0] + np.average(offsets[place], weights=weights))


def fit_heads(
    matrix: Any,
    labels: NDArray[np.int8],
    corpora: NDArray[np.str_],
    settings: Sequence[FitSettings],
    *,
    names: Sequence[str],
    jobs: int = 1,
    progress: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit every label with its settings; return weights, shape (n_features, n_labels), and intercepts, (n_labels,).

    Raises `ValueError` when a label has no positive or no negative row, naming it.
    """
    for place, name in enumerate(names):
        counts = [int((labels[:, place] == value).sum()) for value in (0, 1)]
        if not all(counts):
            raise ValueError(f"{name}: expected rows with and without the label, got {counts[1]} and {counts[0]}")
    tasks = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(fit_head)(matrix, labels[:, place], corpora, settings[place]) for place in range(len(names))
    )
    fitted = list(_watched(tasks, len(names), "heads", progress))
    return np.stack([weights for weights, _ in fitted], axis=1), np.array([intercept for _, intercept in fitted])


def _watched(items: Any, total: int, what: str, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, disable=None if progress else True)
