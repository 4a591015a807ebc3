"""Texts are folded alike at once and cluster by cluster, and every hit stands where it is said to."""

from __future__ import annotations

import re
import sys
import time
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moderation.markup import plain
from moderation.queue.folding import MOST_HITS, MOST_SIGNS, SHOWN, around, fold, fold_seen, hits, located, terms

HARD = "aeiS ßıİſﬁΣς½´\u0301\u0323\u0345\u00ad\u200b\u200d\ufe0f\xa0\u2003\n\t\x00\x1b\ud800ｶﾞㄱㅏ가\u1161\u11a8ﷺ㌖\u09c7\u09be❤"
TEXTS = st.text(st.sampled_from(HARD) | st.characters(exclude_categories=()), max_size=60)
SIMPLE = st.text("abü ßC\xa0\n\u00ad\u0301", max_size=40)


@given(TEXTS)
@example("e\u200b\u0301")
@example("\u0301" * 100)
def test_folding_is_the_same_at_once_and_in_pieces(text: str) -> None:
    folded = located(text)
    assert fold(text) == folded.text
    assert len(folded.text) == len(folded.starts) == len(folded.ends)
    assert folded.starts == sorted(folded.starts) and folded.ends == sorted(folded.ends)
    assert all(0 <= first < last <= len(text) for first, last in zip(folded.starts, folded.ends, strict=True))
    assert len(folded.text) <= MOST_SIGNS * len(text)
    assert folded.text == " ".join(folded.text.split())
    assert not set(folded.text) & set("\x00\x1b\xad\u200b\ud800")


@given(st.text(st.sampled_from(HARD) | st.characters(exclude_categories=("Cs", "Cc")), max_size=25))
def test_a_text_is_found_however_its_letters_are_put_together(text: str) -> None:
    text = re.sub("[ﷺ\ufdfb]", "", text)
    assert fold(normalize("NFD", text)) == fold(normalize("NFC", text)) == fold(text)


def test_no_character_joins_the_one_before_it_unawares() -> None:
    wrong = [code for code in range(sys.maxunicode + 1) if fold(f"e{chr(code)}") != located(f"e{chr(code)}").text]
    assert wrong == []


@given(SIMPLE | TEXTS, st.data())
def test_every_hit_holds_what_was_looked_for(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    term = fold(text[start : data.draw(st.integers(start, min(len(text), start + 6)))])
    found = hits(text, [term]) if term else []
    assert bool(found) == bool(term and term in fold(text))
    for first, last in found:
        held = fold(text[first:last])
        assert term in held
        if set(text) <= set("abüC \xa0\n\u00ad"):  # each character folds to one at most
            assert held == term and text[first] != "\u00ad" != text[last - 1]


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_hits_stand_in_order_and_apart(text: str, wanted: list[str]) -> None:
    ends = [at for place in hits(text, [term for term in map(fold, wanted) if term]) for at in place]
    assert ends == sorted(ends) and all(first < last for first, last in zip(ends[::2], ends[1::2], strict=True))


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("Gold  silver gold", ("gold", "silver")),
        ('"Complete \xa0 idiot" liar', ("complete idiot", "liar")),
        ("„von hinten“ «tout  court»", ("von hinten", "tout court")),
        ('"to the end', ("to the end",)),
        ('5" pipe', ('5"', "pipe")),
        ('"" \u200b " \u00ad "', ()),
        ("com\u00adplete SCHEISSKERL Scheißkerl", ("complete", "scheisskerl")),
    ],
)
def test_words_and_phrases(words: str, found: tuple[str, ...]) -> None:
    assert terms(words) == found


@given(
    st.lists(st.sampled_from(["<b>", "</b>", "<br>", "<p>", "</p>", "&nbsp;", "&shy;", "&amp;", " ", "\n", "a", "Z"]))
)
def test_what_readers_see_is_folded(parts: list[str]) -> None:
    source = "".join(parts)
    assert fold_seen(source) == fold(plain(source) if plain(source).strip() else source)


def test_hits_of_the_same_letters_are_one_stretch() -> None:
    assert hits("Straße, strasse", ["strasse", "ss"]) == [(0, 6), (8, 15)]
    assert hits("abcabc", ["abc", "cab"]) == [(0, 6)]
    assert hits("nothing", []) == hits("nothing", ["absent"]) == []


def test_an_excerpt_begins_a_little_before_the_first_hit() -> None:
    text = "word " * 100 + "the GOLD " + "tail " * 200
    found = around(text, ["tail", "gold"], 600)
    assert found is not None and len(found) == 600
    assert found.startswith("word ") and 0 < found.index("GOLD") < 50
    assert around(text[400:], ["absent"], 600) is None
    assert around("x" * (SHOWN - 4) + "gold", ["gold"], 600) is None
    assert around("x" * SHOWN + "gold", ["gold"], 600) == "x" * 40 + "gold"


def test_hostile_texts_are_folded_in_linear_time() -> None:
    start = time.perf_counter()
    for text in ("e" + "\u0301\u0323" * 200_000, "\u200b" * 400_000 + "\u0301", "ﷺ" * 100_000, "a" * 400_000):
        assert len(fold(text)) <= len(text)
        assert len(hits(text, ["a", "\u0301"])) <= MOST_HITS
    assert time.perf_counter() - start < 20
