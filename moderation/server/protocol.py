"""uvicorn's HTTP protocol with bounds on what comes before the body: its size, and the time it may take."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_UPGRADE = re.compile(rb"\r\nUpgrade(?=[ \t]*:)", re.IGNORECASE)

MAX_HEAD = 32 << 10
"""Bytes of a request line and its headers."""

MAX_HEADERS = 100
"""Header lines of a request."""

LINGER = 1.0
"""Seconds in which a server that ends still takes a request on an open connection: it may be on its way already
(nginx has the same as ``keepalive_min_timeout``)."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to floods of headers and 408 to those that never end, and closes the connection."""

    def __init__(self, *args: Any, head_timeout: float = 10.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head_timeout = head_timeout
        self._in_head = False
        self._head_bytes = 0
        self._head_lines = 0
        self._too_large = False
        self._ending = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_timeout, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to the head, and keep its time."""
        went_on = self._in_head
        # An offer to upgrade may be passed over (RFC 9110, 7.8), but the parser stops at it and loses the body: so it
        # gets a header of another name and the same length. No JSON has such a line, and nobody reads it elsewhere.
        super().data_received(_UPGRADE.sub(b"\r\nX-Offer", data) if b"pgrade" in data else data)
        if self.transport.is_closing():
            return
        if not self._in_head:
            self._disarm()
            return
        # The first piece is not counted, for the end of the request before it may stand in it; its size is bounded.
        self._head_bytes += len(data) if went_on else 0
        if self._head_bytes > MAX_HEAD:
            self._refuse(431)
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_timeout, self._refuse, 408)

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._in_head, self._head_bytes, self._head_lines = True, 0, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header line."""
        self._head_lines += 1
        if self._head_lines > MAX_HEADERS:
            self._too_large = True
            raise ValueError("too many header lines")  # the parser stops, and the answer is `send_400_response`
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            self._too_large = True
            raise ValueError("too long a head")
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser did not accept."""
        if self._too_large:
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """Answer what was begun and what comes in the next moment, then close."""
        self._ending = True
        if self._waits():
            self.loop.call_later(LINGER, self._close_waiting)
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def _waits(self) -> bool:
        return not self._in_head and (self.cycle is None or self.cycle.response_complete)

    def _close_waiting(self) -> None:
        if self._waits():
            self.transport.close()

    def _refuse(self, status: int) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        # A connection on which nothing was asked gets no answer that might be taken for one to its next question.
        if self._in_head or self._too_large:
            head = [STATUS_LINE[status], b"content-length: 0\r\nconnection: close\r\n\r\n"]
            self.transport.write(b"".join(head))
        self.transport.close()

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
