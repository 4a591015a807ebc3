"""From scores to advice: thresholds per label, in a small TOML file that a newsroom can read and change."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from moderation.comment import ACTIONS, MAX_REASONS, Action, Score, Verdict
from moderation.errors import InputError, PolicyError
from moderation.explain import Explanation

DEFAULT = Path(__file__).parent / "policies" / "default.toml"
"""The policy that comes with the package."""

_KEYS = ("id", "description", "thresholds")


@dataclass(frozen=True, slots=True)
class Policy:
    """Thresholds per label to actions.

    ``[thresholds.incitement]`` with ``review = 0.4`` and ``hold = 0.9`` sends a comment to a person from .4 on and
    keeps it back from .9 on, until a person has looked.
    """

    id: str
    """Name of the policy; stands in every verdict."""
    thresholds: Mapping[str, Mapping[Action, float]]
    """For each label, the probability in [0, 1] from which an action is advised."""
    description: str = ""
    """What the policy is for."""

    def __post_init__(self) -> None:
        """Check what was given as `load` checks a file; raise `PolicyError`."""
        place = _Places("Policy", "")
        for name in ("id", "description"):
            if not isinstance(value := getattr(self, name), str):
                raise place.error((), name, f"{name}: expected a string, got {type(value).__name__}")
        object.__setattr__(self, "thresholds", _read_thresholds(self.thresholds, place))

    @classmethod
    def load(cls, path: Path | str | None = None, *, labels: Sequence[str] | None = None) -> Self:
        """Read a policy file, or the default one; raise `PolicyError` naming the line and what is allowed.

        With `labels`, which the model scores, a threshold for any other label is a mistake in the file, too.
        """
        path = DEFAULT if path is None else Path(path)
        try:
            source = path.read_text(encoding="utf-8-sig")  # Windows editors write a byte order mark
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
        return cls.parse(source, name=str(path), labels=labels)

    @classmethod
    def parse(cls, source: str, *, name: str = "policy", labels: Sequence[str] | None = None) -> Self:
        """Read a policy from TOML text; `name` stands in error messages. For `labels` see `load`."""
        try:
            data = tomllib.loads(source)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"{name}: {error}") from error
        place = _Places(name, source)
        for key in data:
            if key not in _KEYS:
                raise place.error((), key, f"unknown key {key!r}; allowed are {', '.join(_KEYS)}")
        for key in ("id", "description"):
            value = data.get(key, "" if key == "description" else None)
            if not isinstance(value, str) or (key == "id" and not value):
                raise place.error((), key, f"{key}: expected a string, got {value!r}")
        thresholds = _read_thresholds(data.get("thresholds"), place)
        for label in thresholds:
            if labels is not None and label not in labels:
                message = f"unknown label {label!r}; the model scores {', '.join(labels)}"
                raise place.error(("thresholds",), label, message)
        return cls(data["id"], thresholds, data.get("description", ""))

    def decide(self, score: Score, explanation: Explanation | None = None) -> Verdict:
        """Return the strictest action whose threshold is reached (a probability equal to it reaches it).

        Among labels that reach the same action, the one furthest above its threshold decides. With an explanation of
        the same comment, the verdict gives the words that drove the deciding label. Raises `PolicyError` for a score
        without a label of the policy, and `InputError` for one that is no number.
        """
        best: tuple[int, float, str, float] | None = None
        for label, actions in self.thresholds.items():
            self._column(label, tuple(score.probabilities))
            for action, threshold in actions.items():
                margin = score.probabilities[label] - threshold
                if isnan(margin):
                    raise InputError(f"Score.probabilities: {label}: expected a probability in [0, 1], got NaN")
                found = (ACTIONS.index(action), margin, label, threshold)
                if margin >= 0 and (best is None or found[:2] > best[:2]):
                    best = found
        if best is None or ACTIONS[best[0]] == "allow":
            return Verdict(score.comment_id, "allow", self.id)
        rank, _, label, threshold = best
        reasons = explanation.reasons(label, MAX_REASONS) if explanation else ()
        return Verdict(score.comment_id, ACTIONS[rank], self.id, label, threshold, reasons)

    def severity(self, score: Score) -> float:
        """Return how near a score comes to the policy's thresholds: 1 where the first is just reached, higher beyond.

        Labels are compared by their distance to their own lowest threshold, for a probability of .2 may be much for
        one label and little for another.
        """
        return max(
            score.probabilities[label] / max(min(actions.values()), 1e-9) for label, actions in self.thresholds.items()
        )

    def flagged(self, probabilities: NDArray[np.float64], labels: Sequence[str]) -> NDArray[np.bool_]:
        """Say of each comment whether any threshold is reached, so that `decide` would not allow it.

        Parameters
        ----------
        probabilities : shape (n_comments, n_labels)
        labels : what the columns stand for
        """
        lowest = {label: min(actions.values()) for label, actions in self.thresholds.items()}
        places = [self._column(label, labels) for label in lowest]
        return np.asarray((probabilities[:, places] >= np.array(list(lowest.values()))).any(axis=1))

    def severities(
        self, probabilities: NDArray[np.float64], labels: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return, of each comment, the rank in `ACTIONS` of the action that `decide` advises, and its `severity`."""
        ranks, severity = np.zeros(len(probabilities)), np.zeros(len(probabilities))
        for label, actions in self.thresholds.items():
            column = probabilities[:, self._column(label, labels)]
            np.maximum(severity, column / max(min(actions.values()), 1e-9), out=severity)
            for action, threshold in actions.items():
                np.maximum(ranks, np.where(column >= threshold, float(ACTIONS.index(action)), 0.0), out=ranks)
        return ranks, severity

    def _column(self, label: str, labels: Sequence[str]) -> int:
        if label not in labels:
            raise PolicyError(
                f"policy {self.id}: has thresholds for {label!r}, but the model scores {', '.join(labels)}"
            )
        return labels.index(label)


