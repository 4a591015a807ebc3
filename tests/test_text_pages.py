"""Pages saved as text: their thread, and nothing else of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.comment import Article, Comment
from moderation.errors import PageError
from moderation.formats.pages import is_page, read_page
from tests.reading import PAGES, links, read, texts


def test_the_news_page_gives_its_thirteen_comments(news_page: Path) -> None:
    comments = read_page(news_page.read_bytes(), name=news_page.name)
    assert [(c.id, c.parent_id, c.author, c.place, c.created) for c in comments] == [
        ("1", None, "JKF", "Ottawa, Canada", "2012-12-29T14:26:00"),
        ("2", "1", "Anonymous", None, "2012-12-30T11:20:00"),
        ("3", None, "Dave", "USA", "2012-12-28T16:49:00"),
        ("4", "3", "Anonymous", None, "2012-12-31T06:38:00"),
        ("5", None, "Fred-Rick", "California", "2012-12-28T11:14:00"),
        ("6", "5", "Plain Mirror", "Plain planet - Africa", "2012-12-29T03:46:00"),
        ("7", "5", "Anonymous", None, "2012-12-28T16:28:00"),
        ("8", "5", "Anonymous", None, "2012-12-28T16:26:00"),
        ("9", None, "Anonymous", "America", "2012-12-28T11:09:00"),
        ("10", "9", "Anonymous", None, "2012-12-30T11:23:00"),
        ("11", "9", "Mike", "Greece", "2012-12-28T11:59:00"),
        ("12", None, "Kremlin Watcher", "USA", "2012-12-28T10:42:00"),
        ("13", None, "Michael", "USA", "2012-12-28T08:13:00"),
    ]
    assert {c.article for c in comments} == {Article("Russia Urges Syria to Dialogue with Opposition")}
    assert [c.text.count("\n\n") for c in comments] == [0] * 9 + [1] + [0] * 3
    assert comments[-1].text.endswith("as the war in Syria")
    page = news_page.read_text(encoding="utf-8")
    assert all(paragraph in page for c in comments for paragraph in c.text.split("\n\n"))
    assert not any(word in c.text for c in comments for word in ("Featured Videos", "JavaScript", "In Response", "by:"))
    assert is_page(news_page.name, news_page.read_bytes()[: 64 << 10])


def test_a_text_page_gives_its_thread_and_nothing_else() -> None:
    comments = read_page((PAGES / "ferry.txt").read_bytes())
    assert [(c.id, c.parent_id, c.author, c.place, c.created, c.text) for c in comments] == [
        ("1", None, "Old Salt", "Kirkwick, North Quay", "2014-03-04T00:05:00", "About time. We rowed all winter!"),
        ("2", "1", "Anonymous", None, "2014-03-05T19:45:00", "Rowed? You took my boat.\n\nIt has a hole now."),
        (
            "3",
            None,
            "Ida",
            None,
            "2014-03-03T12:30:00",
            "Comments\nIn Response to the office: the fare is too high.\nby: the way, 2014 was worse.",
        ),
        ("4", None, "Tam", "from: Saltholm", "2014-03-03T09:01:00", "Free the Harbour"),
        ("5", "4", "Ida", None, "2014-03-03T13:00:00", "Thank you all.\n\nsee you on the pier"),
    ]  # fmt: skip
    assert {c.article for c in comments} == {Article("Ferry to Saltholm Runs Again After Winter")}


def tail(rest: str) -> str:
    """Read the text of a page's last comment, of which `rest` follows the first paragraph."""
    return read(f"by: A\nMay 1, 2013 1:00 PM\nFirst.\n\n{rest}")[-1].text.removeprefix("First.").strip()


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        # a heading with something below
        ("Featured Videos\n\nWatch this.", ""),
        ("Most read\nA story", ""),
        ("You May Like\n\nA story", ""),
        ("More News From the Coast\n\nA story", ""),
        ("MORE NEWS\n\nA story", ""),
        ("Top 10 Stories\n\nA story", ""),
        # paragraphs before it stay
        ("Second.\n\nFeatured Videos\n\nWatch this.", "Second."),
        # sentence punctuation makes a paragraph
        ("Shame on them!\n\nFeatured Videos\n\nx", "Shame on them!"),
        ("Well, no\n\nFeatured Videos\n\nx", "Well, no"),
        ("Really?\n\nFeatured Videos\n\nx", "Really?"),
        ("あり得ない。\n\nFeatured Videos\n\nx", "あり得ない。"),
        # so do small letters: in the first place, or in more than three words
        ("no way\n\nFeatured Videos\n\nx", "no way"),
        ("Kill all of them\n\nFeatured Videos\n\nx", "Kill all of them"),
        # too long for a heading
        (
            "One Two Three Four Five Six Seven Eight Nine\n\nMore News\n\nx",
            "One Two Three Four Five Six Seven Eight Nine",
        ),
        ("A" * 61 + "\n\nFeatured Videos\n\nx", "A" * 61),
        # no blank line before it
        ("Second\nFeatured Videos\nx", ""),
        ("second line\nFeatured Videos\nx", "second line\nFeatured Videos\nx"),
        # nothing below it: the last words of the comment
        ("Free the Harbour", "Free the Harbour"),
        ("Free the Harbour\n\n \n", "Free the Harbour"),
        # cut off before the answer
        ("In Response", ""),
        ("In Response\n\n", ""),
        # the price of the rule, as its docstring says
        ("Free the Harbour\n\nFeatured Videos\n\nx", ""),
    ],
)
def test_where_the_last_comment_ends(rest: str, kept: str) -> None:
    assert tail(rest) == kept


