"""Two transactions at once on PostgreSQL: nobody waits in a ring, and nobody acts on what is not so any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text

from moderation.errors import Conflict
from moderation.queue import Intake, Ruling, Store
from moderation.queue.retention import Forgotten
from moderation.queue.schema import comments, users, versions, webhooks
from tests.queue.conftest import PASSWORD, PLAIN, Clock, incoming
from tests.queue.recount import check

REJECT = Ruling("reject", reason="ABUSE")


@pytest.fixture
def shared(store: Store) -> Store:
    """A store on PostgreSQL, where transactions write at the same time."""
    if store.database.is_sqlite:
        pytest.skip("on SQLite one transaction writes at a time")
    return store


class Held:
    """Acts that begin while a transaction holds rows, and all wait for it to end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor()
        self._begun: list[Future[Any]] = []

    def begin(self, act: Callable[[], Any]) -> Future[Any]:
        """Begin an act in a thread, and return as soon as it waits for a lock."""
        self._begun.append(self._pool.submit(act))
        until = time.monotonic() + 60
        while self._waiting() < len(self._begun):
            assert time.monotonic() < until and not self._begun[-1].done(), "it does not wait"
            time.sleep(0.02)
        return self._begun[-1]

    def _waiting(self) -> int:
        with self._store.database.read() as connection:
            query = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return int(connection.scalar(text(query)) or 0)

    def close(self) -> None:
        self._pool.shutdown()


@contextmanager
def held(store: Store, take: Callable[[Connection], object]) -> Iterator[Held]:
    """Hold what `take` takes inside the block; nothing that it wrote is kept."""
    found = Held(store)
    try:
        with store.database.engine.connect() as connection:
            take(connection)
            yield found
            connection.rollback()
    finally:
        found.close()


def comment(store: Store, name: str) -> Callable[[Connection], object]:
    """Take a comment."""
    return lambda connection: connection.execute(
        select(comments.c.id).where(comments.c.name == name).with_for_update()
    ).one()


def account(store: Store, name: str) -> Callable[[Connection], object]:
    """Take an account, as who changes it does."""
    return lambda connection: connection.execute(
        select(users.c.id).where(users.c.name == name).with_for_update(key_share=True)
    ).one()


def webhook(ref: int) -> Callable[[Connection], object]:
    """Take a webhook."""
    return lambda connection: connection.execute(
        select(webhooks.c.id).where(webhooks.c.id == ref).with_for_update()
    ).one()


def test_a_passed_comment_that_is_edited_just_before_a_purge_stays(shared: Store, clock: Clock) -> None:
    shared.arrivals.put([incoming(n, 0.1) for n in range(3)], site="gazette", intake=PLAIN)
    clock.forward(days=100)
    edited = incoming(1, 0.9, text="I will burn it down")
    with held(shared, comment(shared, "c1")) as waiting:
        put = waiting.begin(lambda: shared.arrivals.put([edited], site="gazette", intake=PLAIN))
        gone = waiting.begin(lambda: shared.retention.purge(timedelta(days=90)))
    assert put.result().edited == 1
    assert gone.result() == Forgotten(erased=0, deleted=2)
    [item] = shared.desk.claim("ada")
    assert item.version.text == "I will burn it down"
    check(shared)


def test_an_appeal_that_is_opened_just_before_a_purge_keeps_its_comment(shared: Store, clock: Clock) -> None:
    shared.arrivals.put([incoming(n) for n in range(2)], site="gazette", intake=PLAIN)
    for ref in (1, 2):
        shared.desk.decide("ada", ref, REJECT)
    clock.forward(days=100)
    with held(shared, comment(shared, "c1")) as waiting:
        opened = waiting.begin(lambda: shared.appeals.open("gazette", "c1", statement="unfair"))
        gone = waiting.begin(lambda: shared.retention.purge(timedelta(days=90)))
    assert gone.result() == Forgotten(erased=1, deleted=0)
    assert shared.appeals.get(opened.result().ref).statement == "unfair"
    assert [item.erased for item in map(shared.listing.item, (1, 2))] == [True, False]
    check(shared)


def deliver(store: Store, names: Sequence[int], **more: float) -> Callable[[], Any]:
    """Return the act of putting comments in, in this order."""
    return lambda: store.arrivals.put([incoming(n, **more) for n in names], site="gazette", intake=PLAIN)


