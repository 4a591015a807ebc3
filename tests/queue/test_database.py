"""The schema that migrations make is the one that the code knows, on both databases."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from moderation.errors import InputError
from moderation.queue import Filter, Store
from moderation.queue.columns import Words
from moderation.queue.migrations.guards import FREE_TEXT, KEPT
from moderation.queue.schema import decisions, metadata
from tests.queue.conftest import PLAIN, incoming
from tests.queue.recount import check


def test_migrations_make_the_schema(store: Store) -> None:
    with store.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_old_texts_are_folded_by_the_migration(store: Store) -> None:
    """More than are taken at a time, of several versions."""
    comments = [incoming(n, text=f"Com<b>plete</b> &amp; GRÖẞE \x00 {n}") for n in range(600)]
    store.arrivals.put([*comments, incoming(7, text="edited")], site="gazette", intake=PLAIN)
    expected = f'"complete & grösse {599}"'
    with store.database.write() as connection:
        connection.execute(text("ALTER TABLE versions DROP COLUMN folded"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    store.database.migrate()
    assert [entry.comment.id for entry in store.listing.page(Filter(words=expected)).entries] == ["c599"]
    assert store.listing.count(Filter(words="größe")) == 599
    check(store)
    with store.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_every_column_of_a_decision_is_guarded() -> None:
    assert {*KEPT, *FREE_TEXT} == {column.name for column in decisions.columns}


@given(st.text(st.characters(exclude_categories=())))
def test_words_come_back_and_hold_nothing_that_a_database_refuses(given: str) -> None:
    words, dialect = Words(), sqlite.dialect()
    kept = words.process_bind_param(given, dialect)
    assert kept is not None and "\x00" not in kept
    kept.encode()
    assert words.process_result_value(kept, dialect) == given


@pytest.mark.parametrize(
    "where", [":memory:", "sqlite://", "mysql://host/name", "nonsense://", "postgresql+nope://x/y"]
)
def test_addresses_that_are_none(where: str) -> None:
    with pytest.raises(InputError, match="database: expected"):
        Store.open(where if "://" in where else f"sqlite:///{where}")