@pytest.mark.parametrize("end", ["", "\n", "\n \n\n"])
def test_a_page_may_end_below_a_date(end: str) -> None:
    earlier = "by: A\nMay 1, 2013 1:00 PM\nFirst.\n\nFree the Harbour\n\n"
    header = "by: B\nMay 2, 2013 1:00 PM"
    assert texts(read(f"{earlier}{header}{end}")) == ["First.\n\nFree the Harbour"]
    assert texts(read(f"{earlier}In Response\n\n{header}{end}")) == ["First.\n\nFree the Harbour"]
    with pytest.raises(PageError, match=r"with a date and a comment below; found \d lines of text with 1 of them"):
        read(f"Great match!\n{header}{end}")


def test_a_heading_inside_the_thread_is_text() -> None:
    page = "by: A\nMay 1, 2013 1:00 PM\nFirst.\n\nFree the Harbour\n\nNow.\n\nby: B\nMay 2, 2013 1:00 PM\nFeatured Videos\nx"
    assert texts(read(page)) == ["First.\n\nFree the Harbour\n\nNow.", "Featured Videos\nx"]


@pytest.mark.parametrize(
    ("date", "created"),
    [
        ("December 29, 2012 2:26 PM", "2012-12-29T14:26:00"),
        ("December 29, 2012 12:00 AM", "2012-12-29T00:00:00"),
        ("Saturday, Dec 29, 2012 at 12:00 pm", "2012-12-29T12:00:00"),
        ("Sept. 1st, 2012, 14:26:07", "2012-09-01T14:26:07"),
        ("29 December 2012 14:26", "2012-12-29T14:26:00"),
        ("1. May 2012", "2012-05-01"),
        ("2012-12-29 14:26", "2012-12-29T14:26"),
        ("2012-12-29T14:26:00Z", "2012-12-29T14:26:00Z"),
        # no such day or hour, or not to be told: as the page has it
        ("February 30, 2012 2:26 PM", "February 30, 2012 2:26 PM"),
        ("December 29, 2012 13:26 PM", "December 29, 2012 13:26 PM"),
        ("2012-13-29 14:26", "2012-13-29 14:26"),
        ("29/12/2012 2:26 PM", "29/12/2012 2:26 PM"),
        ("29 décembre 2012 14:26", "29 décembre 2012 14:26"),
        ("29.12.2012 14:26", "29.12.2012 14:26"),
    ],
)
def test_dates(date: str, created: str) -> None:
    assert read(f"by: A\n{date}\nText.")[0].created == created


@pytest.mark.parametrize(
    "line",
    [
        "",
        "In 2012 it was better.",
        "At 12:30 we left for good.",
        "December",
        "May I say 12 things to 2012 people",
        "x" * 70,
    ],
)
def test_a_name_without_a_date_is_no_header(line: str) -> None:
    assert texts(read(f"by: A\nMay 1, 2013 1:00 PM\nText.\nby: me\n{line}")) == [f"Text.\nby: me\n{line}".strip()]


