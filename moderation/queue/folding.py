"""Texts and words folded for searching, so that they are found however they were typed or sent.

A folded text is what readers see, in NFKC, casefolded, without characters that nobody sees, and with one space for any
white space. It is made cluster by cluster (a character with the marks that join it), which is the same as made at once,
so that every character of it knows where it stood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple
from unicodedata import category, normalize

from moderation.seen import seen

MOST_MARKS = 30
"""Marks that join one character, as in Unicode's Stream-Safe Text Format; ordering many costs their square."""

MOST_SIGNS = 6
"""Characters that one may fold to. Two of Unicode's write a whole sentence and stay as they are."""

MOST_HITS = 1_000
"""Places in one text at which words are marked."""

SHOWN = 100
"""Characters of a text that a list shows on the narrowest screen."""

LEAD = 40
"""Characters before the first hit with which an excerpt begins, at most."""

# Unicode's Default_Ignorable_Code_Point, annotation marks, surrogates, and controls but for white space.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Beside marks: vowels and final consonants of Hangul, also half as wide, and the voice marks of narrow Katakana.
_JOINING = re.compile("[\u1160-\u11ff\u3131-\u318e\ud7b0-\ud7ff\uff9e-\uffdc]")
_QUOTES = '"“”„‟«»'
_TERM = re.compile(rf"(?<!\S)[{_QUOTES}]([^{_QUOTES}]*)[{_QUOTES}]?|(\S+)")


class Folded(NamedTuple):
    """A folded text that knows where it stood."""

    text: str
    """The folded text."""
    starts: list[int]
    """Where each of its characters begins in the text that was folded."""
    ends: list[int]
    """One past where it ends there."""


def fold(text: str) -> str:
    """Return a text folded."""
    if all(map(_alone, set(text))):  # at once, which is ten times as fast
        return " ".join(_normal(_HIDDEN.sub("", text)).split())
    return located(text).text


def fold_seen(source: str) -> str:
    """Return what readers see of a text that may hold markup, folded: what `versions.folded` keeps."""
    return fold(seen(source))


def located(text: str) -> Folded:
    """Return a text folded, with the places of its characters in it."""
    signs: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for first, last in _clusters(text):
        for sign in _sign(text[first]) if last == first + 1 else _cluster(text[first:last]):
            if sign == " " and (not signs or signs[-1] == " "):
                continue
            signs.append(sign)
            starts.append(first)
            ends.append(last)
    if signs and signs[-1] == " ":
        del signs[-1], starts[-1], ends[-1]
    return Folded("".join(signs), starts, ends)


def terms(words: str) -> tuple[str, ...]:
    """Return the words, and the phrases in quotation marks, that a text is to hold, folded, each once.

    What is nothing when it is folded is left out. A quotation mark that is not closed reaches to the end.
    """
    found = (fold(phrase or word) for phrase, word in _TERM.findall(words))
    return tuple(dict.fromkeys(term for term in found if term))


def hits(text: str, wanted: Iterable[str]) -> list[tuple[int, int]]:
    """Return where folded words stand in a text as its readers see it, in its order, without overlaps; the first ones.

    A hit takes in whole clusters: one that is found in the middle of one ("s" in "ß") has all of it.
    """
    wanted = tuple(wanted)
    if not wanted:
        return []
    folded = located(text)
    merged: list[tuple[int, int]] = []
    for first, last in sorted(place for term in wanted for place in _places(folded, term)):
        if merged and first < merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged[:MOST_HITS]


def around(text: str, wanted: Iterable[str], longest: int) -> str | None:
    """Return what stands around the first hit in a text; None where its beginning shows that, or nothing is found."""
    first, last = next(iter(hits(text, wanted)), (0, 0))
    if last <= SHOWN:
        return None
    start = max(first - LEAD, 0)
    gap = next((at for at in range(start, first) if text[at].isspace()), start - 1)
    return text[gap + 1 :][:longest]


def _places(folded: Folded, term: str) -> Iterator[tuple[int, int]]:
    """Yield where a term stands, the first `MOST_HITS` times."""
    at = folded.text.find(term)
    for _ in range(MOST_HITS):
        if at < 0:
            return
        last = at + len(term)
        yield folded.starts[at], folded.ends[last - 1]
        at = folded.text.find(term, last)


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each character with the marks that join it begins and ends; what nobody sees may stand inside."""
    start = end = marks = 0
    for at, kind in enumerate(map(_kind, text)):
        if kind == "hidden":
            continue
        if kind == "whole" or marks == MOST_MARKS or not end:
            if end:
                yield start, end
            start, marks = at, 0
        else:
            marks += 1
        end = at + 1
    if end:
        yield start, end


@lru_cache(maxsize=10_000)
def _kind(character: str) -> str:
    """Return "hidden" for what nobody sees, "joins" for what may join the character before it, else "whole"."""
    if _HIDDEN.match(character):
        return "hidden"
    return "joins" if category(character)[0] == "M" or _JOINING.match(character) else "whole"


@lru_cache(maxsize=10_000)
def _alone(character: str) -> bool:
    """Whether a character folds by itself, and to what Unicode says."""
    return _kind(character) != "joins" and len(_normal(character)) <= MOST_SIGNS


@lru_cache(maxsize=10_000)
def _sign(character: str) -> str:
    return _cluster(character)


def _cluster(cluster: str) -> str:
    """Return a cluster folded."""
    cluster = _HIDDEN.sub("", cluster)
    found = _normal(cluster)
    if len(found) > MOST_SIGNS * len(cluster):
        found = cluster.casefold()
    return "".join(" " if sign.isspace() else sign for sign in found)


def _normal(text: str) -> str:
    return normalize("NFKC", normalize("NFKC", text).casefold())
