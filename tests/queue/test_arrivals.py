"""Comments come in once, keep their history, and are sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event, func, select

from moderation import Span
from moderation.errors import InputError
from moderation.queue import Filter, Incoming, Intake, Ruling, Store, arrivals
from moderation.queue.schema import versions
from tests.queue.conftest import PLAIN, incoming
from tests.queue.recount import check


def test_what_the_policy_flags_waits_and_the_rest_passes(filled: Store) -> None:
    assert filled.listing.counts().waiting == 16
    assert filled.listing.count(Filter(state="passed")) == 4
    check(filled)


def test_coming_again_changes_nothing(filled: Store) -> None:
    again = filled.arrivals.put([incoming(n, n / 20) for n in range(20)], site="gazette", intake=PLAIN)
    assert (again.unchanged, again.new, again.queued) == (20, 0, 0)
    assert filled.listing.counts().waiting == 16


def test_one_id_twice_in_one_file_is_one_comment_with_two_versions(store: Store) -> None:
    arrived = store.arrivals.put([incoming(1), incoming(1, text="better now")], site="gazette", intake=PLAIN)
    assert (arrived.new, arrived.edited) == (1, 1)


def test_the_same_id_on_two_sites_is_two_comments(store: Store) -> None:
    for site in ("gazette", "herald"):
        assert store.arrivals.put([incoming(1)], site=site, intake=PLAIN).new == 1
    assert store.listing.counts().by_site == {"gazette": 1, "herald": 1}


def test_an_edited_comment_keeps_its_history(filled: Store) -> None:
    [item] = filled.desk.claim("ada")
    filled.arrivals.put([incoming(19, 0.3, text="you fool")], site="gazette", intake=PLAIN)
    assert [version.text for version in filled.listing.versions(item.ref)] == ["text 19 you clown", "you fool"]
    now = filled.listing.item(item.ref)
    assert (now.version.number, now.probability, now.versions) == (2, 0.3, 2)
    check(filled)


# (decision before, probability after the edit, where the comment stands then)
@pytest.mark.parametrize(
    ("act", "p", "state"),
    [
        ("approve", 0.9, "queued"),  # flagged anew
        ("approve", 0.1, "passed"),
        ("reject", 0.1, "queued"),  # a person rejected it, so a person lets it through
        ("escalate", 0.1, "queued"),
        (None, 0.1, "passed"),
        (None, 0.9, "queued"),
    ],
)
def test_an_edit_after_a_decision(store: Store, act: str | None, p: float, state: str) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    [item] = store.desk.claim("ada")
    if act:
        store.desk.decide("ada", item.ref, Ruling(act, reason="ABUSE", note="?"))  # type: ignore[arg-type]
    store.arrivals.put([incoming(1, p, text="other words")], site="gazette", intake=PLAIN)
    assert store.listing.item(item.ref).state == state
    assert len(store.listing.item(item.ref).history) == bool(act)
    check(store)


def test_another_model_gives_new_scores_to_the_same_text(filled: Store) -> None:
    arrived = filled.arrivals.put([incoming(2, 0.8, model="m2")], site="gazette", intake=PLAIN)
    assert (arrived.rescored, arrived.queued) == (1, 1)
    ref = filled.listing.find("gazette", "c2")
    assert ref is not None
    assert filled.listing.item(ref).version.score.model_id == "m2"
    assert filled.listing.item(ref).versions == 1
    check(filled)


def test_a_sample_of_what_passed_looks_like_what_was_flagged(store: Store) -> None:
    store.arrivals.put([incoming(1, 0.1)], site="gazette", intake=Intake(sample=1, double=0))
    [item] = store.desk.claim("ada")
    assert (item.sampled, item.version.verdict.action, item.version.verdict.label) == (None, "review", "abuse")
    assert item.version.verdict.reasons
    assert store.desk.decide("ada", item.ref, Ruling("approve")).sampled
    assert store.listing.item(item.ref).sampled is True


def test_spans_are_asked_for_only_when_somebody_looks(store: Store) -> None:
    asked = []

    def lazy(one: Incoming) -> Incoming:
        return replace(one, spans=lambda: asked.append(one.comment.id) or ())  # type: ignore[func-returns-value]

    store.arrivals.put([lazy(incoming(1, 0.1)), lazy(incoming(2, 0.9))], site="gazette", intake=PLAIN)
    assert asked == ["c2"]


class Explainer:
    """Gives comments words that are worked out on demand, and sees whether a transaction is open then."""

    def __init__(self, store: Store) -> None:
        self.asked: list[str] = []
        self.open = 0
        self.then: Callable[[], object] | None = None
        for name, by in (("begin", 1), ("commit", -1), ("rollback", -1)):
            event.listen(store.database.engine, name, partial(self._count, by))

    def _count(self, by: int, _: Connection) -> None:
        self.open += by

    def lazy(self, one: Incoming) -> Incoming:
        def spans() -> tuple[Span, ...]:
            assert not self.open, "everybody waits for this transaction"
            self.asked.append(one.comment.id)
            if self.then:
                then, self.then = self.then, None
                then()
            return (Span(0, 3, "abuse", 2.5),)

        return replace(one, spans=spans)


def test_no_transaction_is_open_while_words_are_worked_out(store: Store) -> None:
    explainer = Explainer(store)
    store.arrivals.put([incoming(n, n / 10) for n in range(8)], site="gazette", intake=PLAIN)
    store.desk.decide("ada", 8, Ruling("reject", reason="ABUSE"))
    chunk = [
        incoming(6, 0.6),  # as it was
        incoming(1, 0.7, text="flagged now"),
        incoming(7, 0.1, text="was rejected"),
        incoming(0, 0.0, text="passes again"),
        incoming(5, 0.9, model="m2"),
        incoming(20, 0.9),
        incoming(21, 0.1),
    ]
    store.arrivals.put(map(explainer.lazy, chunk), site="gazette", intake=PLAIN)
    assert sorted(explainer.asked) == ["c1", "c20", "c5", "c7"]
    explainer.asked.clear()
    store.arrivals.put([explainer.lazy(incoming(22, 0.1))], site="gazette", intake=Intake(sample=1))
    store.arrivals.put([explainer.lazy(incoming(23, 0.1))], site="gazette", intake=Intake(queue_all=True))
    assert explainer.asked == ["c22", "c23"]
    check(store)


def test_a_decision_while_words_are_worked_out_is_followed(store: Store) -> None:
    explainer = Explainer(store)
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    store.desk.decide("ada", 1, Ruling("approve"))
    reject = Ruling("reject", reason="ABUSE")
    explainer.then = lambda: store.desk.decide("sue", 1, reject, revise=True)
    chunk = [incoming(1, 0.1, text="edited, harmless"), incoming(2)]
    arrived = store.arrivals.put(map(explainer.lazy, chunk), site="gazette", intake=PLAIN)
    assert (arrived.new, arrived.edited, arrived.queued) == (1, 1, 2)
    assert explainer.asked == ["c2", "c1"]  # approved, it would have passed; rejected, people look again
    item = store.listing.item(1)
    assert item.state == "queued"
    assert [(span.start, span.end) for span in item.version.verdict.reasons] == [(0, 3)]
    check(store)


def test_the_text_of_one_transaction_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "CHUNK_CHARACTERS", 1_000)
    kept = [0]
    write = store.database.write

    @contextmanager
    def watched() -> Iterator[Connection]:
        with write() as connection:
            yield connection
            kept.append(connection.scalar(select(func.coalesce(func.sum(func.length(versions.c.text)), 0))) or 0)

    monkeypatch.setattr(store.database, "write", watched)
    lengths = [400, 600, 1, 999, 2_500, 300, 300, 300, 300]
    comments = [incoming(n, text="x" * length) for n, length in enumerate(lengths)]
    assert store.arrivals.put(comments, site="gazette", intake=PLAIN).new == len(lengths)
    sizes = [after - before for before, after in pairwise(kept)]
    assert sizes == [1_000, 1_000, 2_500, 900, 300]


def test_passed_comments_need_not_be_kept(store: Store) -> None:
    intake = Intake(sample=0, double=0, keep_passed=False)
    assert store.arrivals.put([incoming(1, 0.1), incoming(2)], site="gazette", intake=intake).new == 1
    assert store.listing.find("gazette", "c1") is None


def test_everything_can_be_queued(store: Store) -> None:
    arrived = store.arrivals.put([incoming(1, 0.1)], site="gazette", intake=Intake(queue_all=True, double=0))
    assert arrived.queued == 1


def test_a_thread_is_whole(store: Store) -> None:
    comments = [
        incoming(1, 0.1, author="ann"),
        incoming(2, parent="c1"),
        *(incoming(n, 0.1, parent="c2") for n in range(3, 40)),
    ]
    store.arrivals.put(comments, site="gazette", intake=PLAIN)
    [item] = store.desk.claim("ada")
    assert item.parent is not None and item.parent.author == "ann"
    assert (len(item.replies), item.reply_count) == (20, 37)
    assert item.replies[0].id == "c3"
    assert item.comment.article is not None and item.comment.article.title == "The ferry"
    assert len(store.listing.thread(item.ref)) == 39


@pytest.mark.parametrize(
    ("place", "shown"), [(1, (1, 10)), (3, (1, 10)), (20, (16, 25)), (39, (31, 40)), (40, (31, 40))]
)
def test_a_thread_holds_the_comment_that_it_is_the_thread_of(store: Store, place: int, shown: tuple[int, int]) -> None:
    store.arrivals.put([incoming(n, 0.1) for n in range(1, 41)], site="gazette", intake=PLAIN)
    ref = store.listing.find("gazette", f"c{place}")
    assert ref is not None
    found = [entry.comment.id for entry in store.listing.thread(ref, limit=10)]
    assert found == [f"c{n}" for n in range(shown[0], shown[1] + 1)]


def test_the_authors_record(filled: Store) -> None:
    [item] = filled.desk.claim("ada")
    filled.desk.decide("ada", item.ref, Ruling("reject", reason="ABUSE"))
    [item] = filled.desk.claim("ada")
    record = item.author
    assert record is not None
    assert (record.comments, record.rejected, record.waiting, record.passed) == (19, 1, 14, 4)


@pytest.mark.parametrize("intake", [{"sample": 1.5}, {"double": -0.1}])
def test_a_share_is_from_0_to_1(intake: dict[str, float]) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        Intake(**intake)  # type: ignore[arg-type]


HOSTILE = [
    "<script>alert(1)</script>",
    "\u202eright to left\u202c",
    "nul \x00 and escape \x1b7; and lone \ud800 surrogate",
    "z\u0300\u0301\u0302\u0303" * 500,
    "x" * (1 << 20),
    "'; DROP TABLE comments; --",
    "%s %(x)s {0} \\ \n\r\t",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "rtl", "nul", "zalgo", "megabyte", "sql", "formats"])
def test_hostile_texts_come_out_as_they_went_in(store: Store, text: str) -> None:
    store.arrivals.put([incoming(1, text=text, author=text[:50], parent=text[:50])], site="gazette", intake=PLAIN)
    [item] = store.desk.claim("ada")
    assert (item.version.text, item.comment.author, item.comment.parent_id) == (text, text[:50], text[:50])
    filled = store.desk.decide("ada", item.ref, Ruling("reject", reason="OTHER", note=text[:9_000], facts=text[:2_000]))
    assert filled.past.decision.note == text[:9_000]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=())))
def test_any_text_comes_out_as_it_went_in(store: Store, text: str) -> None:
    store.arrivals.put([incoming(7, text=text or " ")], site="gazette", intake=PLAIN)
    ref = store.listing.find("gazette", "c7")
    assert ref is not None
    assert store.listing.item(ref).version.text == (text or " ")
