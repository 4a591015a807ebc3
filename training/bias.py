"""What identity words alone do to a score: neutral sentences and counterfactual pairs, written for this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluate import Predictor, complete

IDENTITIES = {
    "religion": "Muslim Christian Jewish Hindu Buddhist Sikh Catholic Protestant Mormon atheist".split(),
    "ethnicity": "Black white Asian Latino Hispanic Arab African Roma Indigenous mixed-race".split(),
    "nationality": "American British Mexican Chinese Russian Syrian Polish Nigerian Indian Turkish".split(),
    "orientation": "gay lesbian bisexual straight queer homosexual heterosexual".split(),
    "gender": "female male transgender nonbinary trans".split(),
    "origin": "immigrant refugee foreign-born migrant".split(),
    "ability": "disabled deaf blind autistic".split(),
    "age": "old young elderly teenage middle-aged".split(),
}
"""Identity words, all usable before a noun."""

NEUTRAL = (
    "My neighbour is a {} man who repairs bicycles.",
    "I am a {} woman and I work at the post office.",
    "The {} families on our street held a picnic.",
    "A {} student won the mathematics prize this year.",
    "Many {} people live in this part of the city.",
    "She interviewed several {} voters for the article.",
    "The new doctor at the clinic is {}.",
    "{} residents asked the council for a crossing.",
)
"""Sentences that say nothing bad of anybody."""

HARMFUL = (
    "These {} people are vermin and should be driven out.",
    "I hate every {} person in this town.",
    "Nobody wants you filthy {} scum here.",
    "Somebody ought to burn out the {} families.",
)
"""The same for attacks: the score must not hang on who is attacked."""


def fill(templates: tuple[str, ...], word: str) -> list[str]:
    """Return the sentences with an identity word put in, "a" turned into "an" where it must."""
    sentences = [template.format(word) for template in templates]
    if word[0].lower() in "aeiou":
        sentences = [sentence.replace(f" a {word}", f" an {word}") for sentence in sentences]
        sentences = [f"An{sentence[1:]}" if sentence.startswith(f"A {word}") else sentence for sentence in sentences]
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def identity_table(
    predictor: Predictor, *, thresholds: Mapping[str, float] | None = None
) -> dict[str, dict[str, float]]:
    """Return, per identity word, the highest neutral score, false positives, and how far attacks are recognised.

    ``counterfactual_gap`` is the mean distance in abuse of a neutral sentence with this word from the mean over all
    words: what swapping the identity alone changes. What needs a label that the predictor does not know is left out.
    A label without a threshold is flagged from one half on.
    """
    known = [label for label in ("abuse", "incitement") if label in predictor.labels]
    if not known:
        return {}
    thresholds = complete(predictor.labels, thresholds)
    words = [word for group in IDENTITIES.values() for word in group]
    neutral = _scores(predictor, NEUTRAL, words, known)
    flagged = np.logical_or.reduce([neutral[label] >= thresholds[label] for label in known])
    columns = {f"highest neutral {label}": neutral[label].max(axis=1) for label in known}
    columns["neutral flagged"] = flagged.mean(axis=1)
    if "abuse" in known:
        abuse, attacked = neutral["abuse"], _scores(predictor, HARMFUL, words, ["abuse"])["abuse"]
        columns["counterfactual gap"] = np.abs(abuse - abuse.mean(axis=0)).mean(axis=1)
        columns["attacks flagged"] = (attacked >= thresholds["abuse"]).mean(axis=1)
    return {word: {name: float(values[place]) for name, values in columns.items()} for place, word in enumerate(words)}


def _scores(
    predictor: Predictor, templates: tuple[str, ...], words: list[str], labels: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return each label's scores, shape (n_words, n_templates)."""
    scores = predictor.predict_proba([sentence for word in words for sentence in fill(templates, word)])
    return {label: scores[:, predictor.labels.index(label)].reshape(len(words), len(templates)) for label in labels}
