"""A guess at a comment's language: by script, and for Latin script by frequent small words. Made to be fast.

It decides nothing by itself. Short and odd texts are taken for English, the model's language, unless something speaks
clearly for another; only the strict setting lets a doubt become an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

ENOUGH_LETTERS = 20
"""Letters of another script from which a text counts as not English."""

ENOUGH_WORDS = 3
"""Small words of another language from which a text counts as written in it; English must have fewer."""

LOOK_AT = 2_000
"""Characters that are looked at."""

_SCRIPTS: Mapping[str, str] = {
    "ru": "\u0400-\u052f",
    "el": "\u0370-\u03ff",
    "he": "\u0590-\u05ff",
    "ar": "\u0600-\u06ff\u0750-\u077f",
    "hi": "\u0900-\u097f",
    "bn": "\u0980-\u09ff",
    "th": "\u0e00-\u0e7f",
    "ko": "\u1100-\u11ff\uac00-\ud7af",
    "ja": "\u3040-\u30ff",
    "zh": "\u4e00-\u9fff",
}
_FOREIGN = {code: re.compile(f"[{letters}]") for code, letters in _SCRIPTS.items()}
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_WORD = re.compile("[a-z\u00df-\u024f]+(?:'[a-z]+)?")

# The most frequent small words that few of the other languages share.
_LANGUAGES_OF: dict[str, list[str]] = {}
for _code, _words in {
    "en": "the and of to is that it you for this not are was with they be have on what your all just like people "
    "who if will he his we my so do no but at by from or an as i me she how get can would there their them when",
    "de": "der die das und ist nicht ich sie es zu den mit ein eine auf für von dem auch wie wir aber sich hat "
    "werden sind wird nur noch oder wenn kann man hier doch haben bei alle diese mehr nach über du bist "
    "dich mich mir dir ihr euch dein deine mein meine dass bin habe einen einem einer vom zum zur kein keine was wer",
    "fr": "le la les des et est pas que une un dans pour qui sur plus ce il je vous nous avec sont mais au cette "
    "elle comme tout être fait aux c'est ont même leur sans tous bien par ne se du",
    "es": "el los las que una por con para está como pero más muy ya todo esto hay son fue cuando ser esta porque "
    "sin sobre también y lo se del al su nos es este",
    "pt": "não uma para com os as mas você mais por isso são está muito ele ela esse foi como tem quando já seu sua "
    "dos das pelo num e ou também nós",
    "it": "il che non di è per una sono con gli della nel ma più anche questo come mi si lo questa hanno del alla "
    "perché ha dei cosa tutti solo",
    "nl": "de het een niet en van ik dat zijn voor met op maar ook je wat er aan dit om nog heeft wordt geen bij "
    "naar deze kan ze zo",
    "pl": "nie się na jest to że do jak co ale tak za od już czy tylko dla po są może przez być tego tym jego",
    "sv": "och att det som är inte på en ett för med den har till om så men vi kan av var jag de från sig",
    "tr": "bir ve bu da de için ne çok ama değil gibi daha var mi kadar olan ben sen o ile olarak",
    "id": "yang dan tidak ini itu di dengan untuk ada dari akan saya kita mereka juga kalau sudah bisa orang karena",
    "cs": "je se na že to není si ale jako jsou by jen tak když nebo jsem proto byl bylo už který které",
}.items():
    for _small in _words.split():
        _LANGUAGES_OF.setdefault(_small, []).append(_code)


def detect(text: str) -> tuple[str, bool]:
    """Return an ISO 639-1 code and whether there was enough to be sure; ``en`` where there was not."""
    piece = text[:LOOK_AT].lower()
    if not piece.isascii():
        latin = len(_LATIN.findall(piece))
        counts = {code: len(letters.findall(piece)) for code, letters in _FOREIGN.items()}
        if counts["ja"]:  # Japanese is written with Chinese characters too
            counts["ja"] += counts.pop("zh")
        code = max(counts, key=lambda name: counts[name])
        if counts[code] > latin:
            return (code, True) if counts[code] >= ENOUGH_LETTERS else ("en", False)
    found = Counter(code for word in _WORD.findall(piece) for code in _LANGUAGES_OF.get(word, ()))
    best, count = max(found.items(), key=lambda item: (item[1], item[0] == "en"), default=("en", 0))
    if best != "en" and count >= ENOUGH_WORDS and count > 1.5 * found["en"]:
        return best, True
    return "en", found["en"] >= ENOUGH_WORDS
