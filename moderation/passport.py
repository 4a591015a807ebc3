"""A model's passport in words, from its manifest, and the path that scores with it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moderation import kernel


def describe(manifest: Mapping[str, Any]) -> str:
    """Return the passport as lines of text; what a manifest does not say is left out."""
    lines = [
        f"model     {manifest['model_id']}",
        f"language  {manifest.get('language', 'not stated')}",
        f"labels    {', '.join(manifest['labels'])}",
        f"features  {manifest['n_features']:,} n-grams: words {_span(manifest, 'word_ngrams')}, "
        f"characters {_span(manifest, 'char_ngrams')}",
        f"format    {manifest['version']}",
        f"scoring   {f'pure path, for {kernel.MISSING}' if kernel.MISSING else 'compiled kernel'}",
    ]
    calibration = manifest.get("calibration")
    if calibration:
        rates = ", ".join(f"{label} {rate:.1%}" for label, rate in calibration.get("base_rates", {}).items())
        lines.append(f"calibrated to these shares of comments: {rates}")
    corpora = manifest.get("corpora", [])
    if corpora:
        lines += ["", "trained on"]
        lines += [
            f"  {entry['corpus']:<24} {entry['train']:>8,} rows  {entry.get('licence', 'our own')}" for entry in corpora
        ]
    metrics = manifest.get("metrics", {})
    if metrics:
        lines += ["", "area under the ROC curve on rows that were not trained on"]
        for name, labels in metrics.items():
            values = "  ".join(f"{label} {value:.3f}" for label, value in labels.items())
            lines.append(f"  {name:<28} {values}")
    return "\n".join(lines)


def _span(manifest: Mapping[str, Any], name: str) -> str:
    low, high = manifest["features"][name]
    return f"{low} to {high}"
