"""Fit the map from our scores to Perspective's scale, and say how far the two agree.

The 2,000 comments of ``perspective_scores`` carry the scores that Perspective gave them. They never train a model; here
they set the scale. Per attribute the map has two parts, both rising in every label's probability:

- a sum of log-odds with weights from non-negative least squares against the logit of Perspective's score;
- a curve that gives this sum the distribution of Perspective's scores (equipercentile equating, Kolen and Brennan
  2014), so that a threshold flags as large a share of comments as it did at Perspective.

Agreement is measured by cross-validation: every comment is mapped by curves that were fitted without it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from moderation.errors import InputError
from moderation.scorer import Scorer
from training import measures
from training.corpora import Row

CORPUS = "perspective_scores"

FORMAT = "moderation-perspective-map"

COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "TOXICITY": ("TOXICITY@6", ("abuse", "profanity")),
    "SEVERE_TOXICITY": ("SEVERE_TOXICITY@2", ("severe_abuse", "abuse", "profanity")),
    "IDENTITY_ATTACK": ("IDENTITY_ATTACK", ("identity_attack",)),
    "INSULT": ("INSULT", ("insult", "abuse")),
    "PROFANITY": ("PROFANITY", ("profanity",)),
    "THREAT": ("THREAT", ("threat",)),
    "SEXUALLY_EXPLICIT": ("SEXUALLY_EXPLICIT", ("sexually_explicit", "profanity")),
}
"""Per attribute: the corpus's column, and the labels that may speak for it, that of the same meaning first."""

THRESHOLDS = (0.5, 0.7, 0.8, 0.9)
"""Where agreement is told: thresholds that sites are known to use."""

FOLDS = 10
SHRINK = 0.005
"""Perspective's scores are moved this far from 0 and 1 before their logit is taken; they have two digits."""

LEVEL = 0.01
"""Steps between the curve's knots, in Perspective's score: the corpus has no finer digits."""

FEWEST = 50
"""Rows that a map may be fitted on."""

Array = NDArray[np.float64]


def fit_map(scorer: Scorer, rows: Sequence[Row], *, seed: int = 0) -> dict[str, Any]:
    """Return the map as JSON data, with its agreement; raise `ValueError` when there are too few rows."""
    if len(rows) < FEWEST:
        raise ValueError(f"{CORPUS}: expected at least {FEWEST} rows, got {len(rows)}")
    odds = scorer.decision_function([row.text for row in rows])
    attributes = {}
    for name, (column, labels) in COLUMNS.items():
        if not set(labels) <= set(scorer.labels):
            continue
        ours = odds[:, [scorer.labels.index(label) for label in labels]]
        theirs = np.array([float(row.source[column]) for row in rows])
        weights, knots = _fit(ours, theirs)
        attributes[name] = {
            "weights": dict(zip(labels, _rounded(weights), strict=True)),
            "knots": [_rounded(knot) for knot in knots],
            "agreement": agreement(cross_mapped(ours, theirs, seed=seed), theirs),
        }
    about = {"format": FORMAT, "model_id": scorer.model_id, "corpus": CORPUS, "rows": len(rows), "folds": FOLDS}
    return about | {"attributes": attributes}


def _fit(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """Return weights per label and the curve's knots, shape (n_knots, 2), rising in both columns."""
    weights = _weights(ours, theirs)
    total = np.sort(ours @ weights)
    scores = np.round(np.sort(theirs) / LEVEL) * LEVEL
    levels = np.unique(scores)
    # Comments that Perspective gave one score share one knot, at the mean of our sums at the same ranks.
    places = np.array([total[scores == level].mean() for level in levels])
    rising = np.concatenate(([True], np.diff(places) > 1e-6))
    knots = np.column_stack([places[rising], levels[rising]])
    inner = knots[(knots[:, 1] > 0) & (knots[:, 1] < 1)]
    # Beyond what was seen the curve goes on to 0 and 1, at a distance as wide as all of it.
    width = inner[-1, 0] - inner[0, 0]
    return weights, np.vstack([[inner[0, 0] - width, 0.0], inner, [inner[-1, 0] + width, 1.0]])


def _weights(ours: Array, theirs: Array) -> Array:
    if ours.shape[1] == 1:
        return np.ones(1)
    target = np.log((theirs + SHRINK) / (1 + SHRINK - theirs))
    constants = np.ones((len(ours), 1))
    found, _ = nnls(np.hstack([ours, constants, -constants]), target)
    weights = np.asarray(found[: ours.shape[1]])
    share: Array = weights / weights.sum() if weights.sum() > 0 else np.eye(ours.shape[1])[0]
    return share


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 6) for value in values]


