"""What the page's script does when comments come back, connections fail and people leave: nothing is lost or kept from others."""

from __future__ import annotations

from dataclasses import replace

from playwright.sync_api import Page, Route, expect

from moderation.comment import Comment
from moderation.queue import Ruling
from tests.review.conftest import PASSWORD, Enter, Site, read, until

BOUND = ".acts summary.reject"


def many(count: int) -> list[Comment]:
    return [Comment(f"c{n}", f"You stupid liar, number {n}.", f"a{n}") for n in range(count)]


def shown(page: Page) -> int:
    """Return the number of the comment on the stage."""
    return int(str(page.get_attribute("#stage .card", "data-ref")))


def decide(page: Page, key: str = "a") -> int:
    """Decide on the comment on the stage, and wait for the server's answer."""
    read(page)
    ref = shown(page)
    with page.expect_response(f"**/comments/{ref}/*"):
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    return ref


def edit(site: Site, ref: int) -> None:
    name = site.store.listing.item(ref).comment.id
    site.put(Comment(name, f"You stupid liar, edited {name}.", "x"))


def claims(site: Site) -> dict[int, str]:
    return {entry.ref: entry.claimed_by for entry in site.store.listing.page().entries if entry.claimed_by}


def test_a_comment_that_was_edited_while_it_was_read_comes_back(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    edited = []
    for _ in range(3):
        edit(empty, shown(page))
        edited.append(decide(page))
        expect(page.locator(".toast.bad").last).to_contain_text(f"#{edited[-1]} was not approved")
    for _ in range(6):
        expect(page.locator(f"#stage {BOUND}")).to_be_visible()
        decide(page)
    expect(page.locator("#stage .empty")).to_be_visible()
    assert empty.store.listing.counts().waiting == 0
    assert {past.comment_ref for past in empty.store.listing.decisions("ada")} == set(range(1, 7))


def test_a_decided_comment_that_is_edited_comes_back(empty: Site, enter: Enter) -> None:
    empty.put(*many(5))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    done = [decide(page) for _ in range(3)]
    for ref in done:
        edit(empty, ref)
    for _ in range(5):
        expect(page.locator(f"#stage {BOUND}")).to_be_visible()
        again = decide(page)
    expect(page.locator("#stage .empty")).to_be_visible()
    assert empty.store.listing.counts().waiting == 0
    page.keyboard.press("u")
    expect(page.locator("#stage .card")).to_have_attribute("data-ref", str(again))
    expect(page.locator(f"#stage {BOUND}")).to_be_visible()


def test_a_comment_that_a_colleague_gave_back_comes_again(empty: Site, enter: Enter) -> None:
    empty.put(*many(1))
    page = enter(empty)
    page.clock.install()
    page.reload()
    page.wait_for_load_state("networkidle")
    empty.store.desk.release("ada")
    empty.store.desk.take("bob", 1)
    decide(page)
    expect(page.locator("#stage .empty")).to_be_visible()
    empty.store.desk.release("bob")
    with page.expect_response("**/work/cards*"):
        page.clock.run_for(16_000)
    expect(page.locator(f"#stage {BOUND}")).to_be_visible()
    decide(page)
    assert [past.comment_ref for past in empty.store.listing.decisions("ada")] == [1]


def test_decisions_on_their_way_do_not_push_out_what_is_read(empty: Site, enter: Enter) -> None:
    empty.put(*many(20))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    waiting = []
    page.route("**/decide", lambda route: waiting.append(route))
    for turn in range(6):
        expect(page.locator(f"#stage {BOUND}")).to_be_visible()
        assert claims(empty).get(shown(page)) == "ada", turn
        read(page)
        page.keyboard.press("a")
        until(page, lambda turn=turn: len(waiting) > turn)
    ref = shown(page)
    for route in waiting:
        route.continue_()
    page.unroute("**/decide")
    expect(page.locator(".toast").last).to_contain_text("You approved")
    decide(page)
    until(page, lambda: len({past.comment_ref for past in empty.store.listing.decisions("ada")}) == 7)
    assert ref in {past.comment_ref for past in empty.store.listing.decisions("ada")}


def test_what_somebody_else_decided_does_not_come_again(empty: Site, enter: Enter) -> None:
    empty.put(*many(2))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    ref = shown(page)
    empty.store.desk.release("ada")
    empty.store.desk.decide("bob", ref, Ruling("approve"))
    decide(page)
    assert shown(page) != ref
    decide(page)
    expect(page.locator("#stage .empty")).to_be_visible()


def test_a_long_note_arrives(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty)
    note = "字" * 10_000  # 90,000 bytes in a form
    read(page)
    page.keyboard.press("e")
    page.fill("#stage textarea[required]", note)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toast").last).to_contain_text("You escalated")
    assert empty.store.listing.decisions("ada")[0].decision.note == note


def test_an_answer_of_something_else_than_the_queue_does_not_count(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty)
    page.route("**/decide", lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Wi-Fi</h1>"))
    read(page)
    page.keyboard.press("a")
    expect(page.locator("#say")).to_contain_text("waits for the connection")
    assert page.locator(".toast").count() == 0
    page.unroute("**/decide")
    expect(page.locator(".toast").last).to_contain_text("You approved")
    assert len(empty.store.listing.decisions("ada")) == 1


def test_a_tab_goes_on_after_signing_in_again_in_another(empty: Site, enter: Enter) -> None:
    empty.put(*many(4))
    page = enter(empty)
    page.wait_for_load_state("networkidle")  # the comments ahead have arrived
    empty.store.people.set_role("ada", "moderator")  # ends the session
    page.keyboard.press("a")
    expect(page.locator(".toast.bad")).to_contain_text("You are signed out")
    sign_in(page, "bob")
    page.keyboard.press("a")
    page.wait_for_timeout(3_000)
    assert not empty.store.listing.decisions()
    sign_in(page, "ada")
    page.keyboard.press("a")
    until(page, lambda: len(empty.store.listing.decisions("ada")) == 3)


def test_decisions_that_are_refused_together_all_arrive_after_signing_in_again(empty: Site, enter: Enter) -> None:
    empty.put(*many(4))
    page = enter(empty)
    page.route("**/work/hold", lambda route: route.fulfill(json={"lost": {}}))  # it would ask for the token as well
    page.wait_for_load_state("networkidle")
    empty.store.people.set_role("ada", "moderator")  # ends the session
    sign_in(page, "ada")
    asked: dict[str, list[Route]] = {"decide": [], "token": []}

    def hold_back(route: Route) -> None:
        first = asked[route.request.url.rpartition("/")[2]]
        if len(first) < 2:
            first.append(route)
        else:
            route.continue_()

    for name in asked:
        page.route(f"**/{name}", hold_back)
    for turn in range(2):
        read(page)
        page.keyboard.press("a")
        until(page, lambda turn=turn: len(asked["decide"]) > turn)
    for decision in asked["decide"]:
        decision.continue_()
    until(page, lambda: len(asked["token"]) == 2)
    asked["token"][0].continue_()
    until(page, lambda: len(empty.store.listing.decisions("ada")) == 1)
    asked["token"][1].continue_()  # the page has the new token already
    until(page, lambda: len(empty.store.listing.decisions("ada")) == 2)
    assert page.locator(".toast.bad").count() == 0


def sign_in(page: Page, name: str) -> None:
    """Sign in as somebody in another tab."""
    page.context.clear_cookies()
    tab = page.context.new_page()
    tab.goto("/sign-in?next=/mine")
    tab.fill("#name", name)
    tab.fill("#password", PASSWORD)
    tab.click("button:has-text('Sign in')")
    tab.wait_for_url("**/mine")
    tab.close()


def test_a_comment_that_is_opened_from_work_stays_claimed(empty: Site, enter: Enter) -> None:
    empty.put(*many(4))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    ref = shown(page)
    page.click("#stage .card a:has-text('History')")
    page.wait_for_url(f"**/comments/{ref}?back=*")
    page.wait_for_timeout(2_500)
    assert claims(empty) == {ref: "ada"}
    page.click("#stage .card a:has-text('History')")  # the page that it is on
    page.click("a:has-text('Back to Work')")
    page.wait_for_url(f"**/work?*at={ref}")
    page.wait_for_load_state("networkidle")
    assert (shown(page), claims(empty)[ref]) == (ref, "ada")
    page.goto("/mine")
    page.wait_for_timeout(500)
    assert claims(empty) == {}


def test_leaving_does_not_take_from_another_tab(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = enter(empty)
    page.goto("/mine")
    tab = page.context.new_page()
    tab.goto("/work")
    tab.wait_for_load_state("networkidle")
    tab.wait_for_timeout(2_000)
    page.evaluate("sessionStorage.setItem('moderation-left-while-asking', 'ada')")
    page.goto("/help")
    page.wait_for_timeout(1_500)
    assert len(claims(empty)) == 3
    tab.close()
    page.wait_for_timeout(500)
    empty.store.desk.take("ada", 6)
    page.evaluate("sessionStorage.setItem('moderation-left-while-asking', 'ada')")
    page.goto("/mine")
    page.wait_for_timeout(1_500)
    assert claims(empty) == {}


def test_who_is_signed_out_is_told(empty: Site, enter: Enter) -> None:
    page = enter(empty)
    page.clock.install()
    page.reload()
    expect(page.locator("#stage .empty h2")).to_have_text("Nothing is waiting")
    page.route("**/work/cards*", lambda route: route.abort())
    page.clock.run_for(16_000)
    expect(page.locator("#stage .empty h2")).to_have_text("The queue does not answer")
    page.unroute("**/work/cards*")
    empty.store.people.set_role("ada", "moderator")
    page.clock.run_for(16_000)
    expect(page.locator("#stage .empty h2")).to_have_text("You are signed out")
    expect(page.locator(".toast.bad")).to_contain_text("You are signed out")
    page.click(".toast.bad a")
    page.wait_for_url("**/sign-in?next=*")


def test_a_passed_comment_is_not_forgotten(empty: Site, enter: Enter) -> None:
    empty.put(*many(2))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    first = shown(page)
    page.keyboard.press("j")
    decide(page)
    assert shown(page) == first
    for key in "jj":
        page.keyboard.press(key)
    expect(page.locator("#stage .empty")).to_contain_text("What you passed is still open with you")
    for key in "kk":
        page.keyboard.press(key)
    decide(page)
    expect(page.locator("#stage .empty")).to_contain_text("The queue is done for now.")


def test_who_is_not_there_claims_nothing(empty: Site, enter: Enter) -> None:
    page = enter(empty)
    page.add_init_script("let away = true; Object.defineProperty(document, 'hidden', { get: () => away });"
                         "addEventListener('back', () => { away = false; });")  # fmt: skip
    page.clock.install()
    page.reload()
    page.wait_for_load_state("networkidle")
    empty.put(*many(2))
    page.clock.run_for(70_000)  # longer than any of the page's periods
    page.wait_for_timeout(500)
    assert claims(empty) == {}
    page.evaluate("() => { dispatchEvent(new Event('back')); document.dispatchEvent(new Event('visibilitychange')); }")
    expect(page.locator(f"#stage {BOUND}")).to_be_visible()


def test_the_reminder_of_a_break_counts_and_comes_again(empty: Site, enter: Enter) -> None:
    page = enter(empty)
    preferences = empty.store.people.get("ada").preferences
    empty.store.people.set_preferences("ada", replace(preferences, break_after=1))
    page.clock.install()
    page.reload()
    for _ in range(2):
        expect(page.locator("#break")).to_be_hidden()
        page.clock.run_for(95_000)
        expect(page.locator("#break")).to_contain_text("You have worked for 1 minutes")
        page.click("#break button")
    expect(page.locator("#break")).to_be_hidden()


def test_single_keys_stay_off_after_signing_out(empty: Site, enter: Enter) -> None:
    page = enter(empty)
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.click("button:has-text('Sign out')")
    page.wait_for_url("**/sign-in")
    page.fill("#name", "ada")
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/work")
    assert not page.is_checked("#keys-on")
