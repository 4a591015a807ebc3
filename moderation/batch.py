"""Score a chunk of rows: what came in, as JSON lines with scores and verdict added, or with what is wrong.

Every field that came in is kept, a line of JSON byte for byte. The scores of a chunk are worked out at once, and only
comments that reach a threshold are looked at one by one.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from moderation.comment import ACTIONS, MAX_REASONS, Score, Verdict
from moderation.errors import InputError, RowError
from moderation.formats.rows import (
    ID_FIELDS,
    LONGEST_LINE,
    TEXT_FIELDS,
    Fields,
    Format,
    Row,
    json_row,
    line_row,
    split_lines,
)
from moderation.policy import Policy
from moderation.scorer import MAX_CHARACTERS, Scorer

RESERVED = ("scores", "verdict", "model", "truncated", "error", "input")
"""Names of fields that a record's own findings stand under."""

DIGITS = 6
"""Decimal places of a probability in the output."""

MOST_ERRORS = 10
"""Errors that are told in words; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of an input, small enough to be scored at once and to be sent to another process."""

    source: str
    """Name of the file it came from."""
    form: Format
    """What `data` is, when it is bytes: ``jsonl`` or ``lines``."""
    line: int
    """Line on which it begins, counted from 1."""
    data: bytes | Sequence[Row]
    """Whole lines, or rows that have been read already."""

    def checksum(self) -> int:
        """Return the CRC-32 of the content."""
        if isinstance(self.data, bytes):
            return zlib.crc32(self.data)
        return zlib.crc32(dump({"rows": [[row.line, row.error, row.data] for row in self.data]}))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of every row."""

    fields: Fields = field(default_factory=Fields)
    """Which fields of a row hold what."""
    labels: tuple[str, ...] = ()
    """Labels to give in the scores, none: all; the policy always sees all."""
    explain_all: bool = False
    """Give reasons for comments that are allowed, too; by default only for those that are flagged."""
    least: float | None = None
    """Leave out comments whose given scores are all below this."""
    order: str = "none"
    """What the rows will be sorted by: ``severity``, a label, or ``none``."""


@dataclass(slots=True)
class Totals:
    """What happened in a run."""

    rows: int = 0
    """Rows read."""
    failed: int = 0
    """Rows in error."""
    errors: list[str] = field(default_factory=list)
    """The first errors, as sentences that name file and line."""
    actions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACTIONS, 0))
    """Comments per action."""

    def add(self, other: Totals) -> None:
        """Count what happened in a part of the run."""
        self.rows += other.rows
        self.failed += other.failed
        self.errors = (self.errors + other.errors)[:MOST_ERRORS]
        for action, number in other.actions.items():
            self.actions[action] += number


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk that has been scored."""

    lines: bytes
    """JSON lines in UTF-8, one for each row that was asked for."""
    keys: Sequence[tuple[float, float]]
    """For each line what it is sorted by, highest first; empty when no order was asked for."""
    totals: Totals
    """What happened in it."""
    read: int = 0
    """CRC-32 of the chunk that came in, to know it again by."""
    written: int = 0
    """CRC-32 of the lines, as they are written."""


@dataclass(slots=True)
class _Rows:
    """The rows of a chunk: for each a line under way, and for each comment its id, text and place among them."""

    lines: list[bytes] = field(default_factory=list)
    """JSON objects without their closing brace."""
    errors: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Line number and message of the rows in error, by their place."""
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Keep the fields that came in; those under a name of `RESERVED` go under ``input``."""
        record = {name: value for name, value in row.data.items() if name not in _RESERVED}
        if len(record) < len(row.data):
            record["input"] = {name: value for name, value in row.data.items() if name in _RESERVED}
        if row.comment is None:
            self.errors[len(self.lines)] = (row.line, row.error or "")
            self.lines.append(dump(record)[:-2])
        else:
            self.add_comment(dump(record)[:-2], row.comment.id, row.comment.text)

    def add_comment(self, line: bytes, identity: str, text: str) -> None:
        """Keep a comment with its line."""
        self.places.append(len(self.lines))
        self.lines.append(line)
        self.ids.append(identity)
        self.texts.append(text)


