"""The page for everybody: by keyboard alone, without a script, on a phone, and checked by axe in light and dark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from moderation.comment import Comment
from moderation.queue import Ruling
from moderation.server.review.words import KEYS
from tests.conftest import ROOT
from tests.review.conftest import PASSWORD, Enter, Site, read, until

AXE = "4.10.3"

PAGES = ["/work", "/", "/?state=any", "/comments/3", "/comments/3/thread", "/bulk?label=abuse&low=0.2&high=1", "/appeals",
         "/appeals/1", "/mine", "/preferences", "/help", "/senior", "/people", "/audit", "/comments/999999"]  # fmt: skip


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, fetched by npm into a cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / f"moderation-axe-{AXE}"
    source = cache / "node_modules/axe-core/axe.min.js"
    if not source.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm to fetch axe-core")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(cache), "--no-save", "--silent", f"axe-core@{AXE}"]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the npm registry to fetch axe-core")
    return source.read_text(encoding="utf-8")


def furnish(site: Site) -> None:
    """Let something have happened on every page."""
    store = site.store
    store.desk.decide("bob", 3, Ruling("reject", reason="ABUSE", note="Twice this week."))
    store.appeals.open("gazette", "3", statement="I was angry.", contact="reader@example.org")
    store.desk.decide("bob", 12, Ruling("escalate", note="Is this about us?"))
    site.put(Comment("bulk", "You stupid liar."), Comment("answer", "You fat pig.", parent_id="bulk"), site="courier")


def violations(page: Page, axe: str) -> list[Any]:
    # Evaluated, not added as a script: our policy would refuse that, as it should.
    page.evaluate(axe)
    result = page.evaluate(
        "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [
        (one["id"], [node["html"][:200] + " " + node.get("failureSummary", "") for node in one["nodes"][:3]])
        for one in result["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(site: Site, enter: Enter, axe: str, scheme: str) -> None:
    furnish(site)
    page = enter(site, None, color_scheme=scheme, reduced_motion="reduce")
    page.goto("/sign-in")
    assert not violations(page, axe), "/sign-in"
    page = enter(site, "root", color_scheme=scheme, reduced_motion="reduce")
    for path in PAGES:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert not violations(page, axe), path
        for folded in page.locator("main details:not([open]) > summary").all():
            if folded.is_visible():
                folded.evaluate("it => it.parentElement.open = true")
        if reveal := page.query_selector(".reveal"):
            reveal.evaluate("it => it.checked = true")
        assert not violations(page, axe), f"{path}, unfolded"


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_in_one_direction(site: Site, enter: Enter, width: int) -> None:
    furnish(site)
    page = enter(site, "root", viewport={"width": width, "height": 740}, is_mobile=True, has_touch=True)
    wide = {}
    for path in PAGES:
        page.goto(path)
        wide[path] = page.evaluate("document.scrollingElement.scrollWidth")
    assert {path: found for path, found in wide.items() if found > width} == {}
    page.goto("/work")
    for button in page.locator(".acts button:visible, .acts summary:visible").all():
        box = button.bounding_box()
        assert box is not None and box["height"] >= 44 and box["width"] >= 44 and box["x"] + box["width"] <= width
    page.tap(".acts summary.reject")
    page.tap("button[value=ABUSE]")
    expect(page.locator(".toast")).to_contain_text("You rejected")


def test_targets_are_large_enough(site: Site, enter: Enter) -> None:
    furnish(site)
    page = enter(site, "root")
    for path in PAGES:
        page.goto(path)
        small = page.evaluate(
            """() => [...document.querySelectorAll('button, select, input:not([type=hidden]):not(.reveal), summary, nav a')]
            .map(it => [it.outerHTML.slice(0, 80), it.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.height < 24 && !0 || box.width < 24))
            .map(([html]) => html).filter(html => !html.includes('checkbox'))"""
        )
        assert not small, (path, small)


def test_by_keyboard_alone(site: Site, enter: Enter) -> None:
    page = enter(site, None)
    page.goto("/sign-in")
    until(page, lambda: page.evaluate("document.activeElement.id") == "name")  # the first field has the focus
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/work")
    page.wait_for_load_state("networkidle")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    first = page.get_attribute("#stage .card", "data-ref")
    for key, other in (("j", "k"), ("n", "p")):
        page.keyboard.press(key)
        assert page.get_attribute("#stage .card", "data-ref") != first
        page.keyboard.press(other)
        assert page.get_attribute("#stage .card", "data-ref") == first

    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("a")  # nothing acts behind the help
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert page.get_attribute("#stage .card", "data-ref") == first

    label = page.get_attribute("[data-show][aria-current]", "data-show")
    page.keyboard.press("l")
    assert page.get_attribute("[data-show][aria-current]", "data-show") != label

    page.keyboard.press("r")
    page.keyboard.press("Escape")
    assert page.locator("details.menu[open]").count() == 0
    read(page)
    page.keyboard.press("s")
    page.wait_for_load_state("networkidle")
    assert page.get_attribute("#stage .card", "data-ref") != first
    assert not site.store.listing.decisions("ada")

    read(page)
    second = page.get_attribute("#stage .card", "data-ref")
    page.keyboard.press("r")  # with the statement of reasons, by Tab
    page.locator("details.statement > summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")  # illegal
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.type("A note with r and 1 and a in it")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.keyboard.press("3")
    expect(page.locator(".toast").last).to_contain_text(f"You rejected #{second}")
    [made] = site.store.listing.decisions("ada")
    assert (made.decision.reason, made.ground, made.decision.note) == (
        "ABUSE",
        "illegal",
        "A note with r and 1 and a in it",
    )

    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "f-words"


def test_single_keys_can_be_turned_off(site: Site, enter: Enter) -> None:
    page = enter(site)
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.reload()
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    assert not site.store.listing.decisions("ada")


def test_focus_can_be_seen(site: Site, enter: Enter) -> None:
    page = enter(site)
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => { const it = document.activeElement.matches('.reveal') ? document.activeElement.nextElementSibling
                 : document.activeElement; return getComputedStyle(it).outlineStyle + getComputedStyle(it).outlineWidth; }"""
        )
        assert outline == "solid3px"


