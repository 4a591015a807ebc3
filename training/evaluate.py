"""Measure a model, or a rival, on labelled comments; what comes out is plain data for tables, reports and cards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from moderation.errors import InputError
from moderation.formats.rows import Row as InputRow
from training import measures
from training.calibrate import BASE_RATES
from training.corpora import LABELS
from training.splits import Table

FEWEST = 5
"""A label is measured on a set that has at least this many rows with it and without it."""

NEWS_CORPORA = "civil"
"""What the names of the corpora of news comments begin with; only together do they hold harmless and harmful ones."""

WORST = 10
"""Worst errors kept per set and label, by id."""

BINS = 20
"""Bars of a score histogram."""

PERSPECTIVE_ATTRIBUTES = {
    "abuse": "TOXICITY@6",
    "severe_abuse": "SEVERE_TOXICITY@2",
    "identity_attack": "IDENTITY_ATTACK",
    "insult": "INSULT",
    "profanity": "PROFANITY",
    "threat": "THREAT",
}
"""Columns of ``perspective_scores`` that a label is compared with."""


class Predictor(Protocol):
    """What is measured: our scorer, or a rival behind the same two names."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the columns of `predict_proba` stand for."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return scores of shape (n_texts, n_labels)."""


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """Labelled comments of one origin."""

    name: str
    """What the set is called in tables."""
    ids: Sequence[str]
    """Identifier of each comment."""
    texts: Sequence[str]
    """The comments."""
    truth: Mapping[str, NDArray[np.int8]]
    """Per label: 1, 0 or -1 (unknown), shape (n_rows,)."""
    cases: Sequence[str]
    """Functional test or authored case of each comment, "" for none."""
    pairs: Sequence[str]
    """Minimal pair of each comment, "" for none."""


def sets_of(table: Table) -> list[LabelledSet]:
    """Split a table into one set per corpus, by name, and one of all news comments together where there are several."""
    corpora = table.corpora
    out = [_set(name, table.take(corpora == name)) for name in sorted(set(corpora.tolist()))]
    news = np.char.startswith(corpora, NEWS_CORPORA) if len(corpora) else np.zeros(0, bool)
    if len(set(corpora[news].tolist())) > 1:
        out.append(_set(NEWS_CORPORA, table.take(news)))
    return out


def _set(name: str, part: Table) -> LabelledSet:
    pairs = [f"{row.case} {row.source['pair']}" if row.source.get("pair") else "" for row in part.rows]
    truth = {label: part.labels[:, column] for column, label in enumerate(LABELS)}
    ids, texts = [row.id for row in part.rows], [row.text for row in part.rows]
    return LabelledSet(name, ids, texts, truth, [row.case or "" for row in part.rows], pairs)


def set_of_rows(name: str, rows: Sequence[InputRow]) -> LabelledSet:
    """Make a set of a site's own labelled rows; a field named like a label holds 1, 0 or nothing (unknown).

    Fields are found by their `bare` names; rows without a text are left out. Raises `InputError`, with line and field,
    for a label that is not understood and for two fields of one label.
    """
    kept = [(row, row.comment) for row in rows if row.comment is not None and row.comment.text.strip()]
    fields = [{bare(key): value for key, value in row.data.items()} for row, _ in kept]
    signs = np.array([_signs(f"{name}, line {row.line}", row) for row, _ in kept], np.int8).reshape(-1, len(LABELS))
    truth = {label: signs[:, column] for column, label in enumerate(LABELS)}
    ids, texts = [comment.id for _, comment in kept], [comment.text for _, comment in kept]
    cases, pairs = ([str(data.get(key) or "") for data in fields] for key in ("case", "pair"))
    return LabelledSet(name, ids, texts, truth, cases, pairs)


def bare(field: str) -> str:
    """Return the name of a field in small letters and without blanks around it."""
    return field.strip().lower()


def _signs(place: str, row: InputRow) -> list[int]:
    """Return 1, 0 or -1 (unknown) for each of `LABELS`."""
    found: dict[str, int] = {}
    for field, value in row.data.items():
        label = bare(field)
        if label in found:
            raise InputError(f"{place}: two fields are named {label!r}; rename one of them")
        if label in LABELS:
            sign = _sign(value)
            if sign is None:
                raise InputError(f"{place}: {label}: expected {SIGNS}, got {_shown(value)}")
            found[label] = sign
    return [found.get(label, -1) for label in LABELS]


SIGNS = "1, 0, true, false, yes, no or nothing"
"""What a label holds in a file."""


def _sign(value: Any) -> int | None:
    """Read a label as files have it: 1/0, true/false, as numbers or words, or nothing (-1); None for anything else."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # a table's empty cell may be NaN in Parquet
        return -1
    text = str(value).strip().lower()
    return {"": -1, "1": 1, "true": 1, "yes": 1, "1.0": 1, "0": 0, "false": 0, "no": 0, "0.0": 0}.get(text)


