"""What pages tell of decisions: what was done, why, and what an appeal settled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape

import httpx
import pytest

from moderation.comment import Article, Comment
from moderation.queue import Appeal, Filter, Intake, Preferences, Ruling
from tests.review.conftest import Site
from tests.review.test_rights import csrf, sign_in

REJECT = Ruling("reject", reason="ABUSE")


@pytest.fixture
def client(empty: Site) -> Iterator[httpx.Client]:
    """A browser without a screen."""
    with httpx.Client(base_url=empty.url, timeout=60, headers={"accept": "text/html"}) as client:
        yield client


def appealed(site: Site, ref: int = 3, ruling: Ruling = REJECT) -> Appeal:
    """An appeal against a rejection of ada's."""
    site.store.desk.decide("ada", ref, ruling)
    return site.store.appeals.open("gazette", site.store.listing.item(ref).comment.id, statement="It was a joke.")


def words(page: str) -> str:
    """The words of a page, with single spaces between them."""
    return " ".join(unescape(re.sub("<[^<>]*>", " ", page)).split())


@pytest.mark.parametrize("name", ["bob", "sue"])
def test_no_page_reverses_a_settled_appeal(client: httpx.Client, site: Site, name: str) -> None:
    appeal = appealed(site)
    site.store.appeals.decide("bob", appeal.ref, Ruling("approve"))
    sign_in(client, name)
    page = client.get("/comments/3").text
    assert "An appeal settled where this comment stands" in page and "/comments/3/decide" not in page
    form = {"act": "reject", "reason": "ABUSE", "revise": "yes", "csrf": csrf(client)}
    for accept in ("text/html", "application/json"):
        answer = client.post("/comments/3/decide", data=form, headers={"accept": accept})
        assert answer.status_code == 409 and "settled an appeal; open another appeal to change it" in answer.text
    assert site.store.listing.item(3).state == "approved"
    assert site.store.appeals.get(appeal.ref).state == "overturned"


def rows(page: str) -> list[str]:
    """The rows of the first list of a page."""
    return page.split('<ol class="rows')[1].split("</ol>")[0].split("<li ")[1:]


def test_my_decisions_keep_single_ones_apart_from_bulk(client: httpx.Client, empty: Site) -> None:
    empty.put(*(Comment(f"c{n}", f"You stupid liar number {n}.", "joe") for n in range(82)))
    made = empty.store.desk.decide("ada", 82, REJECT).past.ref
    bulk = empty.store.bulks.act("ada", Filter(), REJECT)
    empty.store.bulks.undo("ada", bulk.ref)
    sign_in(client, "ada")
    page = client.get("/mine").text
    [row] = rows(page)
    assert f'action="/decisions/{made}/undo"' in row and "You stupid liar number " in row
    assert "<bdi>joe</bdi>" in row and "#82" in row
    assert page.count(f'<span class="num">{bulk.size}</span> comments') == 1


def test_my_decisions_tell_what_became_of_an_escalation(client: httpx.Client, site: Site) -> None:
    escalate, approve, desk = Ruling("escalate", note="?"), Ruling("approve"), site.store.desk
    site.put(Comment("twice", "You stupid, lying pig."), intake=Intake(sample=0, double=1))
    twice = site.store.listing.find("gazette", "twice") or 0
    waiting = [entry.ref for entry in site.store.listing.page().entries if entry.ref != twice]
    refs = [*waiting[:4], twice]
    desk.decide("bob", twice, approve)
    for ref in refs:
        desk.decide("ada", ref, escalate)
    desk.undo("ada", site.store.listing.item(refs[3]).history[-1].ref)
    desk.decide("sue", refs[0], REJECT)
    desk.decide("sue", refs[1], approve)
    desk.decide("root", refs[1], replace(REJECT, visibility="demoted"), revise=True)
    sign_in(client, "ada")

    def told() -> dict[int, str]:
        found = {}
        for row in rows(client.get("/mine").text):
            if "act escalate" in row:
                [ref] = set(re.findall(r"/comments/(\d+)\?", row))
                found[int(ref)] = " ".join(words(chip) for chip in re.findall(r'<span class="chip low">.*', row))
        return {ref: found[ref] for ref in refs}

    still = "still with the seniors"
    assert list(told().values()) == ["rejected by sue", "rejected: shown less by root", still, "undone", still]
    desk.undo("bob", site.store.listing.item(twice, "bob").history[0].ref)
    name = site.store.listing.item(refs[2]).comment.id
    site.put(Comment(name, "You stupid liar, edited."))
    assert (told()[twice], told()[refs[2]]) == (still, "")


