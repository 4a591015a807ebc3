"""How well a model sees through disguises: our own held-back harmful comments, clean and disguised."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np

from training.corpora import LABELS
from training.evaluate import Predictor, complete
from training.splits import Table

_LEET = str.maketrans("aeiost", "431057")
_LOOK_ALIKE = str.maketrans("aceopxyi", "асеорхуі")
_FRIENDLY = "I love this paper and its readers, have a wonderful day everybody, thank you and best wishes to all. "


def _inside(word: str) -> bool:
    """Say whether a word is worth disguising."""
    return len(word) > 3 and word.isalpha()


def _words(text: str, change: Callable[[str], str]) -> str:
    return " ".join(change(word) if _inside(word) else word for word in text.split(" "))


def leet(text: str, _: random.Random) -> str:
    """Write letters inside words as digits."""
    return _words(text, lambda word: word[0] + word[1:-1].translate(_LEET) + word[-1])


def zero_width(text: str, _: random.Random) -> str:
    """Put a zero-width space into every word."""
    return _words(text, lambda word: word[:2] + "\u200b" + word[2:])


def look_alikes(text: str, _: random.Random) -> str:
    """Write letters in Cyrillic look-alikes."""
    return _words(text, lambda word: word.translate(_LOOK_ALIKE))


def spaced(text: str, dice: random.Random) -> str:
    """Space out the letters of a third of the words, with dots or spaces."""
    joint = dice.choice([".", " ", "-"])
    return _words(text, lambda word: joint.join(word) if dice.random() < 0.34 else word)


def elongated(text: str, dice: random.Random) -> str:
    """Stretch a letter of every word."""

    def stretch(word: str) -> str:
        place = dice.randrange(1, len(word))
        return word[:place] + word[place] * 4 + word[place + 1 :]

    return _words(text, stretch)


def starred(text: str, dice: random.Random) -> str:
    """Put a star for a vowel inside half of the words."""

    def mask(word: str) -> str:
        vowels = [place for place in range(1, len(word) - 1) if word[place] in "aeiou"]
        if not vowels or dice.random() < 0.5:
            return word
        place = dice.choice(vowels)
        return word[:place] + "*" + word[place + 1 :]

    return _words(text, mask)


def swapped(text: str, dice: random.Random) -> str:
    """Swap two neighbouring letters inside half of the words."""

    def swap(word: str) -> str:
        if len(word) < 5 or dice.random() < 0.5:
            return word
        place = dice.randrange(1, len(word) - 2)
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]

    return _words(text, swap)


def joined(text: str, dice: random.Random) -> str:
    """Leave out a third of the spaces."""
    return "".join(" " if character == " " and dice.random() > 0.34 else character.strip() for character in text)


def padded(text: str, _: random.Random) -> str:
    """Put friendly words before and after."""
    return f"{_FRIENDLY}{text} {_FRIENDLY.strip()}"


ATTACKS: dict[str, Callable[[str, random.Random], str]] = {
    "clean": lambda text, _: text,
    "leet": leet,
    "zero-width": zero_width,
    "look-alikes": look_alikes,
    "spaced letters": spaced,
    "elongation": elongated,
    "stars": starred,
    "swapped letters": swapped,
    "joined words": joined,
    "friendly padding": padded,
}
"""What people do to get past a filter."""

HARM = ("incitement", "abuse")
"""Labels that somebody would want to get past a filter with."""


def evasion_table(
    predictor: Predictor, table: Table, *, thresholds: Mapping[str, float] | None = None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Return, per attack, the share of our own held-back harmful comments that still reach the thresholds.

    A label without a threshold is flagged from one half on; one that the predictor does not know, or that no comment
    has, is left out.
    """
    own = table.take(table.corpora == "authored")
    known = [label for label in HARM if label in predictor.labels]
    if not known or not own.rows:
        return {}
    thresholds = complete(predictor.labels, thresholds)
    truth = {label: own.labels[:, LABELS.index(label)] == 1 for label in HARM}
    harmless = ~np.logical_or.reduce(list(truth.values()))
    out = {}
    for name, attack in ATTACKS.items():
        dice = random.Random(seed)
        scores = predictor.predict_proba([attack(row.text, dice) for row in own.rows])
        flagged = {label: scores[:, predictor.labels.index(label)] >= thresholds[label] for label in known}
        measured = {f"{label} recall": flagged[label][truth[label]] for label in known}
        measured["harmless flagged"] = np.logical_or.reduce(list(flagged.values()))[harmless]
        out[name] = {column: float(found.mean()) for column, found in measured.items() if len(found)}
    return out
