"""The moderators' queue: comments that wait for a person, and what people decided. It knows no scorer and no web.

::

    from moderation.queue import Filter, Ruling, Store

    with Store.open("queue.db") as store:
        [item] = store.desk.claim("ada", Filter(site="gazette"))
        store.desk.decide("ada", item.ref, Ruling("reject", reason="THREAT"), version=item.version.number)
"""

from moderation.queue.database import Database
from moderation.queue.people import Session, Token, User
from moderation.queue.preferences import Preferences
from moderation.queue.reasons import Reason, load_reasons
from moderation.queue.statistics import Agreement, Week, Work
from moderation.queue.store import Store
from moderation.queue.values import (
    Appeal,
    Arrived,
    Bar,
    Bulk,
    Counts,
    Entry,
    Filter,
    Incoming,
    Intake,
    Item,
    Outcome,
    Page,
    Past,
    Preview,
    Record,
    Ruling,
    Version,
)

__all__ = [
    "Agreement",
    "Appeal",
    "Arrived",
    "Bar",
    "Bulk",
    "Counts",
    "Database",
    "Entry",
    "Filter",
    "Incoming",
    "Intake",
    "Item",
    "Outcome",
    "Page",
    "Past",
    "Preferences",
    "Preview",
    "Reason",
    "Record",
    "Ruling",
    "Session",
    "Store",
    "Token",
    "User",
    "Version",
    "Week",
    "Work",
    "load_reasons",
]
