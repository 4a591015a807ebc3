"""Decisions that are still on their way: shown as they are, undone when they have arrived, and told of once."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from moderation.comment import Comment
from moderation.queue import Ruling
from tests.review.conftest import PASSWORD, Enter, Site, read, until
from tests.review.test_script import BOUND, decide, edit, many, shown, sign_in

NO_CONNECTION, WAITS = ".toast:has-text('No connection')", ".toast:has-text('as soon as the queue')"


def ready(site: Site, enter: Enter, path: str = "/work") -> Page:
    """Open a page that asks nobody when it is left with decisions pending."""
    page = enter(site)
    page.add_init_script("addEventListener('beforeunload', (event) => event.stopImmediatePropagation());")
    page.goto(path)
    page.wait_for_load_state("networkidle")
    return page


def acts(site: Site) -> list[tuple[int, str]]:
    """Return ada's decisions, the first one first."""
    return [(past.comment_ref, past.decision.act) for past in site.store.listing.decisions("ada")][::-1]


def test_a_comment_whose_decision_is_on_its_way_is_not_open_after_a_reload(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = ready(empty, enter)
    waiting: list[Route] = []
    page.route("**/decide", lambda route: waiting.append(route))
    ref = shown(page)
    page.keyboard.press("a")
    until(page, lambda: len(waiting) == 1)
    page.reload()
    expect(page.locator(f"#stage {BOUND}")).to_be_visible()
    assert shown(page) != ref
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.locator(f'#stage .card[data-ref="{ref}"]').count() == 0
    page.keyboard.press("u")
    expect(page.locator(WAITS)).to_contain_text(f"#{ref}")
    waiting[-1].continue_()
    until(page, lambda: acts(empty) == [(ref, "approve"), (ref, "undo")])
    expect(page.locator(WAITS)).to_have_count(0)
    page.wait_for_url(f"**/comments/{ref}?done=*")


def test_the_page_of_a_comment_says_that_its_decision_is_on_its_way(empty: Site, enter: Enter) -> None:
    empty.put(*many(2))
    page = ready(empty, enter, "/comments/2")
    page.route("**/decide", lambda route: route.abort())
    page.keyboard.press("a")
    expect(page.locator("#stage .settled-note")).to_contain_text("You approved this comment")
    page.reload()
    expect(page.locator("#stage .settled-note")).to_contain_text("You approved this comment")
    expect(page.locator(f"#stage {BOUND}")).to_be_hidden()
    page.unroute("**/decide")
    page.wait_for_url("**/comments/2?done=*")
    assert acts(empty) == [(2, "approve")]


def test_an_undo_that_waits_is_sent_by_the_next_page(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = ready(empty, enter)
    page.route("**/decide", lambda route: route.abort())
    ref = shown(page)
    page.keyboard.press("a")
    page.keyboard.press("u")
    expect(page.locator(WAITS)).to_contain_text(f"#{ref}")
    page.goto("/mine")
    page.unroute("**/decide")
    until(page, lambda: acts(empty) == [(ref, "approve"), (ref, "undo")])
    expect(page.locator(".toast", has_text="is open again")).to_contain_text(f"#{ref}")
    assert page.url.endswith("/mine")


def test_undo_of_the_last_decision_is_kept_without_a_connection(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = ready(empty, enter)
    ref = decide(page)
    page.reload()
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    page.keyboard.press("u")
    expect(page.locator(WAITS)).to_contain_text(f"#{ref}")
    page.context.set_offline(False)
    page.wait_for_url(f"**/comments/{ref}?done=*")
    assert acts(empty) == [(ref, "approve"), (ref, "undo")]


def test_undo_says_that_it_waits_and_takes_back_one(empty: Site, enter: Enter) -> None:
    empty.put(*many(5))
    page = ready(empty, enter)
    waiting: list[Route] = []
    page.route("**/decide", lambda route: waiting.append(route))
    refs = []
    for turn in range(2):
        read(page)
        refs.append(shown(page))
        page.keyboard.press("a")
        until(page, lambda turn=turn: len(waiting) > turn)
    for _ in range(3):
        page.keyboard.press("u")
    expect(page.locator(WAITS)).to_contain_text(f"#{refs[1]}")
    assert page.locator(WAITS).count() == 1
    for route in waiting:
        route.continue_()
    expect(page.locator("#stage .card")).to_have_attribute("data-ref", str(refs[1]))
    assert sorted(acts(empty)) == sorted([(refs[0], "approve"), (refs[1], "approve"), (refs[1], "undo")])
    expect(page.locator(WAITS)).to_have_count(0)


def test_the_page_of_a_comment_undoes_what_it_says(empty: Site, enter: Enter) -> None:
    empty.put(*many(2))
    page = ready(empty, enter, "/comments/2")
    page.keyboard.press("a")
    page.wait_for_url("**/comments/2?done=*")
    expect(page.locator(".flash")).to_contain_text("You approved comment #2")
    page.keyboard.press("u")
    expect(page.locator(".flash")).to_contain_text("You undid a decision")
    assert acts(empty) == [(2, "approve"), (2, "undo")]


def test_a_skip_is_confirmed_and_promises_no_undo(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = ready(empty, enter)
    ref = shown(page)
    page.keyboard.press("s")
    expect(page.locator(".toast")).to_contain_text(f"You skipped #{ref}")
    page.keyboard.press("k")
    assert shown(page) == ref
    expect(page.locator("#stage .settled-note")).to_contain_text("A skip cannot be undone")
    assert "u to undo" not in page.inner_text("#stage .settled-note")


def test_nothing_is_waiting_only_when_nothing_is_on_its_way(empty: Site, enter: Enter) -> None:
    empty.put(*[Comment(f"c{n}", f"You stupid liar, number {n}.", "loud") for n in range(2)])
    page = ready(empty, enter, "/work?author=loud")
    asked: list[Route] = []
    page.route("**/work/cards*", lambda route: asked.append(route))
    page.keyboard.press("a")
    read(page)
    page.keyboard.press("a")
    empty.put(Comment("late", "You stupid liar, late.", "loud"))
    expect(page.locator("#stage .empty h2")).to_have_text("The next comment is on its way")
    until(page, lambda: len(asked) > 0)
    for route in asked:
        route.continue_()
    page.unroute("**/work/cards*")
    expect(page.locator("#stage .card")).to_have_attribute("data-ref", "3")
    decide(page)
    expect(page.locator("#stage .empty")).to_contain_text("No comment fits this filter")


def test_what_settles_while_the_queue_is_asked_is_asked_for_again(empty: Site, enter: Enter) -> None:
    empty.put(*many(1))
    page = ready(empty, enter)
    decided: list[Route] = []
    asked: list[Route] = []
    edit(empty, 1)
    page.route("**/decide", lambda route: decided.append(route))
    page.route("**/work/cards*", lambda route: asked.append(route))
    page.keyboard.press("a")
    until(page, lambda: len(decided) == len(asked) == 1)
    answer = asked[0].fetch()  # made while the decision is on its way
    decided[0].continue_()
    expect(page.locator(".toast.bad")).to_contain_text("#1 was not approved")
    asked[0].fulfill(response=answer)
    page.unroute("**/work/cards*")
    expect(page.locator(f"#stage {BOUND}")).to_be_visible(timeout=4_000)
    assert shown(page) == 1


def test_trouble_is_told_once_and_until_it_is_over(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = ready(empty, enter)
    page.route("**/decide", lambda route: route.abort())
    for _ in range(3):
        expect(page.locator(f"#stage {BOUND}")).to_be_visible()  # the next comments may still be on their way
        read(page)
        page.keyboard.press("a")
    expect(page.locator(NO_CONNECTION)).to_contain_text("kept in this tab")
    page.wait_for_timeout(2_500)
    assert page.locator(NO_CONNECTION).count() == 1
    page.unroute("**/decide")
    expect(page.locator(NO_CONNECTION)).to_have_count(0)
    until(page, lambda: len(acts(empty)) == 3)


def test_who_signed_in_again_is_not_called_signed_out(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = ready(empty, enter)
    page.clock.install()
    page.reload()
    page.wait_for_load_state("networkidle")
    empty.store.people.set_role("ada", "moderator")  # ends the session
    page.keyboard.press("a")
    out = page.locator(".toast:has-text('You are signed out')")
    expect(out).to_be_visible()
    sign_in(page, "bob")
    with page.expect_response("**/counts*"):
        page.clock.run_for(22_000)
    expect(out).to_be_visible()
    sign_in(page, "ada")
    page.evaluate("() => { dispatchEvent(new Event('focus')); }")  # as when one comes back to the tab
    expect(out).to_have_count(0)
    until(page, lambda: len(acts(empty)) == 1)


@pytest.mark.parametrize("status", [401, 500, 503])
def test_a_decision_outlives_a_session_that_ends_while_it_is_looked_up(empty: Site, enter: Enter, status: int) -> None:
    """Another's session forbids the decision; before the page has asked whose it is, nobody's is there."""
    empty.put(*many(3))
    page = ready(empty, enter)
    sign_in(page, "bob")
    asked: list[Route] = []
    page.route("**/token", lambda route: asked.append(route))
    page.keyboard.press("a")
    until(page, lambda: bool(asked))
    asked[0].fulfill(status=status, json={"error": "not now"})
    page.unroute("**/token")
    sign_in(page, "ada")
    until(page, lambda: len(acts(empty)) == 1)


def test_signing_in_again_asks_nothing_and_sends_what_was_decided(empty: Site, enter: Enter) -> None:
    empty.put(*many(4))
    page = enter(empty)  # a dialog of the browser would fail the test
    page.wait_for_load_state("networkidle")
    empty.store.people.set_role("ada", "moderator")  # ends the session
    ref = shown(page)
    page.keyboard.press("a")
    out = page.locator(".toast:has-text('You are signed out')")
    expect(out).to_contain_text("kept in this tab")
    out.locator("a").click()
    page.wait_for_url("**/sign-in?next=*")
    page.fill("#name", "ada")
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/work")
    until(page, lambda: acts(empty) == [(ref, "approve")])


def test_what_somebody_decided_meanwhile_is_told_after_a_reload(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = ready(empty, enter)
    page.route("**/decide", lambda route: route.abort())
    ref = shown(page)
    page.keyboard.press("a")
    page.goto("/mine")
    empty.store.desk.release("ada")
    empty.store.desk.decide("bob", ref, Ruling("approve"))
    page.unroute("**/decide")
    expect(page.locator(".toast.bad", has_text="was not approved")).to_contain_text(f"#{ref}")
    page.keyboard.press("u")
    expect(page.locator(".toast").last).to_contain_text("There is nothing to undo here")
