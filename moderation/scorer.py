"""From texts to probabilities: the only scoring path, for one comment, a batch, HTTP, the shell and evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from moderation.bundle import Bundle, load_bundle
from moderation.comment import Comment, Score
from moderation.errors import InputError
from moderation.explain import Explanation, explain
from moderation.features import char_ngrams, word_ngrams
from moderation.text import normalise

MAX_CHARACTERS = 1 << 20
"""How many code points of a text are scored; what lies beyond is not read and the score says so."""

TOKENS_REMEMBERED = 30_000
"""Words repeat: the features of this many different tokens are kept from one comment to the next."""

LONGEST_REMEMBERED = 40
"""Tokens with more characters than this are rare and are read afresh, so that hostile texts cannot fill memory."""

BATCH = 1_000
BATCH_CHARACTERS = 250_000
"""Most comments, and about how many characters, that are weighed at once; results do not depend on it, memory does."""


_Item = TypeVar("_Item")


class Scorer:
    """Scores comments with one model. Safe to share between threads.

    Parameters
    ----------
    bundle : the model, as `moderation.bundle.load_bundle` returns it
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._words = {gram: place for place, gram in enumerate(bundle.words)}
        self._chars = {gram: place for place, gram in enumerate(bundle.chars, start=len(bundle.words))}
        self._chars_of = lru_cache(TOKENS_REMEMBERED)(self._find_chars)

    @classmethod
    def load(cls, path: Path | str | None = None) -> Self:
        """Load the model at `path`, or the one that comes with the package; raise a `BundleError` if unfit."""
        return cls(load_bundle(path))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the columns of `predict_proba` stand for."""
        return self.bundle.labels

    @property
    def model_id(self) -> str:
        """The model's name, which follows from its content."""
        return self.bundle.model_id

    def decision_function(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the log-odds of every label, shape (n_texts, n_labels)."""
        if isinstance(texts, str | bytes):
            raise InputError(f"texts: expected a sequence of strings, got {type(texts).__name__}")
        parts = [self._weigh(part) for part in batches(_strings(texts), len)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)))

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the probability of every label, shape (n_texts, n_labels), each in [0, 1].

        Labels do not exclude each other, so a row does not add up to 1. Raises `InputError` when a text is not a
        string, naming its position, counted from 1.
        """
        with np.errstate(over="ignore"):  # exp overflows to inf for a hopeless label, and 1 / inf is the right 0
            return 1.0 / (1.0 + np.exp(-self.decision_function(texts)))

    def score(self, comment: Comment | str) -> Score:
        """Score one comment, or a bare text, whose id is then ``"1"``."""
        return next(self.score_many([comment]))

    def score_many(self, comments: Iterable[Comment | str]) -> Iterator[Score]:
        """Score comments as they come, in their order, a batch at a time; bare texts get "1", "2" and so on."""
        if isinstance(comments, str | bytes):
            raise InputError(f"comments: expected a sequence, got {type(comments).__name__}")
        known = (item if isinstance(item, Comment) else _bare(item, k) for k, item in enumerate(comments, 1))
        for part in batches(known, _length):
            rows = self.predict_proba([comment.text for comment in part])
            for comment, row in zip(part, rows.tolist(), strict=True):
                probabilities = dict(zip(self.labels, row, strict=True))
                yield Score(comment.id, self.model_id, probabilities, len(comment.text) > MAX_CHARACTERS)

    def explain(self, comment: Comment | str) -> Explanation:
        """Return what each word of a comment adds to each label's log-odds."""
        known = comment if isinstance(comment, Comment) else _bare(comment, 1)
        if not isinstance(known.text, str):
            raise InputError(f"text: expected a string, got {type(known.text).__name__}")
        return explain(self.bundle, self._words, self._chars, known.text[:MAX_CHARACTERS])

    def _weigh(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log-odds of a batch: count, weigh by sublinear TF-IDF, normalise each block, multiply by the weights."""
        scores = np.tile(self.bundle.intercept, (len(texts), 1))
        tokens = [normalise(text[:MAX_CHARACTERS]).split(" ") for text in texts]
        for block in (map(self._find_words, tokens), map(self._find_all_chars, tokens)):
            counts = [Counter(found) for found in block]
            sizes = np.array([len(count) for count in counts])
            features = np.fromiter((place for count in counts for place in count), np.intp, int(sizes.sum()))
            times = np.fromiter((n for count in counts for n in count.values()), np.float64, len(features))
            filled = sizes > 0
            if not filled.any():
                continue
            starts = np.concatenate(([0], np.cumsum(sizes[filled])[:-1]))
            values = (1.0 + np.log(times)) * self.bundle.idf[features]
            norms = np.sqrt(np.add.reduceat(values * values, starts))
            sums = np.add.reduceat(values[:, None] * self.bundle.weights[features], starts, axis=0)
            scores[filled] += sums / norms[:, None] * self.bundle.scale
        return scores

    def _find_words(self, tokens: list[str]) -> list[int]:
        known = self._words
        return [known[gram] for gram, _, _ in word_ngrams(tokens, self.bundle.settings.word_ngrams) if gram in known]

    def _find_chars(self, token: str) -> tuple[int, ...]:
        known = self._chars
        return tuple(known[gram] for gram in char_ngrams(token, self.bundle.settings.char_ngrams) if gram in known)

    def _find_all_chars(self, tokens: list[str]) -> list[int]:
        return [place for token in tokens if token for place in self._chars_in(token)]

    def _chars_in(self, token: str) -> tuple[int, ...]:
        return self._chars_of(token) if len(token) <= LONGEST_REMEMBERED else self._find_chars(token)


def _bare(text: str, place: int) -> Comment:
    return Comment(id=str(place), text=text)


def _strings(texts: Iterable[Any]) -> Iterator[str]:
    for place, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise InputError(f"text {place}: expected a string, got {type(text).__name__}")
        yield text


def _length(comment: Comment) -> int:
    return len(comment.text) if isinstance(comment.text, str) else 0


def batches(items: Iterable[_Item], length: Callable[[_Item], int]) -> Iterator[list[_Item]]:
    """Cut a stream into batches of at most `BATCH` items and about `BATCH_CHARACTERS`, as `length` counts them."""
    batch: list[_Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += length(item)
        if len(batch) >= BATCH or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
