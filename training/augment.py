"""Copies of our own comments that teach what must not matter: disguises, friendly words around, who is spoken of.

Harmful and harmless comments are copied alike, so that the copying itself tells nothing. Copies are made of the
``train`` part alone and never measured on.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from moderation.text import normalise
from training.bias import IDENTITIES, fill
from training.corpora import LABELS, Row
from training.evasion import elongated, joined, leet, spaced, starred, swapped
from training.fit import OWN
from training.splits import Table, bucket

MARK = "~"
"""Stands in the id of every copy, after the id of the original."""

DISGUISES: tuple[Callable[[str, random.Random], str], ...] = (
    starred,
    starred,
    swapped,
    joined,
    elongated,
    leet,
    spaced,
)
"""What is done to a copy; stars three times, for the normaliser cannot see through them."""

FRIENDLY = (
    "Thanks for this thoughtful piece.",
    "What a beautiful morning it is here by the sea.",
    "Great reporting as always, keep up the good work.",
    "Hello everyone, hope you are all keeping well.",
    "Peace and love to all of you.",
    "I enjoy reading the comments here every evening.",
    "Many thanks to the moderators, you do a fine job.",
    "Wishing everybody a happy weekend with family and friends.",
    "Lovely photo at the top of the article, by the way.",
    "God bless you all and take care.",
    "My grandmother used to read us this newspaper at breakfast.",
    "Kind regards from a long-time subscriber.",
    "Cheers, and good night from Wellington.",
    "It is so nice to see people talk to each other here.",
    "Best column in years, truly, I learned a lot.",
    "Congratulations to the whole team on the new website.",
    "Enjoy the sunshine, dear neighbours.",
    "With warm greetings to the editor and all readers.",
    "I am grateful for good friends and good coffee.",
    "Have a great day, stay safe and be kind.",
    "Thank you so much for the interesting article!",
    "The garden is in bloom and the children are laughing.",
    "Respect to everyone who works nights for us.",
    "We all love our town and wish the best for it.",
)
"""Harmless words to hide behind, written for this project; the evasion measure uses others."""

NEUTRAL_FRAMES = (
    "My {} cousin plays the cello in an orchestra.",
    "Our {} dentist retires in June and we will miss her.",
    "Two {} brothers opened a bakery on the corner.",
    "I had lunch with a {} colleague from the second floor.",
    "There is a {} choir that sings in the park on Sundays.",
    "Three {} nurses work on my mother's ward.",
    "Our new goalkeeper is {}.",
    "Her best friend is {} and they have known each other since school.",
    "He is {}, like his father and his grandfather.",
    "They are {}. So what?",
    "As a {} reader of this paper I enjoyed the interview.",
    "I'm {} and I have lived on this street for thirty years.",
    "We are a {} couple with two children and a dog.",
    "A {} lawyer from Leeds will lead the inquiry.",
    "It turns out that the author is {}.",
    "Some {} parents asked for a later start of school.",
    "Young {} writers read from their new books last night.",
    "The museum shows {} painters of the last century.",
    "{} voters split evenly between the two parties.",
    "{} shopkeepers say that trade was slow this summer.",
    "One of my aunts is {}, and so is her flatmate.",
    "More {} women study engineering than ten years ago.",
    "Most {} men I know like football and hate queues.",
    "The {} community raised money for the new roof.",
    "A survey of {} households found higher rents everywhere.",
    "My landlord is {} and he fixed the boiler the same day.",
    "The bus driver, a {} woman, waited for me. Thank you!",
    "It was a {} engineer who built this bridge.",
    "The plumber who came on Friday is {}.",
    "The film is about a {} teenager who wants to be a pilot.",
    "Why was no {} candidate invited to the debate?",
    "Every {} person I asked had a different opinion.",
    "{} people pay the same taxes as the rest of us.",
    "Being {} has nothing to do with how well you drive.",
    "The mayor, who is {}, opened the swimming pool.",
    "My son married a {} girl and the wedding was lovely.",
    "The police are looking for witnesses, among them a {} man with a bicycle.",
    "Not all {} people think alike, and why should they?",
    "Yes, I am {}, and no, I do not want a discount.",
    "A {} friend told me about the new tram line.",
    "The {} team won the quiz again.",
)
"""Harmless sentences that every identity is put into (Dixon et al. 2018); the measure of bias uses others."""

_FIXED = ("religion", "nationality", "orientation", "gender", "origin", "ability")
_NAMES = {name for group in _FIXED for name in IDENTITIES[group]} | {
    "Black",
    "Asian",
    "Latino",
    "Arab",
    "African",
    "Roma",
}
_NAMES -= {"female", "male", "straight", "Indian", "migrant", "immigrant", "refugee", "blind", "deaf"}
_SWAPPABLE = tuple(sorted(_NAMES))
_IDENTITY = re.compile(rf"\b(?:(an?) )?({'|'.join(_SWAPPABLE)})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How many copies are made, as a share of our own comments (of each kind)."""

    disguised: float = 0.5
    """Copies in disguise."""
    padded: float = 0.4
    """Copies between harmless sentences."""
    swaps: int = 2
    """Copies with another identity, for every comment that names one."""
    frames: int = 28
    """How many of `NEUTRAL_FRAMES` every identity is put into."""


