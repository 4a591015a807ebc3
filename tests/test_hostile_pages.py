"""Saved pages made to do harm: each gives comments or a PageError, in bearable time."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moderation.comment import Comment
from moderation.errors import PageError
from moderation.formats.pages import is_page, read_page
from tests.reading import COMMENT, comment, items, linked, read

THREAD = "by: A from: B\nMay 1, 2013 1:00 PM\nText."

DEEP = 100_000
DEEP_PAGES = {
    "div": "<div>" * DEEP,
    "span": f"<span {COMMENT}><b itemprop=text>a</b>" * (DEEP // 10),
    "items": items("<div C><p itemprop=text>a</p>" * DEEP),
    "properties": items("<p C>" + "<span itemprop=text>a" * DEEP),
    "names": items("<p C>" + "<span itemprop=author itemscope><b itemprop=name>a" * DEEP),
    "lists": "<ul><li>" * DEEP,
    "tables": "<table><tr><td>" * DEEP,
    "foreign": "<svg><desc>" * DEEP,
    "crossed": "<b><div></b>" * DEEP,
    "hidden ends": "<div><!--</div>--><script></div></script><p title='</div>'>" * DEEP,
    "doubly hidden ends": "<div><script><!--<script></script></div>--></script>" * DEEP,
    "foreign ends": "<div><svg><![CDATA[></div>]]></svg>" * DEEP,
    "foreign scripts": "<svg><script>" * DEEP,
    "formatting": "".join(f"<p><b class=a{number}>" for number in range(DEEP)),
    "attributes": "<p " + " ".join(f"a{number}=1" for number in range(DEEP)) + ">",
    "names of tags": "".join(f"<x{number}></x{number}>" for number in range(DEEP)),
    "bodies": "".join(f"<body a{number}=1>" for number in range(DEEP)),
    "options": "<select>" + "<option>" * DEEP,
    "json": linked('{"@type":"Comment","text":"a","comment":' * DEEP),
    "json lists": linked("[" * DEEP),
    "json chain": linked(
        [comment("a", **{"@id": f"c{n}", "parentItem": {"@id": f"c{n + 1}"}}) for n in range(DEEP // 4)]
    ),
    "json markup": linked(comment("<p " * DEEP + "<div>" * DEEP + "<!--" * DEEP + "&#" * DEEP)),
    "comment marks": "<!--" * DEEP + "<!doctype html>",
    "closed comment marks": "<!---->" * DEEP + "<b>",
}


@pytest.mark.parametrize("name", DEEP_PAGES)
def test_deep_pages(name: str) -> None:
    page = DEEP_PAGES[name]
    for data in (page, f"<!doctype html><html><body>{page}"):
        with suppress(PageError):
            assert read(data)


LARGE_PAGES = {
    "microdata": items("<div C><b itemprop=author>A</b><p itemprop=text>Nice boat.</p></div>\n" * 45_000),
    "linked": linked([comment(f"Nice boat, number {number}.", author={"name": "A"}) for number in range(50_000)]),
    "text": "by: A\nMay 1, 2013 1:00 PM\nNice boat.\n\nIn Response\n\n" * 90_000,
    "one comment": "by: A\nMay 1, 2013 1:00 PM\n" + "Nice Boat\n\n" * 450_000,
    "one line": "by: A\nMay 1, 2013 1:00 PM\n" + "nice boat " * 500_000,
    "blanks": f"{THREAD}\n" + " \n" * 2_500_000,
    "names": "by: A\n" * 700_000 + THREAD,
}


@pytest.mark.parametrize("name", LARGE_PAGES)
def test_large_pages(name: str) -> None:
    assert read(LARGE_PAGES[name])


TOKENS = st.sampled_from([
    "<!doctype html>", "<html>", "<p>", "</p>", "<div ", COMMENT, ">", "</div>", "<b itemprop=text>", " itemprop=author>",
    '<script type="application/ld+json">', "</script>", '{"@type": "Comment", "text": "a"', '"', ":", ",", "[", "]", "}",
    ' itemref="a b"', ' id="a"', "itemscope", "<svg>", "<!--", "-->", "\n", "by: A", "\nMay 1, 2013 1:00 PM\n", "Comments",
    "In Response", '"@id": "x"', '"parentItem": {"@id": "x"}', '"comment": [', '"author": ', "&#99;", "\0", "é", "words",
    "<template>", "<br>", "<pre>", '<meta charset="', "gb2312", "iso-2022-jp", "utf-16", '">', " itemprop=comment ",
])  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(), st.lists(TOKENS, max_size=60).map("".join).map(str.encode)))
@example(b"\xff\xfe\x00")
@example(b"<!doctype html><meta charset=iso-2022-jp>\x1b$B\xff")
def test_any_bytes_give_comments_or_a_page_error(data: bytes) -> None:
    is_page("", data)
    try:
        comments = read_page(data)
    except PageError:
        return
    assert comments
    assert all(found.text.strip() for found in comments)
    ids = [found.id for found in comments]
    assert len(set(ids)) == len(ids)
    assert read_page(data) == comments
    for found in comments:
        assert Comment.from_json(json.loads(json.dumps(found.to_json()).encode())) == found
