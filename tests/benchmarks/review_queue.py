"""Twenty moderators at once on 100,000 queued comments: how long each page of theirs waits for the store.

::

    python -m tests.benchmarks.review_queue                      # SQLite, and PostgreSQL where there is a server
    python -m tests.benchmarks.review_queue --think 0            # as fast as they can: saturation, not a shift

First over HTTP, from the server of `moderation serve` (see `review_pages`), then at the store alone, where a page is what
the server does for one: keep the decision, claim the next two comments with thread and author's record, count what is
left. Moderators think for `--think` seconds on average (exponential), which is faster than anybody reads.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from moderation import Article, Comment, Score, Span, Verdict
from moderation.queue import Filter, Incoming, Intake, Ruling, Store
from moderation.queue.people import People
from tests.benchmarks import review_pages

LABELS = (
    "incitement",
    "abuse",
    "threat",
    "insult",
    "identity_attack",
    "profanity",
    "severe_abuse",
    "sexually_explicit",
)
WORDS = "the council bridge mayor again never vote liar money road school somebody should burn clown paper read".split()


def comments(number: int, seed: int = 7) -> Iterator[Incoming]:
    """Yield flagged comments of 8 labels, 2,000 authors, 500 articles; a third are replies."""
    rng = random.Random(seed)
    for n in range(number):
        words = rng.choices(WORDS, k=rng.randint(8, 80))
        probabilities = {label: rng.betavariate(0.6, 3) for label in LABELS}
        label = max(("incitement", "abuse"), key=lambda name: probabilities[name])
        probabilities[label] = max(probabilities[label], 0.2)
        article = Article(f"Story {n % 500}", f"https://news.example/{n % 500}")
        parent = f"c{rng.randrange(n)}" if n and rng.random() < 0.33 else None
        comment = Comment(f"c{n}", " ".join(words), f"reader{rng.randrange(2_000)}", None, None, parent, article)
        spans = [Span(k, k + 4, name, rng.random()) for name in LABELS for k in range(0, 40, 8)]
        yield Incoming(
            comment,
            Score(comment.id, "bench", probabilities),
            Verdict(comment.id, "review", "bench", label, 0.2),
            probabilities[label] / 0.2,
            spans,
        )


def quantile(values: list[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1e3


class Shift:
    """Moderators at work on one store."""

    def __init__(self, store: Store, think: float, seconds: float) -> None:
        self.store, self.think, self.seconds = store, think, seconds
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.given: list[int] = []
        self.held: dict[str, tuple[Filter | None, Any]] = {}

    def timed(self, what: str, act: object, *args: object, **more: object) -> object:
        start = time.perf_counter()
        try:
            return act(*args, **more)  # type: ignore[operator]
        finally:
            self.times[what].append(time.perf_counter() - start)

    def page(self, name: str, rng: random.Random) -> None:
        """One page of a moderator: decide, claim, count."""
        desk = self.store.desk
        if name not in self.held:
            chosen = FILTERS[rng.randrange(len(FILTERS))]
            self.held[name] = (chosen, desk.claim(name, chosen, hold=2))
        chosen, [item, *_] = self.held.pop(name)
        self.given.append(item.ref)
        ruling = Ruling("approve") if rng.random() < 0.6 else Ruling("reject", reason="ABUSE")
        start = time.perf_counter()
        self.timed(
            "decide", desk.decide, name, item.ref, ruling, key=str(uuid.UUID(int=rng.getrandbits(128))), version=1
        )
        items = self.timed("claim two, with thread and record", desk.claim, name, chosen, hold=2)
        self.timed("counts", self.store.listing.counts, name)
        self.times["page: all three"].append(time.perf_counter() - start)
        self.held[name] = (chosen, items)

    def moderator(self, name: str) -> None:
        rng = random.Random(name)
        time.sleep(rng.uniform(0, 2 * self.think))  # nobody begins at the same moment as the others
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            try:
                self.page(name, rng)
            except Exception as error:
                self.errors.append(f"{type(error).__name__}: {error}")
            if self.think:
                time.sleep(rng.expovariate(1 / self.think))

    def senior(self) -> None:
        """Looks at lists, histograms and previews meanwhile."""
        end, listing = time.perf_counter() + self.seconds, self.store.listing
        while time.perf_counter() < end:
            first = self.timed("list of 50", listing.page)
            self.timed("list of 50, next", listing.page, after=first.after)  # type: ignore[attr-defined]
            self.timed("histogram of a label", listing.histogram, Filter(label="abuse"))
            self.timed("preview of a range", self.store.bulks.preview, "sue", Filter(label="abuse", low=0.2, high=0.3))
            self.timed("weeks", self.store.statistics.weeks)
            time.sleep(2)


FILTERS = [
    None,
    None,
    Filter(label="incitement"),
    Filter(label="abuse", low=0.5),
    Filter(site="gazette"),
    Filter(article=7),
]


def run(where: str, size: int, moderators: int, think: float, seconds: float) -> None:
    """Fill a store and print how long pages take."""
    with Store.open(where) as store:
        store.people = People(store.database, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        names = [f"m{n}" for n in range(moderators)]
        for name in names:
            store.people.add(name, "moderator", password=review_pages.PASSWORD)
        store.people.add("sue", "senior")
        start = time.perf_counter()
        store.arrivals.put(comments(size), site="gazette", intake=Intake(sample=0, double=0.05))
        filled = time.perf_counter() - start
        store.database.optimise()
        print(f"\n{store.database.engine.dialect.name}: {size:,} comments put in at {size / filled:,.0f}/s; "
              f"{moderators} moderators, {think:g} s to think, {seconds:g} s")  # fmt: skip
        show(*review_pages.run(where, names, think, seconds))
        print("  at the store alone, in one process:")
        shift = Shift(store, think, seconds)
        threads = [threading.Thread(target=shift.moderator, args=(name,)) for name in names]
        threads.append(threading.Thread(target=shift.senior))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        show(shift.times, shift.errors)
        print(f"  {len(shift.times['page: all three']) / seconds:.0f} decisions/s")


def show(times: dict[str, list[float]], errors: list[str]) -> None:
    """Print medians and 99th percentiles."""
    for what, some in times.items():
        print(
            f"  {what:<36}{len(some):>7} times  p50 {quantile(some, 0.5):7.1f} ms  p99 {quantile(some, 0.99):7.1f} ms"
        )
    print(f"  errors: {len(errors)} {sorted(set(errors))[:3]}")


def main() -> None:
    """Run on SQLite, and on PostgreSQL where there is a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--moderators", type=int, default=20)
    parser.add_argument("--think", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--postgres", default="postgresql+psycopg:///postgres", help="a database on the server")
    args = parser.parse_args()
    work = (args.size, args.moderators, args.think, args.seconds)
    if args.only != "postgres":
        with tempfile.TemporaryDirectory() as folder:
            run(str(Path(folder) / "queue.db"), *work)
    if args.only != "sqlite":
        engine, name = create_engine(args.postgres, isolation_level="AUTOCOMMIT"), f"bench_{uuid.uuid4().hex}"
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        except OperationalError:
            print("no PostgreSQL server; give --postgres URL")
            return
        try:
            run(engine.url.set(database=name).render_as_string(hide_password=False), *work)
        finally:
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


if __name__ == "__main__":
    main()
