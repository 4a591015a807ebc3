"""Saved pages: each form and its oddities. All news and comments here are invented."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from moderation.comment import Article, Comment
from moderation.errors import MissingExtra, PageError
from moderation.formats.pages import is_page, read_page
from tests.reading import COMMENT, PAGES, comment, items, linked, links, read, texts

# HTML


def test_a_web_page_gives_its_comments_once() -> None:
    comments = read_page((PAGES / "orchard.html").read_bytes())
    one, four = (f"https://post.example/orchard#comment-{number}" for number in (11, 14))
    article = Article("Old Orchard to Stay", "https://post.example/orchard")
    assert comments == [
        Comment(one, "Good news & good cider.\n\n3 < 4 😀", "Pip", "Elm End", "2021-05-01T08:00:00+01:00", None,
                article, "en-GB"),
        Comment("comment-12", 'Cider? I <3 it "cold".\nVery.', "Rosa Müller", None, "2021-05-01T09:30:00+01:00", one,
                article, "en-GB"),
        Comment("comment-13", "Only here.", "Nat", None, "2021-05-02", one, article, "en-GB"),
        Comment(four, "Die Bäume bleiben.", "Joss, Kit", None, None, None, article, "de"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (comment("a"), {"a": None}),
        ([comment("a"), [comment("b")]], {"a": None, "b": None}),
        ({"@graph": [comment("a")]}, {"a": None}),
        # types: absolute, prefixed, several, none where only comments stand
        ({"@type": "https://schema.org/Comment", "text": "a"}, {"a": None}),
        ({"@type": ["Thing", "schema:Comment"], "text": "a"}, {"a": None}),
        ({"@type": "Article", "comment": [{"text": "a"}, {"@type": "DiscussionForumPosting", "text": "b"}]}, {"a": None, "b": None}),
        # what is commented on is no comment
        ({"@type": "DiscussionForumPosting", "text": "no", "comment": comment("a")}, {"a": None}),
        ({"@type": "NewsArticle", "articleBody": "no", "comment": [comment("a", comment=[comment("b")])]}, {"a": None, "b": "a"}),
        (
            {"@type": "QAPage", "mainEntity": {"@type": "Question", "name": "no", "text": "no",
             "acceptedAnswer": {"@type": "Answer", "text": "a", "comment": comment("b")},
             "suggestedAnswer": [{"@type": "Answer", "text": "c"}], "comment": comment("d")}},
            {"a": None, "b": "a", "c": None, "d": None},
        ),
        # the comment above: by identifier, by its end, as a string, inline, and found later
        ([comment("a", **{"@id": "x"}), comment("b", parentItem={"@id": "x"})], {"a": None, "b": "a"}),
        ([comment("a", **{"@id": "https://n.example/#x"}), comment("b", parentItem={"@id": "#x"})], {"a": None, "b": "a"}),
        ([comment("b", parentItem="x"), comment("a", identifier={"@type": "PropertyValue", "value": "x"})], {"b": "a", "a": None}),
        ([comment("a", author="A"), comment("b", parentItem=comment("a", author="A"))], {"a": None, "b": "a"}),
        ([comment("b", parentItem=comment("a"))], {"b": "a", "a": None}),
        ([comment("b", parentItem=comment("a", **{"@id": "x"})), comment("a", **{"@id": "x"})], {"b": "a", "a": None}),
        ([{"@type": "Article", "@id": "s", "url": "u"}, comment("a", parentItem={"@id": "s"}), comment("b", parentItem="u")],
         {"a": None, "b": None}),
        # a list of answers by identifier only
        ([comment("a", comment=[{"@id": "x"}]), comment("b", **{"@id": "x"})], {"a": None, "b": "a"}),
        # a list between a comment and its answers
        (comment("a", comment={"@type": "ItemList", "itemListElement": [comment("b")]}), {"a": None, "b": "a"}),
        # no comment may answer itself, not even through others
        ([comment("a", **{"@id": "x"}, parentItem={"@id": "x"})], {"a": None}),
        ([comment("a", **{"@id": "x"}, parentItem={"@id": "y"}), comment("b", **{"@id": "y"}, parentItem={"@id": "x"})],
         {"a": None, "b": "a"}),
        # without words, it is left out
        ([comment("  "), comment("<p> </p>"), {"@type": "Comment"}, comment("a")], {"a": None}),
    ],
)  # fmt: skip
def test_who_answers_whom_in_linked_data(block: Any, expected: dict[str, str | None]) -> None:
    assert links(read(linked(block))) == expected


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("A", "A"),
        ({"name": "A"}, "A"),
        ([{"@type": "Person", "name": ["A"]}, "B"], "A, B"),
        ({"@type": "Person", "alternateName": "a&amp;b"}, "a&b"),
        ({"name": {"@value": " A \n B "}}, "A B"),
        (None, None),
        (["", None, {}], None),
        (5, "5"),
        (True, None),
        ([[[[["A"]]]]], "A"),
        ([[[[[[[[["A"]]]]]]]]], None),
    ],
)
def test_authors(author: Any, expected: str | None) -> None:
    assert read(linked(comment("a", author=author)))[0].author == expected


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("a &lt;b&gt; &amp;amp; c", "a <b> &amp; c"),
        ("one\r\ntwo\n\nthree", "one\ntwo\n\nthree"),
        ("<p>one\n  two</p>\n<p>three<br>four</p>", "one two\n\nthree\nfour"),
        # tags that break no lines leave the line breaks of the text alone
        ("one\n<b>two</b>", "one\ntwo"),
        ("<ul><li>one</li><li>two</li></ul>", "one\ntwo"),
        ("<a href='x' title=\"y\">here</a>, <IMG src=x>see", "here, see"),
        ("a<script>b()</script><style>i {}</style>c", "ac"),
        # what is no tag is text
        ("I <3 you", "I <3 you"),
        ("x <y and y> z", "x <y and y> z"),
        ("<bold> claim", "<bold> claim"),
        ("the <script> tag and its end", "the  tag and its end".replace("  ", " ")),
        ("a <!-- note --> b <b>c</b>", "a b c"),
        ("5 < 6 & 7 > 6", "5 < 6 & 7 > 6"),
        # characters that are none
        ("half \ud83d", "half \ufffd"),
        ("nul \x00", "nul \ufffd"),
        ("&#0;&#xD800;&#" + "9" * 5000 + ";", "\ufffd\ufffd\ufffd"),
        (["one", "two"], "one\n\ntwo"),
        ({"@value": "one", "@language": "en"}, "one"),
        ("İ<script>x</script>ok", "İok"),
    ],
)
def test_texts_in_linked_data_become_plain(written: Any, text: str) -> None:
    page = (
        linked(comment(written))
        if "</script>" not in str(written)
        else linked(json.dumps(comment(written)).replace("</", "<\\/"))
    )
    assert texts(read(page)) == [text]


@pytest.mark.parametrize(
    ("block", "count"),
    [
        ('{"@type": "Comment", "text": "b"', 0),
        ("", 0),
        ("null", 0),
        ('"@type"', 0),
        ("[" * 100_000, 0),
        ('{"n": ' + "9" * 5000 + ', "@type": "Comment", "text": "b"}', 0),
        ('<!-- {"@type": "Comment", "text": "b"} -->', 1),
        ('//<![CDATA[\n{"@type": "Comment", "text": "b"};\n//]]>', 1),
        ('{"@type": "Comment", "text": "line\nbreak"}', 1),
        ('{"@type": "Comment", "text": "b", "upvoteCount": NaN}', 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_block_does_not_hide_the_others(block: str, count: int) -> None:
    assert len(read(linked(comment("a"), block, comment("c")))) == 2 + count


def test_a_block_that_stands_twice_counts_once() -> None:
    assert texts(read(linked([comment("+1"), comment("+1")], [comment("+1"), comment("+1")]))) == ["+1", "+1"]


@pytest.mark.parametrize(
    ("blocks", "ids"),
    [
        ([comment("a"), comment("b")], ["1", "2"]),
        ([comment("a", **{"@id": "x"}), comment("b", identifier=7), comment("c", url="/c")], ["x", "7", "/c"]),
        # an address that all share is no identifier
        ([comment("a", url="/n"), comment("b", url="/n")], ["1", "2"]),
        ([comment("a", url="/n", identifier="p"), comment("b", url="/n", identifier="q")], ["p", "q"]),
        ([comment("a", **{"@id": "x"}), comment("b", **{"@id": "x"})], ["1", "2"]),
        # the same comment again is the same comment
        ([comment("a", **{"@id": "x"}), comment("a", **{"@id": "x"}, author="A")], ["x"]),
        # numbers never meet the page's own
        ([comment("a"), comment("b", identifier="1"), comment("c")], ["2", "1", "3"]),
        ([comment("a"), comment("b", parentItem="1")], ["2", "3"]),
    ],
)
def test_identifiers(blocks: list[Any], ids: list[str]) -> None:
    assert [c.id for c in read(linked(blocks))] == ids


def test_an_answer_keeps_the_identifier_of_what_is_not_on_the_page() -> None:
    deleted = {"@type": "Comment", "@id": "gone", "text": "", "comment": comment("a")}
    comments = read(linked([deleted, comment("b", parentItem={"@id": "elsewhere"})]))
    assert [(c.text, c.parent_id) for c in comments] == [("a", "gone"), ("b", "elsewhere")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<div C><p itemprop=text>a</div>", {"a": None}),
        ('<div itemscope itemtype="http://schema.org/Comment"><p itemprop=text>a</div>', {"a": None}),
        ('<div itemscope itemtype="http://schema.org/UserComments"><p itemprop=commentText>a</div>', {"a": None}),
        ("<div C><p itemprop=text>a</p><div itemprop=comment C><p itemprop=text>b</div></div>", {"a": None, "b": "a"}),
        # an answer may lack its property, and stand within the words of the comment above
        ("<div C><div itemprop=text>a<div C><p itemprop=text>b</div></div></div>", {"a": None, "b": "a"}),
        ("<div C><p itemprop=text>a</p><div itemscope><div C><p itemprop=text>b</div></div></div>", {"a": None, "b": None}),
        ("<div id=x C><p itemprop=text>a</div><div C><a itemprop=parentItem href='#x'></a><p itemprop=text>b</div>",
         {"a": None, "b": "a"}),
        ("<div itemscope itemtype='https://schema.org/Question'><p itemprop=text>no</p><div itemprop=suggestedAnswer itemscope"
         " itemtype='https://schema.org/Answer'><p itemprop=text>a</p><div itemprop=comment C><p itemprop=text>b</div></div></div>",
         {"a": None, "b": "a"}),
        # itemref, before and after
        (f"<p id=t itemprop=text>a</p><div {COMMENT} itemref='n t'></div><p id=n itemprop=author>A</p>", {"a": None}),
        # an item that would be part of itself
        (f"<div id=o><div {COMMENT} itemref=o><p itemprop=text>a</div></div><div C><p itemprop=text>b</div>", {"b": None}),
        # properties without an item, and items that are no comments
        ("<p itemprop=text>no</p><div itemscope><p itemprop=text>no</div><div C><p itemprop=text>a</div>", {"a": None}),
        ("<div C><p itemprop='@id @type @element' content=x><p itemprop='name text'>a</div>", {"a": None}),
        ("<template><div C><p itemprop=text>no</div></template><div C><p itemprop=text>a</div>", {"a": None}),
    ],
)  # fmt: skip
def test_who_answers_whom_in_microdata(body: str, expected: dict[str, str | None]) -> None:
    assert links(read(items(body))) == expected


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("one <b>two</b>\n  three", "one two three"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<p>one</p> <p>two</p>", "one\n\ntwo"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("<pre>one\n  two</pre>", "one\ntwo"),
        ("a<script>no()</script><style>no {}</style><!-- no -->b", "ab"),
        ("&lt;b&gt; &amp;amp; 5 &lt; 6", "<b> &amp; 5 < 6"),
        ("<img alt='😀' src=x><img alt='A portrait' src=x> hi", "😀 hi"),
        # words of others inside the text are words of the text
        (
            "<a itemprop=mentions itemscope itemtype='https://schema.org/Person'><b itemprop=name>@Pip</b></a> hi",
            "@Pip hi",
        ),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
    ],
)
def test_texts_in_microdata_become_plain(inside: str, text: str) -> None:
    assert texts(read(items(f"<div C><div itemprop=text>{inside}</div></div>"))) == [text]


def test_properties_in_microdata() -> None:
    inside = """<meta itemprop=dateCreated content=2020-01-01><time itemprop=datePublished datetime=2020-02-02>then</time>
    <span itemprop=author itemscope itemtype=https://schema.org/Person><a itemprop=url href=/pip>profile</a>
    <b itemprop=name>Pip <i>P.</i></b> <span itemprop=address>Elm End</span></span>
    <a itemprop=url href=/n#c7>#</a><meta itemprop=inLanguage content=fr_CA><meta itemprop=text content="Bonjour">"""
    (found,) = read(items(f"<div C>{inside}</div>"))
    assert found == Comment("/n#c7", "Bonjour", "Pip P.", "Elm End", "2020-01-01", language="fr-CA")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # by words and author, each as often as it stands
        ([comment("+1", author="A")], [("", "A", "+1"), ("", "A", "+1")], ["+1", "+1"]),
        ([comment("+1", author="A")], [("", "B", "+1")], ["+1", "+1"]),
        # by identifier, whatever the words; a text cut short goes on
        ([comment("Long ago …", identifier="7")], [("7", "A", "Long ago it was.")], ["Long ago it was."]),
        ([comment("old", identifier="7")], [("7", "A", "new")], ["old"]),
        # in the order of the page, with what only one form has where it belongs
        ([comment(text) for text in "bdf"], [("", "", text) for text in "abce"], ["a", "b", "c", "e", "d", "f"]),
        ([comment(text) for text in "abc"], [("", "", text) for text in "acd"], ["a", "b", "c", "d"]),
    ],
)
def test_a_comment_in_both_forms_appears_once(
    first: Any, second: list[tuple[str, str, str]], expected: list[str]
) -> None:
    body = "".join(
        f'<div {COMMENT} id="{number}"><b itemprop=author>{author}</b><p itemprop=text>{text}</div>'
        for number, author, text in second
    )
    assert texts(read(linked(first, body=body))) == expected


