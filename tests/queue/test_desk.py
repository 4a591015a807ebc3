"""Claims, decisions and undo: what two moderators, or one twice, may and may not do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError

from moderation.errors import (
    AlreadyDecided,
    ClaimTaken,
    CommentChanged,
    Conflict,
    Forbidden,
    InputError,
    KeyReused,
    NotFound,
)
from moderation.queue import Filter, Intake, Item, Ruling, Store
from moderation.queue.outcome import lock
from moderation.queue.schema import decisions
from tests.queue.conftest import PLAIN, Clock, incoming
from tests.queue.recount import check

REJECT = Ruling("reject", reason="ABUSE")
APPROVE = Ruling("approve")


def one(store: Store, moderator: str = "ada") -> Item:
    [item] = store.desk.claim(moderator)
    return item


def test_the_most_severe_comes_first(filled: Store) -> None:
    assert [item.comment.id for item in filled.desk.claim("ada", hold=3)] == ["c19", "c18", "c17"]


@pytest.mark.parametrize(("order", "first"), [("oldest", "c4"), ("newest", "c19"), ("uncertainty", "c10")])
def test_orders(filled: Store, order: str, first: str) -> None:
    assert filled.desk.claim("ada", order=order)[0].comment.id == first  # type: ignore[arg-type]
    assert filled.listing.page(order=order).entries[0].comment.id == first  # type: ignore[arg-type]


def test_two_moderators_hold_different_comments(filled: Store) -> None:
    ada, bob = filled.desk.claim("ada", hold=5), filled.desk.claim("bob", hold=5)
    assert not {item.ref for item in ada} & {item.ref for item in bob}
    assert [item.ref for item in filled.desk.claim("ada", hold=5)] == [item.ref for item in ada]


def test_twenty_at_once_never_get_the_same_comment(store: Store) -> None:
    store.arrivals.put([incoming(n, 0.5) for n in range(200)], site="gazette", intake=PLAIN)
    names = [f"m{n}" for n in range(20)]
    for name in names:
        store.people.add(name, "moderator")

    def work(name: str) -> list[int]:
        got = []
        for _ in range(10):
            [item] = store.desk.claim(name)
            got.append(item.ref)
            store.desk.decide(name, item.ref, APPROVE)
        return got

    with ThreadPoolExecutor(20) as pool:
        got = [ref for refs in pool.map(work, names) for ref in refs]
    assert len(got) == len(set(got)) == 200
    assert store.listing.counts().waiting == 0
    check(store)


def test_a_filter_that_no_longer_fits_gives_claims_back(filled: Store) -> None:
    first = one(filled)
    assert filled.desk.claim("ada", Filter(label="abuse", high=0.5))[0].ref != first.ref
    assert one(filled, "bob").ref == first.ref


def test_a_claim_outlives_its_owner_by_five_minutes(filled: Store, clock: Clock) -> None:
    first = one(filled)
    with pytest.raises(ClaimTaken) as caught:
        filled.desk.decide("bob", first.ref, APPROVE)
    assert caught.value.by == "ada"
    clock.forward(minutes=4)
    assert one(filled, "bob").ref != first.ref
    filled.desk.renew("ada", [first.ref])
    clock.forward(minutes=4)
    assert one(filled, "bob").ref != first.ref
    clock.forward(minutes=2)
    filled.desk.release("bob")
    assert one(filled, "bob").ref == first.ref


def test_a_stale_claim_may_still_decide_when_nobody_took_it(filled: Store, clock: Clock) -> None:
    first = one(filled)
    clock.forward(hours=1)
    assert filled.desk.decide("ada", first.ref, APPROVE).state == "approved"


def test_a_stale_claim_that_another_took_is_refused(filled: Store, clock: Clock) -> None:
    first = one(filled)
    clock.forward(hours=1)
    assert one(filled, "bob").ref == first.ref
    with pytest.raises(ClaimTaken):
        filled.desk.decide("ada", first.ref, APPROVE)
    filled.desk.decide("bob", first.ref, REJECT)
    with pytest.raises(AlreadyDecided) as caught:
        filled.desk.decide("ada", first.ref, APPROVE)
    assert (caught.value.by, caught.value.act) == ("bob", "reject")


def test_signing_out_gives_claims_back(filled: Store) -> None:
    secret, _ = filled.people.sign_in("ada", "a long password")
    first = one(filled)
    filled.people.sign_out(secret)
    assert one(filled, "bob").ref == first.ref


def test_a_comment_opened_from_a_list_is_claimed(filled: Store) -> None:
    ref = filled.listing.page().entries[3].ref
    assert filled.desk.take("ada", ref).claimed_by == "ada"
    with pytest.raises(ClaimTaken):
        filled.desk.take("bob", ref)
    assert filled.listing.page().entries[3].claimed_by == "ada"


def test_skipping_is_no_decision(filled: Store, clock: Clock) -> None:
    first = one(filled)
    filled.desk.skip("ada", first.ref)
    assert one(filled).ref != first.ref
    assert one(filled, "bob").ref == first.ref
    assert filled.listing.counts().waiting == 16
    filled.desk.release("bob")
    clock.forward(hours=9)
    assert one(filled).ref == first.ref


def test_what_was_skipped_can_be_taken_up_again(filled: Store, clock: Clock) -> None:
    high, refs = Filter(low=0.8), [entry.ref for entry in filled.listing.page(Filter(low=0.8)).entries]
    for ref in (*refs, filled.listing.page(Filter(high=0.8)).entries[0].ref):
        filled.desk.skip("ada", ref)
    assert (filled.listing.skipped("ada", high), filled.listing.skipped("ada")) == (len(refs), len(refs) + 1)
    assert filled.listing.skipped("bob", high) == filled.desk.unskip("bob", high) == 0
    assert filled.desk.claim("ada", high) == []
    assert filled.desk.unskip("ada", high) == len(refs)
    assert (filled.listing.skipped("ada", high), filled.listing.skipped("ada")) == (0, 1)
    assert filled.desk.hold("ada", high, most=10) == refs
    clock.forward(hours=9)
    assert filled.listing.skipped("ada") == filled.desk.unskip("ada") == 0


def test_skipping_does_not_tell_what_waits_by_chance(store: Store) -> None:
    store.arrivals.put([incoming(1, 0.1)], site="gazette", intake=Intake(sample=1, double=0))
    store.desk.skip("ada", 1)
    assert store.listing.skipped("ada") == 0
    assert store.desk.unskip("ada") == 1


def test_a_double_submit_has_one_effect(filled: Store) -> None:
    first = one(filled)
    once = filled.desk.decide("ada", first.ref, REJECT, key="k")
    twice = filled.desk.decide("ada", first.ref, REJECT, key="k")
    assert (once.repeated, twice.repeated) == (False, True)
    assert once.past.ref == twice.past.ref
    assert len(filled.listing.item(first.ref).history) == 1
    with pytest.raises(KeyReused):
        filled.desk.decide("ada", first.ref, APPROVE, key="k")


@pytest.mark.parametrize(
    "other",
    [
        Ruling("reject", reason="SPAM", note="first"),
        Ruling("reject", reason="ABUSE", note="second"),
        Ruling("reject", reason="ABUSE"),
        Ruling("reject", reason="ABUSE", note="first", facts="You wrote clown."),
        Ruling("reject", reason="ABUSE", note="first", visibility="demoted"),
    ],
)
def test_another_ruling_is_another_request(filled: Store, other: Ruling) -> None:
    ref = one(filled).ref
    filled.desk.decide("ada", ref, Ruling("reject", reason="ABUSE", note="first"), key="k")
    with pytest.raises(KeyReused):
        filled.desk.decide("ada", ref, other, key="k")


def test_double_submits_at_the_same_moment_have_one_effect(filled: Store) -> None:
    first = one(filled)
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: filled.desk.decide("ada", first.ref, REJECT, key="k"), range(8)))
    assert sorted(outcome.repeated for outcome in done) == [False] + [True] * 7
    assert len(filled.listing.item(first.ref).history) == 1


def test_two_moderators_racing_for_one_comment(filled: Store) -> None:
    ref = filled.listing.page().entries[0].ref

    def decide(name: str) -> str:
        try:
            return filled.desk.decide(name, ref, REJECT if name == "ada" else APPROVE).state
        except AlreadyDecided as error:
            return f"{error.by} was faster"

    with ThreadPoolExecutor(2) as pool:
        done = sorted(pool.map(decide, ("ada", "bob")))
    assert done in (["ada was faster", "rejected"], ["approved", "bob was faster"])
    check(filled)


def test_an_edit_since_it_was_read_is_told(filled: Store) -> None:
    first = one(filled)
    filled.arrivals.put([incoming(19, 0.9, text="edited")], site="gazette", intake=PLAIN)
    with pytest.raises(CommentChanged, match="version 2"):
        filled.desk.decide("ada", first.ref, APPROVE, version=first.version.number)
    assert filled.listing.item(first.ref).state == "queued"
    assert filled.desk.decide("ada", first.ref, APPROVE, version=2).state == "approved"


def test_a_decision_keeps_what_was_known_then(filled: Store) -> None:
    first = one(filled)
    filled.desk.decide("ada", first.ref, Ruling("reject", reason="THREAT", note="see c3", visibility="disabled"))
    filled.arrivals.put([incoming(19, 0.3, model="m2")], site="gazette", intake=PLAIN)
    [past] = filled.listing.item(first.ref).history
    decision = past.decision
    assert (decision.moderator, decision.act, decision.reason, decision.note) == ("ada", "reject", "THREAT", "see c3")
    assert (decision.model_id, decision.policy_id, decision.automation) == ("m1", "p1", "none")
    assert decision.probabilities == {"abuse": 0.95, "incitement": 0.02}
    assert (past.ground, past.visibility) == ("illegal", "disabled")
    assert past.law and past.facts


# (what is wrong, part of the message)
@pytest.mark.parametrize(
    ("ruling", "message"),
    [
        (Ruling("reject"), "reason: expected one of INCITEMENT"),
        (Ruling("reject", reason="NOPE"), "reason: expected one of"),
        (Ruling("escalate"), "note: expected some words"),
        (Ruling("undo"), "act: expected approve"),
        (Ruling("reject", reason="ABUSE", ground="taste"), "ground: expected one of illegal"),
        (Ruling("reject", reason="ABUSE", visibility="burnt"), "visibility: expected one of removed"),
        (Ruling("approve", note="x" * 10_001), "note: expected at most 10000"),
    ],
)
def test_an_incomplete_ruling_is_refused(filled: Store, ruling: Ruling, message: str) -> None:
    first = one(filled)
    with pytest.raises(InputError, match=message):
        filled.desk.decide("ada", first.ref, ruling)
    assert filled.listing.item(first.ref).state == "queued"


def test_undo_adds_a_row_and_brings_the_comment_back(filled: Store) -> None:
    first = one(filled)
    made = filled.desk.decide("ada", first.ref, REJECT)
    undone = filled.desk.undo("ada", made.past.ref)
    assert (undone.state, undone.past.undoes, undone.past.after) == ("queued", made.past.ref, "queued")
    history = filled.listing.item(first.ref).history
    assert [(past.decision.act, past.undone) for past in history] == [("reject", True), ("undo", False)]
    assert one(filled).ref == first.ref
    with pytest.raises(Conflict, match="undone already"):
        filled.desk.undo("ada", made.past.ref)
    check(filled)


def test_any_of_ones_own_decisions_can_be_undone_but_no_others(filled: Store) -> None:
    made = [filled.desk.decide("ada", one(filled).ref, REJECT) for _ in range(5)]
    filled.desk.undo("ada", made[1].past.ref)
    assert filled.listing.counts().waiting == 12
    with pytest.raises(Forbidden):
        filled.desk.undo("bob", made[0].past.ref)
    with pytest.raises(NotFound):
        filled.desk.undo("ada", 10_000)
    assert [past.ref for past in filled.listing.decisions("ada")][1:] == [past.past.ref for past in made[::-1]]


def test_undoing_twice_with_one_key_has_one_effect(filled: Store) -> None:
    made = filled.desk.decide("ada", one(filled).ref, REJECT)
    filled.desk.undo("ada", made.past.ref, key="u")
    assert filled.desk.undo("ada", made.past.ref, key="u").repeated
    other = filled.desk.decide("ada", made.past.comment_ref, REJECT)
    with pytest.raises(KeyReused):
        filled.desk.undo("ada", other.past.ref, key="u")


def test_escalated_comments_wait_for_a_senior(filled: Store) -> None:
    first = one(filled)
    filled.desk.decide("ada", first.ref, Ruling("escalate", note="is this a real threat?"))
    assert (filled.listing.counts().escalated, filled.listing.counts().waiting) == (1, 15)
    with pytest.raises(Forbidden, match="senior"):
        filled.desk.decide("bob", first.ref, APPROVE)
    [entry] = filled.listing.page(Filter(state="escalated")).entries
    assert filled.desk.decide("sue", entry.ref, REJECT).past.stage == "senior"
    assert filled.listing.item(first.ref).state == "rejected"
    check(filled)


def test_what_became_of_an_escalation_is_known(filled: Store) -> None:
    past = [filled.desk.decide("ada", ref, Ruling("escalate", note="?")).past for ref in (10, 11, 12, 13)]
    by_sue = filled.desk.decide("sue", 11, REJECT).past
    filled.desk.undo("ada", past[2].ref)
    filled.arrivals.put([incoming(12, 0.6, text="edited")], site="gazette", intake=PLAIN)
    filled.desk.decide("bob", 13, APPROVE)
    made = [filled.listing.decision(one.ref) for one in past]
    assert filled.listing.escalated(made) == {past[0].ref: None, past[1].ref: by_sue}
    filled.desk.undo("sue", by_sue.ref)
    assert filled.listing.escalated([*made, by_sue]) == {past[0].ref: None, past[1].ref: None}
    assert filled.listing.escalated([]) == {}


def test_deciding_anew_is_said_to_be_so(filled: Store) -> None:
    first = one(filled)
    filled.desk.decide("ada", first.ref, APPROVE)
    for name, whom in (("ada", "you"), ("bob", "ada")):
        with pytest.raises(AlreadyDecided, match=f"was decided by {whom}: approve$"):
            filled.desk.decide(name, first.ref, REJECT)
    assert filled.desk.decide("ada", first.ref, REJECT, revise=True).state == "rejected"
    with pytest.raises(Forbidden):
        filled.desk.decide("bob", first.ref, APPROVE, revise=True)
    final = filled.desk.decide("sue", first.ref, APPROVE, revise=True)
    assert final.state == "approved"
    with pytest.raises(Conflict, match="decided again"):
        filled.desk.undo("ada", filled.listing.item(first.ref).history[0].ref)
    assert filled.desk.undo("sue", final.past.ref).state == "rejected"
    check(filled)


def test_a_senior_is_told_why_a_comment_is_escalated(filled: Store) -> None:
    filled.arrivals.put([incoming(30), incoming(31)], site="gazette", intake=Intake(sample=0, double=1))
    two, undone = (filled.listing.find("gazette", name) or 0 for name in ("c30", "c31"))
    first = filled.desk.decide("ada", undone, Ruling("escalate", note="Not yet."))
    filled.desk.undo("ada", first.past.ref)
    filled.desk.decide("bob", undone, Ruling("escalate", note="Is this a quotation?"))
    filled.desk.decide("ada", two, REJECT)
    filled.desk.decide("bob", two, APPROVE)
    found = filled.listing.escalations([two, undone])
    assert [(one.decision.moderator, one.decision.note) for one in found[undone]] == [("bob", "Is this a quotation?")]
    assert [(one.decision.moderator, one.decision.act) for one in found[two]] == [("ada", "reject"), ("bob", "approve")]
    assert filled.listing.escalations([]) == {}


class TestSecondLook:
    """A share of comments goes to two people, who do not see each other's decision."""

    @pytest.fixture
    def double(self, store: Store) -> Store:
        store.arrivals.put([incoming(1)], site="gazette", intake=Intake(sample=0, double=1))
        return store

    def test_the_second_does_not_see_the_first(self, double: Store) -> None:
        first = one(double)
        double.desk.decide("ada", first.ref, REJECT)
        assert double.desk.claim("ada") == []
        assert (double.listing.counts("ada").waiting, double.listing.counts("bob").waiting) == (0, 1)
        second = one(double, "bob")
        assert (second.state, second.history, second.sampled) == ("queued", (), None)
        assert double.listing.item(first.ref, "ada").history

    def test_they_agree(self, double: Store) -> None:
        for name in ("ada", "bob"):
            outcome = double.desk.decide(name, one(double, name).ref, REJECT)
        assert (outcome.state, outcome.past.stage) == ("rejected", "second")
        assert len(double.listing.item(1).history) == 2
        check(double)

    def test_they_disagree_and_a_senior_decides(self, double: Store) -> None:
        double.desk.decide("ada", one(double).ref, REJECT)
        outcome = double.desk.decide("bob", one(double, "bob").ref, APPROVE)
        assert outcome.state == "escalated"
        double.desk.decide("sue", 1, APPROVE)
        assert double.listing.item(1).state == "approved"
        check(double)

    def test_the_first_is_undone_before_the_second(self, double: Store) -> None:
        made = double.desk.decide("ada", one(double).ref, REJECT)
        assert double.desk.undo("ada", made.past.ref).state == "queued"
        assert one(double).ref == 1
        check(double)

    def test_the_first_is_undone_after_the_second(self, double: Store) -> None:
        made = double.desk.decide("ada", one(double).ref, REJECT)
        double.desk.decide("bob", one(double, "bob").ref, APPROVE)
        assert double.desk.undo("ada", made.past.ref).state == "approved"
        check(double)

    def test_an_escalation_goes_straight_to_the_senior(self, double: Store) -> None:
        double.desk.decide("ada", one(double).ref, Ruling("escalate", note="?"))
        assert double.listing.counts("bob").waiting == 0
        check(double)


