"""HTML markup in a comment hides no word and is no word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from moderation.bundle import Bundle
from moderation.markup import beginning, located, plain
from moderation.scorer import Scorer
from moderation.text import normalise, tokenise

PIECES = ["<p>", "</p>", "<br/>", "<b>", "</b>", "<a href='x'>", '<a href="', "<!--", "-->", "&amp;", "&lt;", "&#75;", "&#x6b;",
          "<b hidden>", "<p open", "&nbsp;", "&", "<", ">", ";", "=", "'", '"', "kill", "You", " ", ". ", "é", "\ud800", "lt;", "b>", "&#"]  # fmt: skip
MARKED = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Shoot him.</p><p>Now</p>", "\nShoot him.\n\nNow\n"),
        ("sh<b></b>oot", "shoot"),
        ("one<br>two<BR />three", "one\ntwo\nthree"),
        ("path<b hidden></b>etic <B class=x HIDDEN id='y'>liar</b>", "pathetic liar"),
        ("<details open>one</details><a href='x' download>two</a><hr noshade/>", "\none\ntwo\n"),
        ('<a href="https://a.example/?b=1&amp;c=2" rel=nofollow target=_blank>here</a>', "here"),
        ("<img src='x.png' alt='three blind mice'>", " three blind mice "),
        ("fish &amp; chips &lt;3 &#039;s &#x1F600; &nbsp;&eacute;", "fish & chips <3 's 😀 \u00a0é"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        # what readers see as it stands
        ("I <3 you, a <b and c> d, x<y>z", "I <3 you, a <b and c> d, x<y>z"),
        ("a <b hidden and c> d, <b hiddenly>, <b hidden", "a <b hidden and c> d, <b hiddenly>, <b hidden"),
        ("<p <b", "<p <b"),
        ("AT&T; R&D &amp &unknown; &#99999999;", "AT&T; R&D &amp &unknown; &#99999999;"),
        ("k<!-- no -->ill", "k<!-- no -->ill"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_what_a_reader_sees(text: str, expected: str) -> None:
    assert plain(text) == expected


@pytest.mark.parametrize("pure", [False, True])
def test_markup_changes_no_score(shipped: Scorer, pure: bool) -> None:
    scorer = Scorer(shipped.bundle, pure=pure)
    bare = "Somebody should shoot the mayor. I'm serious"
    marked = (
        '<p>Some<i></i>body should <a href="https://x.example/">shoot</a> the mayor.</p><p>I&#39;m <b>serious</b></p>'
    )
    assert_array_equal(scorer.predict_proba([marked]), scorer.predict_proba([bare]))
    reasons = scorer.reasons(marked, "incitement")
    assert marked[reasons[0].start : reasons[0].end] == "shoot"
    assert [one.weight for one in reasons] == [one.weight for one in scorer.reasons(bare, "incitement")]
    assert "I&#39;m" in {marked[span.start : span.end] for span in scorer.explain(marked).spans}


@given(MARKED)
@example("&amp;lt;b&gt;kill")
@example("<<b>b>")
@example('<a href="<!--<p><!--<a href="')
def test_both_paths_read_alike(small_bundle: Bundle, text: str) -> None:
    fast, slow = (Scorer(small_bundle, pure=pure) for pure in (False, True))
    assert_allclose(fast.decision_function([text]), slow.decision_function([text]), rtol=0, atol=1e-9)
    one, other = fast.explain(text).shares, slow.explain(text).shares
    assert_array_equal(one.starts, other.starts)
    assert_array_equal(one.ends, other.ends)
    assert_array_equal(np.diff(one.sentences) > 0, np.diff(other.sentences) > 0)
    for label in fast.labels:
        assert [span.start for span in fast.reasons(text, label)] == [span.start for span in slow.reasons(text, label)]


@given(MARKED)
def test_places_are_where_the_words_stand(text: str) -> None:
    words, starts, ends = located(text)
    assert words == plain(text)
    assert len(starts) == len(ends) == len(words)
    assert (np.diff(starts) >= 0).all() and (starts < ends).all() and (ends <= len(text)).all()
    for character, start, end in zip(words, starts.tolist(), ends.tolist(), strict=True):
        assert text[start:end] == character or text[start] in "<&"
    tokens = tokenise(text)
    assert " ".join(token.text for token in tokens) == normalise(text)
    assert all(0 <= token.start < token.end <= len(text) for token in tokens)


@given(MARKED, st.integers(0, 20))
def test_a_beginning_shows_so_many_characters(text: str, most: int) -> None:
    assert text.startswith(beginning(text, most))
    assert plain(beginning(text, most)) == plain(text)[:most] or len(text) > 8 * most


@given(MARKED)
def test_reading_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a b=",
        '<a b="',
        "<a b='c' ",
        "<!--",
        "&",
        "&#",
        "<",
        "<p",
        "&amp",
        "<b>",
        "</",
        "<a\t",
        "<a hidden ",
        " hidden",
    ],
)
def test_what_is_left_open_is_read_once(piece: str) -> None:
    # Quadratic reading of a million characters would take minutes; the limit of the test run would end it.
    assert len(plain("<a" + piece * (1_000_000 // len(piece)))) <= 1_000_002
