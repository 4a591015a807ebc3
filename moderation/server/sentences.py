"""Sentences of a comment, and offsets as JavaScript and Java count them."""

from __future__ import annotations

import re

MOST = 100
"""Most sentences of one comment."""

# A sentence ends at a line end, or at a sign that closes one, with the quotes after it, before white space.
# No sign is looked at twice: a run of signs is entered at its beginning alone, and never given back.
_END = re.compile(r"""(?<![.!?…؟۔।])[.!?…؟۔।]++["'’”»)\]]*+(?=\s)|[。！？]++["'’”»)\]]*+|\n""")

# A full stop after these does not end a sentence: titles, initials and the like.
_NOT_AN_END = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|rev|sr|jr|st|gov|gen|sen|rep|col|sgt|lt|hon|pres|mt|vs|etc|inc|ltd|co|no|vol|pp?|fig|"
    r"e\.g|i\.e|cf|al|approx|dept|est|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)|(?:^|[\s(])[A-Za-z](?:\.[A-Za-z])*)\.$",
    re.IGNORECASE,
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Return begin and end of every sentence, in code points; what is left out between them is white space.

    A text of white space alone is one sentence, so that there is always one. Of a text with more than `MOST` sentences
    neighbours are joined, so that no comment costs as much as a thousand.
    """
    found: list[tuple[int, int]] = []
    begin = 0
    for match in _END.finditer(text):
        end = match.end()
        if match.group().startswith(".") and _continues(text, match.start() + 1, end):
            continue
        _add(found, text, begin, end)
        begin = end
    _add(found, text, begin, len(text))
    if len(found) > MOST:
        step = -(-len(found) // MOST)
        found = [(group[0][0], group[-1][1]) for k in range(0, len(found), step) if (group := found[k : k + step])]
    return found or [(0, len(text))]


def _continues(text: str, stop: int, end: int) -> bool:
    """Tell whether a full stop belongs to a word, or is followed by a word in lower case."""
    if stop != end:
        return False
    following = text[end:].lstrip(" \t")[:1]
    return bool(_NOT_AN_END.search(text[max(0, stop - 16) : stop])) and not following.startswith("\n")


def _add(found: list[tuple[int, int]], text: str, begin: int, end: int) -> None:
    piece = text[begin:end]
    begin += len(piece) - len(piece.lstrip())
    end -= len(piece) - len(piece.rstrip())
    if begin < end:
        found.append((begin, end))


class Utf16:
    """Turns offsets in code points into offsets in UTF-16 code units."""

    __slots__ = ("_places",)

    def __init__(self, text: str) -> None:
        astral = not text.isascii() and max(text, default="") > "\uffff"
        self._places: list[int] | None = None
        if astral:
            places, at = [0], 0
            for character in text:
                at += 2 if character > "\uffff" else 1
                places.append(at)
            self._places = places

    def __call__(self, offset: int) -> int:
        """Return the offset in UTF-16 code units."""
        return offset if self._places is None else self._places[offset]
