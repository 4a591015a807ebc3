"""Texts with HTML markup, as many comment systems keep them: what a reader sees of them, and where it stood.

Only what is certainly markup is taken out: entities, and the tags that comment systems let through. What merely looks
like a tag ("a <b and c> d", "<3") is text, and so are HTML comments and the attributes that hold several words: on a
site that shows texts as they stand, a call could hide in them.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

BLOCKS = frozenset(
    "address article aside blockquote br caption center dd details div dl dt figcaption figure footer h1 h2 h3 h4 h5 "
    "h6 header hr iframe img li main nav ol p pre section summary table tbody td tfoot th thead tr ul video".split()
)
"""Elements that part words; each of their tags counts as a line break."""

INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark q s samp small span strike strong sub "
    "sup time tt u var wbr".split()
)
"""Elements inside words; their tags count as nothing, so that they cannot part a word ("sh<b></b>oot")."""

BOOLEAN = frozenset(
    "allowfullscreen async autofocus autoplay checked compact controls default defer disabled download hidden inert "
    "ismap itemscope loop multiple muted nohref noresize noshade novalidate nowrap open playsinline readonly required "
    "reversed selected".split()
)
"""Attributes that stand without a value; a tag with any other word in it is text ("a <b and c> d")."""

MOST_MARKUP = 8
"""Characters of a text that are read for each that a beginning of it is to show."""

# Possessive patterns that stop at the next "<", so that reading is linear whatever is left open.
_VALUE = r"""(?:"[^"<]*+"|'[^'<]*+'|[^\s"'<>=`]++)"""
_MARKUP = re.compile(
    rf"""
      </?(?P<tag>{"|".join(sorted(BLOCKS | INLINE, key=len, reverse=True))})
      (?P<attributes>(?:\s++(?:[\w:@.-]++\s*+=\s*+{_VALUE}|(?:{"|".join(sorted(BOOLEAN))})(?=[\s/>])))*+)\s*+/?>
    | &(?P<entity>\#[0-9]{{1,7}}|\#[xX][0-9a-fA-F]{{1,6}}|[a-zA-Z][a-zA-Z0-9]{{1,30}});
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_SEVERAL_WORDS = re.compile(r"""=\s*+(?:"([^"]*\s[^"]*)"|'([^']*\s[^']*)')""")


def has_signs(text: str) -> bool:
    """Whether a text may hold markup at all."""
    return "<" in text or "&" in text


def plain(text: str) -> str:
    """Return a text without its markup; the same text where it has none."""
    return _MARKUP.sub(_meaning, text) if has_signs(text) else text


def located(text: str) -> tuple[str, NDArray[np.int32], NDArray[np.int32]]:
    """Return `plain` of a text, and where each of its code points begins and ends in the text, in code points."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for match in [*_MARKUP.finditer(text), None]:
        first, last = match.span() if match else (len(text), len(text))
        meaning = _meaning(match) if match else ""
        parts += (text[at:first], meaning)
        starts += [*range(at, first), *[first] * len(meaning)]
        ends += [*range(at + 1, first + 1), *[last] * len(meaning)]
        at = last
    return "".join(parts), np.array(starts, np.int32), np.array(ends, np.int32)


def beginning(text: str, most: int) -> str:
    """Return the beginning of a text that shows `most` characters, with its markup, of which no piece is cut."""
    if not has_signs(text[:most]):
        return text[:most]
    window = text[: MOST_MARKUP * most]
    if len(window) < len(text) and window.rfind("<") > window.rfind(">"):
        window = window[: window.rfind("<")]
    words, starts, _ = located(window)
    return window[: starts[most]] if len(words) > most else window


def _meaning(match: re.Match[str]) -> str:
    """Return what a reader sees in place of a piece of markup."""
    if name := match["entity"]:
        return _character(name, match.group())
    words = [double or single for double, single in _SEVERAL_WORDS.findall(match["attributes"])]
    return " ".join(["", *words, ""] if words else []) or ("\n" if match["tag"].lower() in BLOCKS else "")


def _character(name: str, whole: str) -> str:
    from html import unescape  # here, for few texts have entities and every start would pay for their table
    from html.entities import html5

    return unescape(whole) if name.startswith("#") else html5.get(name + ";", whole)
