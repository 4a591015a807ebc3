"""The two ways to the same numbers: through the compiled kernel, and in Python with numpy alone.

The pure path is the readable one and holds where no extension could be built; tests hold both to scikit-learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from moderation import kernel
from moderation.bundle import Bundle
from moderation.emphasis import emphasis, sentences
from moderation.features import char_ngrams, word_ngrams
from moderation.index import Index, build_index
from moderation.markup import has_signs, located, plain
from moderation.text import normalise, tokenise

TOKENS_REMEMBERED = 30_000
"""Words repeat: the pure path keeps the features of this many different tokens from one comment to the next."""

LONGEST_REMEMBERED = 40
"""Tokens with more characters than this are rare and are read afresh, so that hostile texts cannot fill memory."""


CHARACTERS_AT_ONCE = 250_000
"""About how many characters the pure path weighs at once; results do not depend on it, memory does."""


class Shares(NamedTuple):
    """What each token of a text adds."""

    starts: NDArray[np.int32]
    """First code point of each token in the original text, shape (n_tokens,)."""
    ends: NDArray[np.int32]
    """One past the last code point, shape (n_tokens,)."""
    weights: NDArray[np.float64]
    """Its share of every label's log-odds, shape (n_tokens, n_labels)."""
    sentences: NDArray[np.intp]
    """The number of its sentence, shape (n_tokens,)."""

    def foremost(self, label: int, most: int) -> list[tuple[int, int, float]]:
        """Return start, end and share of the tokens that pull towards a label, at most `most`, by their emphasis."""
        column = self.weights[:, label]
        towards = np.flatnonzero(column > 0)
        # Stable: of equal ones the first in the text comes first. The last bits differ by path, so they do not decide.
        ranks = emphasis(column, self.sentences, self.ends - self.starts).astype(np.float32)
        order = towards[np.argsort(-ranks[towards], kind="stable")][:most]
        return [(int(self.starts[place]), int(self.ends[place]), float(column[place])) for place in order]


class Path(Protocol):
    """A way from texts to log-odds. Safe to share between threads."""

    def weigh(self, texts: Sequence[Any], *, probabilities: bool) -> NDArray[np.float64]:
        """Return log-odds or probabilities, shape (n, n_labels), of the texts before the first that is no string."""

    def shares(self, text: str) -> Shares:
        """Return what each token of a text adds to the log-odds."""

    def reasons(self, text: str, label: int, most: int) -> list[tuple[int, int, float]]:
        """Return `Shares.foremost` of a text."""


def path_of(bundle: Bundle, limit: int, *, pure: bool = False) -> Path:
    """Return the fastest path for a model; `limit` code points of a text are read."""
    return PurePath(bundle, limit) if pure or kernel.COMPILED is None else CompiledPath(bundle, limit)


class CompiledPath:
    """Weighs with the compiled kernel, which releases the GIL while it works."""

    def __init__(self, bundle: Bundle, limit: int) -> None:
        index = bundle.index or build_index(bundle.words, bundle.chars, bundle.idf, bundle.weights)[0]
        self._n_labels = len(bundle.labels)
        self._limit = limit
        self._kernel = self._make(index, bundle, limit)

    @staticmethod
    def _make(index: Index, bundle: Bundle, limit: int) -> Any:
        return kernel.COMPILED.Kernel(
            rows=index.rows.view(np.uint8),
            fingerprints=index.fingerprints,
            word_buckets=index.word_buckets,
            char_buckets=index.char_buckets,
            n_words=len(bundle.words),
            seed=index.seed,
            word_ngrams=bundle.settings.word_ngrams,
            char_ngrams=bundle.settings.char_ngrams,
            scale=bundle.scale.tolist(),
            intercept=bundle.intercept.tolist(),
            limit=limit,
        )

    def weigh(self, texts: Sequence[Any], *, probabilities: bool) -> NDArray[np.float64]:
        out = np.empty((len(texts), self._n_labels))
        # Written out in one expression: a call for every text would cost a tenth of its scoring.
        read = [
            plain(text[: self._limit]) if isinstance(text, str) and ("<" in text or "&" in text) else text
            for text in texts
        ]
        done = self._kernel.weigh(tuple(read), out, probabilities)
        return out if done == len(texts) else out[:done]

    def shares(self, text: str) -> Shares:
        if not has_signs(text):
            return self._shares(text)
        text = text[: self._limit]
        words, begins, stops = located(text)
        starts, ends, weights, _ = self._shares(words)
        starts, ends = begins[starts], stops[ends - 1]
        return Shares(starts, ends, weights, sentences(text, starts))

    def _shares(self, words: str) -> Shares:
        starts, ends, weights, numbers = self._kernel.explain(words)
        rows = np.frombuffer(weights, np.float64).reshape(-1, self._n_labels)
        first, last, sentence = (np.frombuffer(array, np.int32) for array in (starts, ends, numbers))
        return Shares(first, last, rows, sentence.astype(np.intp))

    def reasons(self, text: str, label: int, most: int) -> list[tuple[int, int, float]]:
        if has_signs(text):
            return self.shares(text).foremost(label, most)
        found: list[tuple[int, int, float]] = self._kernel.reasons(text, label, most)
        return found


