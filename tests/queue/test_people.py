"""Accounts, sessions, throttling, tokens and the audit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Lock
from time import sleep
from typing import Literal

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from moderation.errors import Conflict, InputError, NotFound, SignInFailed, SignInThrottled
from moderation.queue import Preferences, Store
from moderation.queue.audit import KINDS
from moderation.queue.passwords import AT_ONCE
from moderation.queue.people import People
from moderation.queue.schema import sessions, tokens, users
from tests.conftest import ROOT
from tests.queue.conftest import PASSWORD, Clock


def test_sign_in_and_out(store: Store) -> None:
    secret, session = store.people.sign_in("ada", PASSWORD)
    assert session.user.role == "moderator"
    found = store.people.session(secret)
    assert found is not None and found.csrf == session.csrf
    store.people.sign_out(secret)
    assert store.people.session(secret) is None


def test_nothing_secret_is_kept_in_clear(store: Store) -> None:
    secret, _ = store.people.sign_in("ada", PASSWORD)
    token, _ = store.people.make_token("root", "site")
    with store.database.read() as connection:
        kept = str([connection.execute(select(table)).all() for table in (users, sessions, tokens)])
    assert PASSWORD not in kept
    assert secret not in kept
    assert token not in kept
    assert "$argon2id$" in kept


def test_sessions_end(store: Store, clock: Clock) -> None:
    secret, _ = store.people.sign_in("ada", PASSWORD)
    for _ in range(7):
        clock.forward(hours=1, minutes=40)
        last = store.people.session(secret)
        assert last is not None
    clock.forward(minutes=30)  # 12 h 10 min after signing in
    assert store.people.session(secret) is None
    secret, _ = store.people.sign_in("ada", PASSWORD)
    clock.forward(hours=2, minutes=1)
    assert store.people.session(secret) is None


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong password"), ("nobody", PASSWORD), ("ada", ""), ("", "")])
def test_a_failed_sign_in_does_not_say_why(store: Store, name: str, password: str) -> None:
    with pytest.raises(SignInFailed, match=r"^name and password do not fit$"):
        store.people.sign_in(name, password)


def test_names_are_one_whatever_their_case(store: Store) -> None:
    assert store.people.sign_in("ADA", PASSWORD)[1].user.name == "ada"
    with pytest.raises(Conflict):
        store.people.add("Ada", "admin")


@pytest.mark.parametrize("names", [["kim"] * 4, ["Kim", "kim", "KIM", "kIM"]])
def test_a_name_that_is_added_at_the_same_time_is_one(store: Store, names: list[str]) -> None:
    for turn in range(5):
        begin = Barrier(len(names))

        def one(name: str, turn: int = turn, begin: Barrier = begin) -> str:
            begin.wait()
            try:
                return store.people.add(f"{name}{turn}", "moderator").role
            except Conflict as error:
                return str(error)[:19]

        with ThreadPoolExecutor(len(names)) as pool:
            assert Counter(pool.map(one, names)) == {"moderator": 1, "there is an account": 3}
        assert sum(user.name.lower() == f"kim{turn}" for user in store.people.all()) == 1


def test_many_failures_have_to_wait(store: Store, clock: Clock) -> None:
    for _ in range(5):
        with pytest.raises(SignInFailed):
            store.people.sign_in("ada", "wrong password", address="192.0.2.1")
    with pytest.raises(SignInThrottled) as caught:
        store.people.sign_in("ada", PASSWORD, address="192.0.2.1")
    assert 0 < caught.value.wait <= 1
    clock.forward(seconds=2)
    assert store.people.sign_in("ada", PASSWORD, address="192.0.2.1")


def test_sign_ins_at_the_same_time_count_each(store: Store) -> None:
    tried = Barrier(12)

    class Slow(PasswordHasher):
        """Begins to check only when all twelve have come as far, or were turned away."""

        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            tried.wait()
            return super().verify(hash, password)

    people = People(store.database, Slow(time_cost=1, memory_cost=8, parallelism=1), at_once=12)

    def one(_: int) -> type[Exception]:
        try:
            people.sign_in("ada", "wrong password")
        except SignInThrottled as error:
            tried.wait()
            return type(error)
        except SignInFailed as error:
            return type(error)
        raise AssertionError

    with ThreadPoolExecutor(12) as pool:
        found = Counter(pool.map(one, range(12)))
    assert found == {SignInFailed: 5, SignInThrottled: 7}


def test_a_shift_can_begin_behind_one_address(store: Store) -> None:
    for n in range(12):
        with pytest.raises(SignInFailed):
            store.people.sign_in(f"moderator{n}", "typo", address="192.0.2.1")
    assert store.people.sign_in("ada", PASSWORD, address="192.0.2.1")


def test_an_address_that_tries_many_accounts_has_to_wait(store: Store) -> None:
    refused = []
    for n in range(25):
        with pytest.raises(SignInFailed) as caught:
            store.people.sign_in(f"nobody{n}", "wrong password", address="192.0.2.1")
        refused.append(caught.type is SignInThrottled)
    assert refused == [False] * 20 + [True] * 5
    assert store.people.sign_in("ada", PASSWORD, address="192.0.2.2")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::{:x}", "2001:db8:1:3::1"),  # who has one address of a /64 network has them all
        ("fe80::{:x}%eth0", "fe80:0:0:1::1%eth0"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_an_address_of_ipv6_is_its_network(store: Store, one: str, other: str) -> None:
    refused = []
    for n in range(22):
        with pytest.raises(SignInFailed) as caught:
            store.people.sign_in(f"nobody{n}", "wrong password", address=one.format(n + 1))
        refused.append(caught.type is SignInThrottled)
    assert refused == [False] * 20 + [True] * 2
    assert store.people.sign_in("ada", PASSWORD, address=other)


def test_few_passwords_are_checked_at_once(store: Store) -> None:
    lock, running, most = Lock(), 0, 0

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            sleep(0.02)
            with lock:
                running -= 1
            return super().verify(hash, password)

    people = People(store.database, Counting(time_cost=1, memory_cost=8, parallelism=1))

    def one(n: int) -> None:
        with pytest.raises(SignInFailed, match="do not fit"):
            people.sign_in(f"nobody{n}", "wrong password")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one, range(12)))
    assert 1 <= most <= AT_ONCE


def test_the_wait_doubles_up_to_a_quarter_of_an_hour(store: Store, clock: Clock) -> None:
    waits = []
    for _ in range(20):
        try:
            store.people.sign_in("ada", "wrong password")
        except SignInThrottled as error:
            waits.append(round(error.wait))
            clock.forward(seconds=error.wait + 1)
        except SignInFailed:
            pass
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) <= 900


def test_a_changed_password_ends_sessions(store: Store) -> None:
    secret, _ = store.people.sign_in("ada", PASSWORD)
    store.people.set_password("ada", "another password")
    assert store.people.session(secret) is None
    with pytest.raises(SignInFailed):
        store.people.sign_in("ada", PASSWORD)
    assert store.people.sign_in("ada", "another password")


def test_a_disabled_account_is_out_at_once(store: Store) -> None:
    secret, _ = store.people.sign_in("ada", PASSWORD)
    store.people.disable("ada")
    assert store.people.session(secret) is None
    with pytest.raises(SignInFailed):
        store.people.sign_in("ada", PASSWORD)
    store.people.enable("ada")
    assert store.people.sign_in("ada", PASSWORD)


def test_the_last_admin_stays_one(store: Store) -> None:
    secret, _ = store.people.sign_in("root", PASSWORD)
    for act in (store.people.disable, lambda name: store.people.set_role(name, "senior")):
        with pytest.raises(Conflict, match="'root' is the last admin who can sign in"):
            act("root")
    assert store.people.get("root").may("admin") and store.people.session(secret) is not None
    store.people.set_role("sue", "admin")
    store.people.disable("root")
    with pytest.raises(Conflict, match="'sue'"):
        store.people.disable("sue")
    store.people.enable("root")
    store.people.set_role("sue", "moderator")


def test_an_admin_without_a_password_is_not_one_who_can_sign_in(store: Store) -> None:
    store.people.add("ghost", "admin")
    for act in (store.people.disable, lambda name: store.people.set_role(name, "senior")):
        with pytest.raises(Conflict, match="'root' is the last admin who can sign in"):
            act("root")
    store.people.disable("ghost")
    store.people.set_password("ghost", PASSWORD)
    store.people.enable("ghost")
    store.people.disable("root")
    assert store.people.sign_in("ghost", PASSWORD)


def test_where_no_admin_can_sign_in_accounts_can_still_be_changed(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute(update(users).where(users.c.name == "root").values(password=None))
    store.people.set_role("sue", "moderator")
    store.people.disable("root")
    assert store.people.get("root").disabled


def test_roles(store: Store) -> None:
    assert [store.people.get("sue").may(role) for role in ("moderator", "senior", "admin")] == [True, True, False]  # type: ignore[arg-type]
    store.people.set_role("ada", "admin")
    assert store.people.get("ada").may("admin")
    with pytest.raises(InputError, match="moderator, senior, admin"):
        store.people.set_role("ada", "king")  # type: ignore[arg-type]
    assert [user.name for user in store.people.all()] == ["ada", "bob", "eve", "root", "sue"]


@pytest.mark.parametrize("name", ["", " ada", "x" * 101, "a\nb"])
def test_names_that_are_none(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        store.people.add(name, "moderator")


@pytest.mark.parametrize("password", ["short", "x" * 1_001])
def test_passwords_that_are_none(store: Store, password: str) -> None:
    with pytest.raises(InputError, match="password") as caught:
        store.people.set_password("ada", password)
    assert password not in str(caught.value)


def test_an_account_without_password_cannot_sign_in(store: Store) -> None:
    store.people.add("robot", "moderator")
    with pytest.raises(SignInFailed):
        store.people.sign_in("robot", "")


def test_preferences(store: Store) -> None:
    wanted = Preferences(blur=None, grey=True, break_after=None, order="oldest", theme="dark")
    store.people.set_preferences("ada", wanted)
    assert store.people.get("ada").preferences == wanted
    assert Preferences.from_json({"unknown": 1}) == Preferences()


@pytest.mark.parametrize(
    "bad", [{"blur": -1}, {"blur": "much"}, {"grey": "yes"}, {"break_after": 0}, {"order": "x"}, {"theme": "pink"}]
)
def test_preferences_that_are_none(bad: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Preferences.from_json(bad)


def test_tokens(store: Store, clock: Clock) -> None:
    secret, token = store.people.make_token("root", "the site", ["queue", "appeals"], lasts=timedelta(days=30))
    assert secret.startswith("mod_")
    found = store.people.token(secret, "queue")
    assert found is not None and found.owner == "root"
    assert store.people.token(secret, "export") is None
    assert store.people.token("mod_nonsense", "queue") is None
    clock.forward(days=31)
    assert store.people.token(secret, "queue") is None
    other, token = store.people.make_token("root", "the site")
    store.people.revoke_token(token.ref)
    assert store.people.token(other, "queue") is None
    with pytest.raises(NotFound):
        store.people.revoke_token(token.ref)
    with pytest.raises(InputError, match="queue, appeals, export"):
        store.people.make_token("root", "x", ["everything"])  # type: ignore[list-item]
    store.people.make_token("root", "another site")
    assert [one.state for one in store.people.tokens()] == ["expired", "revoked", "in force"]


def test_a_token_ends_with_its_owner(store: Store) -> None:
    store.people.set_role("sue", "admin")
    secret, _ = store.people.make_token("root", "the site")
    store.people.disable("root")
    assert store.people.token(secret, "queue") is None
    assert [one.state for one in store.people.tokens()] == ["account disabled"]
    with pytest.raises(Conflict, match="'root' is disabled"):
        store.people.make_token("root", "another site")
    store.people.enable("root")
    assert store.people.token(secret, "queue") is not None


def test_the_audit(store: Store) -> None:
    store.people.forbidden("ada", "GET /senior", address="192.0.2.1")
    store.people.forbidden(None, "GET /admin")
    with pytest.raises(SignInFailed):
        store.people.sign_in("ada", "wrong password")
    latest, *_, first = store.people.audit(limit=3)
    assert (latest.kind, latest.detail) == ("sign_in_failed", "ada")
    assert (first.kind, first.user, first.detail, first.address) == ("forbidden", "ada", "GET /senior", "192.0.2.1")
    assert len(store.people.audit(kind="forbidden")) == 2


def test_the_audit_is_read_in_pages(store: Store) -> None:
    for n in range(7):
        store.people.forbidden("ada" if n % 2 else "bob", f"GET /{n}")
    asked = store.people.audit(kind="forbidden", limit=3)
    assert [line.detail for line in asked] == ["GET /6", "GET /5", "GET /4"]
    older = store.people.audit(kind="forbidden", limit=3, before=asked[-1].ref)
    assert [line.detail for line in older] == ["GET /3", "GET /2", "GET /1"]
    assert store.people.audit(kind="forbidden", limit=3, after=older[0].ref) == asked
    assert [line.detail for line in store.people.audit(kind="forbidden", name="ada")] == ["GET /5", "GET /3", "GET /1"]


def test_the_audit_of_an_account_has_what_was_done_to_it(store: Store) -> None:
    store.people.add("a_a", "moderator", PASSWORD)
    store.people.set_role("a_a", "senior", by="root")
    store.people.add("a_ab", "moderator", PASSWORD)
    store.people.add("aba", "moderator", PASSWORD)
    assert [line.kind for line in store.people.audit(name="a_a")] == ["role_changed", "user_added"]


def test_every_kind_of_line_can_be_asked_for() -> None:
    written = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "moderation").rglob("*.py"))
    made = set(re.findall(r'(?:note|_change)\((?:[\w.]+, )*"(\w+)"', written)) | {"erased", "purged"}
    assert made == set(KINDS)


class Interrupted(PasswordHasher):
    """Lets something happen when a password has just been found to fit."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(time_cost=2, memory_cost=8, parallelism=1)  # more than before, so that hashes are renewed
        self._meanwhile = meanwhile

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        found = super().verify(hash, password)
        self._meanwhile()
        return found