HEADS = "<title>T | Site</title>"
FULL = (
    HEADS
    + '<meta property="og:title" content="T"><meta property="og:url" content="/o"><link rel="canonical" href="/c">'
)


@pytest.mark.parametrize(
    ("block", "head", "article"),
    [
        (comment("a"), "", None),
        (comment("a"), HEADS, Article("T | Site")),
        (comment("a"), FULL, Article("T", "/c")),
        ([{"@type": "NewsArticle", "headline": "H &amp; I"}, comment("a")], FULL, Article("H & I", "/c")),
        ({"@type": "BlogPosting", "headline": "H", "url": "/h", "comment": comment("a")}, FULL, Article("H", "/h")),
        (
            {"@type": "Article", "name": "H", "mainEntityOfPage": {"@id": "/m"}, "comment": comment("a")},
            "",
            Article("H", "/m"),
        ),
        (
            [{"@type": "Article", "headline": "G"}, {"@type": "Article", "headline": "H", "comment": comment("a")}],
            "",
            Article("H"),
        ),
    ],
)
def test_the_article_of_a_web_page(block: Any, head: str, article: Article | None) -> None:
    assert read(linked(block, head=head))[0].article == article


def test_the_article_in_microdata() -> None:
    body = """<div itemscope itemtype="https://schema.org/NewsArticle"><h1 itemprop=headline>The <i>Pier</i></h1>
    <link itemprop=url href=/pier><div itemprop=articleBody>No.</div><div C><p itemprop=text>a</div></div>"""
    assert read(items(body))[0].article == Article("The Pier", "/pier")


