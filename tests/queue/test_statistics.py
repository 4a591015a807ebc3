"""What a senior is told."""

from __future__ import annotations

from datetime import date

import pytest

from moderation.queue import Intake, Ruling, Store
from moderation.queue.statistics import agreement
from tests.queue.conftest import PLAIN, Clock, incoming

REJECT = Ruling("reject", reason="ABUSE")
APPROVE = Ruling("approve")


def decide(store: Store, moderator: str, ruling: Ruling) -> int:
    [item] = store.desk.claim(moderator)
    return store.desk.decide(moderator, item.ref, ruling).past.ref


def test_what_each_moderator_did(filled: Store) -> None:
    for ruling in (REJECT, REJECT, APPROVE, Ruling("escalate", note="?")):
        last = decide(filled, "ada", ruling)
    filled.desk.undo("ada", last)
    ref = decide(filled, "bob", REJECT)
    filled.desk.decide("sue", filled.listing.decision(ref).comment_ref, APPROVE, revise=True)
    work = {one.moderator: one for one in filled.statistics.work()}
    ada, bob, sue = work["ada"], work["bob"], work["sue"]
    assert (ada.approved, ada.rejected, ada.escalated, ada.undone, ada.overturned) == (1, 2, 1, 1, 0)
    assert (bob.rejected, bob.overturned) == (1, 1)
    assert sue.approved == 1


def test_agreement_of_two_who_do_not_see_each_other(store: Store) -> None:
    store.arrivals.put([incoming(n) for n in range(4)], site="gazette", intake=Intake(sample=0, double=1))
    for first, second in ((REJECT, REJECT), (APPROVE, APPROVE), (REJECT, APPROVE), (REJECT, REJECT)):
        decide(store, "ada", first)
        decide(store, "bob", second)
    found = store.statistics.agreement()
    assert (found.pairs, found.agreed, found.share) == (4, 3, 0.75)
    assert found.kappa == pytest.approx(0.5)  # chance: 3/4 * 2/4 + 1/4 * 2/4 = 1/2


# Reference: sklearn.metrics.cohen_kappa_score
@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        (
            {("approve", "approve"): 20, ("approve", "reject"): 5, ("reject", "approve"): 10, ("reject", "reject"): 15},
            0.4,
        ),
        ({("approve", "reject"): 1, ("reject", "approve"): 1}, -1.0),
        ({("approve", "approve"): 3}, None),  # chance alone would agree
        ({}, None),
    ],
)
def test_kappa(pairs: dict[tuple[str, str], int], kappa: float | None) -> None:
    assert agreement(pairs).kappa == (None if kappa is None else pytest.approx(kappa))


def test_rates_by_week(store: Store, clock: Clock) -> None:
    store.arrivals.put([incoming(n, n / 10) for n in range(10)], site="gazette", intake=PLAIN)
    clock.forward(days=7)
    store.arrivals.put([incoming(20, 0.1)], site="gazette", intake=Intake(sample=1, double=0))
    for ruling in (REJECT, REJECT, APPROVE):
        decide(store, "ada", ruling)
    ref = store.listing.find("gazette", "c20")
    assert ref is not None
    store.desk.take("ada", ref)
    store.desk.decide("ada", ref, REJECT)
    first, second = store.statistics.weeks()
    assert (first.monday, second.monday) == (date(2026, 3, 2), date(2026, 3, 9))
    assert (first.received, first.flagged, first.flag_rate, first.override_rate) == (10, 8, 0.8, None)
    assert (second.decided, second.overridden, second.override_rate) == (3, 1, pytest.approx(1 / 3))
    assert (second.sampled, second.missed, second.miss_rate) == (1, 1, 1.0)
    assert [week.monday for week in store.statistics.weeks(clock())] == []


def test_a_bulk_act_counts_apart(filled: Store) -> None:
    from moderation.queue import Filter

    filled.bulks.act("ada", Filter(high=0.5), APPROVE)
    [work] = filled.statistics.work()
    assert (work.bulk, work.approved) == (6, 0)