def test_the_buttons_stay_where_they_are(site: Site, enter: Enter) -> None:
    site.put(Comment("long", "You useless clown. " + "You pathetic, lying little rat. " * 300))
    for number in range(6):
        site.put(Comment(f"short {number}", f"You pathetic, lying little rat number {number}."))
    page = enter(site)
    places = set()
    for _ in range(6):
        box = page.locator(".acts summary.reject").bounding_box()
        assert box is not None
        places.add((round(box["x"]), round(box["y"])))
        ref = page.get_attribute("#stage .card", "data-ref")
        page.keyboard.press("j")
        expect(page.locator(f'#stage .card:not([data-ref="{ref}"])')).to_be_visible()
    assert len(places) == 1


@pytest.mark.parametrize("key", ["j", "a"])
def test_who_is_faster_than_the_next_comment_gets_it(site: Site, enter: Enter, key: str) -> None:
    page = enter(site)
    page.wait_for_load_state("networkidle")
    page.route("**/work/cards*", lambda route: (page.wait_for_timeout(500), route.continue_()))
    with page.expect_request("**/work/cards*"):
        page.reload(wait_until="domcontentloaded")
    first = page.get_attribute("#stage .card", "data-ref")
    page.keyboard.press(key)
    expect(page.locator("#stage .empty")).to_be_visible()
    expect(page.locator(f'#stage .card:not([data-ref="{first}"]) .acts summary.reject')).to_be_visible()


def test_a_list_is_walked_by_key(site: Site, enter: Enter) -> None:
    page = enter(site)
    page.goto("/")
    texts = page.locator(".row-text")
    for key, place in (("j", 0), ("j", 1), ("n", 2), ("k", 1), ("p", 0)):
        page.keyboard.press(key)
        expect(texts.nth(place)).to_be_focused()
    page.locator(".row .reveal").nth(1).focus()
    page.keyboard.press("j")
    expect(texts.nth(2)).to_be_focused()


def test_without_a_script(site: Site, enter: Enter) -> None:
    page = enter(site, "ada", java_script_enabled=False)
    first = page.get_attribute("#stage .card", "data-ref")
    page.click(".reveal-label")
    assert page.locator(".text").evaluate("it => getComputedStyle(it).filter") == "none"
    page.click("[data-show=abuse]")
    assert page.get_attribute("[data-show=abuse]", "aria-current") == "true"
    assert page.get_attribute("#stage .card", "data-ref") == first

    page.click("summary.reject")
    page.click("button[value=THREAT]")
    expect(page.locator(".flash")).to_contain_text(f"You rejected comment #{first}")
    assert page.get_attribute("#stage .card", "data-ref") != first
    page.click(".flash button:has-text('Undo')")
    expect(page.locator(".flash")).to_contain_text("You undid a decision")
    assert page.get_attribute("#stage .card", "data-ref") == first
    page.click(".acts button:has-text('Approve')")

    page.goto("/work")
    second = page.get_attribute("#stage .card", "data-ref")
    page.click("summary:has-text('Escalate')")
    page.fill("#stage textarea[required]", "Please look.")
    page.click(".panel button:has-text('Escalate')")
    expect(page.locator(".flash")).to_contain_text(f"You escalated comment #{second}")
    third = page.get_attribute("#stage .card", "data-ref")
    page.click(".acts button:has-text('Skip')")
    assert page.get_attribute("#stage .card", "data-ref") != third

    page.goto("/bulk?label=abuse&low=0.1&high=1")
    page.fill("#b-low", "0.5")
    page.click("button:has-text('Show')")
    page.click("button:has-text('Approve all')")
    page.click(".flash button:has-text('Undo all')")
    expect(page.locator(".flash")).to_contain_text("is undone")
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    acts = [past.decision.act for past in site.store.listing.decisions("ada") if past.bulk is None]
    assert acts[::-1][:4] == ["reject", "undo", "approve", "escalate"]


def test_the_keys_are_the_same_everywhere(site: Site, enter: Enter) -> None:
    script = (ROOT / "moderation/server/review/static/keys.js").read_text(encoding="utf-8")
    table = re.search(r"const KEYS = \{(.*?)\n  \};", script, re.DOTALL)
    assert table is not None
    acting = set(re.findall(r'^    "?([^"\s:]+)"?:', table[1], re.MULTILINE))
    told = {one.key for one in KEYS} | {"n", "p"}  # named in the lines of j and k
    assert acting | {"Esc"} == told
    guide = (ROOT / "docs/moderators.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(.+?)` \| (.+?) \|$", guide, re.MULTILINE))
    assert rows == {one.key: one.does for one in KEYS}
    page = enter(site)
    page.keyboard.press("?")
    shown = [cell.inner_text() for cell in page.locator("#help kbd").all()]
    assert shown[: len(KEYS)] == [one.key for one in KEYS]
