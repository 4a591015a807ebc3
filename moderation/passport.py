"""A model's passport in words, from its manifest, and the path that scores with it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moderation import kernel
from moderation.comment import is_finite


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
    if rates := _numbers(_object(manifest.get("calibration")).get("base_rates")):
        shares = ", ".join(f"{label} {rate:.1%}" for label, rate in rates.items())
        lines.append(f"calibrated to these shares of comments: {shares}")
    if corpora := _corpora(manifest.get("corpora")):
        lines += ["", "trained on", *corpora]
    areas = {name: _numbers(values) for name, values in _object(manifest.get("metrics")).items()}
    if any(areas.values()):
        lines += ["", "area under the ROC curve on rows that were not trained on"]
        for name, labels in areas.items():
            values = "  ".join(f"{label} {value:.3f}" for label, value in labels.items())
            lines += [f"  {name:<28} {values}"] if labels else []
    return "\n".join(lines)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _numbers(value: Any) -> dict[str, float]:
    return {name: number for name, number in _object(value).items() if is_finite(number)}


def _corpora(entries: Any) -> list[str]:
    lines = []
    for entry in map(_object, entries if isinstance(entries, list) else []):
        name, count = entry.get("corpus"), entry.get("train")
        rows = f"{count:>8,} rows" if is_finite(count) else ""
        if isinstance(name, str):
            lines.append(f"  {name:<24} {rows:>13}  {entry.get('licence', 'our own')}")
    return lines


def _span(manifest: Mapping[str, Any], name: str) -> str:
    low, high = manifest["features"][name]
    return f"{low} to {high}"
