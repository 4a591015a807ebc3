"""The one definition of the model's features: TF-IDF over word and character n-grams.

scikit-learn is the specification. `training.pipeline` hands these settings to scikit-learn's own
``TfidfVectorizer`` (once with ``analyzer="word"``, once with ``analyzer="char_wb"``) and the scorer reads the same
n-grams with the functions below; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

MAX_NGRAM = 8
"""Longest n-gram that a model may use."""

TOKEN_PATTERN = r"[^ ]+"
"""How scikit-learn is to split a normalised text: at the single spaces that `moderation.text` leaves."""


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which n-grams a model looks at."""

    word_ngrams: tuple[int, int] = (1, 2)
    """Fewest and most tokens in a word n-gram."""
    char_ngrams: tuple[int, int] = (2, 6)
    """Fewest and most characters in a character n-gram inside one token, its two border spaces included."""

    def __post_init__(self) -> None:
        for name, bounds in asdict(self).items():
            low, high = bounds
            if not 1 <= low <= high <= MAX_NGRAM:
                raise ValueError(f"{name}: expected 1 <= fewest <= most <= {MAX_NGRAM}, got {bounds}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Build from the manifest's ``features`` object; raise `ValueError` naming what is wrong."""
        if set(data) != {"word_ngrams", "char_ngrams"}:
            raise ValueError(f"features: expected word_ngrams and char_ngrams, got {sorted(data)}")
        return cls(_bounds(data, "word_ngrams"), _bounds(data, "char_ngrams"))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {name: list(bounds) for name, bounds in asdict(self).items()}


def _bounds(data: Mapping[str, Any], name: str) -> tuple[int, int]:
    value = data[name]
    if not (isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)):
        raise ValueError(f"{name}: expected two integers, got {value!r}")
    return value[0], value[1]


def word_ngrams(tokens: Sequence[str], bounds: tuple[int, int]) -> list[tuple[str, int, int]]:
    """Return every n-gram of tokens with its first token and one past its last.

    The order is that of scikit-learn's ``analyzer="word"``: all of one length before the next.
    """
    low, high = bounds
    return [
        (" ".join(tokens[first : first + size]), first, first + size)
        for size in range(low, min(high, len(tokens)) + 1)
        for first in range(len(tokens) - size + 1)
    ]


def char_ngrams(token: str, bounds: tuple[int, int]) -> list[str]:
    """Return the character n-grams of one token with a space at either border, as ``analyzer="char_wb"`` does.

    A token shorter than an n-gram counts once, whole.
    """
    low, high = bounds
    padded = f" {token} "
    grams = []
    for size in range(low, high + 1):
        grams.append(padded[:size])
        if size >= len(padded):
            break
        grams += [padded[first : first + size] for first in range(1, len(padded) - size + 1)]
    return grams