def test_a_password_that_changes_meanwhile_lets_nobody_in(store: Store) -> None:
    people = People(store.database, Interrupted(lambda: store.people.set_password("ada", "a new password")))
    for act in (
        lambda: people.sign_in("ada", PASSWORD),
        lambda: people.change_password("ada", PASSWORD, "yet another password"),
    ):
        store.people.set_password("ada", PASSWORD)
        with pytest.raises(SignInFailed, match="do not fit"):
            act()
        with store.database.read() as connection:
            assert connection.execute(select(sessions)).all() == []
        assert store.people.sign_in("ada", "a new password")


def test_an_account_that_is_disabled_meanwhile_stays_out(store: Store) -> None:
    people = People(store.database, Interrupted(lambda: store.people.disable("ada")))
    with pytest.raises(SignInFailed):
        people.sign_in("ada", PASSWORD)
    with store.database.read() as connection:
        assert connection.execute(select(sessions)).all() == []
    assert [line.detail for line in store.people.audit(kind="sign_in_failed")] == ["ada"]


def test_a_password_is_hashed_anew_when_the_cost_has_grown(store: Store) -> None:
    people = People(store.database, Interrupted(lambda: None))
    people.sign_in("ada", PASSWORD)
    with store.database.read() as connection:
        kept = connection.scalar(select(users.c.password).where(users.c.name == "ada"))
    assert "t=2" in str(kept)
    assert people.sign_in("ada", PASSWORD)


