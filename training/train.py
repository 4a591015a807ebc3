"""Train a model from corpora and our own data, and write everything that belongs to it into one folder."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from moderation.bundle import Bundle, save_bundle
from moderation.features import FeatureSettings
from moderation.scorer import Scorer
from training.augment import AugmentSettings
from training.calibrate import BASE_RATES, fit_platt
from training.card import write_card
from training.corpora import LABELS, Corpus, CorpusError, read_corpus
from training.design import DesignSettings, make_design
from training.evaluate import evaluate, sets_of
from training.fit import OWN, FitSettings, fit_heads
from training.goals import GOALS, default_policy, default_thresholds
from training.measures import operating_point
from training.own import HeldBack, HeldBackError, apply_annotations, read_annotations, read_authored
from training.pipeline import BLOCKS, pipeline_of, vocabulary
from training.sharing import SharingSettings
from training.splits import Table, assemble

LARGEST_WEIGHT = 32_767
"""Weights are kept as 16-bit integers."""

WITHOUT: tuple[str, ...] = ()
"""Corpora that are measured on but not trained on."""

VIOLENCE = ("incitement", "threat")
"""Labels that no public corpus of news comments labels well."""

FEWEST_TO_FIT = 20
"""Rows with a label, and rows without it, that a head needs."""

FEWEST_TO_CALIBRATE = 2
"""The same for its calibration."""

FEWEST_NEWS = 100
"""News rows of either kind from which on calibration looks at news alone."""

FEWEST_NEWS_AND_OWN = 20
"""News rows, with our own that have the label, of either kind from which on calibration looks at these alone."""


class TooFewComments(CorpusError, ValueError):
    """There are too few comments for what was asked; the message says how many are needed."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """All that decides what comes out; the same settings and data give the same bytes."""

    name: str = "en-9"
    """First part of the model's id."""
    tiers: tuple[str, ...] = ("open",)
    """Licence tiers to train on; the shipped model takes ``open`` alone."""
    without: tuple[str, ...] = WITHOUT
    """Corpora that are measured on but left out of training."""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    """Which n-grams to look at."""
    min_rows_words: int = 8
    """In how many texts a word n-gram must stand."""
    min_rows_chars: int = 19
    """In how many texts a character n-gram must stand."""
    fit: FitSettings = field(default_factory=FitSettings)
    """How the heads are fitted that public corpora teach well."""
    fit_violence: FitSettings = field(
        default_factory=lambda: FitSettings(inverse_strength=2.0, own_factor=3.0, naive_bayes=0.5)
    )
    """How those of `VIOLENCE` are fitted, which our own comments teach best."""
    base_rates: Mapping[str, float] = field(default_factory=lambda: dict(BASE_RATES))
    """Share of comments that carry each label, for calibration."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """Which copies of our own comments are made."""
    sharing: SharingSettings = field(default_factory=SharingSettings)
    """How far words of like use share evidence."""

    @property
    def design(self) -> DesignSettings:
        """What the heads are fitted on."""
        min_rows = {"words": self.min_rows_words, "chars": self.min_rows_chars}
        return DesignSettings(self.features, min_rows, self.augment, self.sharing)


def usable(registry: Mapping[str, Corpus]) -> list[Corpus]:
    """Return the corpora that hold English comments, which alone are trained and measured on."""
    return [corpus for corpus in registry.values() if corpus.language.startswith("en")]


def gather(
    registry: Mapping[str, Corpus],
    corpora: Path,
    datasets: Path,
    tiers: Sequence[str],
    *,
    without: Sequence[str] = WITHOUT,
    jobs: int = 1,
) -> Table:
    """Read what may be trained on, and the test rows of all other corpora for measuring, as one table.

    Corpora whose file is not in `corpora` are left out; the caller sees in the table what there was. Raises
    `training.corpora.CorpusError` for data that cannot be used, and where there is no comment at all.
    """
    annotations, own = read_annotations(datasets / "annotations"), read_authored(datasets / "authored")
    held_back = HeldBack.load(datasets / "authored")
    if unknown := held_back.unknown(own):
        raise HeldBackError("; ".join(unknown))
    groups: list[tuple[Corpus | None, list[Any]]] = [(None, own)]
    for corpus in usable(registry):
        if not (corpora / corpus.file_name).exists():
            continue
        rows = [row for row in read_corpus(corpus, corpora) if row.text.strip()]
        if corpus.tier not in tiers or corpus.name in without:
            rows = [row for row in rows if row.split == "test"]
        groups.append((corpus, list(apply_annotations(rows, annotations))))
    if not any(rows for _, rows in groups):
        raise TooFewComments(f"expected comments in {datasets / 'authored'} or corpora in {corpora}, got neither")
    return assemble(groups, held_back, jobs=jobs)


def fit(
    table: Table, settings: TrainSettings, *, jobs: int = 1, progress: bool = False, cache: Path | None = None
) -> Bundle:
    """Fit features and heads on the ``train`` part, calibrate on ``tune``, and return the model.

    Raises `TooFewComments` when no label can be learnt.
    """
    train, tune = table.part("train"), table.part("tune")
    labels = trainable(train, tune)
    if not labels:
        raise TooFewComments(
            f"expected a label that {FEWEST_TO_FIT} comments to train on have and {FEWEST_TO_FIT} lack, and "
            f"{FEWEST_TO_CALIBRATE} and {FEWEST_TO_CALIBRATE} to calibrate on, got none in {len(train.rows)} and "
            f"{len(tune.rows)} comments"
        )
    columns = [LABELS.index(label) for label in labels]
    design = make_design(train, tune.texts, settings.design, jobs=jobs, cache=cache)
    fitted, intercept = fit_heads(
        design.matrix,
        design.table.labels[:, columns],
        design.table.corpora,
        [settings.fit_violence if label in VIOLENCE else settings.fit for label in labels],
        names=labels,
        paired=design.paired,
        jobs=jobs,
        progress=progress,
    )
    weights, vectorisers = design.fold(fitted), design.vectorisers
    tuning = (
        sp.hstack([vectorisers[block].transform(tune.texts) for block in BLOCKS], format="csr") @ weights + intercept
    )
    for place, label in enumerate(labels):
        rows, truth = calibration_rows(tune, columns[place]), tune.labels[:, columns[place]]
        slope, offset = fit_platt(tuning[rows, place], truth[rows], settings.base_rates[label])
        weights[:, place] *= slope
        intercept[place] = slope * intercept[place] + offset
    return pack(labels, vectorisers, weights, intercept, settings)


def trainable(train: Table, tune: Table) -> tuple[str, ...]:
    """Return the labels with enough rows of both kinds to fit and to calibrate; the model leaves out the others."""

    def enough(part: Table, place: int, fewest: int) -> bool:
        return min(int((part.labels[:, place] == value).sum()) for value in (0, 1)) >= fewest

    return tuple(
        label
        for place, label in enumerate(LABELS)
        if enough(train, place, FEWEST_TO_FIT) and enough(tune, place, FEWEST_TO_CALIBRATE)
    )


def calibration_rows(tune: Table, place: int) -> NDArray[np.bool_]:
    """Return the rows to calibrate a label on: news comments, where these are enough.

    Where they are not, our own comments that have the label are added; those without it are hard on purpose and say
    nothing of the run of news comments. Where this is not enough either, all rows count.
    """
    truth, corpora = tune.labels[:, place], tune.corpora
    known = truth >= 0
    news = known & np.char.startswith(corpora, "civil")
    with_own = news | (corpora == OWN) & (truth == 1)
    for rows, fewest in ((news, FEWEST_NEWS), (with_own, FEWEST_NEWS_AND_OWN)):
        if min((truth[rows] == value).sum() for value in (0, 1)) >= fewest:
            return rows
    return known


def pack(
    labels: Sequence[str],
    vectorisers: Mapping[str, Any],
    weights: NDArray[np.float64],
    intercept: NDArray[np.float64],
    settings: TrainSettings,
) -> Bundle:
    """Round the weights to 16-bit steps of each label's scale and put the model together."""
    scale = np.abs(weights).max(axis=0) / LARGEST_WEIGHT
    scale[scale == 0] = 1.0
    return Bundle(
        manifest={"model_id": settings.name, "language": "en"},
        labels=tuple(labels),
        settings=settings.features,
        words=vocabulary(vectorisers["words"]),
        chars=vocabulary(vectorisers["chars"]),
        idf=np.concatenate([vectorisers[block].idf_ for block in BLOCKS]).astype(np.float32),
        weights=np.rint(weights / scale).astype(np.int16),
        scale=scale,
        intercept=intercept,
    )


