"""From a newsroom's goals to thresholds: the named goals, and the default policy that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Points = Mapping[str, Mapping[str, Any]]
"""Per label and goal, what `training.measures.operating_point` found; goals that cannot be met are left out."""

GOALS = {
    "half of the flagged are right": ("precision", 0.5),
    "nine in ten of the flagged are right": ("precision", 0.9),
    "at most 1 % of comments flagged": ("flagged", 0.01),
    "at most 2 % of comments flagged": ("flagged", 0.02),
    "at most 3 % of comments flagged": ("flagged", 0.03),
    "at most 5 % of comments flagged": ("flagged", 0.05),
}
"""What a newsroom may want of a threshold, and how `training.measures.operating_point` is asked for it."""

DEFAULT_POLICY = {
    "incitement": {"review": "at most 3 % of comments flagged", "hold": "nine in ten of the flagged are right"},
    "abuse": {"review": "half of the flagged are right", "hold": "nine in ten of the flagged are right"},
}
"""The goals that the default policy's thresholds follow from."""


def default_policy(model_id: str, points: Points) -> str:
    """Return the default policy as TOML: the thresholds that meet `DEFAULT_POLICY`, to three digits.

    A label without any threshold is left out. Raises `ValueError` when that leaves none.
    """
    lines = [
        f'id = "default-{model_id.split("+")[-1]}"',
        'description = "Incitement early, abuse when it is likely. Review means that a person looks."',
    ]
    for label, actions in DEFAULT_POLICY.items():
        met = [(action, goal) for action, goal in actions.items() if goal in points.get(label, {})]
        lines += ["", f"[thresholds.{label}]"] if met else []
        lowest = 0.0
        for action, goal in met:
            # Two goals can meet in one threshold; a hold below its review would be refused.
            lowest = max(lowest, _rounded(points[label][goal]["threshold"]))
            lines.append(f"{action} = {lowest}  # {goal}")
    if not any(line.startswith("[") for line in lines):
        raise ValueError(f"policy: expected operating points for {' or '.join(DEFAULT_POLICY)}, got {sorted(points)}")
    return "\n".join(lines) + "\n"


def default_thresholds(points: Points, labels: Sequence[str]) -> dict[str, float]:
    """Return the threshold at which a model is measured, per label: its own default policy's lowest, else one half."""
    return {
        label: min(
            (
                _rounded(points[label][goal]["threshold"])
                for goal in DEFAULT_POLICY.get(label, {}).values()
                if goal in points.get(label, {})
            ),
            default=0.5,
        )
        for label in labels
    }


def _rounded(threshold: float) -> float:
    return float(f"{threshold:.3g}")
