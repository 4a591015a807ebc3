"""Words of the sentence that drives a score are shown before those of the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from moderation.bundle import Bundle
from moderation.emphasis import LONG, MOST_ODDS, emphasis, sentences
from moderation.scorer import Scorer


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("One. Two! Three? Four… five", [0, 5, 10, 17, 23]),
        ("It costs 3.5 million e.g.here a.b", [0]),
        ('He said "go." Then (he left!) and "why?"', [0, 14, 30]),
        ("one\ntwo\n\n  three. \n four", [0, 4, 11, 20]),
        ("no end", [0]),
    ],
)
def test_where_sentences_begin(text: str, starts: list[int]) -> None:
    numbers = sentences(text, np.arange(len(text), dtype=np.int32))
    assert np.flatnonzero(np.diff(numbers, prepend=-1)).tolist() == starts


def test_words_weigh_with_the_odds_of_their_sentence_alone() -> None:
    weights, lengths = np.array([0.5, -1.0, 0.4, 0.6, 9.0]), np.full(5, LONG)
    found = emphasis(weights, np.array([0, 0, 1, 1, 2]), lengths)
    alone = np.sqrt(5 / 2)
    assert_allclose(found[:4], LONG * weights[:4] * np.exp([-0.5 * alone, -0.5 * alone, alone, alone]))
    assert found[4] == pytest.approx(LONG * 9.0 * np.exp(MOST_ODDS)), "one sentence does not drown all others"
    none = np.array([], dtype=np.intp)
    assert emphasis(np.array([]), none, none.astype(np.int32)).tolist() == []


def test_short_words_stand_back() -> None:
    found = emphasis(np.ones(4), np.zeros(4, np.intp), np.array([1, 3, 6, 30]))
    assert_allclose(found / found[0], [1, 3, 6, 6])


@given(st.text(st.sampled_from(list("ab .!?…\"'”’»)]\n\u200b\u2028½")), max_size=60))
def test_both_paths_find_the_same_sentences(small_bundle: Bundle, text: str) -> None:
    fast, slow = (Scorer(small_bundle, pure=pure).explain(text).shares for pure in (False, True))
    assert_array_equal(fast.starts, slow.starts)
    assert_array_equal(np.diff(fast.sentences), np.minimum(np.diff(slow.sentences), 1))
    assert fast.sentences[:1].tolist() in ([], [0])


def test_reasons_come_from_the_sentence_that_calls(shipped: Scorer) -> None:
    calm = "I hate the rain, the road works and the dead phone line, and the fire station is shut."
    text = f"{calm} Somebody should shoot the mayor and hang his whole council. {calm}"
    first, last = text.index("Somebody"), text.index("council")
    reasons = shipped.reasons(text, "incitement")
    assert len(reasons) == 5
    assert all(first <= reason.start < last for reason in reasons)
    exact = {(span.start, span.end): span.weight for span in shipped.explain(text).spans if span.label == "incitement"}
    assert [reason.weight for reason in reasons] == [exact[reason.start, reason.end] for reason in reasons]
