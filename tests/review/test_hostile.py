"""Comments that want to break out of their box: nothing runs, nothing moves, nothing is lost."""

from __future__ import annotations

import pytest

from moderation.comment import Article, Comment
from moderation.queue import Intake
from tests.review.conftest import Enter, Site

ZALGO = "Z" + "".join(chr(c) for c in range(0x300, 0x36F)) * 4 + "algo you idiot"

HOSTILE = {
    "script": "<script>alert(1)</script> you idiot",
    "image": '"><img src=x onerror=alert(1)> you idiot',
    "attribute": "' onmouseover='alert(1) you \" autofocus onfocus=alert(1) idiot",
    "svg": "<svg/onload=alert(1)></textarea></template></details></article></main>you idiot",
    "entity": "&lt;b&gt; &amp;#x3C; &quot; you idiot",
    "template": "{{ 7 * 7 }} {% include 'base.html' %} ${7*7} you idiot",
    "rtl": "\u202eyou idiot \u2067 \u2066 gnol \u202e\u202e\u202e",
    "arabic": "\u0645\u0631\u062d\u0628\u0627 you idiot \u0645\u0631\u062d\u0628\u0627",
    "zalgo": ZALGO,
    "long word": "idiot" + "A" * 5_000,
    "lines": "idiot" + "\n" * 3_000 + "end",
    "large": "You idiot. " + "x" * 1_000_000,
    "controls": "you\x00 \x07\x1b[31m idiot\x7f\u2028\ufffe",
    "surrogate": "you idiot \ud83d",
    "emoji": "you idiot " + "👨‍👩‍👧‍👦" * 300,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_comment_stays_in_its_box(empty: Site, enter: Enter, name: str) -> None:
    evil = HOSTILE[name][:3_000]
    article = Article(evil[:300], "javascript:alert(1)//" + evil[:50])
    empty.put(
        Comment("parent", "Fine weather.", evil[:200]),
        Comment("evil", HOSTILE[name], evil[:200], evil[:200], evil[:100], "parent", article),
        Comment("reply", evil, evil[:200], parent_id="evil"),
        site="gazette",
        intake=Intake(sample=1, double=0),
    )
    page = enter(empty, "ada")
    ref = empty.store.listing.find("gazette", "evil")
    for path in ("/", f"/comments/{ref}", f"/comments/{ref}/thread", "/work", "/bulk?low=0&high=1&label=abuse"):
        page.goto(path)
        for fold in page.locator("main details").all():
            fold.evaluate("it => it.open = true")
        for box in page.locator(".reveal").all():
            box.evaluate("it => it.checked = true")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 1280, path
        assert (
            page.locator("main script, main img, main [onerror], main [onfocus], main a[href^=javascript]").count() == 0
        )
        assert page.locator("header.top").bounding_box()["y"] == 0  # type: ignore[index]
    page.goto(f"/comments/{ref}")
    shown = page.locator("#stage .text").evaluate(
        "it => it.childNodes.length ? it.firstChild.textContent + it.textContent : ''"
    )
    assert "idiot" in shown
    # The direction of a text does not leave its box: what stands after it still reads from the left.
    assert page.locator(".card-side h3").first.evaluate("it => getComputedStyle(it).direction") == "ltr"
    box, text = page.locator(".card-main").bounding_box(), page.locator("#stage .text").bounding_box()
    assert box is not None and text is not None
    assert box["x"] <= text["x"] and text["x"] + text["width"] <= box["x"] + box["width"]
    page.locator(".acts button", has_text="Approve").click()
    page.wait_for_url(f"**/comments/{ref}?done=*")
    assert empty.store.listing.item(int(str(ref)), "ada").state == "approved"


def test_a_long_text_is_folded_and_can_be_read_whole(empty: Site, enter: Enter) -> None:
    empty.put(Comment("long", "You idiot. " + "word " * 60_000 + "the end"), intake=Intake(queue_all=True))
    page = enter(empty)
    assert "the end" not in page.inner_text("#stage")
    assert len(page.content()) < 150_000
    page.evaluate("document.querySelector('details.more').open = true")
    page.click("text=/Show all 300.018 characters/")
    assert "the end" in (page.locator("#stage .text").text_content() or "")


def test_the_text_is_shown_exactly(empty: Site, enter: Enter) -> None:
    text = "  You <blink>idiot</blink>,\n\n  two  spaces & a\ttab: “ﬁ” e\u0301 🔪 "
    empty.put(Comment("exact", text), intake=Intake(queue_all=True))
    page = enter(empty)
    assert page.locator("#stage .text").text_content() == text
