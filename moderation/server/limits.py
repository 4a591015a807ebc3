"""Bounds under load: how many requests may wait, how much memory bodies may take."""

from __future__ import annotations

import asyncio
from typing import Self

from moderation.server.faults import Fault

RETRY = {"retry-after": "1"}
CLOSE = {"connection": "close"}


class Gate:
    """Counts the requests that one worker has accepted and not yet answered, and the bytes of their bodies.

    Parameters
    ----------
    most : requests that may wait at a time
    most_bytes : bytes of all bodies at a time
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most = most
        self.most_bytes = most_bytes
        self.waiting = 0
        self.held = 0

    def enter(self) -> Place:
        """Return a place in the line, to be used with ``async with``."""
        return Place(self)


class Place:
    """One request's place in the line, and the bytes that are held for it."""

    __slots__ = ("gate", "size")

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.size = 0

    def hold(self, size: int) -> None:
        """Count bytes that are about to be kept; raise a `Fault` when they are too many."""
        if self.gate.held + size > self.gate.most_bytes:
            raise Fault("busy", 503, "the server holds as many bodies as it may; try again", headers=RETRY | CLOSE)
        self.gate.held += size
        self.size += size

    async def __aenter__(self) -> Self:
        gate = self.gate
        if gate.waiting >= gate.most:
            raise Fault("busy", 503, "the server has as many requests waiting as it may; try again", headers=RETRY)
        gate.waiting += 1
        # Scoring does not give way to the event loop. Stepping aside once lets all requests that have arrived by now
        # be counted before the first of them is served, so that those beyond the bound are refused at once.
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.waiting -= 1
        self.gate.held -= self.size