def test_my_decisions_are_paged(client: httpx.Client, empty: Site) -> None:
    article = Article("The <i>ferry</i>", "https://news.example/ferry")
    empty.put(*(Comment(f"c{n}", f"You liar {n}, " + "so long " * 30, article=article) for n in range(1, 61)))
    for ref in range(1, 61):
        empty.store.desk.decide("ada", ref, REJECT)
    sign_in(client, "ada")
    number = re.compile(r">#(\d+)</span></a>")
    page = client.get("/mine").text
    assert [int(n) for row in rows(page) for n in number.findall(row)] == [*range(60, 10, -1)]
    text = re.search(r'class="row-text".*?>(.*?)</a>', rows(page)[0])
    assert text is not None and re.match(r"You liar \d+, so long", text[1]) and 60 < len(text[1]) <= 86
    assert "<bdi>The ferry</bdi>" in rows(page)[0] and 'rel="prev"' not in page
    older = re.search(r'rel="next" href="(/mine[^"]+)"', page)
    page = client.get(older[1]).text if older else ""
    assert [int(n) for row in rows(page) for n in number.findall(row)] == [*range(10, 0, -1)]
    newer = re.search(r'rel="prev" href="(/mine[^"]+)"', page)
    assert newer and 'rel="next"' not in page and number.findall(client.get(newer[1]).text)[0] == "60"


def test_my_decisions_are_blurred_as_other_lists_are(client: httpx.Client, site: Site) -> None:
    site.store.desk.decide("ada", 3, REJECT)
    sign_in(client, "ada")
    for blur, veiled in ((0.0, True), (100.0, False), (None, False)):
        site.store.people.set_preferences("ada", Preferences(blur=blur))
        assert ("veiled" in client.get("/mine").text) == veiled
    assert client.get("/mine?before=x&after=" + "9" * 40).status_code == 200


@pytest.mark.parametrize(
    ("visibility", "deed", "done"),
    [
        (None, "rejected", "removed"),
        ("labelled", "rejected: labelled", "labelled"),
        ("demoted", "rejected: shown less", "shown less"),
        ("disabled", "rejected: disabled", "disabled"),
    ],
)
def test_what_the_author_was_told_is_seen_wherever_the_decision_is(
    client: httpx.Client, site: Site, visibility: str | None, deed: str, done: str
) -> None:
    ruling = Ruling("reject", "ABUSE", "Third time.", "illegal", "§ 185 <", "You called her a clown.", visibility)
    appeal = appealed(site, ruling=ruling)
    sign_in(client, "bob")
    for path in ("/comments/3", f"/appeals/{appeal.ref}"):
        page = client.get(path).text
        assert f'<span class="act reject">{deed}</span>' in page and "§ 185 &lt;" in page
        told = f"Ground: against the law, § 185 < · What is done: {done} The author is told: You called her a clown."
        assert told in words(page)
    assert "What it objects to" in page and page.count("Third time.") == 2  # there, and in the history
    client.cookies.clear()
    sign_in(client, "ada")
    assert f">{deed}</span>" in client.get("/mine").text


def test_an_appeal_shows_the_decision_it_is_about(client: httpx.Client, site: Site) -> None:
    first = appealed(site, ruling=Ruling("reject", "ABUSE", facts="It insults a person."))
    site.store.appeals.decide("bob", first.ref, Ruling("reject", "SPAM", facts="It advertises.", visibility="labelled"))
    second = site.store.appeals.open("gazette", site.store.listing.item(3).comment.id)
    sign_in(client, "sue")
    page = words(client.get(f"/appeals/{first.ref}").text.split('<div id="stage">')[0])
    objected, came = page.split("What it objects to")[1].split("What came of it")
    assert "by ada" in objected and "It insults a person." in objected
    assert "rejected: labelled SPAM by bob" in came and "It advertises." in came
    page = words(client.get(f"/appeals/{second.ref}").text.split('<div id="stage">')[0])
    assert "by bob" in page.split("What it objects to")[1] and "What came of it" not in page


def test_who_skipped_all_that_fits_is_told_and_can_take_it_up_again(client: httpx.Client, site: Site) -> None:
    site.put(*(Comment(f"g{n}", f"You stupid liar {n}.", "joe") for n in range(3)), site="courier")
    sign_in(client, "ada")
    work, queue = "/work?site=courier&order=oldest", "/?site=courier&order=oldest"
    assert "for this shift, so" not in client.get(queue).text
    for _ in range(3):
        ref = re.search(r'data-ref="(\d+)"', client.get(work).text)
        client.post(f"/comments/{ref[1] if ref else ''}/skip", data={"csrf": csrf(client)})
    page = client.get(work).text
    assert "You skipped 3 of them: See them in the queue ." in words(page)
    assert unescape(re.search(r'<a href="([^"]+)">See them', page)[1]) == queue  # type: ignore[index]
    page = client.get(queue).text
    assert "You skipped 3 of these for this shift" in words(page)
    form = re.search(r'<form method="post" action="/work/unskip">(.*?)</form>', page)
    assert form is not None
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form[1]))
    answer = client.post("/work/unskip", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/work?site=courier&order=oldest")
    assert 'class="card"' in client.get(answer.headers["location"]).text
    assert "for this shift, so" not in client.get(queue).text


def test_an_empty_queue_leads_nowhere(client: httpx.Client, empty: Site) -> None:
    sign_in(client, "ada")
    page = client.get("/work").text
    assert "<span data-none>The queue is done for now.</span>" in page and "<span data-others hidden>" in page
    assert "No comment fits this filter" in client.get("/work?author=joe").text