def test_the_random_sample_is_mixed_in(filled: Store) -> None:
    filled.arrivals.put([incoming(n, 0.1) for n in range(100, 103)], site="gazette", intake=Intake(sample=1, double=0))
    filled.desk._mix = 1.0
    assert [item.comment.id for item in filled.desk.claim("ada", hold=4)] == ["c100", "c101", "c102", "c19"]


@pytest.mark.parametrize("change", ["update", "delete", "truncate"])
def test_the_database_itself_refuses_to_change_a_decision(filled: Store, change: str) -> None:
    filled.desk.decide("ada", one(filled).ref, REJECT)
    statement = {"update": update(decisions).values(act="approve"), "delete": delete(decisions)}.get(change)
    if statement is None and filled.database.is_sqlite:
        pytest.skip("SQLite has no TRUNCATE")
    with filled.database.engine.connect() as connection, pytest.raises(DBAPIError, match="added, never changed"):
        connection.execute(text("TRUNCATE decisions CASCADE") if statement is None else statement)
    assert filled.listing.decisions()[0].decision.act == "reject"


def test_who_is_disabled_may_do_nothing(filled: Store) -> None:
    first = one(filled)
    filled.people.disable("ada")
    with pytest.raises(Forbidden):
        filled.desk.decide("ada", first.ref, APPROVE)
    assert one(filled, "bob").ref == first.ref


