"""Alembic's entry: the connection comes from `Database.migrate`."""

from __future__ import annotations

from alembic import context

from moderation.queue.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction holds all of it
)
context.run_migrations()
