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
from moderation.queue.desk import MIX, Desk
from moderation.queue.exports import Exports
from moderation.queue.listing import BLIND, Listing
from moderation.queue.people import People
from moderation.queue.reasons import Reason, load_reasons
from moderation.queue.retention import Retention
from moderation.queue.statements import EEA
from moderation.queue.statistics import Statistics
from moderation.queue.webhooks import Webhooks


class Store:
    """Everything that is kept about the queue. Safe to share between threads; close it at the end.

    Parameters
    ----------
    database : where it is kept
    reasons : why comments may be rejected, by code; default: those that come with the package
    mix : how often a moderator is given a comment of the random sample, in [0, 1]
    blind : share of the flagged comments that are shown without scores, as the random sample is, in [0, 1]
    territory : countries of the EEA in which a rejected comment is not shown, for statements of reasons
    """

    def __init__(
        self,
        database: Database,
        reasons: Mapping[str, Reason] | None = None,
        *,
        mix: float = MIX,
        blind: float = BLIND,
        territory: tuple[str, ...] = EEA,
    ) -> None:
        self.database = database
        self.reasons = dict(load_reasons() if reasons is None else reasons)
        self.arrivals = Arrivals(database)
        self.listing = Listing(database, blind)
        self.desk = Desk(database, self.listing, self.reasons, mix)
        self.bulks = Bulks(database, self.desk)
        self.appeals = Appeals(database, self.desk)
        self.people = People(database)
        self.statistics = Statistics(database)
        self.exports = Exports(database, self.reasons, territory)
        self.retention = Retention(database)
        self.webhooks = Webhooks(database)

    @classmethod
    def open(
        cls,
        where: Path | str,
        *,
        reasons: Mapping[str, Reason] | None = None,
        mix: float = MIX,
        blind: float = BLIND,
        territory: tuple[str, ...] = EEA,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> Self:
        """Open a queue and bring its schema up to date; an SQLite file is made when it is missing.

        `where` is the path of an SQLite file, or a URL (``postgresql://USER@HOST/NAME``); `now` is the clock.
        Raises `StoreUnavailable`, `StoreForeign`, `InputError` for a URL that cannot be read, and `MissingExtra`.
        """
        database = Database(where, now=now)
        try:
            database.migrate()
        except BaseException:
            database.close()
            raise
        return cls(database, reasons, mix=mix, blind=blind, territory=territory)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
