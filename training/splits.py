"""Bring corpora together into one table, keep what is for measuring out of training, and remove repeats.

Every row belongs to one part:

``test``   corpora with the role *evaluate*, test splits, a tenth of the news comments, and whole cases and voices of
           our own comments; never trained on, by any route
``tune``   a twentieth of the rest, for calibration and for choosing settings
``train``  what is left, less every text that equals or nearly equals one in ``test``
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from moderation import kernel
from moderation.markup import plain
from moderation.text import normalise
from training.corpora import LABELS, Corpus, Row
from training.own import HeldBack

SHINGLE = 8
"""Words in a shingle; two texts that share half of their shingles are near copies."""

NEWS = "NEWS"
"""How the registry marks corpora of reader comments under news stories."""

_NOT_A_LETTER = re.compile(r"[^a-z]+")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of many corpora, side by side."""

    rows: list[Row]
    """Where each row comes from."""
    texts: list[str]
    """The normalised texts."""
    labels: NDArray[np.int8]
    """1, 0 or -1 (the corpus does not say), shape (n_rows, n_labels), columns as `LABELS`."""
    parts: NDArray[np.str_]
    """``train``, ``tune`` or ``test`` for each row."""

    @property
    def corpora(self) -> NDArray[np.str_]:
        """Name of each row's corpus."""
        return np.array([row.corpus for row in self.rows])

    def take(self, chosen: NDArray[np.bool_]) -> Table:
        """Return the rows where `chosen` is true."""
        places = np.flatnonzero(chosen)
        rows, texts = [self.rows[k] for k in places], [self.texts[k] for k in places]
        return Table(rows, texts, self.labels[places], self.parts[places])

    def part(self, name: str) -> Table:
        """Return the rows of one part."""
        return self.take(self.parts == name)


def bucket(key: str, buckets: int) -> int:
    """Put a key into one of `buckets`, the same one for ever."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % buckets


def copy_key(text: str) -> str:
    """Return what two copies of one text have in common: its letters. `text` is normalised."""
    return _NOT_A_LETTER.sub("", text) or text


def assign_part(row: Row, text: str, corpus: Corpus | None, held_back: HeldBack) -> str:
    """Say which part a row belongs to; `corpus` is None for our own comments, `text` is normalised."""
    if corpus is None:
        if row.case in held_back.cases or row.source.get("voice") in held_back.voices:
            return "test"
        return "tune" if bucket(f"{row.case} {row.source.get('pair') or row.id}", 20) == 2 else "train"
    if corpus.role == "evaluate" or row.split == "test":
        return "test"
    place = bucket(copy_key(text), 20)
    if corpus.domain.startswith(NEWS) and place < 2:
        return "test"
    return "tune" if place == 2 else "train"


def assemble(groups: Iterable[tuple[Corpus | None, Sequence[Row]]], held_back: HeldBack, *, jobs: int = 1) -> Table:
    """Normalise, assign parts and remove repeats.

    A text that stands in ``test`` is dropped from the other parts, also as a near copy; a text that stands several
    times in ``train`` or ``tune`` is kept once, with what any of its copies says of each label, and unknown where
    they disagree.
    """
    pairs = [(corpus, row) for corpus, rows in groups for row in rows]
    texts = _normalise_all([row.text for _, row in pairs], jobs)
    parts = [assign_part(row, text, corpus, held_back) for (corpus, row), text in zip(pairs, texts, strict=True)]
    _move_pairs_together([row for _, row in pairs], parts)
    keep, labels = _without_repeats(texts, parts, np.array([_signs(row) for _, row in pairs], dtype=np.int8))
    return Table([pairs[k][1] for k in keep], [texts[k] for k in keep], labels, np.array([parts[k] for k in keep]))


def _signs(row: Row) -> list[int]:
    """Return 1, 0 or -1 per label; a machine's score between 0 and 1 is no label."""
    return [value if type(value := row.labels[label]) is int else -1 for label in LABELS]


def _normalise_all(texts: Sequence[str], jobs: int) -> list[str]:
    size = 2_000
    chunks = [texts[first : first + size] for first in range(0, len(texts), size)]
    done = Parallel(n_jobs=jobs)(delayed(_normalise_chunk)(chunk) for chunk in chunks)
    return [text for chunk in done for text in chunk]


def _normalise_chunk(texts: Sequence[str]) -> list[str]:
    if kernel.COMPILED is None:
        return [normalise(text) for text in texts]
    return [" ".join(form for form, _, _ in kernel.COMPILED.tokens(plain(text))) for text in texts]


def _move_pairs_together(rows: Sequence[Row], parts: list[str]) -> None:
    """Put both halves of a minimal pair into ``test`` when one is there: the other would give it away."""
    tested = {(row.case, row.source["pair"]) for row, part in zip(rows, parts, strict=True) if _held(row, part)}
    for place, row in enumerate(rows):
        if row.source.get("pair") and (row.case, row.source["pair"]) in tested:
            parts[place] = "test"


def _held(row: Row, part: str) -> bool:
    return part == "test" and bool(row.source.get("pair"))


def _without_repeats(
    texts: Sequence[str], parts: Sequence[str], labels: NDArray[np.int8]
) -> tuple[list[int], NDArray[np.int8]]:
    """Return the rows to keep and their labels, those of copies merged."""
    tested = [place for place, part in enumerate(parts) if part == "test"]
    taken = {copy_key(texts[place]) for place in tested}
    shingles = {shingle for place in tested for shingle in _shingles(texts[place])}
    copies: dict[str, list[int]] = {}
    for place, part in enumerate(parts):
        key = copy_key(texts[place])
        if part != "test" and texts[place] and key not in taken and not _mostly_in(texts[place], shingles):
            copies.setdefault(key, []).append(place)
    merged = {places[0]: _agreed(labels[places]) for places in copies.values()}
    merged |= {place: labels[place] for place in tested}
    kept = sorted(merged)
    return kept, np.array([merged[place] for place in kept], dtype=np.int8).reshape(-1, labels.shape[1])


def _agreed(labels: NDArray[np.int8]) -> NDArray[np.int8]:
    """Merge labels of copies, shape (n_copies, n_labels): what those that know say, unknown where they contradict."""
    says_no, says_yes = (labels == 0).any(axis=0), (labels == 1).any(axis=0)
    merged = np.full(labels.shape[1], -1, dtype=np.int8)
    merged[says_no & ~says_yes] = 0
    merged[says_yes & ~says_no] = 1
    return merged


def _shingles(text: str) -> set[int]:
    words = text.split(" ")
    return {hash(" ".join(words[first : first + SHINGLE])) for first in range(len(words) - SHINGLE + 1)}


def _mostly_in(text: str, shingles: set[int]) -> bool:
    own = _shingles(text)
    return bool(own) and 2 * len(own & shingles) >= len(own)
