"""From Work to a thread and back: the comment stays one's own, and before one."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from moderation.comment import Article, Comment
from tests.review.conftest import Enter, Site, until
from tests.review.test_script import claims, shown

ROW = "#row-{} .row-text"


def under_one_article(count: int) -> list[Comment]:
    article = Article("The ferry", "https://news.example/ferry")
    return [Comment(f"c{n}", f"You stupid liar, number {n}.", f"a{n}", article=article) for n in range(count)]


def opened(site: Site, enter: Enter, count: int = 40, where: str = "/work?label=abuse", **options: object) -> Page:
    page = enter(site, **options)
    site.put(*under_one_article(count))
    page.goto(where)
    page.wait_for_load_state("networkidle")
    return page


def to_thread(page: Page) -> int:
    ref = shown(page)
    page.click("#stage .card a:has-text('Whole thread')")
    page.wait_for_url(f"**/comments/{ref}/thread?*")
    return ref


def in_view(page: Page, ref: int) -> bool:
    return bool(page.locator(f"#row-{ref}").evaluate("it => it.getBoundingClientRect().top.toFixed() >= 0 && "
                                                     "it.getBoundingClientRect().bottom <= innerHeight"))  # fmt: skip


def test_a_comment_stays_claimed_while_its_thread_is_open(empty: Site, enter: Enter) -> None:
    page = opened(empty, enter)
    lost = []
    page.on("request", lambda request: lost.append(request.post_data) if "/release" in request.url else None)
    page.keyboard.press("j")
    ref = to_thread(page)
    until(page, lambda: claims(empty) == {ref: "ada"})
    assert not any(re.search(rf"=(\d+%2C)*{ref}\b", body or "") for body in lost), lost
    page.wait_for_timeout(2_500)
    assert claims(empty) == {ref: "ada"}
    page.click("a:has-text('Back to Work')")
    page.wait_for_url("**/work?label=abuse&*")
    page.wait_for_load_state("networkidle")
    assert shown(page) == ref and page.locator(".chip:has-text('Label: Abuse')").count() == 1
    assert not any(re.search(rf"=(\d+%2C)*{ref}\b", body or "") for body in lost), lost


def test_leaving_a_thread_gives_its_comment_back(empty: Site, enter: Enter) -> None:
    page = opened(empty, enter)
    ref = to_thread(page)
    until(page, lambda: claims(empty) == {ref: "ada"})
    page.click("nav a:has-text('My decisions')")
    page.wait_for_url("**/mine")
    until(page, lambda: claims(empty) == {})


def test_the_claim_is_renewed_while_the_thread_is_read(empty: Site, enter: Enter) -> None:
    page = opened(empty, enter)
    page.clock.install()
    ref = to_thread(page)
    before = empty.store.listing.item(ref).claimed_until
    page.clock.run_for(61_000)
    until(page, lambda: empty.store.listing.item(ref).claimed_until > before)  # type: ignore[operator]
    empty.store.desk.release("ada")
    empty.store.desk.take("bob", ref)
    page.clock.run_for(61_000)
    expect(page.locator(".toast.bad")).to_contain_text(f"Comment #{ref}: bob has this comment now.")


def test_another_comment_of_the_thread_leads_back_to_the_place_it_was_opened_at(empty: Site, enter: Enter) -> None:
    page = opened(empty, enter)
    ref = to_thread(page)
    other = 1 if ref > 20 else 40
    page.click(ROW.format(other))
    page.wait_for_url(f"**/comments/{other}?*")
    until(page, lambda: claims(empty) == {ref: "ada", other: "ada"})
    page.click("a:has-text('Back to the thread')")
    page.wait_for_url("**/thread?*")
    expect(page.locator(ROW.format(other))).to_be_focused()
    until(page, lambda: claims(empty) == {ref: "ada"})
    page.click("a:has-text('Back to Work')")
    page.wait_for_url("**/work?*")
    assert shown(page) == ref


def test_a_thread_that_was_opened_in_a_tab_of_its_own_takes_nothing_from_work(empty: Site, enter: Enter) -> None:
    page = opened(empty, enter, 3)
    page.wait_for_timeout(2_000)
    with page.context.expect_page() as found:
        page.click("#stage .card a:has-text('Whole thread')", modifiers=["Control"])
    tab = found.value
    tab.wait_for_load_state("networkidle")
    tab.wait_for_timeout(2_000)
    tab.goto("/mine")
    page.bring_to_front()
    page.wait_for_timeout(2_000)
    assert claims(empty) == {1: "ada", 2: "ada", 3: "ada"}


@pytest.mark.parametrize("script", [True, False])
def test_a_thread_opens_at_the_comment_one_came_from(empty: Site, enter: Enter, script: bool) -> None:
    page = opened(empty, enter, java_script_enabled=script, where="/work?order=newest")
    ref = to_thread(page)
    assert ref == 40
    until(page, lambda: in_view(page, ref))
    assert not in_view(page, 1)
    if script:
        expect(page.locator(ROW.format(ref))).to_be_focused()
        page.keyboard.press("k")
        expect(page.locator(ROW.format(ref - 1))).to_be_focused()
        page.keyboard.press("j")
        expect(page.locator(ROW.format(ref))).to_be_focused()
    page.click("a:has-text('Back to Work')")
    page.wait_for_url("**/work?order=newest*")
    assert shown(page) == ref
    page.goto(f"/comments/{ref}?back=%2Fmine")
    to_thread(page)
    page.click("a:has-text('Back to the comment')")
    page.wait_for_url(f"**/comments/{ref}?*")
    expect(page.locator("a:has-text('Back to My decisions')")).to_be_visible()


def test_the_keys_go_on_from_where_a_link_of_the_thread_led(empty: Site, enter: Enter) -> None:
    article = Article("The ferry", "https://news.example/ferry")
    answer = Comment("answer", "No, you stupid liar.", "ann", parent_id="c1", article=article)
    page = opened(empty, enter, 30)
    empty.put(answer)
    page.goto("/comments/31/thread")
    expect(page.locator(ROW.format(31))).to_be_focused()
    page.click("#row-31 a:has-text('#2')")
    expect(page.locator(ROW.format(2))).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(ROW.format(3))).to_be_focused()


@pytest.mark.parametrize(
    "where", ["https://evil.example/", "//evil.example", "/nowhere", "/work?author=" + "x" * 5_000]
)
def test_a_thread_leads_back_to_pages_of_ours_alone(site: Site, enter: Enter, where: str) -> None:
    page = enter(site, java_script_enabled=False)
    page.goto(f"/comments/3/thread?back={where}")
    assert page.get_attribute("a:has-text('Back to')", "href") == "/comments/3"