def test_changing_ones_own_password(store: Store) -> None:
    secret, _ = store.people.sign_in("ada", PASSWORD)
    with pytest.raises(InputError, match="password"):
        store.people.change_password("ada", PASSWORD, "short")
    for _ in range(4):
        with pytest.raises(SignInFailed):
            store.people.change_password("ada", "wrong password", "another password")
    assert store.people.session(secret) is not None
    store.people.change_password("ada", PASSWORD, "another password")
    assert store.people.session(secret) is None
    assert [line.user for line in store.people.audit(kind="password_changed")] == ["ada"]
    for _ in range(5):
        with pytest.raises(SignInFailed):
            store.people.change_password("ada", PASSWORD, "yet another password")
    with pytest.raises(SignInThrottled):
        store.people.change_password("ada", "another password", "yet another password")


@pytest.mark.parametrize("name", ["nobody", ""])
def test_unknown_accounts(store: Store, name: str) -> None:
    for act in (store.people.get, store.people.disable, lambda it: store.people.set_password(it, PASSWORD)):
        with pytest.raises(NotFound):
            act(name)


def test_a_name_beyond_ascii_signs_in_in_any_case(store: Store) -> None:
    store.people.add("Özlem", "moderator", PASSWORD)
    for name in ("Özlem", "özlem"):
        assert store.people.sign_in(name, PASSWORD)[1].user.name == "Özlem"
    with pytest.raises(Conflict, match="already"):
        store.people.add("özlem", "moderator", PASSWORD)
