"""Score archives: rows in, scored records out, in order, in memory that does not grow with the input."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from moderation.comment import ACTIONS, Score, Verdict
from moderation.errors import InputError, RowError
from moderation.formats.rows import Row
from moderation.policy import Policy
from moderation.scorer import Scorer, batches

RESERVED = ("scores", "verdict", "model", "truncated", "error", "input")
"""Names of fields that a record's own findings stand under."""

DIGITS = 6
"""Decimal places of a probability in the output."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One row with what was found, or with its error."""

    row: Row
    """The row as it came in."""
    source: str
    """Name of the file it came from."""
    score: Score | None = None
    """The score; None when the row is in error."""
    verdict: Verdict | None = None
    """The advice; None when the row is in error."""
    severity: float = -1.0
    """How near the score comes to the policy's thresholds (`Policy.severity`); -1 when the row is in error."""

    def record(self) -> dict[str, Any]:
        """Return every field that came in, with ``scores``, ``verdict`` and ``model``, or ``error``, added.

        Fields that came in under a name of `RESERVED` are kept under ``input``.
        """
        record = {name: value for name, value in self.row.data.items() if name not in RESERVED}
        if len(record) < len(self.row.data):
            record["input"] = {name: value for name, value in self.row.data.items() if name in RESERVED}
        if self.score is None or self.verdict is None:
            error = {"type": RowError.__name__, "message": self.row.error, "file": self.source, "line": self.row.line}
            return record | {"error": error}
        record["scores"] = {label: round(value, DIGITS) for label, value in self.score.probabilities.items()}
        record |= {"verdict": self.verdict.to_json(), "model": self.score.model_id}
        return record | ({"truncated": True} if self.score.truncated else {})


@dataclass(slots=True)
class Totals:
    """What happened in a run."""

    rows: int = 0
    """Rows read."""
    errors: list[str] = field(default_factory=list)
    """The first errors, as sentences that name file and line."""
    failed: int = 0
    """Rows in error."""
    actions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACTIONS, 0))
    """Comments per action."""


def score_rows(
    rows: Iterable[Row],
    scorer: Scorer,
    policy: Policy,
    *,
    source: str = "input",
    labels: Sequence[str] | None = None,
    explain_all: bool = False,
) -> Iterator[Scored]:
    """Score rows in order, a batch at a time; rows in error keep their place.

    Parameters
    ----------
    labels : labels to give in the scores, default: all; the policy always sees all
    explain_all : give reasons for comments that are allowed, too; by default only for those that are flagged
    """
    for label in labels or ():
        if label not in scorer.labels:
            raise InputError(f"labels: unknown label {label!r}; the model scores {', '.join(scorer.labels)}")
    for batch in batches(rows, _length):
        scores = scorer.score_many([row.comment for row in batch if row.comment is not None])
        for row in batch:
            if row.comment is None:
                yield Scored(row, source)
                continue
            score = next(scores)
            verdict, severity = policy.decide(score), policy.severity(score)
            if explain_all or verdict.action != "allow":
                verdict = _with_reasons(verdict, score, policy, scorer, row)
            if labels:
                kept = {label: score.probabilities[label] for label in labels}
                score = Score(score.comment_id, score.model_id, kept, score.truncated)
            yield Scored(row, source, score, verdict, severity)


def _length(row: Row) -> int:
    return len(row.comment.text) if row.comment else 0


def _with_reasons(verdict: Verdict, score: Score, policy: Policy, scorer: Scorer, row: Row) -> Verdict:
    """Decide again with the words that drove it; an allowed comment gets those of its strongest label."""
    assert row.comment is not None
    explanation = scorer.explain(row.comment)
    if verdict.action != "allow":
        return policy.decide(score, explanation)
    label = max(policy.thresholds, key=lambda name: score.probabilities[name] / min(policy.thresholds[name].values()))
    return Verdict(verdict.comment_id, verdict.action, verdict.policy_id, reasons=explanation.reasons(label))


