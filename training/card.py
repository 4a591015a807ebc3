"""The model card: Markdown made from the metrics, so that it cannot say anything else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_card(metrics: Mapping[str, Any], manifest: Mapping[str, Any], path: Path) -> None:
    """Write the card of a model from its metrics and its bundle's manifest."""
    path.write_text(make_card(metrics, manifest), encoding="utf-8")


def make_card(metrics: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Return the card as Markdown."""
    parts = [
        f"# Model card: {manifest['model_id']}",
        "Scores English reader comments for "
        + ", ".join(manifest["labels"])
        + ". It advises; a person decides. TF-IDF over words and characters, one logistic regression per label, "
        + f"{manifest['n_features']:,} features.",
        "Not for deciding without a person, for judging people rather than comments, or for other languages.",
        "## Trained on",
        _data_table(metrics["data"]),
        "Probabilities are calibrated (Platt) to these shares of comments: "
        + ", ".join(f"{label} {rate:.1%}" for label, rate in manifest["calibration"]["base_rates"].items())
        + ".",
        "## Measured on rows that were not trained on",
        _evaluation_table(metrics["evaluation"]),
    ]
    return "\n\n".join(parts) + "\n"


def _data_table(data: list[dict[str, Any]]) -> str:
    lines = [
        "| corpus | licence | train | tune | test | incitement + / - | abuse + / - |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for entry in data:
        counts = [" / ".join(f"{n:,}" for n in entry["labels"].get(label, ())) for label in ("incitement", "abuse")]
        numbers = " | ".join(f"{entry[part]:,}" for part in ("train", "tune", "test"))
        lines.append(
            f"| {entry['corpus']} | {entry.get('licence', entry['tier'])} | {numbers} | {' | '.join(counts)} |"
        )
    return "\n".join(lines)


def _evaluation_table(evaluation: Mapping[str, Any]) -> str:
    lines = ["| set | label | rows | positives | AUC | average precision |", "|---|---|--:|--:|--:|--:|"]
    for name, labels in evaluation.items():
        for label, values in labels.items():
            lines.append(
                f"| {name} | {label} | {values['rows']:,} | {values['positives']:,} "
                f"| {values['auc']:.3f} | {values['average_precision']:.3f} |"
            )
    return "\n".join(lines)
