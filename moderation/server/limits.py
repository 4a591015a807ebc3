"""Bounds under load: how many requests may wait, how much memory bodies may take."""

from __future__ import annotations

import asyncio
from typing import Self

from moderation.server.faults import Fault

RETRY = {"retry-after": "1"}
CLOSE = {"connection": "close"}


class Gate:
    """Counts the requests that wait for one worker to answer them, and the bytes of the bodies that it holds.

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

    @property
    def full(self) -> bool:
        """Whether no further request may wait."""
        return self.waiting >= self.most

    def visit(self) -> Visit:
        """Return one request's share in both counts, to be used with ``with``."""
        return Visit(self)


class Visit:
    """One request: the bytes that are held for it, and later its place in the line.

    A request takes its place only when its body is there, so that slow senders keep no place from others.
    """

    __slots__ = ("_gate", "_places", "_size")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._size = 0
        self._places = 0

    def hold(self, size: int) -> None:
        """Count bytes that are about to be kept; raise a `Fault` when they are too many."""
        gate = self._gate
        if gate.held + size > gate.most_bytes:
            raise Fault("busy", 503, "the server holds as many bodies as it may; try again", headers=RETRY | CLOSE)
        gate.held += size
        self._size += size

    async def wait(self) -> None:
        """Take a place in the line; raise a `Fault` when there is none."""
        gate = self._gate
        if gate.full:
            raise Fault("busy", 503, "the server has as many requests waiting as it may; try again", headers=RETRY)
        gate.waiting += 1
        self._places = 1
        # Scoring does not give way to the event loop. Stepping aside once lets all requests that have arrived by now
        # be counted before the first of them is served, so that those beyond the bound are refused at once.
        await asyncio.sleep(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.waiting -= self._places
        self._gate.held -= self._size
