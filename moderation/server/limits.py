"""Bounds under load: how many requests may wait, how much memory bodies may take."""

from __future__ import annotations

import asyncio
from typing import Self

from moderation.server.faults import Fault

RETRY = {"retry-after": "1"}
CLOSE = {"connection": "close"}

STRANGERS = 8
"""Of the bytes that may be held, one in so many is for senders who have not shown a key yet."""


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
        self.strange = 0
        """Bytes, among those held, of senders who have not shown a key yet."""

    @property
    def full(self) -> bool:
        """Whether no further request may wait."""
        return self.waiting >= self.most

    def visit(self, *, stranger: bool = False) -> Visit:
        """Return one request's share in both counts, to be used with ``with``.

        Strangers have a small part of the bytes to share, so that they cannot keep those from whom we know.
        """
        return Visit(self, stranger)


class Visit:
    """One request: the bytes that are held for it, and later its place in the line.

    A request takes its place only when its body is there, so that slow senders keep no place from others.
    """

    __slots__ = ("_gate", "_places", "_size", "_strange")

    def __init__(self, gate: Gate, stranger: bool) -> None:
        self._gate = gate
        self._strange = stranger
        self._size = 0
        self._places = 0

    def hold(self, size: int) -> None:
        """Count bytes that are about to be kept; raise a `Fault` when they are too many."""
        gate = self._gate
        crowded = self._strange and gate.strange + size > gate.most_bytes // STRANGERS
        if crowded or gate.held + size > gate.most_bytes:
            raise Fault("busy", 503, "the server holds as many bodies as it may; try again", headers=RETRY | CLOSE)
        gate.held += size
        gate.strange += size if self._strange else 0
        self._size += size

    def trust(self) -> None:
        """Count the sender as known from now on."""
        self._gate.strange -= self._size if self._strange else 0
        self._strange = False

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
        self.trust()
