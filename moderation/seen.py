"""A comment's text as its readers see it: without the markup, which scoring reads past in the same way."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from moderation.markup import has_signs, located

MOST_LINES = 2
"""Line breaks in a row that tags can make; the empty elements of some editors would make pages of them."""

_GAP = re.compile(r"(?<!\s)\s++")


class Seen:
    """A text as its readers see it, and where it stood in the text as it came.

    Where nothing would be left to see, for example of an image alone, it is the text as it came.
    """

    def __init__(self, source: str) -> None:
        self.text = source
        """What is seen."""
        self._places: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
        if has_signs(source):
            words, starts, ends = located(source)
            kept = _kept(words, source, starts)
            text = "".join(char for char, keep in zip(words, kept.tolist(), strict=True) if keep)
            if text != source and text.strip():
                self.text, self._places = text, (starts[kept], ends[kept])

    @property
    def as_it_came(self) -> bool:
        """Whether there is no markup in the text."""
        return self._places is None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the text as it came stands in what is seen."""
        if self._places is None:
            return start, end
        starts, ends = self._places
        return int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end, side="left"))


def seen(text: str) -> str:
    """Return a text as its readers see it."""
    return Seen(text).text if has_signs(text) else text


def _kept(words: str, source: str, starts: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which characters are shown: where tags break lines, no white space but their first breaks."""
    kept = np.ones(len(words), bool)
    for gap in _GAP.finditer(words):
        first, last = gap.span()
        made = [at for at in range(first, last) if words[at] == "\n" and source[starts[at]] == "<"]
        if made:
            kept[first:last] = False
            if first > 0 and last < len(words):
                kept[made[:MOST_LINES]] = True
    return kept
