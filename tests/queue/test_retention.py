"""What is forgotten is gone, and the trail stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from moderation.errors import InputError
from moderation.queue import Filter, Intake, Ruling, Store
from moderation.queue.schema import metadata
from tests.queue.conftest import PLAIN, Clock, incoming
from tests.queue.recount import check

REJECT = Ruling("reject", reason="ABUSE", note="quotes the clown remark", facts="You wrote clown.")


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
    store.appeals.open("gazette", "c9", statement="I was quoting secret words", contact="zaphod@example.org")
    gone = store.retention.erase("gazette", "Zaphod")
    assert (gone.erased, gone.deleted) == (2, 8)
    kept = everything(store)
    for word in ("Zaphod", "secret words", "zaphod@", "clown remark", "You wrote"):
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


def test_what_is_erased_does_not_linger_on_the_disk(store: Store, where: str) -> None:
    if not store.database.is_sqlite:
        pytest.skip("PostgreSQL's own VACUUM does this")
    store.arrivals.put([incoming(1, text="unforgettable " * 50)], site="gazette", intake=PLAIN)
    store.retention.erase("gazette", "joe")
    files = [path.read_bytes() for path in Path(where).parent.glob("queue.db*")]
    assert not any(b"unforgettable" in content for content in files)


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
