"""Logs for people or for programs. No comment text, no key, no address with its query."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a log call added to its record."""
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def frames(error: BaseException) -> list[str]:
    """Return an exception's type and the lines that it passed through, without its message, which may hold text."""
    lines = [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return [type(error).__name__, *lines]


class _Formatter(logging.Formatter):
    def parts(self, record: logging.LogRecord) -> dict[str, Any]:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        parts: dict[str, Any] = {
            "time": moment,
            "level": record.levelname.lower(),
            "event": record.getMessage().strip(),
        }
        parts |= fields_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            parts["error"] = frames(record.exc_info[1])
        return parts


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        return json.dumps(self.parts(record), default=str)


class TextFormatter(_Formatter):
    """One line of words a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as ``time level event name=value``."""
        parts = self.parts(record)
        head = f"{parts.pop('time')} {parts.pop('level'):<7} {parts.pop('event')}"
        return " ".join([head, *(f"{name}={value}" for name, value in parts.items() if value is not None)])


def log_config(form: LogFormat, *, access: bool = True) -> dict[str, Any]:
    """Return a configuration for `logging.config` under which all that we and uvicorn say goes to standard error."""
    kind = JsonFormatter if form == "json" else TextFormatter
    quiet = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{kind.__module__}.{kind.__name__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "loggers": {
            "uvicorn": quiet,
            "uvicorn.error": quiet,
            "moderation": quiet,
            "moderation.access": {"level": "INFO" if access else "WARNING"},
        },
    }
