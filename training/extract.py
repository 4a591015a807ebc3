"""Count features through the compiled kernel, in memory that the number of *different* n-grams bounds.

scikit-learn's ``TfidfVectorizer`` keeps every n-gram of every text as a Python string before it drops the rare ones:
two million comments do not fit. Here the texts are read twice. The first reading counts in how many texts each 64-bit
hash stands; the second writes the columns of those that stand in enough of them. What comes out equals scikit-learn's
own, a test holds the two together: the same vocabulary and idf, and matrices to single precision. Any two of `n`
different n-grams share a hash with a chance of about ``n ** 2 / 2 ** 65``, one in 40,000 for 30 million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import Parallel, delayed
from numpy.typing import NDArray

from moderation import kernel
from moderation.index import bucket_bits

AT_ONCE = 10_000
"""Texts that are counted at once; results do not depend on it, memory does."""

GRAM = np.dtype([("hash", "u8"), ("count", "u4"), ("start", "u4"), ("length", "u4")], align=True)
"""An n-gram of one text, as the kernel counts it."""


class _Frequencies:
    """In how many texts each hash stands, kept as sorted arrays that are merged when they are of like size."""

    def __init__(self) -> None:
        self._runs: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []

    def add(self, hashes: NDArray[np.uint64], counts: NDArray[np.uint32]) -> None:
        """Add sorted, different hashes and their counts."""
        self._runs.append((hashes, counts))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._merge_last()

    def at_least(self, fewest: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Return the sorted hashes that stand in at least `fewest` texts, and in how many they do."""
        while len(self._runs) > 1:
            self._merge_last()
        hashes, counts = self._runs[0] if self._runs else (np.empty(0, np.uint64), np.empty(0, np.uint32))
        kept = counts >= fewest
        return hashes[kept], counts[kept]

    def _merge_last(self) -> None:
        (first, first_counts), (last, last_counts) = self._runs[-2:]
        hashes = np.concatenate((first, last))
        order = np.argsort(hashes, kind="stable")  # timsort: two sorted runs are merged in linear time
        hashes, counts = hashes[order], np.concatenate((first_counts, last_counts))[order]
        starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
        self._runs[-2:] = [(hashes[starts], np.add.reduceat(counts, starts, dtype=np.uint32))]


def extract(
    texts: Sequence[str], block: int, bounds: tuple[int, int], min_rows: int, *, jobs: int = 1
) -> tuple[list[str], NDArray[np.float64], Any]:
    """Count one block's features in normalised texts; needs the compiled kernel.

    Parameters
    ----------
    block : 0 for word n-grams, 1 for character n-grams
    bounds : fewest and most words or characters of an n-gram
    min_rows : in how many texts an n-gram must stand to be kept

    Returns
    -------
    the n-grams in the order of their columns (sorted, as scikit-learn has them), their idf, and the sparse TF-IDF
    matrix with rows of unit length, shape (n_texts, n_features), single precision

    Raises
    ------
    ValueError
        when no n-gram stands in enough texts.
    """
    frequencies = _Frequencies()
    for hashes, counts in _each(_hashes, texts, block, bounds, jobs=jobs):
        frequencies.add(hashes, counts)
    hashes, counts = frequencies.at_least(min_rows)
    del frequencies
    if not len(hashes):
        raise ValueError(f"expected an n-gram that stands in at least {min_rows} texts, got none")
    wanted = hashes, _buckets(hashes)
    idf = np.log((len(texts) + 1) / (counts + 1.0)) + 1.0
    total = int(counts.sum(dtype=np.int64))
    index = np.int32 if total < np.iinfo(np.int32).max else np.int64
    data, columns = np.empty(total, np.float32), np.empty(total, index)
    rows = np.zeros(len(texts) + 1, index)
    grams: list[str] = [""] * len(hashes)
    unseen, used, row = np.ones(len(hashes), bool), 0, 0
    for chunk, (values, places, sizes, spans) in zip(
        _chunks(texts), _each(_weigh, texts, block, bounds, wanted, idf, unseen, jobs=jobs), strict=True
    ):
        data[used : used + len(values)], columns[used : used + len(values)] = values, places
        rows[row + 1 : row + len(chunk) + 1] = used + np.cumsum(sizes, dtype=np.int64)
        used, row = used + len(values), row + len(chunk)
        for place, text, start, length in spans:
            grams[place] = f" {chunk[text]} "[start : start + length]
            unseen[place] = False
    order = sorted(range(len(grams)), key=grams.__getitem__)
    new = np.empty(len(order), index)
    new[order] = np.arange(len(order), dtype=index)
    for first in range(0, total, 1 << 24):
        columns[first : first + (1 << 24)] = new[columns[first : first + (1 << 24)]]
    matrix = sp.csr_matrix((data, columns, rows), shape=(len(texts), len(grams)), copy=False)
    matrix.sort_indices()
    return [grams[place] for place in order], idf[order], matrix


def _buckets(hashes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    bits = bucket_bits(len(hashes))
    edges = np.arange((1 << bits) + 1, dtype=np.uint64)
    return np.searchsorted(hashes >> np.uint64(64 - bits), edges).astype(np.uint32)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(texts[first : first + AT_ONCE]) for first in range(0, len(texts), AT_ONCE))


def _each(function: Any, texts: Sequence[str], *arguments: Any, jobs: int) -> Any:
    """Yield what a function makes of every chunk, in order; in threads, for the kernel and numpy release the GIL."""
    parallel = Parallel(n_jobs=jobs, prefer="threads", return_as="generator", pre_dispatch=2 * jobs)
    return parallel(delayed(function)(chunk, *arguments) for chunk in _chunks(texts))


def _count(
    texts: tuple[str, ...], block: int, bounds: tuple[int, int], *wanted: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    grams, sizes = kernel.COMPILED.count_ngrams(texts, block, *bounds, *wanted)
    return np.frombuffer(grams, GRAM), np.frombuffer(sizes, np.uint32)


def _hashes(
    texts: tuple[str, ...], block: int, bounds: tuple[int, int]
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return the sorted hashes of a chunk, and in how many of its texts each stands."""
    hashes = np.sort(_count(texts, block, bounds)[0]["hash"])
    starts = np.flatnonzero(np.concatenate((np.ones(min(len(hashes), 1), bool), hashes[1:] != hashes[:-1])))
    return hashes[starts], np.diff(starts, append=len(hashes)).astype(np.uint32)


def _weigh(
    texts: tuple[str, ...],
    block: int,
    bounds: tuple[int, int],
    wanted: tuple[NDArray[np.uint64], NDArray[np.uint32]],
    idf: NDArray[np.float64],
    unseen: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.uint32], list[tuple[int, int, int, int]]]:
    """Return values, places among the wanted, how many there are of each text, and where unseen n-grams stand."""
    grams, sizes = _count(texts, block, bounds, *wanted)
    places, rows = grams["hash"].astype(np.intp), np.repeat(np.arange(len(texts)), sizes)
    values = (1.0 + np.log(grams["count"])) * idf[places]
    values /= np.sqrt(np.bincount(rows, values * values, len(texts)))[rows]
    new = np.flatnonzero(unseen[places])
    new = new[np.unique(places[new], return_index=True)[1]]
    spans = (places[new], rows[new], grams["start"][new], grams["length"][new])
    return values.astype(np.float32), places, sizes, list(zip(*(column.tolist() for column in spans), strict=True))
