"""Fit one logistic regression per label, over many corpora at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from training.columns import Columns


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How the heads are fitted."""

    inverse_strength: float = 0.5
    """scikit-learn's C."""
    corpus_power: float = 0.5
    """A corpus of n rows weighs ``n ** corpus_power`` in all, so that none drowns the others."""
    own_factor: float = 1.5
    """Our own comments, which alone know the codebook well, weigh this many times what their number gives them."""
    naive_bayes: float = 0.7
    """How far a column's scale follows its naive-Bayes weight (`naive_bayes_scale`): 0 not at all, 1 in proportion."""
    tolerance: float = 2e-6
    """scikit-learn's tol."""
    most_steps: int = 200
    """scikit-learn's max_iter."""


COARSE = (16, 4)
"""On matrices of many stretches of rows, a solution on one in so many is where the next finer one starts."""

OWN = "authored"
"""Name of our own comments among the corpora."""


def corpus_weights(corpora: NDArray[np.str_], power: float, own_factor: float = 1.5) -> NDArray[np.float64]:
    """Return a weight per row with mean 1, so that a corpus of n rows weighs in proportion to ``n ** power``.

    Our own comments weigh `own_factor` times as much.
    """
    _, place, count = np.unique(corpora, return_inverse=True, return_counts=True)
    weights = count[place].astype(np.float64) ** (power - 1) * np.where(corpora == OWN, own_factor, 1.0)
    return np.asarray(weights * (len(weights) / weights.sum()), dtype=np.float64)


def naive_bayes_scale(
    columns: Columns, truth: NDArray[np.bool_], weights: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Return what each column is multiplied by in the fit, shape (n_columns,), from its log-count ratio.

    An n-gram that stands in harmful and harmless comments alike gets a small scale, so that the fit needs a large
    weight to use it, which costs (Wang and Manning 2012, interpolated between 1 and the ratio). Rare n-grams, whose
    smoothed ratio is near that of chance, are held back in the same way. Shared columns keep the scale 1.

    Parameters
    ----------
    truth : True where a row carries the label
    weights : how many comments each row counts for; 0 for rows that are not to count
    share : `FitSettings.naive_bayes`
    """
    scale = np.ones(columns.shape[1])
    if not share:
        return scale
    with_label, without = (1 + columns.presence(np.where(truth == value, weights, 0.0)) for value in (True, False))
    ratio = np.log((with_label / with_label.sum()) / (without / without.sum()))
    size = np.sqrt(np.mean(ratio * ratio)) or 1.0
    scale[: len(ratio)] = 1 - share + share * np.abs(ratio) / size
    return scale


def fit_head(
    matrix: Any, labels: NDArray[np.int8], corpora: NDArray[np.str_], settings: FitSettings, *, jobs: int = 1
) -> tuple[NDArray[np.float64], float]:
    """Fit one label and return its weights, shape (n_features,), and the mean intercept of its corpora.

    Rows whose label is unknown (-1) do not count. A column per corpus absorbs the corpora's different base rates, so
    that the words need not explain them; these intercepts are averaged afterwards, and calibration sets the level.

    The optimum is that of scikit-learn's ``LogisticRegression`` on the scaled columns, found by the same L-BFGS;
    scikit-learn would copy the known rows and stack the columns, and the largest matrices do not fit twice. The scale
    of `naive_bayes_scale` folds into the weights.

    Parameters
    ----------
    matrix : `Columns`, or a sparse matrix of shape (n_rows, n_features)
    jobs : threads
    """
    columns = matrix if isinstance(matrix, Columns) else Columns([[sp.csr_matrix(matrix, dtype=np.float32)]])
    known = labels >= 0
    columns, names = columns.only(known, jobs=jobs), np.unique(corpora)
    counts = np.zeros(len(labels))
    counts[known] = corpus_weights(corpora[known], settings.corpus_power, settings.own_factor)
    scale = naive_bayes_scale(columns, labels == 1, counts, settings.naive_bayes)
    task = _Task(labels, corpora, names, settings, scale)
    start = np.zeros(columns.shape[1] + len(names) + 1)
    for step in COARSE:
        if columns.stretches >= 2 * step:
            some, rows = columns.every(step)
            start = task.solve(some, known & rows, start)
    found = task.solve(columns, known, start)
    offsets = found[columns.shape[1] : -1][np.searchsorted(names, corpora)]
    return scale * found[: columns.shape[1]], float(found[-1] + counts @ offsets / known.sum())


@dataclass(frozen=True, slots=True)
class _Task:
    """One label to be fitted, on all rows or on some."""

    labels: NDArray[np.int8]
    corpora: NDArray[np.str_]
    names: NDArray[np.str_]
    settings: FitSettings
    scale: NDArray[np.float64]

    def weights(self, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return a weight per row, 0 for those that do not count, with sum 1."""
        weights = np.zeros(len(self.labels))
        settings = self.settings
        weights[rows] = corpus_weights(self.corpora[rows], settings.corpus_power, settings.own_factor) / rows.sum()
        return weights

    def solve(self, columns: Columns, rows: NDArray[np.bool_], start: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the optimum over some rows, found from `start`: features, corpora, and the free intercept."""
        truth, features = self.labels == 1, columns.shape[1]
        weights, place = self.weights(rows), np.searchsorted(self.names, self.corpora)
        strength = 1 / (self.settings.inverse_strength * rows.sum())

        def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            """Return the mean loss and its gradient."""
            odds = columns @ (self.scale * point[:features]) + point[features:-1][place] + point[-1]
            residuals = weights * (expit(odds) - truth)
            value = weights @ (np.logaddexp(0, odds) - truth * odds) + strength / 2 * (point[:-1] @ point[:-1])
            corpus = np.bincount(place, residuals, len(self.names))
            gradient = np.concatenate((self.scale * columns.rmatvec(residuals), corpus, [residuals.sum()]))
            gradient[:-1] += strength * point[:-1]
            return float(value), gradient

        options = {
            "maxiter": self.settings.most_steps,
            "gtol": self.settings.tolerance,
            "ftol": 64 * np.finfo(float).eps,
            "maxls": 50,
        }
        found: NDArray[np.float64] = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        return found


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
    """Fit every label with its settings, one after the other.

    Returns weights, shape (n_features, n_labels), and intercepts, (n_labels,).
    Raises `ValueError` when a label has no positive or no negative row, naming it.
    """
    for place, name in enumerate(names):
        counts = [int((labels[:, place] == value).sum()) for value in (0, 1)]
        if not all(counts):
            raise ValueError(f"{name}: expected rows with and without the label, got {counts[1]} and {counts[0]}")
    places = _watched(range(len(names)), len(names), "heads", progress)
    fitted = [fit_head(matrix, labels[:, place], corpora, settings[place], jobs=jobs) for place in places]
    return np.stack([weights for weights, _ in fitted], axis=1), np.array([intercept for _, intercept in fitted])


def _watched(items: Any, total: int, what: str, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, disable=None if progress else True)