def cross_mapped(ours: Array, theirs: Array, *, seed: int = 0) -> Array:
    """Return every comment's score on Perspective's scale, from a map that was fitted without its fold."""
    order = np.random.default_rng(seed).permutation(len(ours))
    mapped = np.empty(len(ours))
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        rest = np.setdiff1d(order, held)
        weights, knots = _fit(ours[rest], theirs[rest])
        mapped[held] = np.interp(ours[held] @ weights, knots[:, 0], knots[:, 1])
    return mapped


def agreement(mapped: Array, theirs: Array) -> dict[str, Any]:
    """Return the rank correlation, the mean distance, and per threshold how far two sites would flag alike.

    ``same`` is the share of comments on the same side of the threshold; ``found`` the share of those that Perspective
    flagged which we flag; ``right`` the share of those that we flag which Perspective flagged.
    """
    out: dict[str, Any] = {
        "rank_correlation": round(measures.rank_correlation(mapped, theirs), 3),
        "mean_distance": round(float(np.abs(mapped - theirs).mean()), 3),
    }
    for threshold in THRESHOLDS:
        before, now = theirs >= threshold, mapped >= threshold
        both = int((before & now).sum())
        out[f"{threshold:g}"] = {
            "perspective": round(float(before.mean()), 4),
            "ours": round(float(now.mean()), 4),
            "same": round(float((before == now).mean()), 4),
            "found": round(both / max(int(before.sum()), 1), 4),
            "right": round(both / max(int(now.sum()), 1), 4),
        }
    return out


def table(data: Mapping[str, Any]) -> str:
    """Return the agreement as a Markdown table, as the page about leaving Perspective has it."""
    head = "| attribute | from | rank correlation | " + " | ".join(f"flagged at {t:g}" for t in THRESHOLDS)
    lines = [
        head + " | of these the same at 0.8 | same side at 0.8 |",
        "|---|---|--:|" + "--:|" * (len(THRESHOLDS) + 2),
    ]
    for name, entry in data["attributes"].items():
        found = entry["agreement"]
        flagged = [f"{found[f'{t:g}']['perspective']:.1%} → {found[f'{t:g}']['ours']:.1%}" for t in THRESHOLDS]
        labels = " + ".join(f"`{label}`" for label, weight in entry["weights"].items() if weight)
        at = found["0.8"]
        cells = [
            f"`{name}`",
            labels,
            f"{found['rank_correlation']:.2f}",
            *flagged,
            f"{at['found']:.0%}",
            f"{at['same']:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_map(data: Mapping[str, Any], path: Path) -> None:
    """Write a map, a line for every knot."""
    text = json.dumps(data, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


BEGIN, END = "<!-- agreement: begin -->", "<!-- agreement: end -->"


def check_page(path: Path) -> None:
    """Raise `InputError` unless `update_page` can be called with this page."""
    _around(path)


def update_page(path: Path, data: Mapping[str, Any]) -> None:
    """Put the table of agreement between the two marks of a Markdown page. Raises `InputError` without the marks."""
    before, after = _around(path)
    path.write_text(f"{before}{BEGIN}\n{table(data)}\n{END}{after}", encoding="utf-8")


def _around(path: Path) -> tuple[str, str]:
    """Return what stands before the first mark of a page and after the second."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise InputError(f"{path}: expected the marks {BEGIN} and {END}, got a page without them")
    return before, after
