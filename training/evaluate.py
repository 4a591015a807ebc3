"""Measure a model through the product's own scorer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from moderation.scorer import Scorer
from training.corpora import LABELS
from training.splits import Table

FEWEST = 5
"""A label is measured on a corpus that has at least this many rows with it and without it."""


def evaluate(scorer: Scorer, table: Table, *, progress: bool = False) -> dict[str, dict[str, Any]]:
    """Return, per corpus and label, the number of rows and positives, AUC and average precision.

    Texts are those of the table, so repeats are gone; labels that the scorer does not know are left out.
    """
    out: dict[str, dict[str, Any]] = {}
    corpora = table.corpora
    for name in sorted(set(corpora.tolist())):
        here = np.flatnonzero(corpora == name)
        scores = scorer.predict_proba([table.rows[place].text for place in here])
        measured = {
            label: measure(scores[:, scorer.labels.index(label)], table.labels[here, column])
            for column, label in enumerate(LABELS)
            if label in scorer.labels and _enough(table.labels[here, column])
        }
        if measured:
            out[name] = measured
    return out


def _enough(labels: NDArray[np.int8]) -> bool:
    return min(int((labels == value).sum()) for value in (0, 1)) >= FEWEST


def measure(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> dict[str, Any]:
    """Return the measures of one label on one set; rows with label -1 do not count."""
    known = labels >= 0
    truth, scores = labels[known], scores[known]
    return {
        "rows": len(truth),
        "positives": int(truth.sum()),
        "auc": float(roc_auc_score(truth, scores)),
        "average_precision": float(average_precision_score(truth, scores)),
    }
