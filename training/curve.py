"""How the figures grow with the number of our own comments: the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.corpora import LABELS
from training.design import make_design
from training.fit import OWN, FitSettings, fit_head
from training.measures import fast_auc, pairs_in_order
from training.splits import Table, bucket
from training.train import TrainSettings


def learning_curve(
    table: Table, settings: TrainSettings, fit: FitSettings, label: str, sizes: Sequence[int], *, jobs: int = 1
) -> list[dict[str, Any]]:
    """Return, per number of our own training comments, AUC and pairs in order on our held-back ones.

    The smaller sets are part of the larger ones; whole pairs enter together. The vocabulary is that of the whole, so
    that only the labels grow.

    Parameters
    ----------
    table : all parts; ``test`` rows of our own are measured on
    sizes : numbers of comments; one larger than there are means all
    """
    train, test = table.part("train"), table.part("test")
    test = test.take(test.corpora == OWN)
    design = make_design(train, table.part("tune").texts, settings.design, jobs=jobs)
    place = LABELS.index(label)
    order = _order(design.table)
    scored = [design.vectorisers[block].transform(test.texts) for block in ("words", "chars")]
    truth, pairs = test.labels[:, place], np.array([f"{r.case} {r.source['pair'] or ''}" for r in test.rows])
    pairs[[not row.source["pair"] for row in test.rows]] = ""
    total, out = int(((order >= 0) & ~design.copies).sum()), []
    for size in sizes:
        # A copy enters with its original, and both halves of a pair have one key.
        limit = np.quantile(order[(order >= 0) & ~design.copies], min(1.0, size / max(total, 1)))
        kept = (order < 0) | (order <= limit)
        labels = np.where(kept, design.table.labels[:, place], -1).astype(np.int8)
        weights, _ = fit_head(design.matrix, labels, design.table.corpora, fit)
        folded = design.fold(weights[:, None])[:, 0]
        split = scored[0].shape[1]
        scores = scored[0] @ folded[:split] + scored[1] @ folded[split:]
        right, count = pairs_in_order(scores, truth, pairs)
        used = int((kept & (order >= 0) & ~design.copies).sum())
        out.append({"comments": used, "auc": fast_auc(scores, truth), "pairs": [right, count]})
    return out


def _order(table: Table) -> NDArray[np.int64]:
    """Return the turn in which each of our own comments enters, -1 for the rows of others."""
    return np.array(
        [
            bucket(f"{row.case} {row.source.get('pair') or row.id.split('~')[0]}", 1 << 31) if row.corpus == OWN else -1
            for row in table.rows
        ]
    )