def train(
    registry: Mapping[str, Corpus],
    corpora: Path,
    datasets: Path,
    run: Path,
    settings: TrainSettings,
    *,
    jobs: int = 2,
    progress: bool = False,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Train, measure and write ``bundle/``, ``metrics.json``, ``card.md`` and ``pipeline.joblib`` into `run`.

    Returns the metrics. Raises `training.corpora.CorpusError` for data that cannot be used.
    """
    started = time.monotonic()
    table = gather(registry, corpora, datasets, settings.tiers, without=settings.without, jobs=jobs)
    bundle = fit(table, settings, jobs=jobs, progress=progress, cache=cache)
    seconds = time.monotonic() - started
    scorer = Scorer(bundle)
    points = operating_points(scorer, table.part("tune"), settings.base_rates)
    thresholds = default_thresholds(points, scorer.labels)
    metrics: dict[str, Any] = {
        "settings": asdict(settings),
        "data": describe(table, registry),
        "operating_points": points,
        "evaluation": evaluate(scorer, sets_of(table.part("test")), thresholds=thresholds),
    }
    about = {
        "model_id": settings.name,
        "language": "en",
        "calibration": {"method": "Platt", "base_rates": dict(settings.base_rates)},
        "operating_points": metrics["operating_points"],
        "corpora": [entry for entry in metrics["data"] if entry["train"]],
        "metrics": headline(metrics["evaluation"]),
    }
    run.mkdir(parents=True, exist_ok=True)
    bundle = replace(bundle, manifest=about)
    manifest = save_bundle(bundle, run / "bundle")
    metrics["model_id"] = manifest["model_id"]
    _write_json(run / "metrics.json", metrics)
    write_card(metrics, manifest, run / "card.md")
    (run / "policy.toml").write_text(
        default_policy(manifest["model_id"], metrics["operating_points"]), encoding="utf-8"
    )
    joblib.dump(pipeline_of(bundle), run / "pipeline.joblib", compress=3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    _write_json(run / "cost.json", {"training_seconds": round(seconds), "peak_megabytes": peak})
    return metrics


def operating_points(scorer: Scorer, tune: Table, base_rates: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return, per label and goal, the threshold that meets it on the ``tune`` part at the label's base rate."""
    out: dict[str, dict[str, Any]] = {}
    scores = scorer.predict_proba([row.text for row in tune.rows])
    for place, label in enumerate(scorer.labels):
        column = LABELS.index(label)
        rows = calibration_rows(tune, column)
        found = {
            name: operating_point(scores[rows, place], tune.labels[rows, column], goal, bound, base_rates[label])
            for name, (goal, bound) in GOALS.items()
        }
        out[label] = {name: point for name, point in found.items() if point}
    return out


def describe(table: Table, registry: Mapping[str, Corpus]) -> list[dict[str, Any]]:
    """Return, for each corpus, its licence and checksum, and rows per part and label."""
    corpora, out = table.corpora, []
    for name in sorted(set(corpora.tolist())):
        here = corpora == name
        counts = {part: int((here & (table.parts == part)).sum()) for part in ("train", "tune", "test")}
        used = table.labels[here & (table.parts == "train")]
        labels = {
            label: [int((used[:, place] == value).sum()) for value in (1, 0)]
            for place, label in enumerate(LABELS)
            if (used[:, place] >= 0).any()
        }
        known = registry.get(name)
        about = {"licence": known.licence, "tier": known.tier, "sha256": known.sha256} if known else {"tier": "own"}
        out.append({"corpus": name, **about, **counts, "labels": labels})
    return out


def headline(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the AUC per evaluation set and label, the short form that travels in the bundle."""
    return {
        name: {label: round(values["auc"], 4) for label, values in labels.items()}
        for name, labels in evaluation.items()
    }


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, default=list) + "\n", encoding="utf-8")
