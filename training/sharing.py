"""Let words of like use share evidence, in training alone.

A word that few labelled comments hold ("firebomb") learns from words that stand in the same places ("torch", "bomb").
For this the fit sees more columns: sums of the word columns, weighted by the words' vectors and by classes of words.
They are linear in the word columns, so their weights fold back into the words' own: the model that is shipped has the
same features as before, and every explanation stays exact. It amounts to a Gaussian prior under which words of like
use have correlated weights (Krupka and Tishby 2007; the vectors are those of Levy and Goldberg 2014).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.utils.extmath import randomized_svd

CONTEXTS = 4_000
"""Most frequent words, in whose neighbourhood a word is described."""

OFFSETS = (-2, -1, 1, 2)
"""Places of the neighbours; each place is a context of its own, so that order counts."""

FEWEST = 5
"""Texts in which a word must stand to get a vector."""

MOST_TEXTS = 500_000
"""Texts that the use of words is learnt from; of more, evenly spread ones are taken."""


@dataclass(frozen=True, slots=True)
class SharingSettings:
    """How far words of like use share evidence."""

    dimensions: int = 100
    """Length of the word vectors; 0 turns them off."""
    strength: float = 1.0
    """What the vectors' columns are multiplied by: the larger, the freer they are."""
    classes: int = 400
    """Classes of words; 0 turns them off."""
    kept: int = 200
    """Most frequent words, each a class by itself."""


def sharing_matrix(grams: Sequence[str], texts: Sequence[str], settings: SharingSettings) -> Any:
    """Return a sparse matrix of shape (n_grams, n_shared) that turns word columns into shared columns.

    Parameters
    ----------
    grams : word n-grams, in the order of their columns
    texts : normalised texts, labelled or not, from which the words' use is learnt
    """
    words, vectors = word_vectors(texts, settings.dimensions or 100)
    place = {word: k for k, word in enumerate(words)}
    blocks = [sp.csr_matrix((len(grams), 0))]
    if settings.dimensions:
        rows = [k for k, gram in enumerate(grams) if gram in place]
        dense = np.zeros((len(grams), vectors.shape[1]))
        dense[rows] = vectors[[place[grams[k]] for k in rows]] * settings.strength
        blocks.append(sp.csr_matrix(dense))
    if settings.classes:
        blocks.append(_class_matrix(grams, _classes(words, vectors, settings)))
    return sp.hstack(blocks, format="csr")


def word_vectors(texts: Sequence[str], dimensions: int) -> tuple[list[str], NDArray[np.float64]]:
    """Return words, most frequent first, and a vector of unit length for each, shape (n_words, dimensions).

    Positive pointwise mutual information with the neighbours at `OFFSETS`, their counts smoothed by the power .75,
    reduced by singular value decomposition (Levy, Goldberg and Dagan 2015).
    """
    texts = texts[:: -(-len(texts) // MOST_TEXTS) or 1]
    documents = [text.split(" ") for text in texts]
    counts = Counter(word for document in documents for word in set(document))
    words = [word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= FEWEST]
    place = {word: k for k, word in enumerate(words)}
    unknown, border = len(words), [len(words)] * max(OFFSETS)
    stream = np.array([k for document in documents for k in [*(place.get(w, unknown) for w in document), *border]])
    blocks = [_neighbours(stream, offset, len(words)) for offset in OFFSETS]
    information = _positive_information(sp.hstack(blocks, format="coo"))
    left, size, _ = randomized_svd(information, min(dimensions, len(words) - 1), n_iter=3, random_state=0)
    vectors = left * np.sqrt(size)
    return words, np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def _neighbours(stream: NDArray[np.int_], offset: int, words: int) -> Any:
    """Count which context word stands `offset` places from each word."""
    here, there = (stream[:-offset], stream[offset:]) if offset > 0 else (stream[-offset:], stream[:offset])
    contexts = min(CONTEXTS, words)
    known = (here < words) & (there < contexts)
    return sp.csr_matrix((np.ones(int(known.sum())), (here[known], there[known])), shape=(words, contexts))


def _positive_information(counts: Any) -> Any:
    counts.sum_duplicates()
    rows, columns = np.asarray(counts.sum(axis=1)).ravel(), np.asarray(counts.sum(axis=0)).ravel() ** 0.75
    columns = columns / columns.sum()
    information = np.log(counts.data / (rows[counts.row] * columns[counts.col]))
    kept = information > 0
    return sp.csr_matrix((information[kept], (counts.row[kept], counts.col[kept])), shape=counts.shape)


def _classes(words: Sequence[str], vectors: NDArray[np.float64], settings: SharingSettings) -> dict[str, str]:
    """Return the name of each word's class; the most frequent words are their own."""
    count = min(settings.classes, len(words))
    labels = KMeans(count, n_init=1, max_iter=30, random_state=0).fit(vectors).labels_
    return {word: word if k < settings.kept else f"\x00{labels[k]}" for k, word in enumerate(words)}


def _class_matrix(grams: Sequence[str], classes: dict[str, str]) -> Any:
    """Sum the columns of word n-grams whose words have the same classes in the same order."""
    names: dict[str, int] = {}
    rows, columns = [], []
    for row, gram in enumerate(grams):
        name = " ".join(classes.get(word, "\x00") for word in gram.split(" "))
        if name != gram:
            rows.append(row)
            columns.append(names.setdefault(name, len(names)))
    return sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(grams), len(names)))
