"""Bulk in a real Chromium: an act takes in what the form shows, and nothing is decided on while that is not known."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from moderation.comment import Article, Comment
from moderation.queue import Filter, Intake, Ruling
from tests.review.conftest import Enter, Site, drag_to_the_end, read, until
from tests.review.test_rights import sign_in as log_in
from tests.review.test_script import sign_in

ALL = "/bulk?label=abuse&low=0.5&high=1"
EVERYTHING = Intake(sample=0, double=0, queue_all=True)


def furnish(site: Site) -> None:
    """Two authors under two articles, one of them on another site."""
    for n, author in enumerate(("loud", "loud", "calm")):
        article = Article("Bridge", "https://news.example/bridge")
        site.put(Comment(f"g{n}", f"You useless clown number {n}.", author, article=article))
    site.put(Comment("c0", "You useless clown number 0.", "loud"), site="courier")


def rejected(site: Site) -> set[str]:
    return {entry.comment.id for entry in site.store.listing.page(Filter(state="rejected")).entries}


def bridge(site: Site) -> int:
    """Return the number of the article that `furnish` has."""
    return next(ref for ref, title, _ in site.store.listing.articles() if title == "Bridge")


def buttons(page: Page) -> list[bool]:
    """Return of each button of the preview whether it can be pressed."""
    return [button.is_enabled() for button in page.locator("#preview button").all()]


def test_every_field_of_the_form_counts(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(ALL)
    heading, caption = page.locator("#preview h2"), page.locator("#histogram-says")
    expect(heading).to_contain_text("4 comments from 0.50 to 1.00, “Abuse”")
    page.fill("#b-author", "loud")
    expect(heading).to_contain_text("3 comments from 0.50 to 1.00, “Abuse”, by loud")
    expect(caption).to_contain_text("3 waiting comments")
    page.select_option("#b-site", "gazette")
    expect(heading).to_contain_text("2 comments from 0.50 to 1.00, “Abuse”, by loud, on gazette")
    page.fill("#b-words", "NUMBER 1")
    expect(heading).to_contain_text("1 comment from 0.50 to 1.00, “Abuse”, by loud, with “NUMBER 1”, on gazette")
    expect(caption).to_contain_text("1 waiting comment")
    page.fill("#b-words", "")
    page.select_option("#b-site", "")
    page.select_option("#b-article", label="Bridge (3)")
    expect(heading).to_contain_text("by loud, under Bridge")
    page.select_option("#b-label", "insult")
    expect(heading).to_contain_text("“Insult”")
    expect(caption).to_contain_text("“Insult”")
    page.select_option("#b-label", "abuse")
    expect(caption).to_contain_text("2 waiting comments by their score for “Abuse”")
    page.click("button:has-text('Reject all 2')")
    expect(page.locator(".flash")).to_contain_text("2 comments were rejected")
    assert rejected(empty) == {"g0", "g1"}


def test_no_button_acts_while_its_preview_is_on_its_way(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(ALL)
    asked: list[Route] = []
    page.route("**/bulk/preview*", lambda route: asked.append(route))
    assert buttons(page) == [True, True]
    page.select_option("#b-site", "gazette")
    assert buttons(page) == [False, False]
    until(page, lambda: len(asked) == 1)
    page.fill("#b-author", "calm")
    asked[0].continue_()  # the answer to what the form does not say any more
    page.wait_for_timeout(150)
    assert not any(buttons(page))
    until(page, lambda: len(asked) == 2)
    assert not any(buttons(page))
    asked[1].continue_()
    expect(page.locator("#preview h2")).to_contain_text("1 comment from 0.50 to 1.00, “Abuse”, by calm, on gazette")
    assert buttons(page) == [True, True]


def test_dragging_goes_on_after_the_bars_came_anew(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto("/bulk?label=abuse&low=0&high=0.1")
    page.fill("#b-author", "loud")
    expect(page.locator("#histogram-says")).to_contain_text("3 waiting comments")
    drag_to_the_end(page)
    expect(page.locator("#preview h2")).to_contain_text("3 comments from 0.70 to 1.00, “Abuse”, by loud")


def test_a_preview_waits_for_its_moderator_to_sign_in(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(ALL)
    empty.store.people.set_role("ada", "moderator")  # ends the session
    page.fill("#b-author", "calm")
    expect(page.locator(".toast.bad")).to_contain_text("You are signed out")
    expect(page.locator("#preview")).to_contain_text("Sign in again")
    assert page.locator("#preview input").count() == 0
    sign_in(page, "bob")
    page.wait_for_timeout(3_000)
    assert page.locator("#preview button").count() == 0
    sign_in(page, "ada")
    expect(page.locator("#preview h2")).to_contain_text("1 comment from 0.50 to 1.00, “Abuse”, by calm")
    assert page.locator(".toast").count() == 0
    page.click("button:has-text('Reject all 1')")
    expect(page.locator(".flash")).to_contain_text("1 comment was rejected")
    assert rejected(empty) == {"g2"}


def test_the_way_back_from_signing_in_leads_to_the_same_form(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(ALL)
    page.fill("#b-author", "calm")
    expect(page.locator("#preview h2")).to_contain_text("by calm")
    page.reload()
    assert page.input_value("#b-author") == "calm"
    expect(page.locator("#preview h2")).to_contain_text("1 comment from 0.50 to 1.00, “Abuse”, by calm")


def test_a_preview_waits_for_the_connection(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(ALL)
    page.context.set_offline(True)
    page.fill("#b-low", "0.6")
    expect(page.locator("#preview")).to_contain_text("The queue does not answer")
    page.context.set_offline(False)
    expect(page.locator("#preview h2")).to_contain_text("4 comments from 0.60 to 1.00")
    assert buttons(page) == [True, True]


def test_a_wrong_range_is_told(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(ALL)
    page.fill("#b-low", "7")
    expect(page.locator("#preview")).to_contain_text("low: expected a probability from 0 to 1")
    page.fill("#b-low", "0.7")
    expect(page.locator("#preview h2")).to_contain_text("4 comments from 0.70 to 1.00")


def test_undo_in_work_leads_to_the_bulk_act(empty: Site, enter: Enter) -> None:
    furnish(empty)
    page = enter(empty)
    page.goto(f"{ALL}&site=gazette")
    page.click("button:has-text('Reject all 3')")
    expect(page.locator(".flash")).to_contain_text("3 comments were rejected")
    page.goto("/work")
    page.keyboard.press("u")
    page.wait_for_url("**/bulk?made=*")
    expect(page.locator(".flash")).to_contain_text("3 comments were rejected")
    assert len(rejected(empty)) == 3
    read(page)
    page.keyboard.press("u")
    expect(page.locator("#sure")).to_have_text("Press u again to undo all 3")
    read(page)
    page.keyboard.press("u")
    expect(page.locator(".flash")).to_contain_text("is undone: its 3 comments wait again")
    assert not rejected(empty)


def test_a_press_too_many_undoes_no_bulk_act(empty: Site, enter: Enter) -> None:
    furnish(empty)
    bulk = empty.store.bulks.act("ada", Filter(low=0.0, high=1.0, site="gazette"), Ruling("approve"))
    page = enter(empty)
    page.add_init_script("document.addEventListener('readystatechange', () => setTimeout(() => press(3)))")
    page.add_init_script(
        "window.press = (n) => { for (; n; n--) document.body.dispatchEvent("
        "new KeyboardEvent('keydown', { key: 'u', bubbles: true })); }"
    )
    page.goto(f"/bulk?made={bulk.ref}")  # pressed while the page loads
    expect(page.locator("#sure")).to_be_hidden()
    read(page)
    page.evaluate("press(3)")  # the second one before the sentence was seen
    expect(page.locator("#sure")).to_have_text("Press u again to undo all 3")
    page.wait_for_timeout(8_500)
    expect(page.locator("#sure")).to_be_hidden()
    page.keyboard.press("u")
    expect(page.locator("#sure")).to_be_visible()
    assert empty.store.bulks.get(bulk.ref).undone is None
    page.click(".flash button:has-text('Undo all 3')")
    expect(page.locator(".flash")).to_contain_text("is undone")


@pytest.mark.parametrize("script", [True, False])
def test_an_act_that_starts_from_words_has_no_label(empty: Site, enter: Enter, script: bool) -> None:
    empty.put(
        *[Comment(f"c{n}", f"A <i>cure</i> {n} at pills.example", "Sell <b>er") for n in range(3)], intake=EVERYTHING
    )
    empty.put(Comment("d", "You useless clown."))
    page = enter(empty, java_script_enabled=script)
    page.goto("/?words=pills.example")
    page.click("text=Decide on these in bulk")
    assert page.input_value("#b-label") == "" and page.input_value("#b-words") == "pills.example"
    assert (page.input_value("#b-low"), page.input_value("#b-high")) == ("0", "1")
    expect(page.locator("#preview h2")).to_have_text("3 comments of any score, with “pills.example”")
    expect(page.locator("#histogram-says")).to_contain_text("3 waiting comments by the score of the label that decided")
    assert page.input_value("#bulk-reason") == ""
    page.click("button:has-text('Reject all 3')")
    assert not rejected(empty)
    page.select_option("#bulk-reason", "SPAM")
    page.click("button:has-text('Reject all 3')")
    expect(page.locator(".flash")).to_contain_text("3 comments were rejected")
    assert page.input_value("#b-label") == "" and rejected(empty) == {"c0", "c1", "c2"}
    page.click(".flash button:has-text('Undo all 3')")
    expect(page.locator(".flash")).to_contain_text("is undone")


def test_where_the_page_starts(client: httpx.Client, empty: Site) -> None:
    furnish(empty)
    log_in(client, "ada")
    heading = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
    for query, said in (
        ("", "from 0.90 to 1.00, “Incites violence”"),
        ("?site=gazette", "from 0.90 to 1.00, “Incites violence”, on gazette"),
        ("?label=", "from 0.90 to 1.00, whichever label decided"),
        ("?author=loud", "of any score, by loud"),
        ("?author=loud&label=abuse", "from 0.00 to 1.00, “Abuse”, by loud"),
        ("?words=clown", "of any score, with “clown”"),
        ("?words=clown&low=0.5", "from 0.50 to 1.00, whichever label decided, with “clown”"),
        (f"?article={bridge(empty)}", "of any score, under Bridge"),
    ):
        found = heading.findall(client.get(f"/bulk{query}").text)[0]
        assert re.sub(r"<[^>]*>", "", found).split(" ", 2)[2] == said, query


def test_no_reason_is_proposed_where_the_model_expects_few(client: httpx.Client, empty: Site) -> None:
    furnish(empty)
    empty.put(*[Comment(f"fine{n}", "What a lovely day.") for n in range(9)], intake=EVERYTHING)
    log_in(client, "ada")
    for low, proposed in (("0", False), ("0.5", True)):
        page = client.get("/bulk", params={"label": "abuse", "low": low, "high": "1"}).text
        assert bool(re.search(r'<option value="[A-Z_]+" selected', page)) is proposed


def test_the_queue_leads_to_the_same_comments(client: httpx.Client, empty: Site) -> None:
    furnish(empty)
    log_in(client, "ada")
    for query, carried in (
        ("", "low=0&amp;high=1"),
        ("?site=courier&order=oldest", "site=courier&amp;low=0&amp;high=1"),
        ("?label=abuse", "label=abuse&amp;low=0.5&amp;high=1"),
        ("?label=abuse&low=0.2&words=x%26y", "label=abuse&amp;low=0.2&amp;words=x%26y"),
    ):
        page = client.get(f"/{query}").text
        link = re.search(r'href="/bulk\?([^"]*)">Decide on these in bulk', page)
        assert (link[1] if link else "") == (carried if "words" not in query else ""), query
    assert "Decide on these" not in client.get("/?state=passed").text


def test_earlier_acts_say_what_they_took_in(client: httpx.Client, empty: Site) -> None:
    furnish(empty)
    chosen = Filter(low=0.0, high=1.0, site="gazette", article=bridge(empty), author="loud", words="CLOWN</b>")
    empty.put(Comment("w", "You useless clown</b>.", "loud", article=Article("Bridge", "https://news.example/bridge")))
    empty.store.bulks.act("ada", chosen, Ruling("approve"))
    log_in(client, "ada")
    said = (
        "any label 0.00–1.00 · words <bdi>CLOWN&lt;/b&gt;</bdi> · author <bdi>loud</bdi> · site <bdi>gazette</bdi> · "
        "article <bdi>Bridge</bdi>"
    )
    for path in ("/bulk", "/mine"):
        assert said in re.sub(r"\s+", " ", re.sub(r"</?span[^>]*>", "", client.get(path).text)), path
    empty.store.retention.erase("gazette", "loud")
    page = client.get("/bulk").text
    assert "words <bdi>(erased)</bdi> · author <bdi>(erased)</bdi>" in page and "CLOWN" not in page


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("path", [ALL, "/?label=abuse"])
def test_all_texts_of_a_list_are_shown_at_once(empty: Site, enter: Enter, path: str, script: bool) -> None:
    furnish(empty)
    page = enter(empty, java_script_enabled=script)
    page.goto(path)
    texts = page.locator(".row-text")

    def blurred() -> list[bool]:
        filters = [text.evaluate("it => getComputedStyle(it).filter") for text in texts.all()]
        return [one != "none" for one in filters]

    assert blurred() == [True] * 4
    page.click("text=Show all")
    assert blurred() == [False] * 4
    if script:
        texts.nth(1).focus()
        page.keyboard.press("b")
        assert blurred() == [False, True, False, False]
    page.click("text=Blur all")
    assert blurred() == [True] * 4


def test_an_act_leads_to_its_comments(client: httpx.Client, empty: Site) -> None:
    furnish(empty)
    everybody = Filter(low=0.0, high=1.0)
    bulk = empty.store.bulks.act("ada", everybody, Ruling("approve"))
    for name, undoes in (("ada", True), ("bob", False), ("sue", True)):
        log_in(client, name)
        page = client.get(f"/bulk/{bulk.ref}").text
        shown = re.findall(r'id="row-(\d+)"', page)
        assert len(shown) == bulk.size
        assert ("Undo all" in page) is undoes
        assert len(re.findall(r'id="row-', client.get(f"/bulk/{bulk.ref}?after={shown[0]}").text)) == len(shown) - 1
    assert f'<a href="/bulk/{bulk.ref}">' in client.get("/bulk").text
    assert [client.get(f"/bulk/{ref}").status_code for ref in ("99", "x")] == [404, 404]