def test_unknown_comments(filled: Store) -> None:
    for act in (
        lambda: filled.desk.take("ada", 999),
        lambda: filled.desk.decide("ada", 999, APPROVE),
        lambda: filled.desk.skip("ada", 999),
        lambda: filled.listing.item(999),
        lambda: filled.listing.versions(999),
    ):
        with pytest.raises(NotFound):
            act()


def test_exposure(filled: Store, clock: Clock) -> None:
    start = clock()
    for _ in range(3):
        filled.desk.decide("ada", one(filled).ref, REJECT)
    assert filled.desk.exposure("ada", start, severe=4.6) == (3, 1)
    assert filled.desk.exposure("bob", start) == (0, 0)


def test_only_who_can_decide_takes_a_comment(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, REJECT)
    assert store.desk.take("ada", 1).claimed_by is None
    with pytest.raises(Conflict, match="second look"):
        store.desk.decide("ada", 1, APPROVE, revise=True)
    store.desk.decide("bob", 1, APPROVE)
    assert store.desk.take("ada", 1).claimed_by is None
    assert store.desk.take("sue", 1).claimed_by == "sue"


def test_a_comment_on_the_screen_stays_while_it_is_scored_anew(filled: Store) -> None:
    if filled.database.is_sqlite:
        pytest.skip("on SQLite one transaction writes at a time")
    before = [item.ref for item in filled.desk.claim("ada", hold=3)]
    with ThreadPoolExecutor(1) as pool:
        with filled.database.write() as connection:
            lock(connection, before[:2])  # as `Arrivals` does while it scores them anew
            again = pool.submit(filled.desk.claim, "ada", hold=3)
            with pytest.raises(TimeoutError):
                again.result(0.5)
        assert [item.ref for item in again.result(30)] == before


