"""API keys and how many calls each of them may make."""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import re
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.types import Scope

from moderation.errors import InputError
from moderation.server.faults import Fault

try:
    import fcntl
except ImportError:  # not on Windows, where one worker is all that `serve` starts
    fcntl = None  # type: ignore[assignment]

BURST_SECONDS = 1.0
"""A key may use the calls of this many seconds at once."""

_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|m)")
_SECONDS = {"s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Key:
    """One caller's key."""

    digest: bytes
    """SHA-256 of the key; the key itself is not kept."""
    name: str
    """What logs and messages call it."""
    interval: float | None = None
    """Seconds between two calls at the allowed rate; None: as many as it likes."""


def read_keys(path: Path) -> list[Key]:
    """Read a file of keys, one a line: ``KEY [NAME] [RATE]``, a rate being ``50/s`` or ``600/m``; # begins a remark.

    A key is of ASCII characters, for what else a header may hold every client writes in its own way. Raises
    `InputError` that names the line and never quotes it, for a key must not reach a log.
    """
    keys: list[Key] = []
    for number, line in _lines(path):
        rate = _RATE.fullmatch(line[-1]) if len(line) > 1 else None
        words = line[:-1] if rate else line
        if len(words) > 2:
            raise InputError(f"{path}, line {number}: expected KEY [NAME] [RATE], a rate as in 50/s or 600/m")
        if rate and float(rate[1]) == 0:
            raise InputError(f"{path}, line {number}: expected a rate above 0")
        if not (words[0].isascii() and words[0].isprintable()):
            raise InputError(f"{path}, line {number}: expected a key of ASCII characters, for headers carry no others")
        name = words[1] if len(words) == 2 else f"line-{number}"
        interval = _SECONDS[rate[2]] / float(rate[1]) if rate else None
        digest = hashlib.sha256(words[0].encode()).digest()
        if any(key.digest == digest for key in keys):
            raise InputError(f"{path}, line {number}: expected each key once, got one twice")
        keys.append(Key(digest, name, interval))
    if not keys:
        raise InputError(f"{path}: expected at least one key, got none")
    return keys


def read_secrets(path: Path) -> list[bytes]:
    """Read a file of secrets, one a line."""
    secrets = [" ".join(line).encode() for _, line in _lines(path)]
    if not secrets:
        raise InputError(f"{path}: expected at least one secret, got none")
    return secrets


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    numbered = ((number, line.split()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, words) for number, words in numbered if words and not words[0].startswith("#")]


class Keys:
    """Decides who may call, and how often.

    Parameters
    ----------
    keys : the known keys; none: everybody may call
    shared : folder in which the workers of one server keep the rates together
    """

    def __init__(self, keys: Sequence[Key] = (), shared: Path | None = None) -> None:
        self.keys = keys
        self._rates = Rates(len(keys), shared)

    def admit(self, scope: Scope) -> str | None:
        """Return the caller's name, None where no key is asked for; raise a `Fault` for a wrong key or a spent rate."""
        if not self.keys:
            return None
        found = self._find(key_of(scope))
        if found is None:
            raise unknown()
        key = self.keys[found]
        scope["moderation.caller"] = key.name  # for the log, also where the rate is spent
        if key.interval is not None and (wait := self._rates.take(found, key.interval)):
            raise Fault("rate", 429, f"the key {key.name!r} has used up its rate", headers={"retry-after": str(wait)})
        return key.name

    def name_of(self, scope: Scope) -> str | None:
        """Return the name of the key that a request carries, None for no known key; this uses up no call."""
        found = self._find(key_of(scope))
        return None if found is None else self.keys[found].name

    def _find(self, given: str | None) -> int | None:
        digest = hashlib.sha256((given or "").encode("utf-8", "surrogatepass")).digest()
        found = None
        for place, key in enumerate(self.keys):  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, key.digest):
                found = place
        return None if given is None else found


def unknown() -> Fault:
    """Return the fault of a request without a known key."""
    return Fault("key", 401, "expected a known API key", headers={"www-authenticate": "Bearer"})


def key_of(scope: Scope) -> str | None:
    """Return the key that a request carries: ``?key=``, ``X-Goog-Api-Key``, ``X-Api-Key`` or a bearer token."""
    for name, value in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name == "key":
            return str(value)
    for name, value in scope["headers"]:
        if name in (b"x-goog-api-key", b"x-api-key"):
            return bytes(value).decode("latin-1")
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:]).decode("latin-1").strip()
    return None


class Rates:
    """A rate per key that all workers share: the generic cell rate algorithm, one number per key.

    The number is the time at which the next call would be due if calls came evenly. It lives in a file that every
    worker maps, under a lock between processes.
    """

    def __init__(self, size: int, shared: Path | None) -> None:
        length = max(size, 1) * 8
        self._lock: int | None = None
        if shared is None or fcntl is None:
            self._due = mmap.mmap(-1, length)
            return
        self._lock = os.open(shared / "rates", os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._lock).st_size < length:
            os.ftruncate(self._lock, length)
        self._due = mmap.mmap(self._lock, length)

    def take(self, place: int, interval: float) -> int:
        """Use one call; return 0, or the whole seconds to wait when none is left."""
        now = time.monotonic()  # one clock for all processes of a machine
        with self._locked():
            (due,) = struct.unpack_from("d", self._due, place * 8)
            ahead = max(due, now) - now
            if ahead > max(BURST_SECONDS - interval, 0.0):
                return max(1, int(ahead) + 1)
            struct.pack_into("d", self._due, place * 8, now + ahead + interval)
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._lock is None:
            yield
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
