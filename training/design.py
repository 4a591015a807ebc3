"""What the heads are fitted on: the rows, the copies made of our own, and columns that share evidence between words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Memory
from numpy.typing import NDArray

from moderation.features import FeatureSettings
from training.augment import MARK, AugmentSettings, augment, joined_tables
from training.columns import Columns
from training.pipeline import BLOCKS, fit_vectorisers, vocabulary
from training.sharing import SharingSettings, sharing_matrix
from training.splits import Table

MOST_KEPT = 500_000
"""Features of more rows than this are counted anew each time: on disk they would take gigabytes."""


@dataclass(frozen=True, slots=True)
class DesignSettings:
    """What the columns and rows of a fit are made of."""

    features: FeatureSettings
    """Which n-grams to look at."""
    min_rows: Mapping[str, int]
    """For ``words`` and ``chars``, in how many texts an n-gram must stand."""
    augment: AugmentSettings
    """Which copies of our own comments are made."""
    sharing: SharingSettings
    """How far words of like use share evidence."""


@dataclass(frozen=True, slots=True)
class Design:
    """Rows and columns of a fit."""

    table: Table
    """The rows: those given, and then the copies."""
    vectorisers: Mapping[str, Any]
    """The fitted vectorisers, by block."""
    sharing: Any
    """Sparse, shape (n_words, n_shared): from word columns to shared columns."""
    matrix: Columns
    """Shape (n_rows, n_words + n_chars + n_shared)."""

    @property
    def copies(self) -> NDArray[np.bool_]:
        """Where the copies are, which are never measured on."""
        return np.array([MARK in row.id and row.corpus == "authored" for row in self.table.rows])

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Where the halves of our minimal pairs are; a copy of one stands alone and is none."""
        return np.array([bool(row.source.get("pair")) for row in self.table.rows]) & ~self.copies

    def fold(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn weights of the design's columns, shape (n_columns, n_labels), into those of the features alone."""
        words, shared = self.sharing.shape
        features = weights[: len(weights) - shared].copy()
        features[:words] += self.sharing @ weights[len(weights) - shared :]
        return features


def make_design(
    train: Table, unlabelled: Sequence[str], settings: DesignSettings, *, jobs: int = 1, cache: Path | None = None
) -> Design:
    """Count the features of the rows and of their copies.

    The vocabulary is that of the rows and of the disguised copies: other copies repeat whole comments, and would make
    their words look more frequent than they are.

    Parameters
    ----------
    unlabelled : further normalised texts, from which the use of words is learnt
    """
    copies = augment(train, settings.augment)
    disguised = np.array([row.id.endswith(f"{MARK}disguised") for row in copies.rows], dtype=bool)
    learnt, rest = joined_tables(train, copies.take(disguised)), copies.take(~disguised)
    cache = cache if len(learnt.texts) <= MOST_KEPT else None
    vectorise = Memory(cache, verbose=0).cache(fit_vectorisers, ignore=["jobs"])
    vectorisers, matrices = vectorise(learnt.texts, settings.features, dict(settings.min_rows), jobs=jobs)
    parts = [[matrices[block] for block in BLOCKS]]
    if rest.texts:
        parts.append([vectorisers[block].transform(rest.texts).astype(np.float32) for block in BLOCKS])
    sharing = sharing_matrix(vocabulary(vectorisers["words"]), [*train.texts, *unlabelled], settings.sharing)
    return Design(joined_tables(learnt, rest), vectorisers, sharing, Columns(parts, sharing))
