"""Make the pictures of docs/screenshots anew: ``python -m tests.review.screenshots``."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from moderation import Policy, Scorer
from moderation.comment import Article, Comment
from moderation.queue import Filter, Intake, Ruling, Store
from tests.conftest import CHROMIUM, ROOT
from tests.review.conftest import FLAGS, PASSWORD, Site, open_store, serve, thread

FOLDER = ROOT / "docs/screenshots"
FARES = Article("Council raises bus fares for the third time in a year", "https://news.example/bus-fares")
MILD = [
    "Third time in a year. My season ticket now costs more than the car did.",
    "The drivers are not to blame, they have not had a rise since the summer.",
    "I walk to work since the last time, and it does me good.",
    "Does anybody know whether the Sunday line stays?",
    "Well said. The council should publish the figures.",
    "In Leeds it is two pounds flat, so it can be done.",
]
HARSH = [
    "You useless clown, go back to school before you write about buses.",
    "What an idiot the mayor is. A complete and utter moron.",
    "Lazy liars, all of them, and the paper prints every word.",
    "These people are vermin and the town hall is their nest.",
    "Stupid cow. Resign and take your pathetic committee with you.",
    "You are a disgrace, a fool and a coward.",
    "Shut up, you pompous twit.",
    "Disgusting pig of a man, he should be ashamed.",
]
VIOLENT = [
    "Somebody should drag him out of his office and give him the beating he deserves.",
    "Burn the depot down, with the managers in it.",
    "I hope they hang the lot of them from the bridge.",
]
NAMES = [
    "Marjorie T.",
    "ironhorse77",
    "Kieran",
    "Old Ferryman",
    "SaraB",
    "season ticket",
    "realist",
    "Hamid",
    "Priya N.",
    "no_more_talk",
]


class Clock:
    """A clock that runs from some weeks ago to now."""

    def __init__(self, time: datetime) -> None:
        self.time = time

    def __call__(self) -> datetime:
        self.time += timedelta(milliseconds=3)
        return self.time


def comments(week: int, many: int, chance: random.Random) -> list[Comment]:
    """Invented comments of one week."""
    out = []
    for n in range(many):
        kind = chance.choices([MILD, HARSH, VIOLENT], [7, 3, 0.6])[0]
        day = f"2026-11-{chance.randint(18, 25)}T{chance.randint(7, 21):02}:{chance.randint(0, 59):02}:00"
        parent = f"w{week}-{chance.randrange(n)}" if n and chance.random() < 0.3 else None
        text, author = chance.choice(kind), chance.choice(NAMES)
        if kind is not MILD and chance.random() < 0.7:
            text = " ".join(chance.sample([text, chance.choice(MILD)], 2))
        out.append(Comment(f"w{week}-{n}", text, author, "North ward", day, parent, FARES))
    return out


def furnish(site: Site, clock: Clock) -> None:
    """Eight weeks in the life of a queue."""
    store, chance = site.store, random.Random(7)
    for week in range(8):
        clock.time = datetime.now(UTC) - timedelta(weeks=8 - week)
        site.put(*comments(week, 40, chance), site="courier", intake=Intake(sample=0.08, double=0.15))
        for name in ("bob", "eve", "bob", "cai"):
            work(store, name, chance)
    clock.time = datetime.now(UTC) - timedelta(minutes=50)
    site.put(*thread())
    clock.time += timedelta(minutes=20)
    site.put(*comments(9, 90, chance), site="courier", intake=Intake(sample=0.02, double=0))
    one = store.desk.claim("bob", Filter(label="abuse"), order="uncertainty")[0]
    store.desk.decide("bob", one.ref, Ruling("escalate", note="Does this aim at the new estate, or at everybody?"))
    rejected = [
        past for past in store.listing.decisions("eve") if past.decision.act == "reject" and past.after == "rejected"
    ]
    store.appeals.open(
        "courier", rejected[0].decision.comment_id, statement="I was quoting the mayor.", contact="reader@example.org"
    )
    clock.time = datetime.now(UTC)


def work(store: Store, name: str, chance: random.Random) -> None:
    """Let a moderator decide on what waits."""
    for item in store.desk.claim(name, hold=12):
        wrong = chance.random() < 0.12
        if (item.severity >= 1.5) != wrong:
            reason = "INCITEMENT" if item.label == "incitement" else "ABUSE"
            store.desk.decide(name, item.ref, Ruling("reject", reason=reason))
        else:
            store.desk.decide(name, item.ref, Ruling("approve"))
    store.desk.release(name)


def enter(browser: Browser, site: Site, name: str, **options: object) -> Page:
    options.setdefault("viewport", {"width": 1120, "height": 700})
    page = browser.new_context(base_url=site.url, reduced_motion="reduce", **options).new_page()  # type: ignore[arg-type]
    page.goto("/sign-in")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button:has-text('Sign in')")
    page.wait_for_load_state("networkidle")
    return page


def shoot(page: Page, name: str) -> None:
    page.mouse.move(1, 1)
    page.wait_for_timeout(150)
    page.screenshot(path=FOLDER / f"{name}.png")


def pictures(browser: Browser, site: Site) -> None:
    """Take them all."""
    page = enter(browser, site, "ada")
    page.goto("/work?site=gazette&order=newest")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("b")
    page.locator(".context summary").first.click()
    shoot(page, "work")
    page.keyboard.press("r")
    shoot(page, "reject")
    page.keyboard.press("3")
    page.locator(".toast").wait_for()
    shoot(page, "undo")
    page.goto("/?low=0.3&high=0.97&label=abuse")
    page.keyboard.press("j")
    page.keyboard.press("b")
    shoot(page, "queue")
    page.goto("/bulk?label=abuse&low=0.9&high=1&site=courier")
    page.locator("label.reveal-label").first.click()
    shoot(page, "bulk")
    page.goto("/work")
    page.context.close()

    page = enter(browser, site, "sue", color_scheme="dark")
    page.goto("/senior?days=90")
    shoot(page, "senior-dark")
    page.goto("/work?site=gazette&label=incitement")
    page.keyboard.press("b")
    shoot(page, "work-dark")
    page.goto("/appeals")
    page.locator("label.reveal-label").first.click()
    shoot(page, "appeals-dark")
    page.context.close()

    phone = {"width": 390, "height": 780}
    page = enter(browser, site, "bob", viewport=phone, is_mobile=True, has_touch=True)
    page.locator("label.reveal-label").first.tap()
    shoot(page, "phone")
    page.locator(".acts summary.reject").tap()
    shoot(page, "phone-reject")
    page.context.close()


def main() -> None:
    """Make the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    clock = Clock(datetime.now(UTC) - timedelta(weeks=9))
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "queue.db", now=clock) as store:
        for name in ("eve", "cai"):
            store.people.add(name, "moderator", PASSWORD)
        for site in serve(store, Scorer.load(), Policy.load()):
            furnish(site, clock)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                pictures(browser, site)
                browser.close()


if __name__ == "__main__":
    main()
