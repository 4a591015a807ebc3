"""One request to a receiver of webhooks, which has so many seconds for all of it.

The timeout of `urllib` holds for each wait on its own: a receiver that sends a byte now and then could keep the sender
for as long as it likes. Here everything that waits for the other side, the connection, the handshake and every read,
gets what is left until one deadline. Only the look-up of the host's name has the system's own limits.
"""

from __future__ import annotations

import io
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any

TIMEOUT = 10.0
"""Seconds that a receiver has to answer."""


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Post a body and return the status of the answer; raise `OSError` when there is none within `TIMEOUT`."""
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except HTTPException as error:
        raise OSError(type(error).__name__) from None


class _Deadline:
    """A point in time, and how long it is until then."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; raise `TimeoutError` when none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left

    def connect(self, address: tuple[str, int], *_others: Any) -> socket.socket:
        """Connect as `socket.create_connection` does; each address of a name has its share of the time that is left."""
        trouble: OSError = OSError("a name without an address")
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        for tried, (family, kind, protocol, _, where) in enumerate(found):
            try:
                made = socket.socket(family, kind, protocol)  # an error where this machine has no such addresses
                return self._reach(made, where, len(found) - tried)
            except OSError as error:
                trouble = error
        raise trouble

    def _reach(self, made: socket.socket, where: Any, shares: int) -> socket.socket:
        """Connect in one of so many shares of the time that is left; what cannot be connected is closed."""
        try:
            made.settimeout(self.left() / shares)
            made.connect(where)
            made.settimeout(self.left())  # for the request and the handshake
        except OSError:
            made.close()
            raise
        return made


class _Prompt(io.RawIOBase):
    """What comes from a socket until a deadline."""

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._stream = sock.makefile("rb", buffering=0)  # keeps the socket open when the connection lets go of it

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _hurry(connection: Any) -> None:
    """Let a connection that was just made, and is not open yet, have its timeout in all."""
    deadline = _Deadline(connection.timeout)

    def answer(sock: Any, **options: Any) -> HTTPResponse:
        return HTTPResponse(_Prompt(sock, deadline), **options)  # type: ignore[arg-type]  # it asks only for `makefile`

    connection._create_connection = deadline.connect
    connection.response_class = answer


class _Connection(HTTPConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _hurry(self)


class _SecureConnection(HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _hurry(self)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the operator named an address, not where it may point one day."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Http, _Https, _Straight)
