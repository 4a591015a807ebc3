"""Finding features by the hash of their n-gram, so that a model needs no dictionary in memory.

Features of each block (word n-grams, character n-grams) stand in the order of a 64-bit hash. Its upper bits choose a
bucket, the 32 bits below them are the *fingerprint* that is compared. With 16 bits of bucket a strange n-gram is taken
for a known one with a chance of about n_features / 2**48 (one in 10**9 with 300,000 features); two known ones never
share a fingerprint, for another seed is tried until they do not. The compiled kernel has the same hash in C
(``_c/scan.h``), and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation import kernel

MOST_SEEDS = 64
"""Seeds that are tried; a collision among 300,000 features has a chance of 1 in 10,000 for each."""

_STEP = 0x9E3779B97F4A7C15
_MIX = 0xD6E8FEB86659FD93
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Index:
    """The features of a model in the order of their hashes; the words come before the characters."""

    rows: NDArray[Any]
    """One record per feature: ``idf`` (float32) and ``weights`` (int16, n_labels); shape (n_features,)."""
    fingerprints: NDArray[np.uint32]
    """Fingerprint of each feature, shape (n_features,)."""
    word_buckets: NDArray[np.uint32]
    """First feature of each bucket, and one past the last; shape (2**bits + 1,)."""
    char_buckets: NDArray[np.uint32]
    """The same for characters, counted from their first feature."""
    seed: int
    """What the hashes began with."""


def row_type(n_labels: int) -> np.dtype[Any]:
    """Return the type of a row: 4 bytes of idf and 2 per label, little-endian and without gaps."""
    return np.dtype([("idf", "<f4"), ("weights", "<i2", (n_labels,))])


def bucket_bits(n_features: int) -> int:
    """Return how many bits choose a bucket, so that a bucket holds one or two features on average."""
    return max(1, (n_features - 1).bit_length() - 1)


def build_index(
    words: Sequence[str], chars: Sequence[str], idf: NDArray[np.float32], weights: NDArray[np.int16]
) -> tuple[Index, NDArray[np.intp]]:
    """Sort a model's features by hash; return the index and, for each of its rows, which feature it was.

    Raises `ValueError` when no seed gives every n-gram a fingerprint of its own, as with an n-gram that stands twice.
    """
    for seed in range(MOST_SEEDS):
        blocks = [_sort(grams, seed, block) for block, grams in enumerate((words, chars))]
        if all(block is not None for block in blocks):
            break
    else:
        raise ValueError("two n-grams share a fingerprint under every seed; does one stand twice?")
    (word_order, word_prints, word_buckets), (char_order, char_prints, char_buckets) = blocks  # type: ignore[misc]
    order = np.concatenate((word_order, len(words) + char_order))
    rows = np.empty(len(order), dtype=row_type(weights.shape[1]))
    rows["idf"], rows["weights"] = idf[order], weights[order]
    return Index(rows, np.concatenate((word_prints, char_prints)), word_buckets, char_buckets, seed), order


def _sort(
    grams: Sequence[str], seed: int, block: int
) -> tuple[NDArray[np.intp], NDArray[np.uint32], NDArray[np.uint32]] | None:
    """Return order, fingerprints and buckets of one block; None when two n-grams share a fingerprint."""
    bits = bucket_bits(len(grams))
    hashes = hash_ngrams(grams, seed, block)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    seen = hashes >> np.uint64(32 - bits)
    if (seen[1:] == seen[:-1]).any():
        return None
    edges = np.arange((1 << bits) + 1, dtype=np.uint64)
    buckets = np.searchsorted(hashes >> np.uint64(64 - bits), edges)
    return order, seen.astype(np.uint32), buckets.astype("<u4")


def hash_ngrams(grams: Sequence[str], seed: int, block: int) -> NDArray[np.uint64]:
    """Return the hash of every n-gram; block 0 is words parted by single spaces, block 1 is characters."""
    if kernel.COMPILED is not None:
        return np.frombuffer(kernel.COMPILED.hash_ngrams(list(grams), seed, block), dtype=np.uint64)
    hash_one = _hash_words if block == 0 else _hash_chars
    start = _step(seed, block + 1)
    return np.fromiter((_mix(hash_one(gram, start)) for gram in grams), np.uint64, len(grams))


def _hash_words(gram: str, start: int) -> int:
    for word in gram.split(" "):
        start = _step(start, _hash_chars(word, 0))
    return start


def _hash_chars(gram: str, start: int) -> int:
    for character in gram:
        start = _step(start, ord(character))
    return start


def _step(state: int, value: int) -> int:
    return (state ^ value) * _STEP & _MASK


def _mix(state: int) -> int:
    state = (state ^ state >> 32) * _MIX & _MASK
    return state ^ state >> 29