def _read_thresholds(table: Any, place: _Places) -> dict[str, dict[Action, float]]:
    if not isinstance(table, Mapping) or not table:
        raise place.error((), "thresholds", "expected a table [thresholds.LABEL] for at least one label")
    out: dict[str, dict[Action, float]] = {}
    allowed = [action for action in ACTIONS if action != "allow"]
    for label, actions in table.items():
        if not isinstance(actions, Mapping) or not actions:
            raise place.error(("thresholds",), label, f"{label}: expected {' or '.join(allowed)} with a probability")
        for action, value in actions.items():
            where = ("thresholds", label)
            if action not in allowed:
                raise place.error(where, action, f"unknown action {action!r}; allowed are {', '.join(allowed)}")
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not number or not 0 <= value <= 1:
                raise place.error(where, action, f"{action}: expected a probability from 0 to 1, got {value!r}")
        if actions.get("hold", 1) < actions.get("review", 0):
            raise place.error(("thresholds", label), "hold", "hold: expected a threshold not below review's")
        out[label] = {action: float(value) for action, value in actions.items()}
    return out


class _Places:
    """Finds the line of a key in TOML source, which `tomllib` does not tell."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.lines = source.splitlines()

    def error(self, tables: tuple[str, ...], key: str, message: str) -> PolicyError:
        return PolicyError(f"{self.name}{f', line {self._line(tables, key)}' if self.lines else ''}: {message}")

    def _line(self, tables: tuple[str, ...], key: str) -> int:
        """Return the line of `key` inside the table, or of the nearest key or table around it, or the last line."""
        wanted = (*tables, key)
        current: tuple[str, ...] = ()
        depth, nearest = 0, len(self.lines) or 1
        for number, line in enumerate(self.lines, 1):
            if header := re.match(r"\s*\[+([^\]]+)\]", line):
                path = current = tuple(part.strip(" \"'") for part in header.group(1).split("."))
            elif match := re.match(r"\s*([\w.\"'-]+)\s*=", line):
                path = current + tuple(part.strip("\"'") for part in match.group(1).split("."))
            else:
                continue
            if path[: len(wanted)] == wanted:
                return number
            if len(path) > depth and path == wanted[: len(path)]:
                depth, nearest = len(path), number
        return nearest
