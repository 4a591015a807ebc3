"""Twenty moderators over HTTP, as their browsers ask: part of ``python -m tests.benchmarks.review_queue``.

A moderator's page is what the script of the work view does at a key: send the decision, then ask for the comment that
is to be ready next. Every tenth time the whole page is loaded. The server is `moderation serve` in a process of its own.
"""

from __future__ import annotations

import random
import re
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx

from tests.server.running import serving

PASSWORD = "a benchmark's long password"
RELOAD = 10
"""Decisions after which a moderator loads the whole page anew."""

CSRF = re.compile(r'name="csrf" value="([^"]+)"')
VERSION = re.compile(r'name="version" value="([^"]+)"')
FILTERS = ("", "", "label=incitement", "label=abuse&low=0.5", "site=gazette", "article=7")


class Browser:
    """One moderator's browser."""

    def __init__(self, address: str, name: str, times: dict[str, list[float]]) -> None:
        self.client = httpx.Client(base_url=address, timeout=30)
        self.times, self.name, self.rng = times, name, random.Random(name)
        self.query = self.rng.choice(FILTERS)
        self.cards: dict[int, str] = {}
        done = self.client.post("/sign-in", data={"name": name, "password": PASSWORD})
        assert done.status_code == 303, done.text
        self.open()

    def timed(self, what: str, method: str, url: str, **more: object) -> httpx.Response:
        start = time.perf_counter()
        answer = self.client.request(method, url, **more)  # type: ignore[arg-type]
        self.times[what].append(time.perf_counter() - start)
        assert answer.status_code == 200, f"{what}: {answer.status_code} {answer.text[:200]}"
        return answer

    def open(self) -> None:
        page = self.timed("the whole page", "GET", f"/work?{self.query}").text
        self.csrf = CSRF.findall(page)[0]

    def ready(self) -> None:
        known = ",".join(map(str, self.cards))
        asked = {"accept": "application/json"}
        answer = self.timed("the next comment", "GET", f"/work/cards?{self.query}&hold=3&known={known}", headers=asked)
        fresh = {card["ref"]: card["html"] for card in answer.json()["cards"]}
        self.cards = {ref: fresh.get(ref) or self.cards[ref] for ref in answer.json()["held"]}
        if not self.cards:  # nothing is left under the filter
            self.query = ""
            self.open()
            self.ready()

    def decide(self) -> int:
        ref, html = next(iter(self.cards.items()))
        form = {"csrf": self.csrf, "key": f"{self.name}-{ref}-{self.rng.random()}", "version": VERSION.findall(html)[0]}
        form |= {"act": "approve"} if self.rng.random() < 0.6 else {"act": "reject", "reason": "ABUSE"}
        self.timed("a decision", "POST", f"/comments/{ref}/decide", data=form, headers={"accept": "application/json"})
        del self.cards[ref]
        return ref

    def page(self) -> int:
        start = time.perf_counter()
        ref = self.decide()
        self.ready()
        self.times["decision and next comment"].append(time.perf_counter() - start)
        return ref


def run(where: str, names: list[str], think: float, seconds: float) -> tuple[dict[str, list[float]], list[str]]:
    """Let moderators work over HTTP; return how long everything took, in seconds, and what went wrong."""
    times: dict[str, list[float]] = defaultdict(list)
    wrong: list[str] = []
    decided: list[int] = []

    def moderator(browser: Browser) -> None:
        end = time.perf_counter() + seconds
        time.sleep(browser.rng.uniform(0, 2 * think))
        try:
            browser.ready()
            for n in range(1, 1_000_000):
                if time.perf_counter() > end:
                    break
                decided.append(browser.page())
                if n % RELOAD == 0:
                    browser.open()
                time.sleep(browser.rng.expovariate(1 / think) if think else 0)
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")

    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), "--database", where) as server:
        browsers = [Browser(server.address, name, times) for name in names]
        times.clear()
        threads = [threading.Thread(target=moderator, args=(browser,)) for browser in browsers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for browser in browsers:
            browser.client.close()
    if max(Counter(decided).values()) > 2:  # a share of the comments goes to two people
        wrong.append("more than two moderators decided on one comment")
    return times, wrong
