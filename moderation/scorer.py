"""From texts to probabilities: the only scoring path, for one comment, a batch, HTTP, the shell and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from moderation.bundle import SHIPPED, Bundle, load_bundle
from moderation.comment import Comment, Score, Span
from moderation.errors import BundleError, InputError
from moderation.explain import Explanation, column_of, explanation_of
from moderation.paths import path_of

MAX_CHARACTERS = 1 << 20
"""How many code points of a text are scored; what lies beyond is not read and the score says so."""

BATCH = 1_000
BATCH_CHARACTERS = 250_000
"""Most comments, and about how many characters, that are weighed at once; results do not depend on it, memory does."""


_Item = TypeVar("_Item")


class Scorer:
    """Scores comments with one model. Safe to share between threads.

    One whose model was loaded from a folder can be pickled and deep-copied: its copy loads the model anew from there.

    Parameters
    ----------
    bundle : the model, as `moderation.bundle.load_bundle` returns it
    pure : take the path in Python even where the compiled kernel is at hand; the scores are the same
    """

    def __init__(self, bundle: Bundle, *, pure: bool = False) -> None:
        self.bundle = bundle
        self._pure = pure
        self._path = path_of(bundle, MAX_CHARACTERS, pure=pure)

    @classmethod
    def load(cls, path: Path | str | None = None) -> Self:
        """Load the model at `path`, or the one that comes with the package; raise a `BundleError` if unfit."""
        return cls(load_bundle(path))

    def __reduce__(self) -> tuple[Any, ...]:
        folder = self.bundle.folder
        if folder is None:
            raise TypeError(
                f"{type(self).__name__} cannot be pickled or deep-copied: its model was not loaded from a folder; "
                "save_bundle and Scorer.load give it one"
            )
        # The shipped model may stand elsewhere where the copy is made.
        path = None if folder == SHIPPED.absolute() else str(folder)
        return _load_again, (type(self), path, self.model_id, self._pure)

    def __copy__(self) -> Self:
        """Return a scorer with the same model, which never changes."""
        again = object.__new__(type(self))
        again.__dict__.update(self.__dict__)
        return again

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
        return self._weigh(texts, probabilities=False)

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the probability of every label, shape (n_texts, n_labels), each in [0, 1].

        Labels do not exclude each other, so a row does not add up to 1. Raises `InputError` when a text is not a
        string, naming its position, counted from 1.
        """
        return self._weigh(texts, probabilities=True)

    def score(self, comment: Comment | str) -> Score:
        """Score one comment, or a bare text, whose id is then ``"1"``."""
        return next(self.score_many([comment]))

    def score_many(self, comments: Iterable[Comment | str]) -> Iterator[Score]:
        """Score comments as they come, in their order, a batch at a time; bare texts get "1", "2" and so on."""
        if isinstance(comments, str | bytes):
            raise InputError(f"comments: expected a sequence, got {type(comments).__name__}")
        known = (item if isinstance(item, Comment) else _bare(item, k) for k, item in enumerate(comments, 1))
        before = 0
        for part in batches(known, _length):
            rows = self._weigh([comment.text for comment in part], probabilities=True, before=before)
            before += len(part)
            for comment, row in zip(part, rows.tolist(), strict=True):
                probabilities = dict(zip(self.labels, row, strict=True))
                yield Score(comment.id, self.model_id, probabilities, len(comment.text) > MAX_CHARACTERS)

    def explain(self, comment: Comment | str) -> Explanation:
        """Return what each word of a comment adds to each label's log-odds."""
        known = comment if isinstance(comment, Comment) else _bare(comment, 1)
        return explanation_of(self.bundle, self._path.shares(_checked(known.text)))

    def reasons(self, text: str, label: str, most: int = 5) -> tuple[Span, ...]:
        """Return what `explain(text).reasons(label, most)` returns, without the rest of the explanation."""
        column = column_of(label, self.labels, most)
        found = self._path.reasons(_checked(text), column, min(most, MAX_CHARACTERS))
        return tuple(Span(start, end, label, weight) for start, end, weight in found)

    def _weigh(self, texts: Iterable[str], *, probabilities: bool, before: int = 0) -> NDArray[np.float64]:
        """Weigh texts; `before` of them have been weighed earlier and count when one is named by its place."""
        if isinstance(texts, str | bytes):
            raise InputError(f"texts: expected a sequence of strings, got {type(texts).__name__}")
        parts: list[NDArray[np.float64]] = []
        reached = before
        for part in _pieces(texts):
            parts.append(self._path.weigh(part, probabilities=probabilities))
            reached += len(parts[-1])
            if len(parts[-1]) < len(part):
                wrong = type(part[len(parts[-1])]).__name__
                raise InputError(f"text {reached + 1}: expected a string, got {wrong}")
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)))


def _load_again(kind: type[Scorer], path: str | None, model_id: str, pure: bool) -> Scorer:
    """Make the copy of a scorer; raise a `BundleError` when its model is no longer there."""
    bundle = load_bundle(path)
    if bundle.model_id != model_id:
        raise BundleError(f"{bundle.folder}: expected the model {model_id}, found {bundle.model_id}")
    return kind(bundle, pure=pure)


def _checked(text: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"text: expected a string, got {type(text).__name__}")
    return text


def _bare(text: str, place: int) -> Comment:
    return Comment(id=str(place), text=text)


def _pieces(texts: Iterable[str]) -> Iterator[Sequence[str]]:
    """Cut texts into pieces of at most `BATCH`, without a step in Python for each."""
    if isinstance(texts, list | tuple) and len(texts) <= BATCH:
        if texts:
            yield texts
        return
    stream = iter(texts)
    while part := tuple(islice(stream, BATCH)):
        yield part


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
