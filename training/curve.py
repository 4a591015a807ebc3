"""How the figures grow with the number of our own comments, or of public ones: the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.augment import MARK
from training.corpora import LABELS, Row
from training.design import make_design
from training.evaluate import sets_of
from training.fit import OWN, FitSettings, fit_head
from training.measures import fast_auc, pairs_in_order
from training.splits import Table, bucket
from training.train import TooFewComments, TrainSettings

GROWING = ("own", "public")
"""Whose comments may grow in number."""

MEASURED = ("civil", "fox_news", "hatecheck", "jigsaw_wiki_test_balanced")
"""Public sets, besides our own held-back comments, that every point of the curve is measured on."""

FEWEST = 5
"""A set is measured when it holds at least this many rows with the label and without it."""


def learning_curve(
    table: Table,
    settings: TrainSettings,
    fit: FitSettings,
    label: str,
    sizes: Sequence[int],
    *,
    grow: str = "own",
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Return, per number of training comments, AUC and pairs in order on our held-back ones, and AUC on public sets.

    The smaller sets are part of the larger ones; whole pairs enter together, and a copy enters with its original. The
    vocabulary is that of the whole, so that only the labels grow.

    Parameters
    ----------
    table : all parts; of ``test``, our own rows and those of `MEASURED` are measured on
    sizes : numbers of comments of the kind that grows and knows the label; one larger than there are means all
    grow : one of `GROWING`; all comments of the other kind are trained on throughout

    Raises `TooFewComments` when there is no comment that could grow in number.
    """
    train, place = table.part("train"), LABELS.index(label)
    if (_order(train, grow, train.labels[:, place] >= 0) < 0).all():
        kind = {"own": "comments of our own", "public": "comments of public corpora"}[grow]
        raise TooFewComments(f"{label}: expected {kind} to train on that know the label, got none")
    design = make_design(train, table.part("tune").texts, settings.design, jobs=jobs)
    measured = _measured(table.part("test"), place)
    features = {
        name: [design.vectorisers[block].transform(part.texts) for block in ("words", "chars")]
        for name, part in measured.items()
    }
    order = _order(design.table, grow, design.table.labels[:, place] >= 0)
    counted, out = (order >= 0) & ~design.copies, []
    for size in sizes:
        limit = np.quantile(order[counted], min(1.0, size / max(int(counted.sum()), 1)))
        kept = (order < 0) | (order <= limit)
        labels = np.where(kept, design.table.labels[:, place], -1).astype(np.int8)
        weights, _ = fit_head(design.matrix, labels, design.table.corpora, fit, paired=design.paired, jobs=jobs)
        words, chars = np.split(design.fold(weights[:, None])[:, 0], [design.sharing.shape[0]])
        scores = {name: found[0] @ words + found[1] @ chars for name, found in features.items()}
        aucs = {name: fast_auc(scores[name], measured[name].labels[:, place]) for name in scores}
        own = aucs.pop(OWN, float("nan"))
        pairs = _pairs(scores[OWN], measured[OWN], place) if OWN in scores else (0, 0)
        out.append({"comments": int((kept & counted).sum()), "auc": own, "pairs": pairs, "sets": aucs})
    return out


def _measured(test: Table, place: int) -> dict[str, Table]:
    """Return our own held-back rows and the public sets that know the label, each with its known rows."""
    known = test.take(test.labels[:, place] >= 0)
    corpora = known.corpora
    news = np.char.startswith(corpora, "civil") if len(corpora) else np.zeros(0, bool)
    parts = {name: known.take(news if name == "civil" else corpora == name) for name in (OWN, *MEASURED)}
    return {
        name: part
        for name, part in parts.items()
        if min(int((part.labels[:, place] == value).sum()) for value in (0, 1)) >= FEWEST
    }


def _pairs(scores: NDArray[np.float64], part: Table, place: int) -> tuple[int, int]:
    (found,) = sets_of(part)
    return pairs_in_order(scores, part.labels[:, place], np.array(found.pairs))


def _order(table: Table, grow: str, known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the turn in which each row of the growing kind enters; -1 for those that are there from the start."""
    return np.array(
        [
            bucket(_key(row), 1 << 31) if (row.corpus == OWN) == (grow == "own") and knows else -1
            for row, knows in zip(table.rows, known.tolist(), strict=True)
        ]
    )


def _key(row: Row) -> str:
    """Return what rows that enter together have in common: a copy and its original, both halves of a pair."""
    if row.corpus != OWN:
        return f"{row.corpus} {row.id}"
    return f"{row.case} {row.source.get('pair') or row.id.split(MARK)[0]}"
