"""What is forgotten is gone, and the trail stays."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from moderation.errors import Conflict, ErasureUnfinished, InputError, KeyReused
from moderation.queue import Filter, Intake, Ruling, Store, database
from moderation.queue.schema import metadata, outbox
from tests.queue.conftest import PLAIN, Clock, incoming
from tests.queue.recount import check

REJECT = Ruling("reject", reason="ABUSE", note="quotes the clown remark", facts="You wrote clown.", law="§ 185, Zaphod")


def everything(store: Store) -> str:
    with store.database.read() as connection:
        return str([connection.execute(select(table)).all() for table in metadata.sorted_tables])


def test_an_author_is_erased_and_the_trail_is_kept(store: Store) -> None:
    store.webhooks.add("https://news.example/hook")
    mine = [incoming(n, n / 10, author="Zaphod", text=f"secret words {n}") for n in range(10)]
    store.arrivals.put([*mine, incoming(50, author="ann")], site="gazette", intake=PLAIN)
    for name in ("ada", "bob"):
        [item] = store.desk.claim(name)
        store.desk.decide(name, item.ref, REJECT)
    store.bulks.act("eve", Filter(author="Zaphod", low=0.65), REJECT)
    store.appeals.open("gazette", "c9", statement="I was quoting secret words", contact="zaphod@example.org")
    gone = store.retention.erase("gazette", "Zaphod")
    assert (gone.erased, gone.deleted) == (3, 7)
    kept = everything(store)
    for word in ("Zaphod", "secret words", "zaphod@", "clown remark", "You wrote", "§ 185"):
        assert word not in kept
    ref = store.listing.find("gazette", "c9")
    assert ref is not None
    item = store.listing.item(ref)
    assert (item.erased, item.version.text, item.comment.author, item.state) == (True, "", None, "rejected")
    [past] = item.history
    assert (past.decision.moderator, past.decision.act, past.decision.reason, past.decision.note) == (
        "ada",
        "reject",
        "ABUSE",
        None,
    )
    assert past.decision.probabilities
    assert store.listing.counts().waiting == 1
    assert store.people.audit(kind="erased")
    check(store)


def test_nothing_is_written_of_an_erased_comment(store: Store) -> None:
    store.webhooks.add("https://news.example/hook")
    store.arrivals.put([incoming(n) for n in range(3)], site="gazette", intake=PLAIN)
    store.desk.decide("ada", 1, REJECT)
    made = store.desk.decide("bob", 2, REJECT).past.ref
    appeal = store.appeals.open("gazette", "c0", statement="I was quoting")
    store.retention.erase("gazette", "joe")
    late = Ruling("reject", reason="ABUSE", note="late", facts="late", law="late")
    for act in (
        lambda: store.desk.decide("sue", 1, late, revise=True),
        lambda: store.appeals.decide("sue", appeal.ref, late),
    ):
        with pytest.raises(Conflict, match="erased"):
            act()
    store.desk.undo("bob", made)  # holds no words, and says that the decision does not stand
    kept = everything(store)
    assert "late" not in kept and "You wrote" not in kept
    assert store.appeals.waiting("sue") == []
    assert store.listing.counts().appeals == 0
    [statement] = store.exports.statements()
    assert b"insult" in statement  # what the reason says of itself is about nobody
    check(store)


def test_an_erased_comment_leaves_the_seniors_list(store: Store) -> None:
    store.arrivals.put([incoming(n) for n in range(3)], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, Ruling("escalate", note="Is this a joke?"))
    store.desk.decide("ada", 2, Ruling("approve"))
    store.desk.decide("bob", 2, REJECT)
    assert store.listing.counts().escalated == 2
    store.retention.erase("gazette", "joe")
    assert store.listing.counts().escalated == 0
    assert store.listing.page(Filter(state="escalated")).entries == ()
    assert [past.decision.act for past in store.listing.item(1).history] == ["escalate"]
    assert [past.decision.act for past in store.listing.item(2).history] == ["approve", "reject"]
    store.desk.undo("bob", store.listing.item(2).history[1].ref)
    assert store.listing.item(2).state == "approved"
    check(store)


def test_events_that_nobody_will_be_told_go_with_a_purge(store: Store, clock: Clock) -> None:
    _, hook = store.webhooks.add("https://news.example/hook")
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    store.desk.decide("ada", 1, REJECT)
    store.webhooks.remove(hook.ref)
    clock.forward(days=100)
    store.retention.purge(timedelta(days=90))
    with store.database.read() as connection:
        assert connection.execute(select(outbox)).all() == []


def test_a_purge_forgets_whom_a_bulk_act_was_about(store: Store, clock: Clock) -> None:
    store.arrivals.put([incoming(1, author="Zaphod")], site="gazette", intake=PLAIN)
    store.bulks.act("ada", Filter(author="Zaphod"), REJECT)
    clock.forward(days=100)
    store.retention.purge(timedelta(days=90))
    assert "Zaphod" not in everything(store)
    [bulk] = store.bulks.latest()
    assert bulk.filter.author == "(erased)"


def test_a_name_on_another_site_is_another_authors(store: Store) -> None:
    for site in ("gazette", "tribune"):
        store.arrivals.put([incoming(1, author="Zaphod")], site=site, intake=PLAIN)
        store.bulks.act("ada", Filter(author="Zaphod", site=site), REJECT)
    store.bulks.act("ada", Filter(author="Zaphod"), REJECT)
    store.retention.erase("gazette", "Zaphod")
    made = [(bulk.filter.site, bulk.filter.author) for bulk in store.bulks.latest()]
    assert made == [(None, "(erased)"), ("tribune", "Zaphod"), ("gazette", "(erased)")]


def test_a_request_is_known_again_when_what_it_was_about_is_erased(store: Store) -> None:
    store.arrivals.put([incoming(n, author="Zaphod", text="gold") for n in (1, 2)], site="gazette", intake=PLAIN)
    made = store.desk.decide("ada", 1, REJECT, key="one")
    act = partial(store.bulks.act, "ada", ruling=REJECT, key="many")
    bulk = act(Filter(author="Zaphod", words="gold"))
    store.retention.erase("gazette", "Zaphod")
    again = store.desk.decide("ada", 1, REJECT, key="one")
    assert again.repeated and again.past.ref == made.past.ref
    assert act(Filter(author="Zaphod", words="gold")).ref == bulk.ref
    for other in (Filter(author="Zaphod"), Filter(words="gold"), Filter(author="Zaphod", words="gold", low=0.5)):
        with pytest.raises(KeyReused):
            act(other)
    with pytest.raises(KeyReused):
        store.desk.decide("ada", 1, Ruling("reject", reason="SPAM"), key="one")


def test_words_of_an_erased_comment_are_forgotten_where_a_bulk_act_looked_for_them(store: Store) -> None:
    store.arrivals.put([incoming(1, text="the Zarquon affair")], site="gazette", intake=PLAIN)
    store.arrivals.put([incoming(2, text="gold", author="ann")], site="gazette", intake=PLAIN)
    store.bulks.act("ada", Filter(words="Zarquon"), REJECT)
    store.bulks.act("ada", Filter(words="gold"), REJECT)
    store.retention.erase("gazette", "joe")
    assert "Zarquon" not in everything(store)
    assert [bulk.filter.words for bulk in store.bulks.latest()] == ["gold", "(erased)"]


def test_what_is_erased_does_not_linger_on_the_disk(store: Store, where: str) -> None:
    if not store.database.is_sqlite:
        pytest.skip("PostgreSQL's own VACUUM does this")
    store.arrivals.put([incoming(1, text="unforgettable " * 50)], site="gazette", intake=PLAIN)
    store.retention.erase("gazette", "joe")
    files = [path.read_bytes() for path in Path(where).parent.glob("queue.db*")]
    assert not any(b"unforgettable" in content for content in files)


def test_a_reader_that_keeps_what_is_erased_in_the_log_is_told(
    store: Store, where: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not store.database.is_sqlite:
        pytest.skip("PostgreSQL has no such log")
    monkeypatch.setattr(database, "LOG_SECONDS", 0.3)

    def on_disk() -> bool:
        return any(b"unforgettable" in path.read_bytes() for path in Path(where).parent.glob("queue.db*"))

    comments = [incoming(n, 0.1, text="unforgettable " * 50, author=f"joe {n}") for n in range(2)]
    store.arrivals.put(comments, site="gazette", intake=PLAIN)
    clock.forward(days=100)
    acts = (
        lambda: store.retention.erase("gazette", "joe 0"),
        lambda: store.retention.purge(timedelta(days=90)),
    )
    for act in acts:
        with closing(sqlite3.connect(where)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM comments").fetchall()
            with pytest.raises(ErasureUnfinished, match="1 deleted, but the log .* run it again") as told:
                act()
            assert (told.value.exit_code, told.value.status) == (5, 503)
            assert on_disk()
            store.arrivals.put([incoming(5)], site="gazette", intake=PLAIN)  # others can write meanwhile
    assert acts[0]().deleted == 0  # there is nothing left to erase, and yet it empties the log
    assert not on_disk()


def test_a_reader_that_ends_in_time_is_waited_for(store: Store, where: str) -> None:
    if not store.database.is_sqlite:
        pytest.skip("PostgreSQL has no such log")
    store.arrivals.put([incoming(1, text="unforgettable " * 50)], site="gazette", intake=PLAIN)
    with closing(sqlite3.connect(where, check_same_thread=False)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM comments").fetchall()
        end = threading.Timer(0.5, reader.rollback)
        end.start()
        store.retention.erase("gazette", "joe")
        end.join()
    assert not any(b"unforgettable" in path.read_bytes() for path in Path(where).parent.glob("queue.db*"))


def test_an_erased_comment_does_not_come_back(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    [item] = store.desk.claim("ada")
    store.desk.decide("ada", item.ref, REJECT)
    store.retention.erase("gazette", "joe")
    assert store.arrivals.put([incoming(1, text="again")], site="gazette", intake=PLAIN).unchanged == 1
    assert store.listing.item(item.ref).version.text == ""


def test_an_erased_comment_waits_for_nobody(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=Intake(sample=0, double=1))
    [item] = store.desk.claim("ada")
    store.desk.decide("ada", item.ref, REJECT)
    store.retention.erase("gazette", "joe")
    assert store.listing.counts("bob").waiting == 0
    check(store)


def test_purge_by_age(store: Store, clock: Clock) -> None:
    store.arrivals.put([incoming(n, n / 10) for n in range(10)], site="gazette", intake=PLAIN)
    [old] = store.desk.claim("ada")
    store.desk.decide("ada", old.ref, REJECT)
    clock.forward(days=100)
    [new] = store.desk.claim("ada")
    store.desk.decide("ada", new.ref, REJECT)
    gone = store.retention.purge(timedelta(days=90))
    assert (gone.erased, gone.deleted) == (1, 2)
    assert store.listing.item(old.ref).erased
    assert not store.listing.item(new.ref).erased
    assert store.listing.counts().waiting == 6
    check(store)
    assert store.retention.purge(timedelta(days=90), waiting=True).deleted == 6
    assert store.listing.counts().waiting == 0
    check(store)


def test_an_open_appeal_keeps_its_comment(store: Store, clock: Clock) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    [item] = store.desk.claim("ada")
    store.desk.decide("ada", item.ref, REJECT)
    store.appeals.open("gazette", "c1")
    clock.forward(days=100)
    assert store.retention.purge(timedelta(days=90)).erased == 0


def test_passed_comments_may_go_sooner(store: Store, clock: Clock) -> None:
    store.arrivals.put([incoming(n, 0.1) for n in range(1_200)], site="gazette", intake=PLAIN)
    clock.forward(days=10)
    assert store.retention.purge(timedelta(days=90), passed_older_than=timedelta(days=7)).deleted == 1_200
    assert store.retention.oldest() is None


def test_ages_are_not_negative(store: Store) -> None:
    with pytest.raises(InputError, match="0 days"):
        store.retention.purge(timedelta(days=-1))


def test_exports_hold_no_erased_text(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    store.bulks.act("ada", Filter(), REJECT)
    store.retention.erase("gazette", "joe")
    [record] = store.exports.records()
    assert record["text"] == ""
    assert "abuse" not in record