def augment(train: Table, settings: AugmentSettings) -> Table:
    """Return the copies as a table of their own; the same rows and settings give the same copies."""
    own = [place for place, row in enumerate(train.rows) if row.corpus == OWN]
    pads = _pads(train, own)
    found: list[tuple[int, str, str]] = []
    for place in own:
        row = train.rows[place]
        dice = random.Random(bucket(f"{row.id} {row.text}", 1 << 32))
        if dice.random() < settings.disguised:
            found.append((place, "disguised", dice.choice(DISGUISES)(row.text, dice)))
        if dice.random() < settings.padded:
            found.append((place, "padded", _pad(row.text, pads, dice)))
        for number in range(settings.swaps if _IDENTITY.search(row.text) else 0):
            found.append((place, f"swapped{number}", _swap(row.text, dice)))
    places = [place for place, _, _ in found]
    rows = [
        replace(train.rows[place], id=f"{train.rows[place].id}{MARK}{kind}", text=text) for place, kind, text in found
    ]
    copies = Table(rows, [normalise(text) for _, _, text in found], train.labels[places], np.array(train.parts[places]))
    return joined_tables(copies, _frames(settings.frames)) if settings.frames and own else copies


def _frames(count: int) -> Table:
    """Return harmless sentences: every identity in `count` of `NEUTRAL_FRAMES`, which take turns."""
    words = [word for group in IDENTITIES.values() for word in group]
    turns = [NEUTRAL_FRAMES[first:] + NEUTRAL_FRAMES[:first] for first in range(len(NEUTRAL_FRAMES))]
    texts = [text for turn, word in enumerate(words) for text in fill(turns[turn * 5 % len(turns)][:count], word)]
    labels: dict[str, float | None] = dict.fromkeys(LABELS, 0)
    rows = [
        Row(OWN, f"frame-{number}{MARK}frame", text, None, labels, None, None, "neutral frames", {"pair": None})
        for number, text in enumerate(texts)
    ]
    known = np.zeros((len(rows), len(LABELS)), np.int8)
    return Table(rows, [normalise(text) for text in texts], known, np.full(len(rows), "train"))


def joined_tables(first: Table, second: Table) -> Table:
    """Return the rows of both."""
    return Table(
        [*first.rows, *second.rows],
        [*first.texts, *second.texts],
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.parts, second.parts]),
    )


def _pads(train: Table, own: Sequence[int]) -> list[str]:
    """Return what to pad with: friendly sentences, and harmless comments of our own of ordinary length."""
    harmless = [train.rows[place].text for place in own if not (train.labels[place] == 1).any()]
    return [text for text in harmless if 20 <= len(text) <= 160]


def _pad(text: str, pads: Sequence[str], dice: random.Random) -> str:
    def some() -> str:
        friendly = dice.sample(FRIENDLY, dice.choice([1, 2, 2, 3]))
        return " ".join([*friendly, dice.choice(pads)] if pads and dice.random() < 0.4 else friendly)

    where = dice.choice(["before", "after", "around"])
    before = some() + " " if where != "after" else ""
    return before + text + (" " + some() if where != "before" else "")


def _swap(text: str, dice: random.Random) -> str:
    """Put another identity for each that is named, the same one for the same word."""
    chosen: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        article, name = match.groups()
        new = chosen.setdefault(name.lower(), dice.choice(_SWAPPABLE))
        new = new.upper() if name.isupper() and len(name) > 1 else new if name[0].isupper() else new.lower()
        if not article:
            return new
        vowel = new[0].lower() in "aeiou"
        return f"{article[0]}{'n' if vowel else ''} {new}"

    return _IDENTITY.sub(other, text)
