"""From our log-odds to the scale of Perspective's scores, so that a site's threshold keeps its meaning.

The map is data, made by ``python -m training perspective-map`` from 2,000 comments with their real Perspective scores:
per attribute a weighted sum of log-odds (no weight below 0) and the curve that gives it the distribution that
Perspective's scores had. Both parts rise everywhere, so the order of comments is our model's.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
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
            name: _column(attribute, labels)
            for name, attribute in self.attributes.items()
            if set(attribute.weights) <= set(labels)
        }


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute over one row of probabilities, as `Scorer.predict_proba` orders them."""

    own: int
    """The place of the label with the attribute's own meaning."""
    parts: tuple[tuple[int, float], ...] = ()
    """Places and weights; none: the probability itself is the score."""
    sums: Sequence[float] = ()
    """The curve: weighted log-odds, rising."""
    scores: Sequence[float] = ()
    """The curve: scores at them, rising."""

    def apply(self, row: Sequence[float]) -> float:
        """Return the attribute's score in [0, 1] for one comment."""
        if not self.parts:
            return row[self.own]
        total = sum(weight * log_odds(row[place]) for place, weight in self.parts)
        after = bisect_right(self.sums, total)
        if after in (0, len(self.sums)):
            return self.scores[0 if after == 0 else -1]
        low, high = self.sums[after - 1], self.sums[after]
        share = (total - low) / (high - low)
        return self.scores[after - 1] * (1 - share) + self.scores[after] * share


def _column(attribute: Attribute, labels: Sequence[str]) -> Column:
    own = labels.index(next(iter(attribute.weights)))
    parts = tuple((labels.index(label), weight) for label, weight in attribute.weights.items() if weight)
    sums, scores = attribute.knots.T.tolist()
    return Column(own, parts, sums, scores)


def log_odds(probability: float) -> float:
    """Return log-odds, bounded where a probability has no digits left to tell."""
    safe = min(max(probability, 1e-12), 1 - 1e-12)
    return math.log(safe / (1 - safe))
