"""What identity words alone do to a score: neutral sentences and counterfactual pairs, written for this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.text import normalise
from training.evaluate import LabelledSet, Predictor, complete
from training.measures import bias_aucs

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


MENTIONS = {
    "Muslim": "muslim muslims islam islamic",
    "Christian": "christian christians catholic catholics",
    "Jewish": "jew jews jewish",
    "Black": "black blacks african africans",
    "white": "white whites",
    "Latino": "latino latinos hispanic hispanics mexican mexicans",
    "Asian": "asian asians chinese indian indians",
    "gay": "gay gays lesbian lesbians homosexual homosexuals lgbt queer",
    "transgender": "trans transgender",
    "women": "woman women female females girl girls",
    "men": "man men male males boy boys",
    "immigrant": "immigrant immigrants migrant migrants refugee refugees",
    "disabled": "disabled disability autistic blind deaf retarded",
}
"""Words that make a comment one that mentions an identity; a stand-in for annotations, which our corpora lack."""

FEWEST_OF_A_GROUP = 10
"""Harmful and harmless comments that must mention an identity before it is measured."""


def subgroup_table(predictor: Predictor, labelled: LabelledSet, label: str = "abuse") -> dict[str, dict[str, Any]]:
    """Return subgroup, BPSN and BNSP AUC (Borkan et al. 2019) of comments that mention an identity, and how many do.

    Identities that too few harmful or harmless comments mention are left out.
    """
    if label not in predictor.labels:
        return {}
    known = np.flatnonzero(labelled.truth[label] >= 0)
    truth, texts = labelled.truth[label][known], [labelled.texts[place] for place in known.tolist()]
    scores = predictor.predict_proba(texts)[:, predictor.labels.index(label)]
    words = [set(normalise(text).split(" ")) for text in texts]
    out = {}
    for identity, names in MENTIONS.items():
        mentions = np.array([not found.isdisjoint(names.split()) for found in words], dtype=bool)
        if min((truth[mentions] == value).sum() for value in (0, 1)) >= FEWEST_OF_A_GROUP:
            out[identity] = {"comments": int(mentions.sum()), **bias_aucs(scores, truth, mentions)}
    return out


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