def test_who_decides_cannot_tell_the_random_sample_by_its_scores(where: str) -> None:
    with Store.open(where, mix=0, blind=0.2) as store:
        store.arrivals.put([incoming(n, 0.1) for n in range(40)], site="gazette", intake=Intake(sample=1, double=0))
        store.arrivals.put([incoming(n, 0.5) for n in range(40, 240)], site="gazette", intake=PLAIN)
        blind = [store.listing.item(ref, "ada").blind for ref in range(1, 241)]
        assert all(blind[:40])
        assert 0.1 < sum(blind[40:]) / 200 < 0.3
        assert blind == [store.desk.take("ada", ref).blind for ref in range(1, 241)]
        for chosen in (Filter(), Filter(label="abuse"), Filter(state=None), Filter(author="joe")):
            assert {entry.ref for entry in store.listing.page(chosen, limit=300).entries} == set(range(41, 241))
            assert store.listing.count(chosen) == 200
        store.desk.decide("ada", 1, Ruling("approve"))
        assert (store.listing.item(1, "ada").blind, store.listing.item(1, "ada").sampled) == (False, True)


def test_a_moderator_comes_back_to_one_comment_of_several(filled: Store) -> None:
    ada, bob = (filled.desk.hold(name, most=3) for name in ("ada", "bob"))
    assert filled.desk.hold("ada", most=2, first=ada[2]) == [ada[2], ada[0]]
    filled.desk.release("ada")
    assert filled.desk.hold("ada", first=ada[2]) == [ada[2]]
    assert filled.desk.hold("ada", most=2, first=bob[0]) == [ada[2], ada[0]]  # bob has it
    assert filled.desk.hold("ada", Filter(low=0.9), first=20)[0] == filled.desk.hold("ada", Filter(low=0.9))[0]
    filled.desk.hold("ada", most=3, first=ada[1])
    assert filled.desk.release("ada", but=[ada[1]]) == 2
    assert filled.listing.item(ada[1]).claimed_by == "ada"


def test_what_fits_a_filter_is_of_what_waits_for_a_moderator(store: Store) -> None:
    store.arrivals.put([incoming(n, 0.5) for n in range(4)], site="gazette", intake=Intake(sample=0, double=1))
    store.arrivals.put([incoming(n, 0.1) for n in range(4, 6)], site="gazette", intake=Intake(sample=1, double=0))
    store.desk.decide("ada", 1, Ruling("approve"))
    for name, high, low in (("ada", 3, 2), ("bob", 4, 2)):
        assert store.listing.counts(name).waiting == high + low == store.listing.fitting(name, Filter())
        for label in (None, "abuse"):
            assert store.listing.fitting(name, Filter(label=label, low=0.3)) == high
