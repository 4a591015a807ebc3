"""Twenty moderators over HTTP, as their browsers ask: part of ``python -m tests.benchmarks.review_queue``.

A moderator's page is what the script of the work view does at a key: send the decision, then ask for the comment that
is to be ready next. Every tenth time the whole page is loaded. The server is `moderation serve` in a process of its own.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import threading
import time
from collections import Counter, defaultdict
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.server.running import serving

PASSWORD = "a benchmark's long password"
RELOAD = 10
"""Decisions after which a moderator loads the whole page anew."""

JSON = "application/json"
Answer = tuple[int, Message, bytes]
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
VERSION = re.compile(r'name="version" value="([^"]+)"')
FILTERS = ("", "", "label=incitement", "label=abuse&low=0.5", "site=gazette", "article=7")


class Browser:
    """One moderator's browser."""

    def __init__(self, address: str, name: str, times: dict[str, list[float]]) -> None:
        self.connection = HTTPConnection(urlsplit(address).netloc, timeout=30)
        self.cookie = ""
        self.times, self.name, self.rng = times, name, random.Random(name)
        self.query = self.rng.choice(FILTERS)
        self.cards: dict[int, str] = {}
        status, headers, _ = self.ask("POST", "/sign-in", {"name": name, "password": PASSWORD})
        assert status == 303
        self.cookie = headers["set-cookie"].split(";")[0]
        self.open()

    def ask(self, method: str, url: str, form: dict[str, str] | None = None, accept: str = "*/*") -> Answer:
        """Ask as plainly as can be: a costly client would measure itself, twenty times over."""
        headers = {"accept": accept, "cookie": self.cookie}
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, url, None if form is None else urlencode(form), headers)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def timed(self, what: str, *asked: Any) -> bytes:
        start = time.perf_counter()
        status, _, body = self.ask(*asked)
        self.times[what].append(time.perf_counter() - start)
        assert status == 200, f"{what}: {status} {body[:200]!r}"
        return body

    def open(self) -> None:
        page = self.timed("the whole page", "GET", f"/work?{self.query}").decode()
        self.csrf = CSRF.findall(page)[0]
        self.cards = {}  # what was ready is given back by the store

    def ready(self) -> None:
        known = ",".join(map(str, self.cards))
        url = f"/work/cards?{self.query}&hold=3&known={known}"
        answer = json.loads(self.timed("the next comment", "GET", url, None, JSON))
        fresh = {card["ref"]: card["html"] for card in answer["cards"]}
        self.cards = {ref: fresh.get(ref) or self.cards[ref] for ref in answer["held"]}
        if not self.cards:  # nothing is left under the filter
            self.query = ""
            self.open()
            self.ready()

    def decide(self) -> int:
        ref, html = next(iter(self.cards.items()))
        form = {"csrf": self.csrf, "key": f"{self.name}-{ref}-{self.rng.random()}", "version": VERSION.findall(html)[0]}
        form |= {"act": "approve"} if self.rng.random() < 0.6 else {"act": "reject", "reason": "ABUSE"}
        self.timed("a decision", "POST", f"/comments/{ref}/decide", form, JSON)
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
                    browser.ready()
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
            browser.connection.close()
    if max(Counter(decided).values()) > 2:  # a share of the comments goes to two people
        wrong.append("more than two moderators decided on one comment")
    return times, wrong