class PurePath:
    """Weighs in Python with numpy."""

    def __init__(self, bundle: Bundle, limit: int) -> None:
        self._bundle = bundle
        self._limit = limit
        self._words = {gram: place for place, gram in enumerate(bundle.words)}
        self._chars = {gram: place for place, gram in enumerate(bundle.chars, start=len(bundle.words))}
        self._chars_of = lru_cache(TOKENS_REMEMBERED)(self._find_chars)

    def weigh(self, texts: Sequence[Any], *, probabilities: bool) -> NDArray[np.float64]:
        strings = next((place for place, text in enumerate(texts) if not isinstance(text, str)), len(texts))
        parts = [self._log_odds(texts[first:last]) for first, last in _parts(texts[:strings])]
        scores = np.concatenate([np.empty((0, len(self._bundle.labels))), *parts])
        if not probabilities:
            return scores
        with np.errstate(over="ignore"):  # exp overflows to inf for a hopeless label, and 1 / inf is the right 0
            return np.asarray(1.0 / (1.0 + np.exp(-scores)))

    def _log_odds(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Count, weigh by sublinear TF-IDF, normalise each block, multiply by the weights."""
        scores = np.tile(self._bundle.intercept, (len(texts), 1))
        tokens = [normalise(text[: self._limit]).split() for text in texts]
        for block in (map(self._find_words, tokens), map(self._find_all_chars, tokens)):
            counts = [Counter(found) for found in block]
            sizes = np.array([len(count) for count in counts])
            features = np.fromiter((place for count in counts for place in count), np.intp, int(sizes.sum()))
            times = np.fromiter((n for count in counts for n in count.values()), np.float64, len(features))
            filled = sizes > 0
            if not filled.any():
                continue
            starts = np.concatenate(([0], np.cumsum(sizes[filled])[:-1]))
            values = (1.0 + np.log(times)) * self._bundle.idf[features]
            norms = np.sqrt(np.add.reduceat(values * values, starts))
            sums = np.add.reduceat(values[:, None] * self._bundle.weights[features], starts, axis=0)
            scores[filled] += sums / norms[:, None] * self._bundle.scale
        return scores

    def _find_words(self, tokens: list[str]) -> list[int]:
        known = self._words
        return [known[gram] for gram, _, _ in word_ngrams(tokens, self._bundle.settings.word_ngrams) if gram in known]

    def _find_chars(self, token: str) -> tuple[int, ...]:
        known = self._chars
        return tuple(known[gram] for gram in char_ngrams(token, self._bundle.settings.char_ngrams) if gram in known)

    def _find_all_chars(self, tokens: list[str]) -> list[int]:
        return [place for token in tokens for place in self._chars_in(token)]

    def _chars_in(self, token: str) -> tuple[int, ...]:
        return self._chars_of(token) if len(token) <= LONGEST_REMEMBERED else self._find_chars(token)

    def shares(self, text: str) -> Shares:
        tokens = tokenise(text[: self._limit])
        forms = [token.text for token in tokens]
        weights = np.zeros((len(tokens), len(self._bundle.labels)))
        word_places = [
            (self._words[gram], range(first, last))
            for gram, first, last in word_ngrams(forms, self._bundle.settings.word_ngrams)
            if gram in self._words
        ]
        char_places = [
            (feature, range(place, place + 1)) for place, form in enumerate(forms) for feature in self._chars_in(form)
        ]
        for block in (word_places, char_places):
            self._spread(block, weights)
        starts, ends = (np.array([token[place] for token in tokens], dtype=np.int32) for place in (1, 2))
        return Shares(starts, ends, weights, sentences(text[: self._limit], starts))

    def reasons(self, text: str, label: int, most: int) -> list[tuple[int, int, float]]:
        return self.shares(text).foremost(label, most)

    def _spread(self, places: Sequence[tuple[int, range]], weights: NDArray[np.float64]) -> None:
        """Add each feature's contribution to the tokens it was read from; `places` is one block's features."""
        if not places:
            return
        counts = Counter(feature for feature, _ in places)
        features = np.array(list(counts))
        values = (1.0 + np.log(np.array(list(counts.values()), dtype=np.float64))) * self._bundle.idf[features]
        values /= np.sqrt(values @ values)
        contributions = values[:, None] * self._bundle.weights[features] * self._bundle.scale
        row = {feature: place for place, feature in enumerate(counts)}
        rows, tokens, parts = [], [], []
        for feature, where in places:
            for token in where:
                rows.append(row[feature])
                tokens.append(token)
                parts.append(1.0 / (counts[feature] * len(where)))
        np.add.at(weights, tokens, contributions[rows] * np.array(parts)[:, None])


def _parts(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Cut texts into stretches of about `CHARACTERS_AT_ONCE`."""
    first = size = 0
    for place, text in enumerate(texts, 1):
        size += len(text)
        if size >= CHARACTERS_AT_ONCE or place == len(texts):
            yield first, place
            first, size = place, 0
