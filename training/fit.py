"""Fit one logistic regression per label, over many corpora at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit

from training.columns import Columns
from training.lockstep import minimize_together


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How the heads are fitted."""

    inverse_strength: float = 0.5
    """scikit-learn's C."""
    corpus_power: float = 0.5
    """A corpus of n rows weighs ``n ** corpus_power`` in all, so that none drowns the others."""
    own_factor: float = 1.5
    """Our own comments, which alone know the codebook well, weigh this many times what their number gives them."""
    pair_factor: float = 2.0
    """Halves of a minimal pair, which tell what makes the difference, weigh this many times what others of ours do."""
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


def corpus_weights(
    corpora: NDArray[np.str_], settings: FitSettings, paired: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return a weight per row with mean 1, so that a corpus of n rows weighs in proportion to ``n ** corpus_power``.

    Our own comments weigh `own_factor` times as much, and those that are `paired` again `pair_factor` times.
    """
    _, place, count = np.unique(corpora, return_inverse=True, return_counts=True)
    weights = count[place].astype(np.float64) ** (settings.corpus_power - 1)
    weights *= np.where(corpora == OWN, settings.own_factor, 1.0)
    if paired is not None:
        weights *= np.where(paired, settings.pair_factor, 1.0)
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
    both = np.stack([np.where(truth == value, weights, 0.0) for value in (True, False)], axis=1)
    with_label, without = 1 + columns.presence(both).T
    ratio = np.log((with_label / with_label.sum()) / (without / without.sum()))
    size = np.sqrt(np.mean(ratio * ratio)) or 1.0
    scale[: len(ratio)] = 1 - share + share * np.abs(ratio) / size
    return scale


def fit_head(
    matrix: Any,
    labels: NDArray[np.int8],
    corpora: NDArray[np.str_],
    settings: FitSettings,
    *,
    paired: NDArray[np.bool_] | None = None,
    jobs: int = 1,
) -> tuple[NDArray[np.float64], float]:
    """Fit one label; see `fit_heads`. Returns its weights, shape (n_features,), and its intercept."""
    one = labels[:, None]
    weights, intercepts = fit_heads(matrix, one, corpora, [settings], names=["label"], paired=paired, jobs=jobs)
    return weights[:, 0], float(intercepts[0])


def fit_heads(
    matrix: Any,
    labels: NDArray[np.int8],
    corpora: NDArray[np.str_],
    settings: Sequence[FitSettings],
    *,
    names: Sequence[str],
    paired: NDArray[np.bool_] | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit every label with its settings, all from the same readings of the matrix.

    Rows whose label is unknown (-1) do not count. A column per corpus absorbs the corpora's different base rates, so
    that the words need not explain them; these intercepts are averaged afterwards, and calibration sets the level.

    The optimum is that of scikit-learn's ``LogisticRegression`` on the scaled columns, found by the same L-BFGS;
    scikit-learn would copy the known rows and stack the columns, and the largest matrices do not fit twice. The scale
    of `naive_bayes_scale` folds into the weights.

    Parameters
    ----------
    matrix : `Columns`, or a sparse matrix of shape (n_rows, n_features)
    labels : 1, 0 or -1, shape (n_rows, n_labels)
    settings, names : of each label
    paired : where rows are halves of minimal pairs, shape (n_rows,); None: nowhere
    jobs : threads

    Returns
    -------
    weights, shape (n_features, n_labels), and intercepts, (n_labels,)

    Raises
    ------
    ValueError : a label has no positive or no negative row; it is named
    """
    for place, name in enumerate(names):
        counts = [int((labels[:, place] == value).sum()) for value in (0, 1)]
        if not all(counts):
            raise ValueError(f"{name}: expected rows with and without the label, got {counts[1]} and {counts[0]}")
    columns = matrix if isinstance(matrix, Columns) else Columns([[sp.csr_matrix(matrix, dtype=np.float32)]])
    columns = columns.only(np.any(labels >= 0, axis=1), jobs=jobs)
    kinds, places = np.unique(corpora, return_inverse=True)
    scales = [
        naive_bayes_scale(columns, truth == 1, _weights(truth >= 0, corpora, chosen, paired), chosen.naive_bayes)
        for truth, chosen in zip(labels.T, settings, strict=True)
    ]
    points = [np.zeros(columns.shape[1] + len(kinds) + 1) for _ in scales]
    with _counted("readings of the matrix", progress) as readings:
        for some, rows in _ever_finer(columns):
            losses = [
                _Loss(
                    truth == 1,
                    _weights(rows & (truth >= 0), corpora, chosen, paired),
                    places,
                    len(kinds),
                    scale,
                    chosen,
                )
                for truth, chosen, scale in zip(labels.T, settings, scales, strict=True)
            ]
            points = _minimise(some, losses, points, readings)
    features = columns.shape[1]
    weights = np.stack([scale * point[:features] for scale, point in zip(scales, points, strict=True)], axis=1)
    offsets = [loss.shares @ point[features:-1][places] for loss, point in zip(losses, points, strict=True)]
    return weights, np.array([point[-1] + offset for point, offset in zip(points, offsets, strict=True)])


def _weights(
    rows: NDArray[np.bool_], corpora: NDArray[np.str_], settings: FitSettings, paired: NDArray[np.bool_] | None
) -> NDArray[np.float64]:
    """Return how many comments each row counts for: 1 in the mean of `rows`, and 0 for all others."""
    weights = np.zeros(len(rows))
    weights[rows] = corpus_weights(corpora[rows], settings, None if paired is None else paired[rows])
    return weights


def _ever_finer(columns: Columns) -> Iterator[tuple[Columns, NDArray[np.bool_]]]:
    """Yield parts of a large matrix, whose solutions the next one starts from, and then the whole."""
    for step in COARSE:
        if columns.stretches >= 2 * step:
            yield columns.every(step)
    yield columns, np.ones(columns.shape[0], bool)


def _minimise(
    columns: Columns, losses: Sequence[_Loss], starts: Sequence[NDArray[np.float64]], readings: Any
) -> list[NDArray[np.float64]]:
    """Return the optimum of each label over the same rows: features, corpora, and the free intercept."""
    features = columns.shape[1]

    def evaluate(points: Mapping[int, NDArray[np.float64]]) -> dict[int, tuple[float, NDArray[np.float64]]]:
        asked = [(losses[place], point) for place, point in points.items()]
        odds = columns @ np.stack([loss.scale * point[:features] for loss, point in asked], axis=1)
        found = [loss.value(column, point) for (loss, point), column in zip(asked, odds.T, strict=True)]
        slopes = columns.rmatmat(np.stack([residuals for _, residuals in found], axis=1))
        readings.update()
        return {
            place: (value, loss.gradient(residuals, slope, point))
            for place, (loss, point), (value, residuals), slope in zip(points, asked, found, slopes.T, strict=True)
        }

    return minimize_together(evaluate, starts, [loss.options for loss in losses])


@dataclass(frozen=True, slots=True)
class _Loss:
    """The mean loss of one label, as a function of a point: features, corpora, and the free intercept."""

    truth: NDArray[np.bool_]
    weights: NDArray[np.float64]
    """How many comments each row counts for; 0 for those that do not."""
    places: NDArray[np.int_]
    """Each row's corpus, by number."""
    corpora: int
    scale: NDArray[np.float64]
    settings: FitSettings

    @property
    def shares(self) -> NDArray[np.float64]:
        """The weight of each row, with sum 1."""
        shares: NDArray[np.float64] = self.weights / self.weights.sum()
        return shares

    @property
    def strength(self) -> float:
        """What a half of the squared weights costs."""
        return float(1 / (self.settings.inverse_strength * self.weights.sum()))

    @property
    def options(self) -> dict[str, float]:
        """When to stop."""
        steps, ulps = self.settings.most_steps, 64 * np.finfo(float).eps
        return {"maxiter": steps, "gtol": self.settings.tolerance, "ftol": ulps, "maxls": 50}

    def value(self, odds: NDArray[np.float64], point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss, and its slope for each row's log-odds; `odds` are those that the features give."""
        odds = odds + point[-self.corpora - 1 : -1][self.places] + point[-1]
        value = self.shares @ (np.logaddexp(0, odds) - self.truth * odds)
        return float(value + self.strength / 2 * (point[:-1] @ point[:-1])), self.shares * (expit(odds) - self.truth)

    def gradient(
        self, residuals: NDArray[np.float64], slopes: NDArray[np.float64], point: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the gradient, from the slope for each row and the sums of these over each column."""
        corpora = np.bincount(self.places, residuals, self.corpora)
        gradient: NDArray[np.float64] = np.concatenate((self.scale * slopes, corpora, [residuals.sum()]))
        gradient[:-1] += self.strength * point[:-1]
        return gradient


def _counted(what: str, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(desc=what, unit="", disable=None if progress else True)
