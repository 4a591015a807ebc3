"""Logs for people or for programs. No comment text, no key, no address with its query."""

from __future__ import annotations

import json
import logging
import select
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import orjson

LogFormat = Literal["text", "json"]

PIPE_BUF: int = getattr(select, "PIPE_BUF", 4_096)  # Windows has none, and one worker

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a log call added to its record."""
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def frames(error: BaseException) -> list[str]:
    """Return an exception's type and the lines that it passed through, without its message, which may hold text."""
    lines = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return [type(error).__name__, *lines]


class Request(NamedTuple):
    """An answered request, as the access log has it."""

    time: float
    """Seconds since 1970."""
    route: str
    method: str
    status: int
    seconds: float
    """What it took."""
    caller: str | None
    """Name of the key."""

    def fields(self) -> dict[str, Any]:
        """Return what the log says of it."""
        fields: dict[str, Any] = {"route": self.route, "method": self.method, "status": self.status}
        fields["ms"] = round(self.seconds * 1e3, 2)
        return fields if self.caller is None else fields | {"caller": self.caller}


class _Formatter(logging.Formatter, ABC):
    _second = 0, ""
    """The second that was written last, as a number and in words: most lines come in the same one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        fields = fields_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = frames(record.exc_info[1])
        return self.line(self._moment(record.created), record.levelname.lower(), record.getMessage().strip(), fields)

    def format_request(self, request: Request) -> str:
        """Return an answered request as a line."""
        return self.line(self._moment(request.time), "info", "request", request.fields())

    @abstractmethod
    def line(self, moment: str, level: str, event: str, fields: dict[str, Any]) -> str:
        """Return a line."""

    def _moment(self, moment: float) -> str:
        second, words = self._second
        if int(moment) != second:
            second = int(moment)
            words = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, words
        return f"{words}.{int(moment % 1 * 1_000):03}+00:00"


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def line(self, moment: str, level: str, event: str, fields: dict[str, Any]) -> str:
        """Return a line of JSON."""
        return json_line({"time": moment, "level": level, "event": event} | fields)


def json_line(data: dict[str, Any]) -> str:
    """Return data as JSON; what JSON has no form for is written as text, and half surrogates as escapes."""
    try:
        return orjson.dumps(data, default=str).decode()
    except orjson.JSONEncodeError:
        return json.dumps(data, default=str)


class TextFormatter(_Formatter):
    """One line of words a record."""

    def line(self, moment: str, level: str, event: str, fields: dict[str, Any]) -> str:
        """Return a line as ``time level event name=value``."""
        words = [f"{name}={value}" for name, value in fields.items() if value is not None]
        return " ".join([f"{moment} {level:<7} {event}", *words])


class Bundled(logging.Handler):
    """Writes to standard error many lines at a time, for a line of its own costs as much as scoring a comment.

    A line waits for `PATIENCE` seconds at most; a warning, and whatever stands before it, is written at once, and what
    waits at the end by `logging.shutdown`. Where standard error takes no more, callers wait as soon as `MOST` lines do.
    """

    PATIENCE = 0.1
    MOST = 5_000

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str | Request] = deque()
        self._writing = threading.Lock()
        self._some = threading.Event()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        self._add(self.format(record))
        if record.levelno >= logging.WARNING:
            self.flush()

    def request(self, request: Request) -> None:
        """Take an answered request, which becomes a line later: this is all that it costs while others wait."""
        self._add(request)

    def _add(self, line: str | Request) -> None:
        self._lines.append(line)
        if len(self._lines) >= self.MOST:
            self.flush()
        elif not self._some.is_set():
            self._some.set()
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="log", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        while True:
            self._some.wait()
            self._some.clear()
            time.sleep(self.PATIENCE)
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        form = self.formatter
        assert isinstance(form, _Formatter)
        # A line that comes meanwhile is written now or next time, and none is lost: taking and adding are a step each.
        with self._writing, suppress(OSError, ValueError):  # standard error may be gone, and then there is no telling
            waiting = [self._lines.popleft() for _ in range(len(self._lines))]
            lines = [line if isinstance(line, str) else form.format_request(line) for line in waiting]
            for text in _together(lines):
                sys.stderr.write(text)
                sys.stderr.flush()


def _together(lines: Sequence[str]) -> Iterator[str]:
    """Yield texts of whole lines that a pipe keeps together, for the workers of a server write to the same one."""
    some: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode("utf-8", "backslashreplace")) + 1
        if some and size + length > PIPE_BUF:
            yield "\n".join([*some, ""])
            some, size = [], 0
        some.append(line)
        size += length
    if some:
        yield "\n".join([*some, ""])


Note = Callable[[Request], object]


def access_log() -> Note | None:
    """Return what writes the access log: our own handler directly, else a logger that others have set up; or None."""
    logger = logging.getLogger("moderation.access")
    if not logger.isEnabledFor(logging.INFO):
        return None
    ours = [handler for handler in logging.getLogger("moderation").handlers if isinstance(handler, Bundled)]
    if ours:
        return ours[0].request
    return lambda request: logger.info("request", extra=request.fields())


def log_config(form: LogFormat, *, access: bool = True) -> dict[str, Any]:
    """Return a configuration for `logging.config` under which all that we and uvicorn say goes to standard error."""
    kind = JsonFormatter if form == "json" else TextFormatter
    quiet = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{kind.__module__}.{kind.__name__}"}},
        "handlers": {"stderr": {"()": f"{Bundled.__module__}.{Bundled.__name__}", "formatter": "lines"}},
        "loggers": {
            "uvicorn": quiet,
            "uvicorn.error": quiet,
            "moderation": quiet,
            "moderation.access": {"level": "INFO" if access else "WARNING"},
        },
    }