def test_deliveries_of_the_same_comments_in_opposite_order_both_arrive(shared: Store) -> None:
    names = list(range(9))

    def in_the_middle(connection: Connection) -> None:
        """Make c4, so that whoever comes to it waits with what it has made before."""
        like = {column: getattr(row, column) for column in row._fields if column != "id"}
        connection.execute(insert(comments), like | {"name": "c4"})

    shared.arrivals.put([incoming(100)], site="gazette", intake=PLAIN)
    with shared.database.read() as connection:
        row = connection.execute(select(comments)).one()
    with held(shared, in_the_middle) as waiting:
        there, back = (waiting.begin(deliver(shared, some)) for some in (names, names[::-1]))
    assert (there.result().new + back.result().new, there.result().unchanged + back.result().unchanged) == (9, 9)
    check(shared)


def test_comments_keep_the_order_in_which_they_came(store: Store) -> None:
    deliver(store, [3, 20, 1, 100, 2])()
    with store.database.read() as connection:
        assert list(connection.scalars(select(comments.c.name).order_by(comments.c.id))) == [
            "c3",
            "c20",
            "c1",
            "c100",
            "c2",
        ]
        assert list(connection.scalars(select(comments.c.name).order_by(comments.c.received)))[3] == "c100"


def test_a_password_is_set_while_its_owner_decides(shared: Store) -> None:
    shared.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    shared.desk.claim("root")
    with held(shared, comment(shared, "c1")) as waiting:
        decided = waiting.begin(lambda: shared.desk.decide("root", 1, REJECT))
        changed = waiting.begin(lambda: shared.people.set_password("root", PASSWORD))
    assert (decided.result().state, changed.result()) == ("rejected", None)


def test_admins_change_their_own_passwords_at_once(shared: Store) -> None:
    shared.people.set_role("sue", "admin")
    own = partial(shared.people.change_password, old=PASSWORD, new=PASSWORD)
    with ThreadPoolExecutor() as pool, held(shared, account(shared, "root")) as waiting:
        first = waiting.begin(partial(own, "root"))
        assert pool.submit(own, "sue").result(30) is None  # waits for nobody
    assert first.result() is None


def test_of_two_admins_who_disable_each_other_one_is_left(shared: Store) -> None:
    shared.people.set_role("sue", "admin")
    with held(shared, account(shared, "root")) as waiting:
        acts = [waiting.begin(partial(shared.people.disable, name)) for name in ("sue", "root")]
    assert [type(act.exception()) for act in acts].count(Conflict) == 1
    assert [user.disabled for user in map(shared.people.get, ("root", "sue"))].count(True) == 1


def test_of_two_admins_who_give_up_the_role_at_once_one_is_left(shared: Store) -> None:
    shared.people.set_role("sue", "admin")
    with held(shared, account(shared, "root")) as waiting:
        acts = [waiting.begin(partial(shared.people.set_role, name, "senior")) for name in ("sue", "root")]
    assert [type(act.exception()) for act in acts].count(Conflict) == 1
    assert [user.role for user in map(shared.people.get, ("root", "sue"))].count("admin") == 1


def test_both_secrets_of_a_webhook_that_are_handed_out_at_once_hold(shared: Store) -> None:
    _, hook = shared.webhooks.add("https://news.example/hook")
    with held(shared, webhook(hook.ref)) as waiting:
        new = [waiting.begin(partial(shared.webhooks.rotate, hook.ref)) for _ in range(2)]
    with shared.database.read() as connection:
        kept = connection.scalar(select(webhooks.c.secrets))
    assert sorted(kept) == sorted(one.result() for one in new)


def test_scoring_different_comments_anew_at_once(shared: Store) -> None:
    shared.arrivals.put([incoming(n, threat=0.9) for n in range(4)], site="gazette", intake=Intake(sample=0, double=1))
    for name in ("c0", "c3"):  # these wait for a second look, the others for a first one
        shared.desk.decide("ada", shared.listing.find("gazette", name) or 0, Ruling("approve"))

    def second_ones(connection: Connection) -> None:
        """Take the texts of c1 and c3: whoever comes to them waits with what it has counted before."""
        refs = select(comments.c.id).where(comments.c.name.in_(["c1", "c3"]))
        connection.execute(select(versions.c.number).where(versions.c.comment_id.in_(refs)).with_for_update()).all()

    with held(shared, second_ones) as waiting:
        both = [waiting.begin(deliver(shared, some, threat=0.1, p=0.8)) for some in ([0, 1], [2, 3])]
    assert [one.result().rescored for one in both] == [2, 2]
    check(shared)
