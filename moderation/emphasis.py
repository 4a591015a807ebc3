"""Which words of a comment to show first.

A word's share of the log-odds is exact, but the heaviest words of a long comment are often not where its call or its
insult is: they are strewn over harmless sentences. So words are ranked by their share, times the odds that their
sentence would give if it stood alone, times their length, for short words say little to a reader. On 1,111 long
comments of our own that a model had not seen, each one half of a minimal pair, this raised the part of five marked
words that lie in the sentence that differs from .70 to .86, and the part that are the differing words themselves from
.41 to .49; 18 % of the marked are words as frequent as "your" or "about", and without the length 27 %.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from moderation.markup import BLOCKS

MOST_ODDS = 6.0
"""A sentence counts for at most this many units of log-odds, either way."""

LONG = 6
"""Characters from which on words count alike."""

_BLOCK = "|".join(sorted(BLOCKS, key=len, reverse=True))
_END = re.compile(rf"""[.!?…]["'”’»)\]]*\s+|\n\s*|</?(?:{_BLOCK})\b[^<>]*>\s*""", re.IGNORECASE)


def sentences(text: str, starts: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return the number of the sentence that each word stands in, shape (n_words,).

    A sentence ends with a full stop, a question or an exclamation mark or an ellipsis before white space, and with a
    line or an HTML element that parts lines; marks that close a quotation or a bracket may stand between.

    Parameters
    ----------
    starts : first code point of each word
    """
    return np.searchsorted([match.end() for match in _END.finditer(text)], starts, side="right")


def emphasis(
    weights: NDArray[np.float64], sentence: NDArray[np.intp], lengths: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return what words are ranked by: their weights times the odds of their sentences times their lengths.

    In a sentence that stood alone every weight would be larger, for a text's values are divided by their norm, which
    grows about with the root of the number of words.

    Parameters
    ----------
    weights : share of one label's log-odds, shape (n_words,)
    sentence : what `sentences` returns
    lengths : characters of each word, shape (n_words,)
    """
    words = np.maximum(np.bincount(sentence), 1)
    sums = np.clip(np.bincount(sentence, weights) * np.sqrt(len(weights) / words), -MOST_ODDS, MOST_ODDS)
    odds = np.array([math.exp(value) for value in sums])  # numpy's differs from the kernel's in the last bit
    return np.asarray(weights * odds[sentence] * np.minimum(lengths, LONG), dtype=np.float64)