@pytest.mark.parametrize(
    ("lang", "language"),
    [("de", "de"), ("en_GB", "en-GB"), ("zh-Hant-TW", "zh-Hant-TW"), ("", None), ("not a code", None)],
)
def test_the_language_of_a_page(lang: str, language: str | None) -> None:
    assert (
        read(f'<!doctype html><html lang="{lang}"><p {COMMENT} itemprop=text><b itemprop=text>a')[0].language
        == language
    )


# Bytes

HTML = "<!doctype html><html><head>{}</head><body><p " + COMMENT + "><b itemprop=text>{}</b></p></body></html>"
META = '<meta charset="{}">'


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (HTML.format("", "šū").encode(), "šū"),
        (HTML.format("", "šū").encode("utf-8-sig"), "šū"),
        (HTML.format("", "šū").encode("utf-16"), "šū"),
        (b"\xfe\xff" + HTML.format("", "šū").encode("utf-16-be"), "šū"),
        (HTML.format(META.format("windows-1251"), "Привет").encode("cp1251"), "Привет"),
        (HTML.format(META.format("latin1"), "“é€”").encode("cp1252"), "“é€”"),
        (HTML.format(META.format("GB2312"), "镕").encode("gb18030"), "镕"),
        (HTML.format(META.format("Shift_JIS"), "①").encode("cp932"), "①"),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>' + HTML.format("", "šť").encode("iso-8859-2"), "šť"),
        (
            HTML.format('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "да").encode("koi8-r"),
            "да",
        ),
        # a page in UTF-16 could not say so in bytes of one
        (HTML.format(META.format("utf-16"), "šū").encode(), "šū"),
        # encodings that do not exist, or that no page has
        (HTML.format(META.format("klingon"), "šū").encode(), "šū"),
        (HTML.format(META.format("rot13"), "šū").encode(), "šū"),
        (HTML.format(META.format("idna"), "šū").encode(), "šū"),
        # nothing said: Western European, unless most of it is UTF-8
        (HTML.format("", "é").encode("latin-1"), "é"),
        (HTML.format("", "šū").encode().replace("ū".encode(), "ūü".encode() + b"\xff"), "šūü\ufffd"),
        (HTML.format(META.format("utf-8"), "é").encode("latin-1"), "\ufffd"),
    ],
    ids=str,
)
def test_encodings(data: bytes, text: str) -> None:
    assert texts(read_page(data)) == [text]


