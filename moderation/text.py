"""Normalise a comment's text into tokens that know where they stood in the original.

Readers evade filters with look-alike letters, zero-width characters, digits for letters, spaced letters and
elongation. `tokenise` sees through these and keeps, for every token, the span of the original text that it came
from, so that an explanation can mark the reader's own words.

HTML markup is taken out first (`moderation.markup`). The work then has two steps. *Folding* maps every code point on
its own (NFKD, case, accents, look-alikes, invisible characters), so it is linear and does not depend on context.
*Tokenising* reads the folded text once, left to right, with one regular expression whose alternatives are the kinds of
token.

The whole is total (any `str`, lone surrogates and NUL included), linear in the text's length, and idempotent but for
stretched letters between single stars: "w*kkk*w" is "w*k*w", and that is "wkw".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from moderation.markup import has_signs, located, plain

MAX_FOLDS_KEPT = 50_000
"""How many folded code points are remembered; a hostile text could otherwise fill memory with all 1.1 million."""

# Letters of other scripts that are drawn like Latin ones (Unicode TR39 confusables, the part met in the wild).
# They fold in every word, not only in mixed ones: the map is one-to-one inside each script, so a Russian or
# Greek text keeps its distinctions, and a word spelt wholly in look-alikes is still seen.
_LOOK_ALIKES = {
    ord(look_alike): plain
    for plain, look_alikes in {
        "a": "аαɑ", "b": "вβ", "c": "сϲ", "d": "ԁ", "e": "еεє", "h": "һн", "i": "іιɩ", "j": "ј", "k": "кκ",
        "l": "ӏⅼǀ", "m": "м", "n": "ηп", "o": "оοσ", "p": "рρ", "q": "ԛ", "r": "гґ", "s": "ѕ", "t": "тτ",
        "u": "υ", "v": "νѵ", "w": "ԝω", "x": "хχ", "y": "уγү", "'": "‘’‚‛′`´ʼ", '"': "“”„‟«»",
        "-": "‐‑‒–—―−", "/": "⁄∕",
    }.items()
    for look_alike in look_alikes
}  # fmt: skip

_PLAIN = frozenset(_LOOK_ALIKES.values())
# Greek capitals whose shape is another Latin letter than that of their small form: for these alone case matters.
_CAPITALS = str.maketrans("ΗΜΝΥΖ", "hmnyz")

# Marks that decorate a letter without changing it in the scripts they are used for. Vowel signs of Indic and
# Thai scripts are marks too, but they carry the word, so only these ranges go.
_DECORATION = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]"
)
_INVISIBLE = frozenset({"Cf", "Cs", "Co", "Cn"})
_LATIN_NAME = re.compile(
    r"(?:CAPITAL |SMALL |SCRIPT |DOTLESS )*LETTER (?:SMALL CAPITAL |SCRIPT |DOTLESS )*([A-Z])(?: WITH .*)?$"
)


def fold_character(character: str) -> str:
    """Return what one code point counts as: lower-case, unaccented, Latin where it looks Latin; "" if invisible."""
    character = character.translate(_CAPITALS)
    if (lower := character.casefold().translate(_LOOK_ALIKES)) in _PLAIN:
        return lower  # before it is decomposed: "ϲ" would become a sigma, "´" a space
    decomposed = unicodedata.normalize("NFKD", character).translate(_CAPITALS).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed)
    return "".join(_fold_simple(part) for part in decomposed)


def _fold_simple(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category == "Cc":
        return " "
    if category in _INVISIBLE or _DECORATION.match(character):
        return ""
    character = character.translate(_LOOK_ALIKES)
    if character > "\x7f" and category != "Nd":
        latin = _latin_base(character)
        return latin if latin else character
    if category == "Nd":
        return str(unicodedata.decimal(character, character))
    return character


def _latin_base(character: str) -> str:
    """Return the plain letter inside a Latin variant (ø, ł, small capitals, squared letters), or ""."""
    name = unicodedata.name(character, "")
    kind, _, rest = name.partition("LATIN ")
    if not rest or kind not in ("", "SQUARED ", "NEGATIVE SQUARED ", "NEGATIVE CIRCLED "):
        return ""
    match = _LATIN_NAME.match(rest)
    return match.group(1).lower() if match else ""


class _Folds(dict[int, str]):
    """The fold of each code point met so far, in the form that `str.translate` asks for."""

    def __missing__(self, code: int) -> str:
        folded = fold_character(chr(code))
        if len(self) < MAX_FOLDS_KEPT:
            self[code] = folded
        return folded


_FOLDS = _Folds({code: fold_character(chr(code)) for code in range(0x250)})


class Token(NamedTuple):
    """One normalised word, number or sign."""

    text: str
    """The normalised form; never empty and never holds white space."""
    start: int
    """Where it begins in the original text, in code points."""
    end: int
    """One past where it ends in the original text."""


_LETTER = r"[^\W\d_]"
# A word character: letters and digits, and the blocks in which marks carry the word (Indic, Thai, Lao, Myanmar).
_WORD = r"(?:[^\W_]|[\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f])"
_GLUE = rf"(?:'(?={_WORD})|\*+(?={_LETTER})|[@!](?={_LETTER})|\$\$?(?={_LETTER}))"
_SPACED_END = rf"(?!{_WORD}|{_GLUE})"

_TOKEN = re.compile(
    rf"""
      (?P<url>(?:https?://|www\.)[^ ]+)
    | (?P<email>(?<!{_WORD}){_WORD}[\w.+-]{{0,63}}@[a-z0-9-]{{1,63}}(?:\.[a-z0-9-]{{1,63}}){{1,5}})
    | (?P<spaced>(?<!{_WORD}){_LETTER}(?:
            (?:[ _-]+{_LETTER}){{2,}}{_SPACED_END}
          | (?:\.{_LETTER}){{2,}}{_SPACED_END}
          | (?:\*{_LETTER}){{2,}}{_SPACED_END}))
    | (?P<masked>(?<!{_WORD}){_WORD}{{1,3}}\*{{2,}}(?![\w*]))
    | (?P<word>{_WORD}(?:{_WORD}|{_GLUE})*)
    | (?P<joint>_+|(?<=[^\W_])-(?=[^\W_]))
    | (?P<sign>(?P<same>[^\w ])(?P=same)*|\w)
    """,
    re.VERBOSE,
)

_NOT_LETTERS_OF_WORD = re.compile(r"[ _.*-]+")
# A letter three times or more is one letter stretched ("idiooot"), except where words end in a double one ("killll").
# A word of one letter alone keeps two, so that "kkk" is not "k".
_LONG_RUN = re.compile(r"([^\W\d_]|\*)\1{2,}")
_DOUBLED_AT_THE_END = "ls"
_LEET = re.compile(rf"(?<={_LETTER})[013457@$!]{{1,2}}(?={_LETTER})")
_LEET_LETTERS = str.maketrans("013457@$!", "oieastasi")


def tokenise(text: str) -> list[Token]:
    """Split a text into normalised tokens with their spans in the original; HTML markup is read as readers see it.

    Words keep inner apostrophes and masking stars (``don't``, ``f*ck``); hyphens part words; every other sign is
    a token of its own, repeated at most twice. Addresses become ``http`` and ``email``. Digits and signs that
    stand for letters are read as letters only between letters (``b1tch``, ``a$$hole``; not ``covid19``, ``4x4``).
    Three or more single letters in a row are joined (``k i l l``, ``k.i.l.l``), and a letter repeated three times
    or more is cut to one (``idiooot``), to two where words end so (``killll``).
    """
    if not has_signs(text):
        return tokenise_plain(text)
    words, starts, ends = located(text)
    return [Token(form, int(starts[first]), int(ends[last - 1])) for form, first, last in tokenise_plain(words)]


def tokenise_plain(text: str) -> list[Token]:
    """Do what `tokenise` does for a text that holds no markup: what looks like it is taken as it stands."""
    folded, origin = _fold(text)
    tokens = []
    for kind, form, start, end in _scan(folded):
        if kind != "joint":
            first, last = (start, end - 1) if origin is None else (origin[start], origin[end - 1])
            tokens.append(Token(form, first, last + 1))
    return tokens


def normalise(text: str) -> str:
    """Return the normalised tokens of a text, joined by single spaces."""
    folded = plain(text).translate(_FOLDS)
    return " ".join(form for kind, form, _, _ in _scan(folded) if kind != "joint")


def _fold(text: str) -> tuple[str, list[int] | None]:
    """Fold a text; the list gives each folded character's place in the original, None when nothing moved."""
    if text.isascii():
        return text.translate(_FOLDS), None
    parts = [_FOLDS[ord(character)] for character in text]
    origin = [place for place, part in enumerate(parts) for _ in part]
    return "".join(parts), origin


def _scan(folded: str) -> Iterator[tuple[str, str, int, int]]:
    """Yield kind, normalised form, start and end of every token of a folded text."""
    for match in _TOKEN.finditer(folded):
        kind = str(match.lastgroup)
        form = match.group()
        if kind == "word" or kind == "masked":
            form = _plain(form)
        elif kind == "spaced":
            form = _plain(_NOT_LETTERS_OF_WORD.sub("", form))
        elif kind == "url" or kind == "email":
            form = "http" if kind == "url" else "email"
        elif kind == "sign":
            form = form[:2]
        yield kind, form, match.start(), match.end()


def _plain(word: str) -> str:
    """Cut elongation and read digits and signs between letters as letters."""
    if not word.isalpha():
        word = _LEET.sub(lambda match: match.group().translate(_LEET_LETTERS), word)
    return _LONG_RUN.sub(_cut, word)


def _cut(run: re.Match[str]) -> str:
    letter, word = run.group(1), run.string
    doubled = letter in _DOUBLED_AT_THE_END and run.end() == len(word)
    return letter * 2 if letter == "*" or doubled or run.end() - run.start() == len(word) else letter
