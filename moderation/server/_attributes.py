"""Perspective's attributes, and what a request for one means here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from moderation.server.score_map import Column, ScoreMap

OWN_LABELS: Mapping[str, str] = {
    "TOXICITY": "abuse",
    "SEVERE_TOXICITY": "severe_abuse",
    "IDENTITY_ATTACK": "identity_attack",
    "INSULT": "insult",
    "PROFANITY": "profanity",
    "THREAT": "threat",
    "SEXUALLY_EXPLICIT": "sexually_explicit",
    "INCITEMENT": "incitement",
    "ABUSE": "abuse",
}
"""The attributes that we have, and the label with the same meaning. INCITEMENT and ABUSE are ours alone: they are the
model's own probabilities, on no other scale."""

EXPERIMENTAL = "_EXPERIMENTAL"

NEAREST: Mapping[str, str] = {"OBSCENE": "PROFANITY", "TOXICITY_FAST": "TOXICITY"}
"""Attributes of Perspective's that we do not have and that mean the same as one that we have. They are answered where
unknown attributes are not refused."""

NOT_HERE: Sequence[str] = (
    *("FLIRTATION", "ATTACK_ON_AUTHOR", "ATTACK_ON_COMMENTER", "INCOHERENT", "INFLAMMATORY", "LIKELY_TO_REJECT"),
    *("SPAM", "UNSUBSTANTIAL", "AFFINITY_EXPERIMENTAL", "COMPASSION_EXPERIMENTAL", "CONSTRUCTIVE_EXPERIMENTAL"),
    *("CURIOSITY_EXPERIMENTAL", "NUANCE_EXPERIMENTAL", "PERSONAL_STORY_EXPERIMENTAL", "REASONING_EXPERIMENTAL"),
    *("RESPECT_EXPERIMENTAL", "ALIENATION_EXPERIMENTAL", "FEARMONGERING_EXPERIMENTAL", "GENERALIZATION_EXPERIMENTAL"),
    *("MORAL_OUTRAGE_EXPERIMENTAL", "POWER_APPEAL_EXPERIMENTAL", "SCAPEGOATING_EXPERIMENTAL"),
)
"""Attributes of Perspective's for which the model has no head."""


def base_name(name: str) -> str:
    """Return an attribute's name without a version (``TOXICITY@6``) and without ``_EXPERIMENTAL``."""
    return name.partition("@")[0].removesuffix(EXPERIMENTAL)


class Attributes:
    """The attributes that one model gives.

    Parameters
    ----------
    labels : labels of the model
    score_map : the scale of Perspective's scores; None: the model's own probabilities
    nearest : whether to answer the attributes in `NEAREST`
    """

    def __init__(self, labels: Sequence[str], score_map: ScoreMap | None, *, nearest: bool) -> None:
        own = {name: Column(labels.index(label)) for name, label in OWN_LABELS.items() if label in labels}
        mapped = score_map.columns(labels) if score_map else {}
        self._columns = own | {name: column for name, column in mapped.items() if name in own}
        self._nearest = NEAREST if nearest else {}
        self.names = tuple(self._columns)
        """Names of all attributes, without twins and versions."""

    def column(self, name: str) -> Column | None:
        """Return what a requested name stands for; None: we do not have it."""
        found = self._columns.get(name)
        if found is None:
            base = base_name(name)
            found = self._columns.get(self._nearest.get(base, base))
        return found

    def label(self, name: str, labels: Sequence[str]) -> str | None:
        """Return the label with an attribute's meaning; None: we do not have it."""
        column = self.column(name)
        return labels[column.own] if column else None
