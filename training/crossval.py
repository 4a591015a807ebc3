"""Choose settings without looking at any evaluation set: leave one corpus out, and our own cases in five folds.

Settings that fit one corpus show up as a loss on the others. Corpora are capped, so that a trial takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from training.corpora import LABELS
from training.design import Design, make_design
from training.fit import OWN, FitSettings, fit_head
from training.measures import fast_auc, pairs_in_order
from training.splits import Table, bucket
from training.train import TooFewComments, TrainSettings

FOLDS = 5
"""Folds of our own comments, by case."""

FEWEST = 15
"""A fold is measured when it holds at least this many rows with the label and without it."""

FAMILIES = {"civil": "civil", "jigsaw": "jigsaw", "context_toxicity": "jigsaw"}
"""Corpora of one origin leave together: what their names begin with, and the family's name."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What is left out at once."""

    name: str
    """A family of corpora, or a fold of our own cases."""
    rows: NDArray[np.bool_]
    """The rows that are left out."""


def cap(table: Table, most: int, *, seed: int = 0) -> Table:
    """Draw at most `most` ``train`` rows of each public corpus at random; the other parts stay whole."""
    random, corpora = np.random.default_rng(seed), table.corpora
    keep = (corpora == OWN) | (table.parts != "train")
    for name in np.unique(corpora[~keep]):
        places = np.flatnonzero((corpora == name) & (table.parts == "train"))
        keep[random.permutation(places)[:most]] = True
    return table.take(keep)


def folds_of(table: Table) -> Iterator[Fold]:
    """Yield the families of public corpora, then the folds of our own cases."""
    families = np.array([_family(name) for name in table.corpora.tolist()])
    for name in sorted(set(families.tolist()) - {OWN}):
        yield Fold(name, families == name)
    places = np.array([bucket(str(row.case), FOLDS) if row.corpus == OWN else -1 for row in table.rows])
    for number in range(FOLDS):
        yield Fold(f"{OWN} {number}", places == number)


def _family(name: str) -> str:
    return next((family for start, family in FAMILIES.items() if name.startswith(start)), name)


def cross_validate(table: Table, settings: TrainSettings, label: str, *, jobs: int = 1) -> dict[str, Any]:
    """Return the AUC on each fold of the ``train`` part when it is left out, their means, and the pairs in order.

    The vocabulary is that of all rows, so that only the weights are put to the test. Raises `TooFewComments` when no
    fold holds enough rows of both kinds.
    """
    place, table = LABELS.index(label), table.part("train")
    names = {fold.name for fold in folds_of(table) if _enough(table.labels[fold.rows, place])}
    if not names:
        wanted = f"{FEWEST} rows with the label and {FEWEST} without"
        raise TooFewComments(f"{label}: expected a corpus with {wanted}, got none")
    design = make_design(table, [], settings.design, jobs=jobs)
    truth = design.table.labels[:, place]
    folds = [fold for fold in folds_of(design.table) if fold.name in names]
    found = Parallel(n_jobs=jobs)(delayed(_one)(design, truth, fold, settings.fit) for fold in folds)
    aucs = {fold.name: auc for fold, (auc, _, _) in zip(folds, found, strict=True)}
    right, pairs = (sum(counts[place] for counts in found) for place in (1, 2))
    own = [auc for name, auc in aucs.items() if name.startswith(OWN)]
    others = [auc for name, auc in aucs.items() if not name.startswith(OWN)]
    means = {"own": _mean(own), "others": _mean(others), "pairs": right / max(pairs, 1)}
    return means | {"folds": aucs}


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _enough(truth: NDArray[np.int8]) -> bool:
    return min(int((truth == value).sum()) for value in (0, 1)) >= FEWEST


def _one(design: Design, truth: NDArray[np.int8], fold: Fold, settings: FitSettings) -> tuple[float, int, int]:
    """Fit without a fold and return its AUC, pairs in order and pairs."""
    kept = np.where(fold.rows, -1, truth).astype(np.int8)
    weights, _ = fit_head(design.matrix, kept, design.table.corpora, settings, paired=design.paired)
    measured = np.flatnonzero(fold.rows & (truth >= 0) & ~design.copies)
    scores = (design.matrix @ weights)[measured]
    rows = [design.table.rows[place] for place in measured]
    pairs = np.array([f"{row.case} {row.source['pair']}" if row.source.get("pair") else "" for row in rows])
    return fast_auc(scores, truth[measured]), *pairs_in_order(scores, truth[measured], pairs)