def count(scored: Iterable[Scored], totals: Totals, *, most_errors: int = 10) -> Iterator[Scored]:
    """Pass scored rows through and keep count of them in `totals`."""
    for item in scored:
        totals.rows += 1
        if item.verdict is None:
            totals.failed += 1
            if len(totals.errors) < most_errors:
                totals.errors.append(f"{item.source}, line {item.row.line}: {item.row.error}")
        else:
            totals.actions[item.verdict.action] += 1
        yield item


def reaching(scored: Iterable[Scored], least: float) -> Iterator[Scored]:
    """Keep rows with any given score of at least `least`, and rows in error."""
    for item in scored:
        # As many digits as are printed, so that a score read off the output can be given here.
        if item.score is None or round(max(item.score.probabilities.values()), DIGITS) >= least:
            yield item


def sort_key(name: str) -> Callable[[Scored], tuple[float, float]]:
    """Return the key for ``--sort``: a label, or ``severity``: the strictest action first, then the furthest beyond."""
    if name != "severity":
        return lambda item: (0.0, item.score.probabilities.get(name, -1.0) if item.score else -2.0)
    return lambda item: (float(ACTIONS.index(item.verdict.action)) if item.verdict else -1.0, item.severity)


def in_order(scored: Iterable[Scored], key: Callable[[Scored], tuple[float, float]]) -> Iterator[dict[str, Any]]:
    """Yield records with the highest key first, equal ones in their order.

    The records wait in a temporary file, so that memory holds only about 50 bytes a row.
    """
    first, second, places = array("d"), array("d"), array("q")
    with tempfile.TemporaryFile() as waiting:
        for item in scored:
            high, low = key(item)
            first.append(high)
            second.append(low)
            places.append(waiting.tell())
            waiting.write(dump(item.record()))
        # lexsort is stable and its last key counts first.
        for place in np.lexsort((-np.frombuffer(second), -np.frombuffer(first))) if places else ():
            waiting.seek(places[place])
            yield json.loads(waiting.readline())


def dump(record: dict[str, Any]) -> bytes:
    """Return one JSON line in UTF-8; a lone surrogate, which UTF-8 cannot hold, is written as an escape."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


def write_jsonl(records: Iterable[dict[str, Any]], out: IO[bytes]) -> None:
    """Write records as JSON lines."""
    for record in records:
        out.write(dump(record))


def write_csv(records: Iterable[dict[str, Any]], out: IO[bytes], labels: Sequence[str]) -> None:
    """Write records as CSV: every column that any of them has, then a column per label, and what was found.

    Records wait in a temporary file until all columns are known. Input columns with a name of ours get ``input_``
    before it.
    """
    added = [*(f"score_{label}" for label in labels), "action", "label", "model", "error"]
    columns: dict[str, None] = {}
    text = io.TextIOWrapper(out, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    with tempfile.TemporaryFile() as waiting:
        for record in records:
            flat = _flatten(record, added)
            columns |= dict.fromkeys(name for name in flat if name not in added)
            waiting.write(dump(flat))
        waiting.seek(0)
        writer = csv.DictWriter(text, [*columns, *added], restval="")
        writer.writeheader()
        writer.writerows(json.loads(line) for line in waiting)
    text.detach()


def _flatten(record: dict[str, Any], added: Sequence[str]) -> dict[str, Any]:
    came_in = {name: value for name, value in record.items() if name not in RESERVED} | record.get("input", {})
    flat = {
        f"input_{name}" if name in added else name: value
        if isinstance(value, str | int | float)
        else json.dumps(value, ensure_ascii=False)
        for name, value in came_in.items()
        if value is not None
    }
    flat |= {f"score_{label}": value for label, value in record.get("scores", {}).items()}
    if "verdict" in record:
        flat |= {"action": record["verdict"]["action"], "label": record["verdict"].get("label", "")}
        flat["model"] = record["model"]
    if "error" in record:
        flat["error"] = f"line {record['error']['line']}: {record['error']['message']}"
    return flat


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is complete; gzipped when the name ends in .gz.

    What is no regular file (a pipe, a device) is written to directly. Raises `InputError` when it cannot be written.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a file")
    try:
        with _direct(path) if path.exists() and not path.is_file() else _renamed(path) as out:
            yield out
    except (PermissionError, FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def _direct(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as out:
        yield out


@contextmanager
def _renamed(path: Path) -> Iterator[IO[bytes]]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(name, path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