def _shown(value: Any) -> str:
    """Name a value that is no label; what is long may be a comment's text and is not repeated."""
    if not isinstance(value, str | int | float):
        return type(value).__name__
    return repr(value) if len(str(value)) <= 20 else f"{len(str(value))} characters"


def complete(labels: Sequence[str], thresholds: Mapping[str, float] | None) -> dict[str, float]:
    """Return a threshold for every label: the one given, else one half."""
    return dict.fromkeys(labels, 0.5) | dict(thresholds or {})


def evaluate(
    predictor: Predictor,
    sets: Sequence[LabelledSet],
    *,
    thresholds: Mapping[str, float] | None = None,
    base_rates: Mapping[str, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return every measure, per set and label; labels that the predictor does not know are left out.

    Parameters
    ----------
    thresholds : where each label is flagged; one half for a label that has none
    base_rates : the rates that the predictor is calibrated at; `BASE_RATES` for a label that has none
    """
    thresholds = complete(predictor.labels, thresholds)
    rates = BASE_RATES | dict(base_rates or {})
    out: dict[str, dict[str, Any]] = {}
    for labelled in sets:
        wanted = [label for label in predictor.labels if label in labelled.truth and enough(labelled.truth[label])]
        if not wanted:
            continue
        scores = predictor.predict_proba(labelled.texts)
        out[labelled.name] = {
            label: measure(scores[:, predictor.labels.index(label)], labelled, label, thresholds[label], rates[label])
            for label in wanted
        }
    return out


def enough(truth: NDArray[np.int8]) -> bool:
    """Tell whether a label is measured on these rows."""
    return min(counts(truth)) >= FEWEST


def counts(truth: NDArray[np.int8]) -> tuple[int, int]:
    """Return how many rows have the label and how many do not."""
    return int((truth == 1).sum()), int((truth == 0).sum())


def measure(
    scores: NDArray[np.float64], labelled: LabelledSet, label: str, threshold: float, rate: float
) -> dict[str, Any]:
    """Return the measures of one label on one set; rows with an unknown label do not count.

    `rate` is the base rate that the scores are calibrated at.
    """
    known = labelled.truth[label] >= 0
    truth, scores, rows = labelled.truth[label][known], scores[known], np.flatnonzero(known).tolist()
    moved = measures.to_rate(scores, rate, float(truth.mean()))
    weights = measures.rate_weights(truth, rate)
    return {
        "rows": len(truth),
        "positives": int(truth.sum()),
        "auc": measures.fast_auc(scores, truth),
        "auc_interval": measures.auc_interval(scores, truth),
        "average_precision": float(average_precision_score(truth, scores)),
        "at_threshold": measures.at_threshold(scores, truth, threshold),
        "calibration_error": measures.calibration_error(scores, truth, weights),
        "calibration_error_own_rate": measures.calibration_error(moved, truth),
        "reliability": measures.reliability(moved, truth, bins=10),
        "histogram": {str(value): np.histogram(scores[truth == value], BINS, (0, 1))[0].tolist() for value in (0, 1)},
        "curve": _curve(scores, truth),
        "cases": _by_case(scores, truth, [labelled.cases[k] for k in rows], threshold),
        "pairs": measures.pairs_in_order(scores, truth, np.array(labelled.pairs)[known]),
        "worst": _worst(scores, truth, [labelled.ids[k] for k in rows], threshold),
    }


def _curve(scores: NDArray[np.float64], truth: NDArray[np.int8], levels: int = 30) -> list[tuple[float, float]]:
    """Return recall and precision from the highest threshold down, at up to `levels` recalls that are evenly apart.

    Each recall has two points, its highest and its lowest precision, so that the area below the line is near the
    average precision also where few rows have the label. The line begins at recall 0 with the first precision that
    is measured, not with the 1 that scikit-learn adds.
    """
    precision, recall, _ = precision_recall_curve(truth, scores)
    precision, recall = precision[-2::-1], recall[-2::-1]
    highest = np.flatnonzero(np.diff(recall, prepend=0) > 0)
    lowest = np.append(highest[1:], len(recall)) - 1
    reached = recall[highest]
    kept = np.unique(np.searchsorted(reached, np.linspace(reached[0], 1, levels)))
    chosen = np.union1d(highest[kept], lowest[kept])
    points = [(0.0, precision[highest[0]]), *zip(recall[chosen], precision[chosen], strict=True)]
    return [(round(float(x), 4), round(float(y), 4)) for x, y in points]


def _by_case(
    scores: NDArray[np.float64], truth: NDArray[np.int8], cases: Sequence[str], threshold: float
) -> dict[str, dict[str, Any]]:
    """Return, per case and kind, how many rows there are and the share on the right side of the threshold."""
    names, out = np.array(cases), {}
    for name in sorted(set(cases) - {""}):
        for value, kind in ((1, "harmful"), (0, "harmless")):
            here = (names == name) & (truth == value)
            if here.any():
                right = (scores[here] >= threshold) == bool(value)
                out[f"{name} / {kind}"] = {"rows": int(here.sum()), "right": float(right.mean())}
    return out


def _worst(
    scores: NDArray[np.float64], truth: NDArray[np.int8], ids: Sequence[str], threshold: float
) -> dict[str, list[tuple[str, float]]]:
    """Return the ids on the wrong side of the threshold: of harmful rows the lowest scores, of harmless the highest."""
    order = np.argsort(scores, kind="stable")
    missed = [k for k in order if truth[k] == 1 and scores[k] < threshold][:WORST]
    raised = [k for k in order[::-1] if truth[k] == 0 and scores[k] >= threshold][:WORST]
    return {
        kind: [(ids[k], round(float(scores[k]), 4)) for k in found]
        for kind, found in (("missed", missed), ("raised", raised))
    }


def against_perspective(predictor: Predictor, table: Table) -> dict[str, dict[str, float]]:
    """Return, per attribute, the AUC at Perspective's own score >= .8 and the rank correlation with it."""
    part = table.take(table.corpora == "perspective_scores")
    if not part.rows:
        return {}
    scores = predictor.predict_proba([row.text for row in part.rows])
    out = {}
    for label, attribute in PERSPECTIVE_ATTRIBUTES.items():
        if label in predictor.labels:
            theirs = np.array([float(row.source[attribute]) for row in part.rows])
            ours, high = scores[:, predictor.labels.index(label)], (theirs >= 0.8).astype(np.int8)
            out[attribute] = {
                "rows": len(part.rows),
                "auc_at_0.8": measures.fast_auc(ours, high),
                "rank_correlation": measures.rank_correlation(ours, theirs),
            }
    return out


def compare(first: Predictor, second: Predictor, sets: Sequence[LabelledSet]) -> dict[str, dict[str, Any]]:
    """Return, per set and label that both know, both AUCs and the first less the second, with a paired interval."""
    out: dict[str, dict[str, Any]] = {}
    for labelled in sets:
        known_to_both = [label for label in first.labels if label in second.labels and label in labelled.truth]
        shared = [label for label in known_to_both if enough(labelled.truth[label])]
        if not shared:
            continue
        one, two = first.predict_proba(labelled.texts), second.predict_proba(labelled.texts)
        for label in shared:
            known = labelled.truth[label] >= 0
            truth = labelled.truth[label][known]
            ours, theirs = one[known, first.labels.index(label)], two[known, second.labels.index(label)]
            out.setdefault(labelled.name, {})[label] = {
                "first": measures.fast_auc(ours, truth),
                "second": measures.fast_auc(theirs, truth),
                **measures.paired_difference(theirs, ours, truth),
            }
    return out
