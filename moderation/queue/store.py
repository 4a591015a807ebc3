"""The queue as one thing: its rooms over one database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from moderation.queue.appeals import Appeals
from moderation.queue.arrivals import Arrivals
from moderation.queue.bulk import Bulks
from moderation.queue.database import Database
from moderation.queue.desk import Desk
from moderation.queue.listing import Listing
from moderation.queue.people import People
from moderation.queue.reasons import Reason, load_reasons
from moderation.queue.statistics import Statistics


class Store:
    """Everything that is kept about the queue. Safe to share between threads; close it at the end.

    Parameters
    ----------
    database : where it is kept
    reasons : why comments may be rejected, by code; default: those that come with the package
    """

    def __init__(self, database: Database, reasons: Mapping[str, Reason] | None = None) -> None:
        self.database = database
        self.reasons = dict(load_reasons() if reasons is None else reasons)
        self.arrivals = Arrivals(database)
        self.listing = Listing(database)
        self.desk = Desk(database, self.reasons)
        self.bulks = Bulks(database, self.desk)
        self.appeals = Appeals(database, self.desk)
        self.people = People(database)
        self.statistics = Statistics(database)

    @classmethod
    def open(
        cls,
        where: Path | str,
        *,
        reasons: Mapping[str, Reason] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """Open a queue and bring its schema up to date; an SQLite file is made when it is missing.

        `where` is the path of an SQLite file, or a URL (``postgresql://USER@HOST/NAME``); `now` is the clock.
        Raises `StoreUnavailable`, `StoreForeign`, `InputError` for a URL that cannot be read, and `MissingExtra`.
        """
        database = Database(where, now=now)
        database.migrate()
        return cls(database, reasons)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
