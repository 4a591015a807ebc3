"""A comment's text in pieces, so that words can be marked in it: those that drove a score, and those looked for."""

from __future__ import annotations

import string
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from moderation.comment import Span
from moderation.emphasis import emphasis, sentences
from moderation.queue.folding import hits, terms
from moderation.seen import Seen

FOLD = 1_600
"""Characters of a text that are shown at once; the rest is folded."""

MOST = 20_000
"""Characters that a card carries at all; the rest is on the comment's own page."""

FAINTEST = 0.2
"""Share of the emphasis of a label's foremost word below which a word is not marked."""

STEPS = 4

Parts = tuple[tuple[str, bool], ...]
"""Stretches of a text, and whether each is a hit of a search."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What one word adds to one label."""

    label: str
    """The label."""
    weight: float
    """Its share of the label's log-odds."""
    step: str
    """How strongly it is marked, 1 to 4; "a" pulls away from the label."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text, marked or not."""

    text: str
    """The words as written."""
    weights: tuple[Weight, ...] = ()
    """Its weights; empty when it is not marked."""
    parts: Parts = ()
    """The words once more, with what was looked for."""

    @property
    def data(self) -> str:
        """All weights, for the page's script."""
        return " ".join(f"{one.label}:{one.weight:+.2f}:{one.step}" for one in self.weights)

    def of(self, label: str) -> Weight | None:
        """Return the weight for one label."""
        return next((one for one in self.weights if one.label == label), None)


class Reading:
    """A comment's text as its readers see it, in pieces, with the words in it that drove its scores.

    Parameters
    ----------
    source : the text as it came
    spans : weights of its words, at their places in it
    sought : words and phrases that were looked for, as a filter has them
    """

    def __init__(self, source: str, spans: Sequence[Span], sought: str = "") -> None:
        self._seen = Seen(source)
        self.text = self._seen.text
        self.source = None if self._seen.as_it_came else source
        """The text as it came, where its readers see something else."""
        self.hits = hits(self.text, terms(sought))
        """Where what was looked for stands in the text."""
        self._words = [(*self._seen.place(span.start, span.end), span, share) for span, share in _shares(source, spans)]

    def pieces(self, start: int = 0, end: int | None = None) -> list[Piece]:
        """Return text[start:end] in pieces. Joined, they are that text exactly, whatever the spans say."""
        end = len(self.text) if end is None else min(end, len(self.text))
        words: dict[tuple[int, int], list[Weight]] = defaultdict(list)
        for first, last, span, share in self._words:
            step = _step(share)
            if step and start <= first < last <= end and _word(self.text[first:last]):
                words[first, last].append(Weight(span.label, span.weight, step))
        out: list[Piece] = []
        at = start
        for (first, last), weights in sorted(words.items()):
            if first < at:  # overlaps what is marked already
                continue
            if first > at:
                out.append(self._piece(at, first))
            out.append(self._piece(first, last, tuple(weights)))
            at = last
        if at < end:
            out.append(self._piece(at, end))
        return out

    def _piece(self, first: int, last: int, weights: tuple[Weight, ...] = ()) -> Piece:
        return Piece(self.text[first:last], weights, _parts(self.text, self.hits, first, last))

    def drivers(self, label: str, most: int = 6) -> list[tuple[str, float]]:
        """Return the words that drive a label most, heaviest first, each once with its weights added up."""
        total: dict[str, float] = defaultdict(float)
        rank: dict[str, float] = defaultdict(float)
        for first, last, span, share in self._words:
            if span.label == label:
                word = self.text[first:last].casefold()[:40]
                total[word] += span.weight
                rank[word] += share
        towards = sorted((-rank[word], word) for word, weight in total.items() if weight > 0 and _word(word))[:most]
        return sorted(((word, total[word]) for _, word in towards), key=lambda one: (-one[1], one[0]))


def sought(text: str, words: str) -> Parts:
    """Return a text as its readers see it in stretches, with those that a filter's words look for."""
    return _parts(text, hits(text, terms(words)), 0, len(text))


def _parts(text: str, places: Sequence[tuple[int, int]], start: int, end: int) -> Parts:
    """Return text[start:end] in stretches; `places` are those of the hits, in their order."""
    out: list[tuple[str, bool]] = []
    at = start
    for first, last in places[bisect_right(places, start, key=lambda place: place[1]) :]:
        if first >= end:
            break
        first, last = max(first, start), min(last, end)
        if first > at:
            out.append((text[at:first], False))
        out.append((text[first:last], True))
        at = last
    return (*out, (text[at:end], False)) if at < end else tuple(out)


def _shares(text: str, spans: Sequence[Span]) -> Iterator[tuple[Span, float]]:
    """Yield each span and its emphasis as a share of its label's foremost; for words that pull away, its weight's."""
    for label in sorted({span.label for span in spans}):
        of_label = [span for span in spans if span.label == label]
        weights = np.array([span.weight for span in of_label])
        starts, ends = (
            np.array(places, np.int32) for places in zip(*((s.start, s.end) for s in of_label), strict=True)
        )
        ranks = emphasis(weights, sentences(text, starts), ends - starts)
        shares = np.where(weights > 0, ranks / (ranks.max() or 1.0), weights / (np.abs(weights).max() or 1.0))
        yield from zip(of_label, shares.tolist(), strict=True)


def _step(share: float) -> str:
    if share < -2 * FAINTEST:
        return "a"
    return str(min(STEPS, 1 + int(share * STEPS))) if share >= FAINTEST else ""


def _word(text: str) -> bool:
    """Whether there is more than punctuation to see; what a full stop weighs tells a reader nothing."""
    return not all(char.isspace() or char in string.punctuation for char in text)


def folded(text: str, whole: bool = False) -> tuple[int, int]:
    """Return where a text is folded, and where it is cut; both its length when it is short, or asked for whole."""
    if whole or len(text) <= FOLD * 1.25:
        return len(text), len(text)
    space = text.rfind(" ", FOLD - 200, FOLD)
    return (space if space > 0 else FOLD), min(len(text), MOST)
