"""From our log-odds to the scale of Perspective's scores, so that a site's threshold keeps its meaning.

The map is data, made by ``python -m training perspective-map`` from 2,000 comments with their real Perspective scores:
per attribute a weighted sum of log-odds (no weight below 0) and the curve that gives it the distribution that
Perspective's scores had. Both parts rise everywhere, so the order of comments is our model's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from moderation.errors import InputError

SHIPPED = Path(__file__).parent / "perspective_map.json"
"""The map that comes with the package."""

FORMAT = "moderation-perspective-map"


@dataclass(frozen=True, slots=True)
class Attribute:
    """How one attribute follows from the model's labels."""

    name: str
    """Perspective's name for it."""
    weights: Mapping[str, float]
    """Per label, how its log-odds count; the first label is the one of the same meaning."""
    knots: NDArray[np.float64]
    """Points (weighted log-odds, score) of the curve, rising, shape (n_knots, 2)."""


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """The curves of all attributes, for one model."""

    model_id: str
    """The model that the map was fitted for."""
    attributes: Mapping[str, Attribute]
    """By Perspective's name."""

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a map, or the shipped one; raise `InputError` when it is none."""
        path = SHIPPED if path is None else path
        try:
            return cls.from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not a map of Perspective's scores") from error

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from JSON data; raise `ValueError` when it is no map."""
        if data["format"] != FORMAT:
            raise ValueError(f"format: expected {FORMAT!r}")
        attributes = {}
        for name, entry in data["attributes"].items():
            knots = np.array(entry["knots"], np.float64)
            if knots.ndim != 2 or knots.shape[1] != 2 or (np.diff(knots, axis=0) <= 0).any():
                raise ValueError(f"{name}: knots: expected rising pairs")
            attributes[name] = Attribute(name, dict(entry["weights"]), knots)
        return cls(str(data["model_id"]), attributes)

    def columns(self, labels: Sequence[str]) -> dict[str, Column]:
        """Return the attributes that a model with these labels can give, ready to be applied."""
        return {
            name: Column(labels.index(next(iter(attribute.weights))), *_prepare(attribute, labels))
            for name, attribute in self.attributes.items()
            if set(attribute.weights) <= set(labels)
        }


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute over the columns of `Scorer.predict_proba`."""

    own: int
    """The column of the label with the attribute's own meaning."""
    parts: tuple[tuple[int, float], ...] = ()
    """Columns and weights; none: the probability itself is the score."""
    knots: NDArray[np.float64] | None = None
    """Curve over the weighted log-odds."""

    def apply(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the attribute's score, shape (n_texts,), from probabilities, shape (n_texts, n_labels)."""
        if self.knots is None:
            return rows[:, self.own]
        columns, weights = [column for column, _ in self.parts], [weight for _, weight in self.parts]
        total = log_odds(rows[:, columns]) @ np.array(weights)
        return np.asarray(np.interp(total, self.knots[:, 0], self.knots[:, 1]))


def _prepare(attribute: Attribute, labels: Sequence[str]) -> tuple[tuple[tuple[int, float], ...], NDArray[np.float64]]:
    parts = tuple((labels.index(label), weight) for label, weight in attribute.weights.items() if weight)
    return parts, attribute.knots


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-odds, bounded where a probability has no digits left to tell."""
    safe = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(safe / (1 - safe)))
