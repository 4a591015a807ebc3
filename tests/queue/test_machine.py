"""Whatever people do, in whatever order, states follow from decisions and the tallies are right."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from moderation.errors import Conflict, Forbidden
from moderation.queue import Filter, Intake, Ruling, Store
from tests.queue.conftest import Clock, furnish, incoming
from tests.queue.recount import check

NAMES = st.sampled_from(["ada", "bob", "sue"])
RULINGS = st.sampled_from([Ruling("approve"), Ruling("reject", reason="ABUSE"), Ruling("escalate", note="?")])


class Moderation(RuleBasedStateMachine):
    """A few people at a queue of a few comments."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.store = Store.open(Path(self.folder.name) / "queue.db", now=self.clock, mix=0.2)
        furnish(self.store)
        self.acknowledged: set[int] = set()

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def tried(self, act: Any, *args: Any, **more: Any) -> None:
        try:
            done = act(*args, **more)
        except (Conflict, Forbidden):
            return
        if past := getattr(done, "past", None):
            self.acknowledged.add(past.ref)

    @rule(
        n=st.integers(0, 7),
        p=st.sampled_from([0.1, 0.5, 0.9]),
        words=st.sampled_from(["a", "b"]),
        model=st.sampled_from(["m1", "m2"]),
    )
    def put(self, n: int, p: float, words: str, model: str) -> None:
        one = incoming(n, p, text=words, author=f"author{n % 2}", model=model)
        self.store.arrivals.put([one], site="gazette", intake=Intake(sample=0.5, double=0.5))

    @rule(name=NAMES, ruling=RULINGS)
    def work(self, name: str, ruling: Ruling) -> None:
        for item in self.store.desk.claim(name):
            self.tried(self.store.desk.decide, name, item.ref, ruling)

    @rule(name=NAMES, n=st.integers(0, 7), ruling=RULINGS, revise=st.booleans())
    def decide(self, name: str, n: int, ruling: Ruling, revise: bool) -> None:
        if ref := self.store.listing.find("gazette", f"c{n}"):
            self.tried(self.store.desk.decide, name, ref, ruling, revise=revise)

    @rule(name=NAMES, back=st.integers(0, 5))
    def undo(self, name: str, back: int) -> None:
        made = [past for past in self.store.listing.decisions(name) if past.decision.act != "undo"]
        if back < len(made):
            self.tried(self.store.desk.undo, name, made[back].ref)

    @rule(name=NAMES, act=st.sampled_from(["approve", "reject"]))
    def bulk(self, name: str, act: Any) -> None:
        self.store.bulks.act(name, Filter(high=0.6), Ruling(act, reason="ABUSE"))

    @rule(name=NAMES)
    def undo_bulk(self, name: str) -> None:
        for bulk in self.store.bulks.latest(name, limit=1):
            self.tried(self.store.bulks.undo, name, bulk.ref)

    @rule(name=NAMES, n=st.integers(0, 7), ruling=RULINGS.filter(lambda one: one.act != "escalate"))
    def appeal(self, name: str, n: int, ruling: Ruling) -> None:
        ref = self.store.listing.find("gazette", f"c{n}")
        if ref and self.store.listing.item(ref).state == "rejected":
            try:
                appeal = self.store.appeals.open("gazette", f"c{n}")
            except Conflict:
                return
            self.tried(self.store.appeals.decide, name, appeal.ref, ruling)

    @rule(n=st.integers(0, 1))
    def erase(self, n: int) -> None:
        self.store.retention.erase("gazette", f"author{n}")

    @rule(minutes=st.integers(1, 600))
    def wait(self, minutes: int) -> None:
        self.clock.forward(minutes=minutes)

    @invariant()
    def all_is_in_step(self) -> None:
        check(self.store)
        assert self.acknowledged <= {past.ref for past in self.store.listing.decisions(limit=10_000)}


Moderation.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestModeration = Moderation.TestCase
