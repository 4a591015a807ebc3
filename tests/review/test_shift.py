"""A moderator's shift in a real Chromium: from signing in to signing out, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from moderation import Policy, Scorer
from moderation.comment import Article, Comment
from moderation.queue import Filter, Intake, Ruling
from tests.queue.conftest import empty as clear
from tests.queue.conftest import postgres  # noqa: F401
from tests.review.conftest import Enter, Site, drag_to_the_end, open_store, read, serve, thread, until


@pytest.fixture(params=["sqlite", "postgres"])
def shift(request: pytest.FixtureRequest, tmp_path: Path, shipped: Scorer, policy: Policy) -> Iterator[Site]:
    """A server over each database, with the sample thread and a second site."""
    where: str | Path = tmp_path / "queue.db"
    if request.param == "postgres":
        where = str(request.getfixturevalue("postgres"))
        clear(where)
    with open_store(where) as store:
        for site in serve(store, shipped, policy):
            site.put(*thread())
            site.put(*[Comment(f"b{n}", f"You useless clown number {n}.", "loud") for n in range(12)], site="courier")
            yield site


def author(page: Page) -> str:
    return page.inner_text("#stage h2")


def test_a_shift(shift: Site, enter: Enter) -> None:
    store = shift.store
    page = enter(shift, "ada")

    # Read: blurred, then revealed, with the words that drove the score.
    first = author(page)
    text = page.locator("#stage .text")
    assert "blur" in text.evaluate("it => getComputedStyle(it).filter")
    page.keyboard.press("b")
    assert text.evaluate("it => getComputedStyle(it).filter") == "none"
    assert page.locator("#stage mark.w4").count() >= 1
    assert re.fullmatch(r"[+]\d\.\d\d", str(page.locator("#stage mark.w4").first.get_attribute("data-weight")))
    expect(page.locator(".scores .deciding .word")).to_have_text(re.compile("likely|certain"))

    # Reject for a reason: the next comment is there at once.
    ref = int(str(page.get_attribute("#stage .card", "data-ref")))
    page.keyboard.press("r")
    page.keyboard.press("2")
    expect(page.locator(".toast")).to_contain_text(f"You rejected #{ref}")
    assert author(page) != first
    [rejected] = store.listing.decisions("ada", limit=1)
    assert (rejected.comment_ref, rejected.decision.act, rejected.decision.reason) == (ref, "reject", "THREAT")
    assert (rejected.ground, rejected.visibility, rejected.decision.automation) == ("illegal", "removed", "none")

    # Undo, for real, and decide otherwise.
    page.keyboard.press("u")
    expect(page.locator("#stage .card")).to_have_attribute("data-ref", str(ref))
    assert store.listing.item(ref, "ada").state == "queued"
    read(page)
    page.keyboard.press("a")
    expect(page.locator(".toast").last).to_contain_text(f"You approved #{ref}")
    assert [past.decision.act for past in store.listing.item(ref, "ada").history] == ["reject", "undo", "approve"]

    # Escalate with a note; the senior finds it.
    second = int(str(page.get_attribute("#stage .card", "data-ref")))
    page.keyboard.press("e")
    page.keyboard.type("Is this a quotation from the play?")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".toast").last).to_contain_text(f"You escalated #{second}")
    senior = enter(shift, "sue")
    senior.goto("/senior")
    expect(senior.locator(".row .note")).to_have_text("Is this a quotation from the play?")
    senior.click(f"a[href^='/comments/{second}?']")
    expect(senior.locator(".history .note")).to_have_text("Is this a quotation from the play?")
    senior.keyboard.press("r")
    senior.keyboard.press("1")
    senior.wait_for_url(f"**/comments/{second}?done=*")
    expect(senior.locator("a:has-text('Back to Senior')")).to_have_attribute("href", "/senior")
    assert store.listing.item(second, "sue").state == "rejected"
    until(senior, lambda: not senior.evaluate("sessionStorage.getItem('moderation-left-while-asking')"))
    refused = page.goto("/senior")
    assert refused is not None and refused.status == 403

    # Bulk over a range, then undone as one.
    page.goto("/bulk?label=abuse&site=courier&low=0.5&high=1")
    expect(page.locator("#preview h2")).to_contain_text("12 comments")
    page.click("button:has-text('Reject all 12')")
    expect(page.locator(".flash")).to_contain_text("12 comments were rejected")
    assert store.listing.count(Filter(state="rejected", site="courier")) == 12
    page.click(".flash button:has-text('Undo all 12')")
    expect(page.locator(".flash")).to_contain_text("is undone")
    assert store.listing.count(Filter(state="waiting", site="courier")) == 12

    # An appeal against the senior's rejection, decided by another.
    page.goto("/appeals")
    page.select_option("#a-site", "gazette")
    page.fill("#a-id", store.listing.item(second, "ada").comment.id)
    page.fill("#a-statement", "It is a line from the play that the article is about.")
    page.click("button:has-text('Open the appeal')")
    page.wait_for_url("**/appeals/*")
    senior.goto(page.url)
    expect(senior.locator("main")).to_contain_text("Another moderator decides")
    other = enter(shift, "bob")
    other.goto(page.url)
    other.click("button:has-text('Overturn')")
    expect(other.locator(".page-head")).to_contain_text("overturned")
    assert store.listing.item(second, "bob").state == "approved"

    # One's own decisions, and home.
    page.goto("/mine")
    expect(page.locator("main")).to_contain_text("escalated")
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    page.goto("/work")
    assert page.url.endswith("/sign-in?next=/work")
    assert "ada" not in {entry.claimed_by for entry in store.listing.page().entries}


def test_two_browsers_never_have_the_same_claim(empty: Site, enter: Enter) -> None:
    empty.put(*[Comment(f"c{n}", f"You stupid liar, number {n}.", f"a{n}") for n in range(24)])
    pages = {name: enter(empty, name) for name in ("ada", "bob")}
    seen: dict[str, list[str]] = {"ada": [], "bob": []}
    for turn in range(30):
        for name, page in pages.items():
            if page.locator("#stage .card").count():
                seen[name].append(str(page.get_attribute("#stage .card", "data-ref")))
                page.keyboard.press("a" if turn % 2 else "j")
                page.wait_for_timeout(150)
    for page in pages.values():
        page.wait_for_timeout(300)
    assert seen["ada"] and seen["bob"]
    assert not set(seen["ada"]) & set(seen["bob"])
    made = [(past.comment_ref, past.decision.moderator) for past in empty.store.listing.decisions(limit=200)]
    assert len({ref for ref, _ in made}) == len(made)
    assert {str(ref) for ref, who in made if who == "ada"} <= set(seen["ada"])


def test_the_next_comment_is_there_before_the_server_answers(site: Site, enter: Enter) -> None:
    page = enter(site)
    first = author(page)
    expect_ready(page)
    page.context.set_offline(True)
    page.keyboard.press("a")
    assert author(page) != first
    assert not site.store.listing.decisions("ada")
    page.context.set_offline(False)
    expect(page.locator(".toast").last).to_contain_text("You approved")
    assert len(site.store.listing.decisions("ada")) == 1


def expect_ready(page: Page) -> None:
    """Wait until two comments are held ahead."""
    page.wait_for_load_state("networkidle")


def test_a_decision_that_was_not_sent_is_sent_by_the_next_page(site: Site, enter: Enter) -> None:
    page = enter(site)
    expect_ready(page)
    page.route("**/decide", lambda route: route.abort())
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    page.unroute("**/decide")
    page.evaluate("window.onbeforeunload = null")
    copy = page.evaluate("sessionStorage.getItem('moderation-pending-ada')")
    assert copy and "approve" in copy
    page.wait_for_timeout(3_000)
    assert page.evaluate("sessionStorage.getItem('moderation-pending-ada')") == "[]"
    assert len(site.store.listing.decisions("ada")) == 1


def test_somebody_was_faster(site: Site, enter: Enter) -> None:
    page = enter(site)
    expect_ready(page)
    ref = int(str(page.get_attribute("#stage .card", "data-ref")))
    site.store.desk.release("ada")
    site.store.desk.take("bob", ref)
    read(page)
    page.keyboard.press("a")
    expect(page.locator(".toast.bad")).to_contain_text(f"#{ref} was not approved")
    assert not site.store.listing.decisions("ada")


def test_leaving_gives_comments_back(site: Site, enter: Enter) -> None:
    page = enter(site)
    expect_ready(page)
    assert site.store.listing.counts().claimed == 3
    page.goto("/mine")
    page.wait_for_timeout(300)
    assert site.store.listing.counts().claimed == 0


def test_a_reload_keeps_the_comment(site: Site, enter: Enter) -> None:
    page = enter(site)
    expect_ready(page)
    first = page.get_attribute("#stage .card", "data-ref")
    page.reload()
    assert page.get_attribute("#stage .card", "data-ref") == first
    page.wait_for_timeout(2_200)
    assert site.store.listing.item(int(str(first))).claimed_by == "ada"


def test_the_random_sample_is_marked_only_afterwards(empty: Site, enter: Enter) -> None:
    """What is here by chance looks like a flagged comment that is shown without scores."""
    bridge = Article("Bridge", "https://news.example/bridge")
    fine = Comment("fine", "What a lovely garden, thank you.", article=bridge)
    empty.put(fine, intake=Intake(sample=1, double=0))
    empty.put(Comment("flagged", "You useless clown.", article=bridge))
    page = enter(empty)
    empty.store.desk.release("ada")
    seen = []
    for blind in (0, 1):
        empty.store.listing.blind = blind
        page.goto("/comments/1")
        sampled = page.inner_html("#stage .card")
        page.goto("/comments/2")
        seen.append((sampled, page.inner_html("#stage .card")))
    (_, scored), (sampled, unscored) = seen
    assert "table" in scored and "<mark" in scored
    assert "sample" not in sampled and "table" not in sampled and "data-level" not in sampled
    patterns = [r"[0-9]+", r'value="[^"]*"', "What a lovely garden, thank you.", "You useless clown."]
    for pattern in patterns:
        sampled, unscored = (re.sub(pattern, "", text) for text in (sampled, unscored))
    assert sampled == unscored
    page.goto("/")
    assert "lovely garden" not in page.inner_text("main")
    page.goto("/comments/2/thread")
    assert "lovely garden" in page.inner_text("main") and "low 0" not in page.inner_text("main")
    page.goto("/comments/1")
    read(page)
    page.keyboard.press("a")
    page.wait_for_url("**/comments/1?done=*")
    expect(page.locator(".flash")).to_contain_text("It came from the random sample")
    assert page.locator(".scores").count() > 0


def test_a_key_reveals_one_comment_of_a_list(site: Site, enter: Enter) -> None:
    page = enter(site)
    for path in ("/", "/comments/3/thread", "/bulk?label=abuse&low=0.5&high=1"):
        page.goto(path)
        page.evaluate("document.activeElement.blur()")  # a thread opens at one of its comments
        veiled = page.locator(".veiled .row-text")
        blurred = "all => all.filter(it => getComputedStyle(it).filter != 'none').length"
        before = veiled.evaluate_all(blurred)
        assert before == veiled.count() > 1, path
        page.keyboard.press("b")
        assert veiled.evaluate_all(blurred) == before, path
        expect(page.locator(".toast")).to_contain_text("Go to a comment")
        veiled.nth(1).focus()
        page.keyboard.press("b")
        assert veiled.evaluate_all(blurred) == before - 1, path
        assert veiled.nth(1).evaluate("it => getComputedStyle(it).filter") == "none"
        page.keyboard.press("b")
        assert veiled.evaluate_all(blurred) == before, path


def test_a_second_look_does_not_see_the_first(empty: Site, enter: Enter) -> None:
    empty.put(Comment("twice", "You stupid, lying pig."), intake=Intake(sample=0, double=1))
    page = enter(empty, "ada")
    read(page)
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("You approved")
    other = enter(empty, "bob")
    shown = other.inner_text("#stage")
    assert "approved by" not in shown and "ada" not in shown
    read(other)
    other.keyboard.press("r")
    other.keyboard.press("3")
    expect(other.locator(".toast")).to_contain_text("You rejected")
    assert empty.store.statistics.agreement().pairs == 1


def test_filters_and_orders(site: Site, enter: Enter) -> None:
    page = enter(site)
    page.goto("/")
    everything = page.locator(".row").count()
    page.keyboard.press("/")
    page.select_option("#f-label", "incitement")
    page.click("button:has-text('Apply')")
    assert 0 < page.locator(".row").count() < everything
    assert "Incites violence" in page.inner_text(".rows")
    page.goto("/?author=realist&state=any")
    assert page.locator(".row").count() == 1
    page.goto("/?low=0.95&high=1&label=abuse")
    assert page.locator(".row").count() == site.store.listing.count(Filter(label="abuse", low=0.95, high=1))
    bad = page.goto("/?low=much")
    assert bad is not None and bad.status == 400
    page.goto("/work?label=incitement&order=oldest")
    assert page.get_attribute("#stage .card", "data-label") == "Incites violence"


def test_bulk_by_dragging(empty: Site, enter: Enter) -> None:
    empty.put(*[Comment(f"c{n}", f"You useless clown number {n}.", "loud") for n in range(5)])
    page = enter(empty)
    page.goto("/bulk?label=abuse&low=0&high=0.1")
    expect(page.locator("#preview h2")).to_contain_text("0 comments")
    drag_to_the_end(page)
    expect(page.locator("#preview h2")).to_contain_text("5 comments from 0.70 to 1.00")
    expect(page.locator("#preview")).to_contain_text("Nobody has decided on such a comment by itself yet")
    assert page.locator("#preview .row").count() == 5


def test_bulk_takes_in_what_was_shown(empty: Site, enter: Enter) -> None:
    empty.put(*[Comment(f"c{n}", f"You useless clown number {n}.") for n in range(3)])
    page = enter(empty)
    page.goto("/bulk?label=abuse&low=0.5&high=1")
    empty.put(Comment("late", "You useless clown, late."))
    empty.store.desk.release("ada")
    empty.store.desk.decide("bob", 2, Ruling("approve"))
    page.click("button:has-text('Reject all 3')")
    expect(page.locator(".flash")).to_contain_text("2 comments were rejected. 1 other had been decided")
    assert [entry.comment.id for entry in empty.store.listing.page().entries] == ["late"]


@pytest.mark.parametrize("script", [True, False])
def test_bulk_carries_the_whole_filter(empty: Site, enter: Enter, script: bool) -> None:
    bridge, ferry = (Article(title, f"https://news.example/{title}") for title in ("bridge", "ferry"))
    for n, (article, author) in enumerate([(bridge, "loud"), (bridge, "calm"), (ferry, "loud"), (ferry, "calm")]):
        empty.put(Comment(f"c{n}", f"You useless clown number {n}.", author, article=article))
    page = enter(empty, java_script_enabled=script)
    ref = empty.store.listing.item(1).article_ref
    page.goto(f"/bulk?label=abuse&low=0&high=1&article={ref}&author=loud&site=gazette")
    assert page.input_value("#b-author") == "loud" and page.input_value("#b-article") == str(ref)
    page.fill("#b-low", "0.5")
    if not script:
        page.click("button:has-text('Show')")
    expect(page.locator("#preview h2")).to_contain_text("1 comment from 0.50 to 1.00")
    page.click("#preview button:has-text('Reject all 1')")
    expect(page.locator(".flash")).to_contain_text("1 comment was rejected")
    assert [entry.comment.id for entry in empty.store.listing.page(Filter(state="rejected")).entries] == ["c0"]
    page.click(".flash button:has-text('Undo all 1')")
    expect(page.locator(".flash")).to_contain_text("is undone")
    assert page.input_value("#b-author") == "loud"
    [bulk] = empty.store.bulks.latest()
    assert (bulk.filter.article, bulk.filter.author, bulk.filter.low) == (ref, "loud", 0.5)


def test_care(site: Site, enter: Enter) -> None:
    page = enter(site)
    read(page)
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("You approved")
    assert page.inner_text("[data-live=decided]") == "1"
    page.goto("/preferences")
    page.uncheck("[name=blurred]")
    page.check("[name=grey]")
    page.fill("#break_after", "1")
    page.click("button:has-text('Save')")
    page.clock.install()
    page.goto("/work")
    assert page.locator(".reveal").count() == 0
    assert "grayscale" in page.evaluate("getComputedStyle(document.documentElement).filter")
    assert page.locator("#break").is_hidden()
    page.evaluate("document.body.dataset.break = new Date(0).toISOString()")
    page.clock.run_for(31_000)
    expect(page.locator("#break")).to_be_visible()
    page.click("#break button")
    expect(page.locator("#break")).to_be_hidden()
