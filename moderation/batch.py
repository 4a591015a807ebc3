"""Score a chunk of rows: what came in, as JSON lines with scores and verdict added, or with what is wrong.

Every field that came in is kept, a line of JSON byte for byte. The scores of a chunk are worked out at once, and only
comments that reach a threshold are looked at one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from moderation.comment import ACTIONS, Score, Verdict
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


@dataclass(slots=True)
class _Line:
    """A row under way: JSON without its closing brace, and the comment, or why there is none."""

    head: bytes
    identity: str = ""
    text: str = ""
    error: tuple[int, str] | None = None


class ChunkScorer:
    """Scores chunks with one model and policy."""

    def __init__(self, scorer: Scorer, policy: Policy, request: Request) -> None:
        for label in request.labels:
            if label not in scorer.labels:
                raise InputError(f"labels: unknown label {label!r}; the model scores {', '.join(scorer.labels)}")
        self._scorer, self._policy, self._request = scorer, policy, request
        self._given = [scorer.labels.index(label) for label in request.labels or scorer.labels]
        self._names = [scorer.labels[place] for place in self._given]
        mark = "\0comment"
        allowed = dump({"verdict": Verdict(mark, "allow", policy.id).to_json(), "model": scorer.model_id})
        self._allowed = allowed[1:].split(orjson.dumps(mark))

    def score(self, chunk: Chunk) -> Scored:
        """Score a chunk; rows in error keep their place."""
        lines = list(self._lines(chunk))
        good = [line for line in lines if line.error is None]
        found = self._scorer.predict_proba([line.text for line in good])
        tails = iter(self._tails(good, found))
        out, keys, totals = [], [], Totals(rows=len(lines))
        key_of = iter(self._keys(found))
        for line in lines:
            key = (-1.0, -1.0)
            if line.error is None:
                tail, key = next(tails), next(key_of)
                action, rest, kept = tail
                totals.actions[action] += 1
                if kept:
                    out.append(line.head + rest)
            else:
                out.append(self._failed(line, chunk.source, totals))
                kept = True
            if kept and self._request.order != "none":
                keys.append(key)
        return Scored(b"".join(out), keys, totals)

    # ---- reading ----

    def _lines(self, chunk: Chunk) -> Iterator[_Line]:
        if not isinstance(chunk.data, bytes):
            yield from (_of_row(row) for row in chunk.data)
            return
        read = json_row if chunk.form == "jsonl" else line_row
        quick = chunk.form == "jsonl"
        fields = self._request.fields
        for number, raw in enumerate(split_lines(chunk.data), chunk.line):
            line = _quick_line(raw, number, fields) if quick else None
            if line is None:
                row = read(number, raw, fields)
                if row is None:
                    continue
                line = _of_row(row)
            yield line

    def _failed(self, line: _Line, source: str, totals: Totals) -> bytes:
        number, message = line.error or (0, "")
        totals.failed += 1
        if len(totals.errors) < MOST_ERRORS:
            totals.errors.append(f"{source}, line {number}: {message}")
        error = {"type": RowError.__name__, "message": message, "file": source, "line": number}
        return _joined(line.head, dump({"error": error}))

    # ---- findings ----

    def _tails(self, lines: Sequence[_Line], found: NDArray[np.float64]) -> Iterator[tuple[str, bytes, bool]]:
        """Yield each comment's action, the end of its line, and whether it is to be written."""
        before, after = self._allowed
        rounded = np.rint(found[:, self._given] * 10**DIGITS) / 10**DIGITS
        least = self._request.least
        kept = np.ones(len(lines), bool) if least is None else rounded.max(axis=1, initial=0) >= least
        flagged = self._policy.flagged(found, self._scorer.labels)
        names, explain_all = self._names, self._request.explain_all
        for place, (line, scores) in enumerate(zip(lines, rounded.tolist(), strict=True)):
            action = "allow"
            numbers = b',"scores":' + orjson.dumps(dict(zip(names, scores, strict=True)))
            if flagged[place] or explain_all:
                verdict = self._verdict(line, found[place].tolist())
                action = verdict.action
                rest = b"," + dump({"verdict": verdict.to_json(), "model": self._scorer.model_id})[1:]
            else:
                rest = b"," + before + _quoted(line.identity) + after
            if len(line.text) > MAX_CHARACTERS:
                rest = _joined(rest.rstrip()[:-1], b'{"truncated":true}\n')
            yield action, numbers + rest, bool(kept[place])

    def _verdict(self, line: _Line, probabilities: Sequence[float]) -> Verdict:
        """Decide with the words that drove it; an allowed comment gets those of its strongest label."""
        policy, scorer = self._policy, self._scorer
        score = Score(line.identity, scorer.model_id, dict(zip(scorer.labels, probabilities, strict=True)))
        explanation = scorer.explain(line.text)
        verdict = policy.decide(score, explanation)
        if verdict.action != "allow":
            return verdict
        label = max(
            policy.thresholds, key=lambda name: score.probabilities[name] / min(policy.thresholds[name].values())
        )
        return Verdict(line.identity, "allow", policy.id, reasons=explanation.reasons(label))

    def _keys(self, found: NDArray[np.float64]) -> Iterable[tuple[float, float]]:
        order, labels = self._request.order, self._scorer.labels
        if order == "none":
            return [(0.0, 0.0)] * len(found)
        if order == "severity":
            ranks, severities = self._policy.severities(found, labels)
            return zip(ranks.tolist(), severities.tolist(), strict=True)
        return ((0.0, value) for value in found[:, labels.index(order)].tolist())


def _quick_line(raw: bytes, number: int, fields: Fields) -> _Line | None:
    """Read a plain line of JSON fast; None when anything about it asks for a closer look."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if type(data) is not dict or len(raw) > LONGEST_LINE or not _RESERVED.isdisjoint(data):
        return None
    texts: Sequence[str] = TEXT_FIELDS if fields.text is None else (fields.text,)
    text = next((data[name] for name in texts if name in data), None)
    if type(text) is not str:
        return None
    identities: Sequence[str] = ID_FIELDS if fields.id is None else (fields.id,)
    identity = next((data[name] for name in identities if name in data), None)
    if type(identity) is not str:
        if identity is None and fields.id is None:
            identity = str(number)
        elif type(identity) is int:
            identity = str(identity)
        else:
            return None
    return _Line(raw.rstrip()[:-1], identity, text)


_RESERVED = frozenset(RESERVED)


def _of_row(row: Row) -> _Line:
    """Keep the fields that came in; those under a name of `RESERVED` go under ``input``."""
    record = {name: value for name, value in row.data.items() if name not in _RESERVED}
    if len(record) < len(row.data):
        record["input"] = {name: value for name, value in row.data.items() if name in _RESERVED}
    head = dump(record)[:-2]
    if row.comment is None:
        return _Line(head, error=(row.line, row.error or ""))
    return _Line(head, row.comment.id, row.comment.text)


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
