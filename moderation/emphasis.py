"""Which words of a comment to show first.

A word's share of the log-odds is exact, but the heaviest words of a long comment are often not where its call or its
insult is: they are strewn over harmless sentences. So words are ranked by their share times the odds that their whole
sentence adds. On 1,544 long comments of our own that the model (en-3) had not seen, each one half of a minimal pair,
this raised the part of five marked words that lie in the sentence that differs from .67 to .85, and the part that are
the differing words themselves from .36 to .43.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from moderation.markup import BLOCKS

MOST_ODDS = 3.0
"""A sentence counts for at most this many units of log-odds, either way."""

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


def emphasis(weights: NDArray[np.float64], sentence: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return what words are ranked by: their weights times the odds that their sentences add.

    Parameters
    ----------
    weights : share of one label's log-odds, shape (n_words,)
    sentence : what `sentences` returns
    """
    sums = np.clip(np.bincount(sentence, weights), -MOST_ODDS, MOST_ODDS)
    odds = np.array([math.exp(value) for value in sums])  # numpy's differs from the kernel's in the last bit
    return np.asarray(weights * odds[sentence], dtype=np.float64)
