"""Why a comment scored as it did: each word's exact share of each label's log-odds.

For a linear model the TF-IDF value of a feature times its weight adds up to the decision value, so the explanation is
the computation itself, not an estimate. A feature's share is split evenly over the places where it occurs, and a word
n-gram's over its words; character n-grams are summed per word, for by themselves they mean nothing to a reader.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moderation.bundle import Bundle
from moderation.comment import Span
from moderation.features import char_ngrams, word_ngrams
from moderation.text import tokenise


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each word of one text adds to each label's log-odds."""

    model_id: str
    """The model that is explained."""
    intercept: Mapping[str, float]
    """Log-odds per label before any word is read."""
    decision: Mapping[str, float]
    """Log-odds per label of the whole text: the intercept and the weights of that label's spans, added up."""
    spans: tuple[Span, ...]
    """One span for every word and label whose weight is not 0, in the order of the text."""

    def reasons(self, label: str, most: int = 5) -> tuple[Span, ...]:
        """Return the spans that pulled towards `label`, heaviest first, at most `most` of them."""
        towards = [span for span in self.spans if span.label == label and span.weight > 0]
        return tuple(sorted(towards, key=lambda span: (-span.weight, span.start))[:most])


def explain(bundle: Bundle, words: Mapping[str, int], chars: Mapping[str, int], text: str) -> Explanation:
    """Explain one text.

    Parameters
    ----------
    bundle : the model
    words, chars : feature of each word n-gram and of each character n-gram of the model
    text : the original text; spans refer to it
    """
    tokens = tokenise(text)
    forms = [token.text for token in tokens]
    shares = np.zeros((len(tokens), len(bundle.labels)))
    word_places = [
        (words[gram], range(first, last))
        for gram, first, last in word_ngrams(forms, bundle.settings.word_ngrams)
        if gram in words
    ]
    char_places = [
        (chars[gram], range(place, place + 1))
        for place, form in enumerate(forms)
        for gram in char_ngrams(form, bundle.settings.char_ngrams)
        if gram in chars
    ]
    for block in (word_places, char_places):
        _spread(bundle, block, shares)
    totals = bundle.intercept + shares.sum(axis=0)
    spans = tuple(
        Span(token.start, token.end, label, float(weight))
        for token, row in zip(tokens, shares, strict=True)
        for label, weight in zip(bundle.labels, row, strict=True)
        if weight != 0
    )
    return Explanation(
        model_id=bundle.model_id,
        intercept=dict(zip(bundle.labels, bundle.intercept.tolist(), strict=True)),
        decision=dict(zip(bundle.labels, totals.tolist(), strict=True)),
        spans=spans,
    )


def _spread(bundle: Bundle, places: Sequence[tuple[int, range]], shares: NDArray[np.float64]) -> None:
    """Add each feature's contribution to the tokens it was read from; `places` is one block's features."""
    if not places:
        return
    counts = Counter(feature for feature, _ in places)
    features = np.array(list(counts))
    values = (1.0 + np.log(np.array(list(counts.values()), dtype=np.float64))) * bundle.idf[features]
    values /= np.sqrt(values @ values)
    contributions = values[:, None] * bundle.weights[features] * bundle.scale
    row = {feature: place for place, feature in enumerate(counts)}
    rows, tokens, parts = [], [], defaultdict(list)
    for feature, where in places:
        share = 1.0 / (counts[feature] * len(where))
        for token in where:
            rows.append(row[feature])
            tokens.append(token)
            parts["share"].append(share)
    np.add.at(shares, tokens, contributions[rows] * np.array(parts["share"])[:, None])
