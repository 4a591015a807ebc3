"""Appeals are decided by another moderator than the first."""

from __future__ import annotations

import pytest

from moderation.errors import Conflict, Forbidden, InputError, KeyReused, NotFound
from moderation.queue import Appeal, Intake, Ruling, Store
from tests.queue.conftest import PLAIN, incoming
from tests.queue.recount import check

REJECT = Ruling("reject", reason="ABUSE")


@pytest.fixture
def appeal(filled: Store) -> Appeal:
    """An appeal against ada's rejection of c19."""
    [item] = filled.desk.claim("ada")
    filled.desk.decide("ada", item.ref, REJECT)
    return filled.appeals.open("gazette", "c19", statement="It was a joke.", contact="joe@example.org")


def test_another_moderator_decides(filled: Store, appeal: Appeal) -> None:
    assert filled.listing.counts().appeals == 1
    assert filled.appeals.waiting("ada") == []
    assert filled.appeals.waiting("bob") == [appeal]
    with pytest.raises(Forbidden, match="another moderator"):
        filled.appeals.decide("ada", appeal.ref, Ruling("approve"))
    outcome = filled.appeals.decide("bob", appeal.ref, Ruling("approve"))
    assert (outcome.state, outcome.past.stage) == ("approved", "appeal")
    assert filled.appeals.get(appeal.ref).state == "overturned"
    assert filled.listing.counts().appeals == 0
    [(before, after)] = filled.statistics.overturned()
    assert (before.decision.moderator, after.decision.moderator) == ("ada", "bob")
    check(filled)


def test_an_upheld_rejection_stands(filled: Store, appeal: Appeal) -> None:
    assert filled.appeals.decide("bob", appeal.ref, REJECT).state == "rejected"
    assert filled.appeals.get(appeal.ref).state == "upheld"
    with pytest.raises(Conflict, match="upheld"):
        filled.appeals.decide("eve", appeal.ref, Ruling("approve"))


def test_a_double_submit_decides_once(filled: Store, appeal: Appeal) -> None:
    first = filled.appeals.decide("bob", appeal.ref, REJECT, key="a")
    again = filled.appeals.decide("bob", appeal.ref, REJECT, key="a")
    assert (again.repeated, again.past.ref) == (True, first.past.ref)
    with pytest.raises(KeyReused):
        filled.appeals.decide("bob", appeal.ref, Ruling("reject", reason="SPAM"), key="a")
    with pytest.raises(KeyReused):
        filled.desk.decide("bob", first.past.comment_ref, REJECT, key="a")


@pytest.mark.parametrize("form", [str, str.lower, lambda text: text.replace("-", " ")])
def test_a_reference_is_found_as_people_type_it(filled: Store, appeal: Appeal, form: object) -> None:
    assert filled.appeals.find(form(appeal.reference)) == appeal  # type: ignore[operator]


def test_an_open_appeal_is_not_opened_twice(filled: Store, appeal: Appeal) -> None:
    assert filled.appeals.open("gazette", "c19") == appeal


def test_only_rejections_can_be_appealed(filled: Store) -> None:
    with pytest.raises(Conflict, match="waits for a decision"):
        filled.appeals.open("gazette", "c19")
    with pytest.raises(Conflict, match="not rejected"):
        filled.appeals.open("gazette", "c1")
    with pytest.raises(NotFound):
        filled.appeals.open("gazette", "nope")
    with pytest.raises(NotFound):
        filled.appeals.find("AAAAA-AAAAA")


def test_an_appeal_is_no_escalation(filled: Store, appeal: Appeal) -> None:
    with pytest.raises(InputError, match="approve or reject"):
        filled.appeals.decide("bob", appeal.ref, Ruling("escalate", note="?"))


def test_a_settled_appeal_cannot_be_undone(filled: Store, appeal: Appeal) -> None:
    outcome = filled.appeals.decide("bob", appeal.ref, Ruling("approve"))
    with pytest.raises(Conflict, match="appeal"):
        filled.desk.undo("bob", outcome.past.ref)


