"""What lists tell of comments, and the way from a list to a comment and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest
from playwright.sync_api import expect

from moderation.comment import Article, Comment
from moderation.queue import Intake, Ruling
from tests.review.conftest import Enter, Site
from tests.review.test_rights import sign_in
from tests.review.test_script import decide
from tests.review.test_told import rows, words

ALL = Intake(queue_all=True, sample=0, double=0)
BACK = re.compile(r'<a href="([^"]+)">Back to ([^<]+)</a>')


@pytest.fixture
def client(empty: Site) -> Iterator[httpx.Client]:
    """A browser without a screen."""
    with httpx.Client(base_url=empty.url, timeout=60, headers={"accept": "text/html"}) as client:
        yield client


def test_seniors_see_who_escalated_and_why(client: httpx.Client, site: Site) -> None:
    site.put(Comment("twice", "You stupid, lying pig."), intake=Intake(sample=0, double=1))
    twice = site.store.listing.find("gazette", "twice") or 0
    site.store.desk.decide("ada", 3, Ruling("escalate", note="Is <this> a quotation?"))
    site.store.desk.decide("ada", twice, Ruling("reject", reason="ABUSE"))
    site.store.desk.decide("bob", twice, Ruling("approve"))
    sign_in(client, "sue")
    page = client.get("/senior").text
    escalated, disputed = sorted(rows(page), key=lambda row: "pig" in row)
    assert "escalated by ada" in words(escalated) and "Is &lt;this&gt; a quotation?" in escalated
    assert "rejected by ada" in words(disputed) and "approved by bob" in words(disputed)
    assert "They disagree, unseen by each other." in disputed and "They disagree" not in escalated


@pytest.mark.parametrize(
    ("name", "path", "called"),
    [
        ("ada", "/?label=abuse&low=0.1&order=oldest", "the queue"),
        ("ada", "/?state=any&author=%26%3D%2F+%C3%A9", "the queue"),
        ("ada", "/comments/1/thread?back=%2Fwork#row-1", "the thread"),
        ("sue", "/senior?days=7", "Senior"),
        ("bob", "/mine?before=999", "My decisions"),
    ],
)
def test_a_comment_leads_back_to_its_list(client: httpx.Client, empty: Site, name: str, path: str, called: str) -> None:
    empty.put(Comment("a", "You stupid, lying pig.", author="&=/ é"))
    empty.put(Comment("b", "You stupid, lying swine.", author="&=/ é"))
    empty.store.desk.decide("bob", 2, Ruling("escalate", note="?"))
    sign_in(client, name)
    link = re.search(r'class="row-text" href="([^"]+)"', client.get(path).text)
    assert link is not None
    page = client.get(unescape(link[1])).text
    assert [(unescape(where), to) for where, to in BACK.findall(page)] == [(path, called)]


def test_the_way_back_outlives_a_decision_and_its_undo(empty: Site, enter: Enter) -> None:
    empty.put(*(Comment(f"c{n}", f"You stupid, lying pig {n}.") for n in range(3)))
    for script in (True, False):
        page = enter(empty, java_script_enabled=script)
        page.goto("/?order=oldest&label=abuse")
        page.locator(".row-text").first.focus()
        page.keyboard.press("Enter")
        page.click(".card button:has-text('Approve')")
        page.wait_for_url("**done=*")
        back = page.locator("a:has-text('Back to the queue')")
        assert back.get_attribute("href") == "/?order=oldest&label=abuse"
        page.click(".flash button:has-text('Undo')")
        expect(page.locator(".flash")).to_contain_text("undid")
        assert back.get_attribute("href") == "/?order=oldest&label=abuse"
        back.click()
        assert page.url.endswith("/?order=oldest&label=abuse")


@pytest.mark.parametrize(
    "where", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", "/sign-out", "/nowhere", ""]
)
def test_a_comment_leads_back_to_pages_of_ours_alone(client: httpx.Client, site: Site, where: str) -> None:
    sign_in(client, "ada")
    headers = {"referer": f"{site.url}/comments/3?back=%2F%2Fevil.example"}
    assert "Back to" not in client.get("/comments/3", params={"back": where}).text
    assert "Back to" not in client.get("/comments/3", headers=headers).text
    assert "Back to" not in client.get("/comments/3").text


def pager(page: str) -> dict[str, str]:
    """The links at the foot of the queue, by what they are called."""
    links = re.findall(r'<a class="button"(?: rel="\w+")? href="([^"]+)">((?:First|Previous|Next) page)</a>', page)
    return {name: unescape(where) for where, name in links}


def test_the_queue_is_paged_forth_and_back(client: httpx.Client, empty: Site) -> None:
    empty.put(*(Comment(f"c{n}", f"You stupid, lying pig {n}.") for n in range(120)))
    sign_in(client, "ada")
    for order in ("oldest", "newest", "severity", "uncertainty"):
        pages = [client.get(f"/?order={order}&label=abuse").text]
        while where := pager(pages[-1]).get("Next page"):
            pages.append(client.get(where).text)
        assert [sorted(pager(page)) for page in pages] == [
            ["Next page"], ["First page", "Next page", "Previous page"], ["First page", "Previous page"]
        ]  # fmt: skip
        found = [re.findall(r'id="row-(\d+)"', page) for page in pages]
        assert len({ref for refs in found for ref in refs}) == 120 and list(map(len, found)) == [50, 50, 20]
        second = client.get(pager(pages[2])["Previous page"]).text
        first = client.get(pager(second)["Previous page"]).text
        for back, forth in ((second, found[1]), (first, found[0])):
            assert re.findall(r'id="row-(\d+)"', back) == forth
        assert list(pager(first)) == ["Next page"]
        assert re.findall(r'id="row-(\d+)"', client.get(pager(second)["First page"]).text) == found[0]
    assert client.get("/?before=x").status_code == 400


def test_a_comment_is_not_said_to_be_open_with_oneself(client: httpx.Client, empty: Site) -> None:
    article = Article("The ferry", "https://news.example/ferry")
    empty.put(*(Comment(f"c{n}", f"You stupid, lying pig {n}.", article=article) for n in range(2)))
    empty.store.desk.take("ada", 1)
    empty.store.desk.take("bob", 2)
    sign_in(client, "ada")
    for path in ("/?order=oldest", "/comments/1/thread"):
        assert ["open with" in row for row in rows(client.get(path).text)] == [False, True]


def test_work_says_how_many_fit_its_filter(empty: Site, enter: Enter) -> None:
    empty.put(*(Comment(f"c{n}", f"You stupid, lying pig {n}.", f"a{n % 2}") for n in range(9)))
    page = enter(empty)
    tally = page.locator(".tally")
    expect(tally).to_contain_text("9 waiting")
    assert " of 9" not in tally.inner_text() and page.locator("a:has-text('Clear the filter')").count() == 0
    page.goto("/work?author=a1")
    expect(tally).to_contain_text("4 of 9 waiting")
    decide(page)
    expect(tally).to_contain_text("3 of 8 waiting")
    page.click("a:has-text('Clear the filter')")
    page.wait_for_url("**/work")
    expect(tally).to_contain_text("8 waiting")


def test_a_thread_says_who_answers_whom(client: httpx.Client, empty: Site) -> None:
    article = Article("The ferry", "https://news.example/ferry")
    empty.put(Comment("a", "You stupid, lying pig.", "joe", article=article), intake=ALL)
    empty.put(Comment("b", "No, you.", "ann", parent_id="a", article=article), intake=ALL)
    empty.put(Comment("c", "Both of you.", parent_id="lost", article=article), intake=ALL)
    empty.put(Comment("d", "Neither, I say.", parent_id="c", article=article), intake=ALL)
    sign_in(client, "ada")
    page = client.get("/comments/2/thread").text
    assert page.count("The ferry") == 1
    told = [re.findall(r"answers .*", words("<li " + row)) for row in rows(page)]
    assert told == [[], ["answers joe , #1"], [], ["answers no name , #3"]]
    assert 'href="#row-1"' in rows(page)[1] and 'id="row-1"' in rows(page)[0]
    assert ["you came from here" in row for row in rows(page)] == [False, True, False, False]
    assert [f'<span class="num">#{ref}</span>' in row for ref, row in enumerate(rows(page), 1)] == [True] * 4


def test_filters_say_that_an_author_is_meant_exactly(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    for path in ("/", "/work", "/bulk"):
        assert re.search(r"Author, exactly</label>\s*<input[^>]* title=\"[^\"]*capitals", client.get(path).text)


def test_a_text_is_searched_from_the_filter(client: httpx.Client, empty: Site) -> None:
    for n, text in enumerate(("You stupid, lying pig.", "You stupid <b>Gold</b> seller & idiot.")):
        empty.put(Comment(f"c{n}", text))
    sign_in(client, "ada")
    page = client.get("/", params={"words": "seller GOLD"}).text
    assert len(rows(page)) == 1 and "seller" in page and "pig" not in page
    assert 'name="words"' in page and 'value="seller GOLD"' in page
    assert 'href="/work?words=seller+GOLD' in page
    assert "No comment fits" in client.get("/", params={"words": '"seller gold"'}).text  # a phrase
    assert "No comment fits" in client.get("/", params={"words": "b"}).text  # markup is not read
    assert "Words: GOLD&lt;/b&gt;" in client.get("/work", params={"words": "GOLD</b>"}).text
    page = client.get("/", params={"words": 'IDIOT& "gold s'}).text
    assert "No comment fits" in page and 'name="words" value="IDIOT&amp; &#34;gold s"' in page
    page = client.get("/", params={"words": 'IDIOT & "gold s'}).text
    assert len(rows(page)) == 1 and "pig" not in page
    assert 'href="/work?words=IDIOT+%26+%22gold+s' in page
    assert "Words: IDIOT &amp; &#34;gold s" in client.get("/work", params={"words": 'IDIOT & "gold s'}).text
    for wrong, why in (("x" * 201, "1 to 200 characters"), ('"\u200b"', "expected something to look for")):
        for path in ("/", "/work", "/bulk"):
            refused = client.get(path, params={"words": wrong})
            assert refused.status_code == 400 and why in refused.text


def test_a_list_shows_what_was_looked_for(client: httpx.Client, empty: Site) -> None:
    far = "You stupid, lying pig. " + "So it is. " * 60 + "Buy <i>Gold</i> &amp; <b>sil</b>ver " + "and so on. " * 100
    for n, text in enumerate(("You stupid Gold seller, silver pig.", far)):
        empty.put(Comment(f"c{n}", text), intake=ALL)
    sign_in(client, "ada")
    for path, more in (("/", {}), ("/bulk", {"low": "0"})):
        found = [words(row) for row in rows(client.get(path, params={"words": "silver gold", **more}).text)]
        assert len(found) == 2
    near, distant = sorted(rows(client.get("/", params={"words": "silver gold"}).text), key=len)
    assert 'You stupid <mark class="hit">Gold</mark> seller, <mark class="hit">silver</mark> pig.' in near
    text = unescape(distant.split('dir="auto">')[1])
    assert text.startswith("… ") and "stupid" not in text
    assert 'Buy <mark class="hit">Gold</mark> & <mark class="hit">silver</mark> and so on.' in text
    assert "mark" not in client.get("/").text.split("<ol")[1]


def test_a_comment_that_was_looked_for_shows_it_marked(client: httpx.Client, empty: Site) -> None:
    empty.put(Comment("c", "You stupid Gold seller, lying pig. " + "And so it goes. " * 200 + "Silver."), intake=ALL)
    sign_in(client, "ada")
    for path in ("/work?words=silver", "/comments/1?back=%2F%3Fwords%3Dsilver"):
        page = client.get(path).text
        assert '<details class="more" open>' in page and '<mark class="hit">Silver</mark>' in page
    page = client.get("/work?words=stupid").text
    assert '<details class="more">' in page
    assert re.search(r'<mark data-w="[^"]*"[^>]*><mark class="hit">stupid</mark></mark>', page)
    assert 'class="hit"' not in client.get("/work").text
    [card] = client.get("/work/cards", params={"words": "seller"}).json()["cards"]
    assert '<mark class="hit">seller</mark>' in card["html"]


def test_a_hit_beyond_what_a_card_carries_is_told(client: httpx.Client, empty: Site) -> None:
    empty.put(Comment("c", "You stupid, lying pig. " + "And so it goes. " * 1500 + "Silver."), intake=ALL)
    sign_in(client, "ada")
    page = client.get("/work?words=silver").text
    assert '<details class="more" open>' in page and "there, too, stands what you looked for" in page
    assert 'class="hit"' not in page
    [link] = re.findall(r'<a href="([^"]+)">Show all', page)
    assert '<mark class="hit">Silver</mark>' in client.get(unescape(link)).text
    assert "what you looked for" not in client.get("/work?words=stupid").text


def test_fields_for_words_say_how_they_are_taken(client: httpx.Client, site: Site) -> None:
    sign_in(client, "ada")
    for path in ("/", "/work", "/bulk"):
        page = client.get(path).text
        [(field, described)] = re.findall(r'<input id="(.-words)"[^>]* aria-describedby="([^"]+)"', page)
        assert f'<label for="{field}">Words in the text</label>' in page
        assert f'id="{described}">: all of them; "in quotes" as they stand<' in page


def test_another_label_leaves_what_was_looked_for_marked(empty: Site, enter: Enter) -> None:
    empty.put(Comment("c", "You stupid, lying pig, burn it down."))
    page = enter(empty)
    page.goto("/work?words=pig")
    page.keyboard.press("l")
    expect(page.locator("[data-show][aria-current]")).to_have_attribute("data-show", "incitement")
    expect(page.locator(".text mark.hit")).to_have_text("pig")
    lines = "mark => [getComputedStyle(mark).borderTopStyle, getComputedStyle(mark).borderBottomStyle]"
    assert page.locator(".text mark.hit").evaluate(lines) == ["solid", "solid"]
    assert page.locator(".text mark[class^=w]").first.evaluate(lines)[0] == "none"