def test_a_text_page_in_utf_16() -> None:
    assert texts(read_page("by: Šū\nMay 1, 2013 1:00 PM\n<meta charset=koi8-r> ž".encode("utf-16"))) == [
        "<meta charset=koi8-r> ž"
    ]


# Which files are pages

THREAD = "by: A from: B\nMay 1, 2013 1:00 PM\nText."


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.html", "", True),
        ("a.HTM.gz", "{}", True),
        ("a", "<!DOCTYPE html><p>", True),
        ("a.txt", "\ufeff\n <?xml version='1.0'?><!-- saved -->\n<html>\n<head>", True),
        ("a", f"<div {COMMENT}>", True),
        ("a", '<script type="application/ld+json">{}</script>', True),
        ("a.txt", f"News\n\n{THREAD}", True),
        ("-", THREAD, True),
        # rows by name
        ("a.jsonl", "<!doctype html>", False),
        ("a.csv.gz", THREAD, False),
        ("a.tsv", THREAD, False),
        # rows by content
        ("a", "", False),
        ("a", '{"text": "<!doctype html><html><head>"}\n', False),
        ("a", '{"text": "x"}\n' + THREAD, False),
        ("a", '[{"text": "<html><body>"}]', False),
        ("a", "id,text\n1,<html><body><p>no", False),
        ("a.txt", "<b>Nice</b> boat\nThe other one\n", False),
        ("a.txt", "<html> is what you should learn, Ida\nI know <b>it</b>\n", False),
        ("a.txt", "<p>Nice</p>\n<p>Boat</p>", False),
        ("a.txt", "by: me\nby: you\nComments\nIn Response\nMay 1, 2013 1:00 PM", False),
        ("a.txt", "Standing by: waiting\n2013 was 1:00 better", False),
        ("a", "<!--" * 1000, False),
        ("a", "<!---->" * 1000 + "x", False),
    ],
)
def test_which_files_are_pages(name: str, head: str, expected: bool) -> None:
    assert is_page(name, head.encode()) is expected


