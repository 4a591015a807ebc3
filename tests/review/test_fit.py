"""What is to be read and pressed is in view, whatever the window, the size of the text and what else is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from moderation.comment import Comment
from tests.review.conftest import Enter, Site
from tests.review.test_script import decide, many

COVERED = """menu => [...menu.querySelectorAll(".panel :is(button, summary)")].filter((it) => it.checkVisibility()).filter((it) => {
  it.scrollIntoView({ block: "nearest" });
  const box = it.getBoundingClientRect();
  return [.1, .5, .9].some((share) => {
    const found = document.elementFromPoint(box.left + box.width * share, box.top + box.height / 2);
    return !it.contains(found);
  });
}).map((it) => it.innerText)"""
OUTSIDE = """() => [...document.querySelectorAll(".acts :is(button, summary)")].filter((it) => it.checkVisibility())
.filter((it) => it.getBoundingClientRect().right > innerWidth).map((it) => it.innerText)"""


def large_text(page: Page) -> None:
    """Set the browser's font to twice its size."""
    page.context.new_cdp_session(page).send("Page.setFontSizes", {"fontSizes": {"standard": 32, "fixed": 26}})


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 780)])
def test_no_message_lies_over_an_open_menu(empty: Site, enter: Enter, width: int, height: int) -> None:
    empty.put(*many(8))
    page = enter(empty, viewport={"width": width, "height": height})
    page.clock.install()
    page.reload()
    page.wait_for_load_state("networkidle")
    for _ in range(3):
        decide(page)
    expect(page.locator(".toast")).to_have_count(3)
    page.clock.pause_at(datetime.now(UTC) + timedelta(seconds=1))  # the messages stay
    page.click("#stage summary.reject")
    menu = page.locator("#stage [data-menu=reject]")
    expect(menu.locator("button").first).to_be_visible()
    assert menu.evaluate(COVERED) == []


def test_with_large_text_nothing_lies_beside_the_window(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty, viewport={"width": 390, "height": 780})
    large_text(page)
    page.reload()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "32px"
    assert page.evaluate("document.scrollingElement.scrollWidth") == 390
    assert page.evaluate(OUTSIDE) == []
    page.keyboard.press("r")
    assert page.locator("#stage [data-menu=reject]").evaluate(COVERED) == []


def test_a_low_window_shows_the_comment(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty, viewport={"width": 640, "height": 400})
    page.wait_for_load_state("networkidle")
    page.keyboard.press("b")  # what is blurred lets every point through
    seen = page.locator("#stage .text").evaluate(
        """it => { const box = it.getBoundingClientRect();
        return it.contains(document.elementFromPoint(box.left + 5, box.top + 5 + 1.65 * 18)); }"""
    )
    assert seen
    assert page.locator(".acts kbd").first.is_visible()  # a keyboard is there
    page.keyboard.press("r")
    assert page.locator("#stage [data-menu=reject]").evaluate(COVERED) == []


def test_who_only_touches_sees_no_keys(empty: Site, enter: Enter) -> None:
    empty.put(*many(1))
    page = enter(empty, viewport={"width": 1100, "height": 800}, is_mobile=True, has_touch=True)
    expect(page.locator(".acts summary.reject")).to_be_visible()
    assert page.locator(".acts kbd").first.is_hidden()


@pytest.mark.parametrize("width", [1280, 900, 390, 320])
def test_scores_stay_in_their_column(empty: Site, enter: Enter, width: int) -> None:
    empty.put(Comment("c", "Kill them all. Burn their houses down and shoot them dead, somebody must hang the vermin."))
    page = enter(empty, viewport={"width": width, "height": 800})
    row = page.locator(".scores .deciding")
    expect(row).to_contain_text("Incites violence")
    expect(row).to_contain_text("almost certain")
    assert page.locator(".card-side").evaluate(
        """side => { const edge = side.getBoundingClientRect().right - parseFloat(getComputedStyle(side).paddingRight);
        return Math.max(...[...side.querySelectorAll('.scores td')].map((it) => it.getBoundingClientRect().right)) - edge; }"""
    ) < 1  # fmt: skip
