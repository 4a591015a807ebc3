"""A real server over a real queue, and a real Chromium before it."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from moderation import Policy, Scorer
from moderation.comment import Article, Comment
from moderation.queue import Incoming, Intake, Store
from moderation.queue.people import People
from moderation.server import review
from moderation.server._queue_openapi import described
from moderation.server.app import create_app
from moderation.server.intake import routes as intake_routes
from moderation.server.settings import Settings
from tests.conftest import CHROMIUM, ROOT

PASSWORD = "a long password"
PLAIN = Intake(sample=0, double=0)
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage",
]  # fmt: skip


def incoming(scorer: Scorer, policy: Policy, comment: Comment) -> Incoming:
    """Score a comment on its way into the queue, as the command line and the server do."""
    score, explanation = scorer.score(comment), scorer.explain(comment)
    return Incoming(comment, score, policy.decide(score, explanation), policy.severity(score), explanation.spans)


def thread() -> list[Comment]:
    """The sample thread."""
    article = Article("Ferry Road bridge shut again as mayor defends repairs", "https://news.example/ferry-road-bridge")
    lines = (ROOT / "datasets/samples/thread.jsonl").read_text(encoding="utf-8").splitlines()
    return [Comment.from_json({**json.loads(line), "article": article.to_json()}) for line in lines]


@dataclass
class Site:
    """A queue and the server that shows it."""

    store: Store
    url: str
    scorer: Scorer
    policy: Policy

    def put(self, *comments: Comment, site: str = "gazette", intake: Intake = PLAIN) -> None:
        """Put comments into the queue."""
        found = [incoming(self.scorer, self.policy, comment) for comment in comments]
        self.store.arrivals.put(found, site=site, intake=intake)


def open_store(where: Path | str, **options: Any) -> Store:
    """A queue with four accounts, whose passwords are hashed cheaply."""
    store = Store.open(where, mix=0, **({"blind": 0} | options))
    store.people = People(store.database, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    if not store.people.all():
        for name, role in (("ada", "moderator"), ("bob", "moderator"), ("sue", "senior"), ("root", "admin")):
            store.people.add(name, role, PASSWORD)  # type: ignore[arg-type]
    return store


def serve(store: Store, scorer: Scorer, policy: Policy, settings: Settings | None = None) -> Iterator[Site]:
    """Run a server in a thread until the test is over."""
    extra = [*intake_routes(store, scorer, policy, intake=PLAIN), *review.routes(store, scorer, policy, settings)]
    app = create_app(scorer, policy, extra_routes=extra, extra_document=described())
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield Site(store, f"http://127.0.0.1:{listener.getsockname()[1]}", scorer, policy)
    server.should_exit = True
    thread.join(10)
    listener.close()


def until(page: Page, true: Callable[[], bool]) -> None:
    """Let the page go on until something is true; fail after a minute and a half."""
    for _ in range(900):
        if true():
            return
        page.wait_for_timeout(100)
    raise AssertionError("not true within a minute and a half")


def read(page: Page) -> None:
    """Let the time pass that anybody needs to see a comment: what is pressed faster than that does not count."""
    page.wait_for_timeout(300)


def drag_to_the_end(page: Page) -> None:
    """Drag over the bars of the Bulk page, from .7 to 1."""
    box = page.locator("#histogram").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.72, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40, steps=5)
    page.mouse.up()


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy.load()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue with accounts, to copy."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    open_store(path).close()
    return path


@pytest.fixture
def empty(template: Path, tmp_path: Path, shipped: Scorer, policy: Policy) -> Iterator[Site]:
    """A server without comments."""
    shutil.copy(template, tmp_path / "queue.db")
    with open_store(tmp_path / "queue.db") as store:
        yield from serve(store, shipped, policy)


@pytest.fixture
def site(empty: Site) -> Site:
    """A server with the sample thread."""
    empty.put(*thread())
    return empty


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    """A browser without a screen."""
    with httpx.Client(base_url=site.url, timeout=60, headers={"accept": "text/html"}) as client:
        yield client


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


expect.set_options(timeout=30_000)

Enter = Callable[..., Page]


@pytest.fixture
def enter(browser: Browser) -> Iterator[Enter]:
    """Opens a browser of its own for somebody and signs in. A dialog, or an error in a page's script, fails the test."""
    contexts: list[BrowserContext] = []
    trouble: list[str] = []

    def watch(page: Page) -> None:
        page.on("dialog", lambda dialog: (trouble.append(f"dialog: {dialog.type}"), dialog.dismiss()))
        page.on("pageerror", lambda error: trouble.append(f"script: {error}"))
        page.on("console", lambda line: trouble.append(line.text) if "Content Security Policy" in line.text else None)

    def open_page(site: Site, name: str | None = "ada", **options: object) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(base_url=site.url, locale="en-GB", **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)  # a machine may be busy
        watch(page)
        if name is not None:
            page.goto("/sign-in")
            page.fill("#name", name)
            page.fill("#password", PASSWORD)
            page.click("button:has-text('Sign in')")
            page.wait_for_url("**/work")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not trouble, trouble
