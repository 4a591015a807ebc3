"""Stores on real databases, SQLite and PostgreSQL, with a few accounts and comments."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from moderation import Article, Comment, Score, Span, Verdict
from moderation.queue import Incoming, Intake, Store
from moderation.queue.people import People
from moderation.queue.schema import metadata

PASSWORD = "a long password"
ADMIN = os.environ.get("MODERATION_TEST_POSTGRES", "postgresql+psycopg:///postgres")
"""A PostgreSQL database from which tests may make others."""

PLAIN = Intake(sample=0, double=0)
"""What the policy flags and nothing else."""


def incoming(
    n: int,
    p: float = 0.7,
    *,
    text: str | None = None,
    author: str | None = "joe",
    label: str = "abuse",
    parent: str | None = None,
    model: str = "m1",
    **more: float,
) -> Incoming:
    """A scored comment; the policy flags it from p = .2 on."""
    article = Article("The ferry", "https://news.example/ferry")
    comment = Comment(f"c{n}", text or f"text {n} you clown", author=author, parent_id=parent, article=article)
    score = Score(comment.id, model, {"abuse": 0.05, "incitement": 0.02, label: p, **more})
    flagged = p >= 0.2
    verdict = Verdict(comment.id, "review" if flagged else "allow", "p1", *((label, 0.2) if flagged else ()))
    return Incoming(comment, score, verdict, p / 0.2, (Span(7, 10, label, 1.25), Span(0, 4, label, -0.5)))


@dataclass
class Clock:
    """A clock that goes when it is told to; it moves on a little with every look."""

    time: datetime = field(default_factory=lambda: datetime(2026, 3, 4, 9, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def forward(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    """The stores' clock."""
    return Clock()


def quick(store: Store) -> Store:
    """Let a store hash passwords fast."""
    store.people = People(store.database, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    return store


def furnish(store: Store) -> None:
    """Make the accounts that tests act with."""
    for name, role in (
        ("ada", "moderator"),
        ("bob", "moderator"),
        ("eve", "moderator"),
        ("sue", "senior"),
        ("root", "admin"),
    ):
        quick(store).people.add(name, role, PASSWORD)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A furnished SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    with Store.open(path) as store:
        furnish(store)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL database of this process's own, with the schema; dropped at the end."""
    engine, name = create_engine(ADMIN, isolation_level="AUTOCOMMIT"), f"moderation_{uuid.uuid4().hex}"
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except OperationalError:
        pytest.skip("needs a PostgreSQL server: set MODERATION_TEST_POSTGRES to the URL of a database on it")
    address = engine.url.set(database=name).render_as_string(hide_password=False)
    Store.open(address).close()
    try:
        yield address
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def empty(address: str) -> None:
    """Empty all tables of a PostgreSQL database, decisions too, which its triggers forbid to everybody else."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    engine = create_engine(address)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a furnished database of one's own."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "queue.db")
        return str(tmp_path / "queue.db")
    address: str = request.getfixturevalue("postgres")
    empty(address)
    with Store.open(address) as store:
        furnish(store)
    return address


@pytest.fixture
def store(where: str, clock: Clock) -> Iterator[Store]:
    """A store with accounts and no comments."""
    with quick(Store.open(where, now=clock, mix=0, blind=0)) as store:
        yield store


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with c0 ... c19, of which c4 and on are flagged, the last one the most severe."""
    store.arrivals.put([incoming(n, n / 20) for n in range(20)], site="gazette", intake=PLAIN)
    return store
