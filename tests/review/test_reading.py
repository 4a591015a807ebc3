"""What pages show of a comment: its text as readers see it, with the words that drove its scores marked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.comment import Article, Comment, Span
from moderation.intake import rescore
from moderation.queue import Intake
from moderation.seen import seen
from moderation.server.review.marks import Reading
from tests.review.conftest import PASSWORD, Site

ALL = Intake(queue_all=True, sample=0, double=0)
MARKED = "<p>You are a <b>path</b>etic little liar &amp; a <i>coward</i>.</p>\n<p>Go &lt;away&gt;</p>"


@pytest.fixture
def client(empty: Site) -> Iterator[httpx.Client]:
    """A browser without a screen, in which ada is signed in."""
    with httpx.Client(base_url=empty.url, timeout=60, headers={"accept": "text/html"}) as client:
        assert client.post("/sign-in", data={"name": "ada", "password": PASSWORD}).status_code == 303
        yield client


def text_of(page: str) -> str:
    """Return the text of a card as a browser shows it."""
    found = re.search(r'<div class="text.*?>(.*?)</div>', page, re.DOTALL)
    assert found is not None
    return unescape(re.sub("<[^<>]*>", "", found[1]))


def marked(page: str) -> list[str]:
    return [unescape(word) for word in re.findall(r"<mark[^<>]*>([^<>]*)</mark>", page)]


def test_a_text_is_shown_as_readers_see_it(empty: Site, client: httpx.Client) -> None:
    story = Article("Fish &amp; <i>chips</i>", "https://news.example/a")
    empty.put(
        Comment("c-1", MARKED, article=story), Comment("c-2", "No <b>I</b> do&eacute;", parent_id="c-1"), intake=ALL
    )
    page = client.get("/comments/1").text
    assert text_of(page) == "You are a pathetic little liar & a coward.\n\nGo <away>"
    assert {"pathetic", "liar"} <= set(marked(page))
    assert "<bdi>pathetic</bdi>" in page
    assert "<bdi>Fish &amp; chips</bdi>" in page
    assert "No I doé" in page and "doé" not in page.split("No I doé")[0]
    source = re.search(r'<details class="context source">.*?<div[^<>]*>(.*?)</div>', page, re.DOTALL)
    assert source is not None and unescape(source[1]) == MARKED
    for path in ("/", "/comments/1/thread", "/bulk/preview?label=abuse&low=0&high=1"):
        rows = client.get(path).text
        assert "You are a pathetic little liar &amp; a coward." in rows
        assert "&lt;b&gt;" not in rows and "&amp;amp;" not in rows


@pytest.mark.parametrize("text", ["a <b and c> d, 1 < 2 & 3", "  two  spaces\n\n\n\nand lines "])
def test_a_text_without_markup_is_shown_as_it_came(empty: Site, client: httpx.Client, text: str) -> None:
    empty.put(Comment("c-1", text), intake=ALL)
    page = client.get("/comments/1").text
    assert text_of(page) == text
    assert "with its markup" not in page


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("<p>one</p>\n\n\n<p>&nbsp;</p><p>two</p>", "one\n\ntwo"),
        ("one<br />\ntwo<br><br>three", "one\ntwo\n\nthree"),
        ("one\n\n\n<b>two</b>", "one\n\n\ntwo"),
        ("<img src='a.png'>", "<img src='a.png'>"),
        ("<p></p>", "<p></p>"),
        ("", ""),
    ],
)
def test_tags_break_lines_and_leave_no_holes(source: str, shown: str) -> None:
    assert seen(source) == shown


def test_a_long_comment_with_markup_fills_its_line_in_a_list(empty: Site, client: httpx.Client) -> None:
    link = '<a href="https://news.example/a/long/address/of/a/story">'
    empty.put(Comment("c-1", f"{link}one</a> two " * 100), intake=ALL)
    row = re.search(r'class="row-text".*?>(.*?)</a>', client.get("/").text)
    assert row is not None and row[1].startswith("one two one two")
    assert len(row[1]) > 500 and "&lt;" not in row[1]


def test_a_card_says_so_when_another_policy_has_judged(empty: Site, client: httpx.Client) -> None:
    empty.put(Comment("c-1", "You pathetic liar."), intake=ALL)
    assert "The policy advises: " in client.get("/comments/1").text
    rescore(empty.store, empty.scorer, replace(empty.policy, id="stricter"))
    page = client.get("/comments/1").text
    assert "The policy <code>stricter</code> advised: " in page
    assert f"those of another one, <code>{empty.policy.id}</code>, by which this server judges" in page


PIECES = ["<p>", "</p>", "<b>", "&amp;", "&#75;", "kill", "You", " ", "\n", ".", "<", "é"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 12), st.sampled_from([-1.0, -0.1, 0.1, 0.5, 2.0])), max_size=6
    ),
    st.integers(0, 40),
)
def test_pieces_are_the_text(text: str, places: list[tuple[int, int, float]], cut: int) -> None:
    reading = Reading(text, [Span(start, start + size, "abuse", weight) for start, size, weight in places])
    whole = "".join(piece.text for part in (reading.pieces(0, cut), reading.pieces(cut)) for piece in part)
    assert whole == reading.text[:cut] + reading.text[cut:]


@given(
    st.text(st.sampled_from("abß ü\u0301\u00ad<>&"), max_size=30),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8), st.sampled_from([-1.0, 0.1, 2.0])), max_size=5),
    st.text(st.sampled_from('abßü "'), max_size=5),
    st.integers(0, 30),
)
def test_pieces_hold_every_hit_and_nothing_else(
    text: str, places: list[tuple[int, int, float]], sought: str, cut: int
) -> None:
    reading = Reading(text, [Span(start, start + size, "abuse", weight) for start, size, weight in places], sought)
    pieces = [*reading.pieces(0, cut), *reading.pieces(cut)]
    assert all("".join(part for part, _ in piece.parts) == piece.text for piece in pieces)
    shown = "".join(("x" if hit else ".") * len(part) for piece in pieces for part, hit in piece.parts)
    expected = ["."] * len(reading.text)
    for first, last in reading.hits:
        expected[first:last] = "x" * (last - first)
    assert shown == "".join(expected)


def test_the_words_that_speak_for_a_label_are_those_that_add_most(empty: Site) -> None:
    """In a long comment that repeats itself, each of its words says little where it stands."""
    text = "\n\n".join(f"You stupid liar number {n}, what a pathetic idiot." for n in range(200))
    reading = Reading(text, empty.scorer.explain(text).spans)
    words = [word for word, _ in reading.drivers("abuse")]
    assert {"stupid", "liar", "pathetic", "idiot"} <= set(words), words