def test_a_head_cut_within_a_letter() -> None:
    assert is_page("a", f"<!doctype html><html>{'ü' * 40_000}".encode()[: 64 << 10])
    assert is_page("a", f"{THREAD}{'ü' * 40_000}".encode()[: 64 << 10])


# Errors


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "",
            "x.txt: looked for lines 'by: NAME from: PLACE' with a date and a comment below; found 1 lines of text with 0",
        ),
        ("secret\n\nwords", "found 3 lines of text with 0 of them"),
        ("by: secret\nMay 1, 2013 1:00 PM\n\n", "found 4 lines of text with 1 of them"),
        (
            "<!doctype html><p>secret",
            "x.txt: looked for schema.org comments with text; found 0 JSON-LD blocks (0 unreadable)",
        ),
        (linked("{secret", {"@type": "Article", "articleBody": "secret"}), "found 2 JSON-LD blocks (1 unreadable)"),
        (items("<p C>secret</p>"), "1 microdata items and 1 comments without text"),
        ("<!doctype html>" + "<div>" * 100_000, "x.txt: looked for a page of common depth; found tags too deep"),
    ],
    ids=lambda value: value[:20],
)
def test_a_page_without_a_thread(data: str, message: str) -> None:
    with pytest.raises(PageError) as caught:
        read_page(data.encode(), name="x.txt")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_html_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    with pytest.raises(MissingExtra, match=r"pip install -e '\.\[pages\]' in a clone"):
        read(linked(comment("a")))
    assert texts(read(THREAD)) == ["Text."]