@pytest.mark.parametrize("ruling", [Ruling("approve"), REJECT])
@pytest.mark.parametrize("name", ["ada", "bob", "sue"])
def test_a_settled_appeal_is_not_reversed_by_a_revision(
    filled: Store, appeal: Appeal, ruling: Ruling, name: str
) -> None:
    outcome = filled.appeals.decide("bob", appeal.ref, ruling)
    for other in (Ruling("approve"), REJECT, Ruling("escalate", note="Please look.")):
        with pytest.raises(Conflict, match="settled an appeal; open another appeal to change it"):
            filled.desk.decide(name, appeal.comment_ref, other, revise=True)
    assert filled.listing.item(appeal.comment_ref).state == outcome.state
    check(filled)


def test_an_edited_text_is_decided_on_anew_after_its_appeal(filled: Store, appeal: Appeal) -> None:
    filled.appeals.decide("bob", appeal.ref, REJECT)
    filled.arrivals.put([incoming(19, 0.9, text="text 19 edited you clown")], site="gazette", intake=PLAIN)
    assert filled.desk.decide("ada", appeal.comment_ref, REJECT).past.stage == "review"
    assert filled.desk.decide("ada", appeal.comment_ref, Ruling("approve"), revise=True).state == "approved"
    check(filled)


def test_appeals_are_counted_for_who_may_decide_on_them(filled: Store, appeal: Appeal) -> None:
    assert filled.listing.counts("ada").appeals == 0  # ada rejected the comment
    assert filled.listing.counts("bob").appeals == 1
    [rejected] = filled.listing.decisions("ada")
    filled.desk.undo("ada", rejected.ref)
    filled.desk.decide("bob", rejected.comment_ref, REJECT)
    assert [filled.listing.counts(name).appeals for name in ("ada", "bob", "eve")] == [0, 0, 1]


def test_who_undid_the_rejection_does_not_decide_on_the_appeal(filled: Store, appeal: Appeal) -> None:
    [rejected] = filled.listing.decisions("ada")
    filled.desk.undo("ada", rejected.ref)
    assert filled.appeals.waiting("ada") == []
    with pytest.raises(Forbidden, match="another moderator"):
        filled.appeals.decide("ada", appeal.ref, REJECT)


def test_an_erased_comment_takes_no_appeal(filled: Store) -> None:
    [item] = filled.desk.claim("ada")
    filled.desk.decide("ada", item.ref, REJECT)
    filled.retention.erase("gazette", item.comment.author or "")
    with pytest.raises(Conflict, match="erased"):
        filled.appeals.open("gazette", item.comment.id, statement="It was a joke.", contact="joe@example.org")


def test_what_the_first_of_two_decided_shows_in_no_answer_about_appeals(store: Store) -> None:
    store.arrivals.put([incoming(n) for n in range(3)], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, REJECT)
    store.desk.decide("ada", 2, Ruling("approve"))
    told = set()
    for name in ("c0", "c1", "c2"):  # rejected first, approved first, not looked at yet
        with pytest.raises(Conflict) as caught:
            store.appeals.open("gazette", name)
        told.add(str(caught.value).replace(name, ""))
    assert len(told) == 1 and not any(state in str(told) for state in ("reject", "approve"))


def test_an_appeal_rests_while_its_comment_waits_for_a_second_look(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, REJECT)
    second = store.desk.decide("bob", 1, REJECT).past.ref
    appeal = store.appeals.open("gazette", "c1")
    assert store.appeals.waiting("eve") == [appeal]
    store.desk.undo("bob", second)
    assert store.appeals.waiting("eve") == []
    assert store.listing.counts().appeals == 0
    with pytest.raises(Conflict, match="waits"):
        store.appeals.decide("eve", appeal.ref, Ruling("approve"))
    store.desk.decide("eve", 1, REJECT)
    assert store.appeals.waiting("sue") == [appeal]