@pytest.mark.parametrize(
    ("header", "author", "place"),
    [
        ("by: A from: B", "A", "B"),
        ("By:A From:  B ", "A", "B"),
        ("by: A", "A", None),
        ("by:", None, None),
        ("by: from: B", None, "B"),
        ("by: A from:", "A", None),
        ("by: A from: B from: C", "A", "B from: C"),
        ("by: wherefrom: B", "wherefrom: B", None),
    ],
)
def test_names_and_places(header: str, author: str | None, place: str | None) -> None:
    comments = read(f"{header}\nMay 1, 2013 1:00 PM\nText.")
    assert (comments[0].author, comments[0].place) == (author, place)


def test_a_header_longer_than_any_name_is_text() -> None:
    with pytest.raises(PageError):
        read(f"by: {'a ' * 200}\nMay 1, 2013 1:00 PM\nText.")


@pytest.mark.parametrize("mark", ["Comments", "Comments (2)", "2 comments", "COMMENTS:", "Comment"])
def test_the_thread_begins_below_its_mark(mark: str) -> None:
    byline = "by: Our Reporter\nMay 1, 2013 1:00 PM\nThe pier is open.\n\n"
    thread = "by: A\nMay 2, 2013 1:00 PM\nOne.\n\nby: B\nMay 2, 2013 2:00 PM\nTwo."
    assert texts(read(f"{byline}{mark}\n \xa0 \n{thread}")) == ["One.", "Two."]
    # a mark that leads to no comment, as in a menu, is none
    assert len(read(f"{mark}\nNews\n\n{byline}{thread}\n\n{mark}\n")) == 3


def test_answers_belong_to_the_last_comment_that_is_none() -> None:
    date = "May 1, 2013 1:00 PM"
    parts = [
        f"In Response\n\nby: A\n{date}\nLost.",
        f"by: B\n{date}\nTop.",
        f"In Response\n\n\nby: C\n{date}\nOne.",
        f"IN RESPONSE:\nby: D\n{date}\nTwo.",
        f"by: E\n{date}",
        f"In Response\n\nby: F\n{date}\nThree.",
    ]
    page = "\n\n".join(parts)
    assert links(read(page)) == {"Lost.": None, "Top.": None, "One.": "Top.", "Two.": "Top.", "Three.": None}
    assert [c.id for c in read(page)] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("above", "article"),
    [
        ("", None),
        ("A Title of Words\n\n", Article("A Title of Words")),
        ("Home\nNews\n\nCoast / North / Kirkwick Harbour\n\nIs the Pier Open?\n\n", Article("Is the Pier Open?")),
        ("This is a sentence.\n\nHome\n\nTwo words\n\n", None),
        ("https://news.example/pier\n\n", Article(None, "https://news.example/pier")),
    ],
)
def test_the_article_of_a_text_page(above: str, article: Article | None) -> None:
    assert read(f"{above}by: A\nMay 1, 2013 1:00 PM\nText.")[0].article == article


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    page = "by: A\nMay 1, 2013 1:00 PM\n\none\ntwo\n\n\n\nthree.\n".replace("\n", end)
    assert texts(read(page)) == ["one\ntwo\n\nthree."]


CHARACTERS = st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])
SENTENCES = st.text(CHARACTERS, max_size=40).map(lambda text: f"A {text.strip()}.")
NAMES = st.text(st.characters(categories=["L", "N"], include_characters=" -'"), min_size=1, max_size=20).map(str.strip)
THREADS = st.lists(
    st.tuples(
        NAMES.filter(bool),
        st.one_of(st.none(), NAMES.filter(bool)),
        st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(second=0, microsecond=0)),
        st.lists(SENTENCES, min_size=1, max_size=3).map("\n\n".join),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(THREADS, st.sampled_from(["", "\n\nFeatured Videos\n\nWatch this.\n"]))
def test_a_written_thread_reads_back(thread: list[tuple[str, str | None, datetime, str, bool]], rest: str) -> None:
    page = "The Pier Is Open\n\nIt opened today.\n\nComments\n\n"
    expected, top = [], None
    for number, (author, place, at, text, answers) in enumerate(thread, 1):
        answers = answers and top is not None
        page += "In Response\n\n" if answers else ""
        page += (
            f"by: {author}{f' from: {place}' if place else ''}\n{at:%B} {at.day}, {at.year} {at:%I:%M %p}\n{text}\n\n"
        )
        top = top if answers else str(number)
        expected.append(
            Comment(
                str(number), text, author, place, at.isoformat(), top if answers else None, Article("The Pier Is Open")
            )
        )
    assert read(page.rstrip("\n") + rest) == expected
