"""Why a comment scored as it did: each word's exact share of each label's log-odds.

For a linear model the TF-IDF value of a feature times its weight adds up to the decision value, so the explanation is
the computation itself, not an estimate. A feature's share is split evenly over the places where it occurs, and a word
n-gram's over its words; character n-grams are summed per word, for by themselves they mean nothing to a reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from moderation.bundle import Bundle
from moderation.comment import Span
from moderation.errors import InputError
from moderation.paths import Shares


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each word of one text adds to each label's log-odds."""

    model_id: str
    """The model that is explained."""
    intercept: Mapping[str, float]
    """Log-odds per label before any word is read."""
    decision: Mapping[str, float]
    """Log-odds per label of the whole text: the intercept and the weights of that label's spans, added up."""
    shares: Shares
    """The same as arrays: where each token stands and what it adds, a column per label of `decision`."""

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """One span for every word and label whose weight is not 0, in the order of the text."""
        labels = list(self.decision)
        return tuple(
            Span(start, end, label, weight)
            for start, end, row in zip(*(array.tolist() for array in self.shares[:3]), strict=True)
            for label, weight in zip(labels, row, strict=True)
            if weight != 0
        )

    def reasons(self, label: str, most: int = 5) -> tuple[Span, ...]:
        """Return the spans that pulled towards `label`, at most `most`, by `moderation.emphasis`.

        Raises `InputError` for a label that the model does not score, and when `most` is no integer from 0.
        """
        found = self.shares.foremost(column_of(label, tuple(self.decision), most), most)
        return tuple(Span(start, end, label, weight) for start, end, weight in found)


def column_of(label: str, labels: Sequence[str], most: int) -> int:
    """Return the column of a label for which `most` reasons are asked; raise `InputError` where either cannot be."""
    if label not in labels:
        raise InputError(f"label: expected one of {', '.join(labels)}, got {str(label)[:40]!r}")
    if not isinstance(most, int) or most < 0:
        raise InputError(f"most: expected an integer from 0, got {most!r}")
    return labels.index(label)


def explanation_of(bundle: Bundle, shares: Shares) -> Explanation:
    """Return the explanation that a model's shares make."""
    decision = bundle.intercept + shares.weights.sum(axis=0)
    return Explanation(
        model_id=bundle.model_id,
        intercept=dict(zip(bundle.labels, bundle.intercept.tolist(), strict=True)),
        decision=dict(zip(bundle.labels, decision.tolist(), strict=True)),
        shares=shares,
    )
