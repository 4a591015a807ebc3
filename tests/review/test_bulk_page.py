"""Bulk in a real Chromium: an act takes in what the form shows, and nothing is decided on while that is not known."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from moderation.comment import Article, Comment
from moderation.queue import Filter
from tests.review.conftest import Enter, Site, drag_to_the_end, until
from tests.review.test_script import sign_in

ALL = "/bulk?label=abuse&low=0.5&high=1"


def furnish(site: Site) -> None:
    """Two authors under two articles, one of them on another site."""
    for n, author in enumerate(("loud", "loud", "calm")):
        article = Article("Bridge", "https://news.example/bridge")
        site.put(Comment(f"g{n}", f"You useless clown number {n}.", author, article=article))
    site.put(Comment("c0", "You useless clown number 0.", "loud"), site="courier")


def rejected(site: Site) -> set[str]:
    return {entry.comment.id for entry in site.store.listing.page(Filter(state="rejected")).entries}


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
    page.keyboard.press("u")
    expect(page.locator(".flash")).to_contain_text("is undone: its 3 comments wait again")
    assert not rejected(empty)