class ChunkScorer:
    """Scores chunks with one model and policy."""

    def __init__(self, scorer: Scorer, policy: Policy, request: Request) -> None:
        for label in request.labels:
            if label not in scorer.labels:
                raise InputError(f"labels: unknown label {label!r}; the model scores {', '.join(scorer.labels)}")
        self._scorer, self._policy, self._request = scorer, policy, request
        self._names = request.labels or scorer.labels
        self._given = [scorer.labels.index(label) for label in self._names]

    def score(self, chunk: Chunk) -> Scored:
        """Score a chunk; rows in error keep their place."""
        rows = self._read(chunk)
        found = self._scorer.predict_proba(rows.texts)
        # As many digits as are printed, so that a score read off the output can be given as `least`.
        given = np.rint(found[:, self._given] * 10**DIGITS) / 10**DIGITS
        totals = Totals(rows=len(rows.lines), failed=len(rows.errors))
        self._finish(rows, found, given, totals)
        for place, (number, message) in rows.errors.items():
            error = {"type": RowError.__name__, "message": message, "file": chunk.source, "line": number}
            rows.lines[place] = _joined(rows.lines[place], dump({"error": error}))
            if len(totals.errors) < MOST_ERRORS:
                totals.errors.append(f"{chunk.source}, line {number}: {message}")
        return self._ordered(rows, found, given, totals)

    # ---- reading ----

    def _read(self, chunk: Chunk) -> _Rows:
        rows = _Rows()
        if not isinstance(chunk.data, bytes):
            for row in chunk.data:
                rows.add(row)
        elif chunk.form == "jsonl":
            self._read_json(chunk.data, chunk.line, rows)
        else:
            for number, raw in enumerate(split_lines(chunk.data), chunk.line):
                if (plain := line_row(number, raw, self._request.fields)) is not None:
                    rows.add(plain)
        return rows

    def _read_json(self, data: bytes, line: int, rows: _Rows) -> None:
        """Read lines of JSON: the plain ones here, and what is unusual in any way with `json_row`."""
        fields = self._request.fields
        text_name, id_name = fields.text or TEXT_FIELDS[0], fields.id or ID_FIELDS[0]
        for number, raw in enumerate(split_lines(data), line):
            try:
                record = orjson.loads(raw)
                text, identity = record[text_name], record[id_name]
            except (orjson.JSONDecodeError, LookupError, TypeError):
                text = identity = None
            if type(identity) is int:
                identity = str(identity)
            usual = type(text) is str and type(identity) is str and len(raw) <= LONGEST_LINE
            if usual and _RESERVED.isdisjoint(record):
                rows.add_comment(raw.rstrip()[:-1], identity, text)
            elif row := json_row(number, raw, fields):
                rows.add(row)

    # ---- findings ----

    def _finish(self, rows: _Rows, found: NDArray[np.float64], given: NDArray[np.float64], totals: Totals) -> None:
        """Add scores, verdict and model to the line of every comment."""
        flagged = self._policy.flagged(found, self._scorer.labels)
        look = np.ones_like(flagged) if self._request.explain_all else flagged
        before, after = self._allowed()
        names, lines, dumps = self._names, rows.lines, orjson.dumps
        for place, identity, scores in zip(rows.places, rows.ids, given.tolist(), strict=True):
            numbers = dumps(dict(zip(names, scores, strict=True)))
            lines[place] += b',"scores":' + numbers + before + _quoted(identity) + after
        totals.actions["allow"] = len(rows.places)
        for k in np.flatnonzero(look).tolist():
            verdict = self._verdict(rows.ids[k], rows.texts[k], found[k].tolist())
            totals.actions["allow"] -= 1
            totals.actions[verdict["action"]] += 1
            line, allowed = lines[rows.places[k]], before + _quoted(rows.ids[k]) + after
            more = dump({"verdict": verdict, "model": self._scorer.model_id})
            lines[rows.places[k]] = line[: -len(allowed)] + b"," + more[1:]
        for k, text in enumerate(rows.texts):
            if len(text) > MAX_CHARACTERS:
                lines[rows.places[k]] = lines[rows.places[k]][:-2] + b',"truncated":true}\n'

    def _allowed(self) -> tuple[bytes, bytes]:
        """Return what stands before and after the id in the line of a comment that is allowed."""
        verdict = Verdict("", "allow", self._policy.id).to_json()
        whole = dump({"verdict": verdict, "model": self._scorer.model_id})
        before, after = whole.split(b'""', 1)
        return b"," + before[1:], after

    def _verdict(self, identity: str, text: str, probabilities: Sequence[float]) -> dict[str, Any]:
        """Decide with the words that drove it; an allowed comment gets those of its strongest label."""
        policy, scorer = self._policy, self._scorer
        scores = dict(zip(scorer.labels, probabilities, strict=True))
        verdict = policy.decide(Score(identity, scorer.model_id, scores))
        label = verdict.label or max(
            policy.thresholds, key=lambda name: scores[name] / min(policy.thresholds[name].values())
        )
        reasons = [span.to_json() for span in scorer.reasons(text, label, MAX_REASONS)]
        return verdict.to_json() | {"reasons": reasons}

    def _ordered(self, rows: _Rows, found: NDArray[np.float64], given: NDArray[np.float64], totals: Totals) -> Scored:
        """Leave out what was not asked for, and say what the rest is sorted by."""
        order, least = self._request.order, self._request.least
        keep = np.ones(len(rows.lines), bool)
        if least is not None:
            keep[rows.places] = given.max(axis=1, initial=0) >= least
        lines = b"".join(line for line, kept in zip(rows.lines, keep.tolist(), strict=True) if kept)
        if order == "none":
            return Scored(lines, (), totals)
        keys = np.full((len(rows.lines), 2), -1.0)
        if order == "severity":
            keys[rows.places] = np.stack(self._policy.severities(found, self._scorer.labels), axis=1)
        else:
            keys[rows.places] = np.stack((np.zeros(len(found)), found[:, self._scorer.labels.index(order)]), axis=1)
        return Scored(lines, [(first, second) for first, second in keys[keep].tolist()], totals)


_RESERVED = frozenset(RESERVED)


def _joined(head: bytes, more: bytes) -> bytes:
    """Join an object without its closing brace and a whole one."""
    return head + (more[1:] if head == b"{" else b"," + more[1:])


def _quoted(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return json.dumps(text).encode("ascii")


def dump(record: dict[str, Any]) -> bytes:
    """Return one JSON line in UTF-8; a lone surrogate, which UTF-8 cannot hold, is written as an escape."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # a lone surrogate, or an integer of more than 64 bits
        pass
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"
