"""What a key does is what the page says that it does."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.review.conftest import Enter, Site, until
from tests.review.test_pending import acts
from tests.review.test_script import BOUND, decide, many, shown

NOTE, HINTS = "#stage .settled-note", ".toast kbd:visible"


def test_on_a_card_that_one_decided_on_u_undoes_that_decision(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    first, second, third = (decide(page) for _ in range(3))
    expect(page.locator(".toast")).to_have_count(3)
    assert page.locator(HINTS).count() == 1
    expect(page.locator(".toast", has=page.locator("kbd:visible"))).to_contain_text(f"#{third}")
    for _ in range(3):
        page.keyboard.press("k")
    assert shown(page) == first
    expect(page.locator(NOTE)).to_contain_text("You approved this comment. Press u to undo it.")
    expect(page.locator(".toast", has=page.locator("kbd:visible"))).to_contain_text(f"#{first}")
    page.keyboard.press("u")
    expect(page.locator(f"#stage {BOUND}")).to_be_visible()
    assert shown(page) == first
    assert acts(empty)[3:] == [(first, "undo")]
    page.keyboard.press("j")
    page.click(f"{NOTE} button:has-text('Undo')")
    expect(page.locator(f'#stage .card[data-ref="{second}"] {BOUND}')).to_be_visible()
    assert acts(empty)[4:] == [(second, "undo")]
    page.keyboard.press("u")  # elsewhere the last one
    until(page, lambda: acts(empty)[5:] == [(third, "undo")])


def test_a_card_whose_decision_cannot_be_undone_any_more_promises_nothing(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    ref = decide(page)
    empty.store.desk.undo("ada", empty.store.listing.decisions("ada")[0].ref)  # in another tab
    page.keyboard.press("k")
    page.keyboard.press("u")
    expect(page.locator(".toast.bad")).to_contain_text("Not undone")
    assert shown(page) == ref
    assert page.inner_text(NOTE) == "You approved this comment."


def test_escape_gives_the_focus_back_from_the_filter(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    page.keyboard.press("/")
    expect(page.locator("#f-words")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#filters .filter-form")).to_be_hidden()
    expect(page.locator("#stage h2")).to_be_focused()
    ref = decide(page)
    assert acts(empty) == [(ref, "approve")]
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#filters .filter-form")).to_be_hidden()
    page.keyboard.press("j")
    expect(page.locator(".row-text").first).to_be_focused()


def test_the_filter_opens_where_words_are_typed(empty: Site, enter: Enter) -> None:
    empty.put(*many(3))
    page = enter(empty)
    for path, field in (
        ("/work", "#f-words"),
        ("/?words=liar", "#f-words"),
        ("/bulk?label=abuse&words=liar", "#b-words"),
    ):
        page.goto(path)
        page.wait_for_load_state("networkidle")
        page.keyboard.press("/")
        expect(page.locator(field)).to_be_focused()
        page.keyboard.type("pig")
        expect(page.locator(field)).to_have_value("pig")
        page.keyboard.press("Escape")
        expect(page.locator(field)).not_to_be_focused()
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()


def test_a_key_that_is_pressed_twice_decides_on_one_comment(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    ref = shown(page)
    page.evaluate(
        """() => { for (const _ of [1, 2, 3])
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true })); }"""
    )
    expect(page.locator(".toast")).to_contain_text(f"#{ref}")
    page.wait_for_timeout(500)
    assert acts(empty) == [(ref, "approve")]
    other = decide(page)
    assert acts(empty) == [(ref, "approve"), (other, "approve")]


def test_a_double_click_decides_on_one_comment(empty: Site, enter: Enter) -> None:
    empty.put(*many(6))
    page = enter(empty)
    page.wait_for_load_state("networkidle")
    ref = shown(page)
    page.dblclick("#stage button.approve", delay=60)
    expect(page.locator(".toast")).to_contain_text(f"#{ref}")
    page.wait_for_timeout(500)
    assert acts(empty) == [(ref, "approve")]
    page.click("#stage button.approve")
    until(page, lambda: len(acts(empty)) == 2)
