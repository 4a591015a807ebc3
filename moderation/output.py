"""Write what was found: JSON lines, CSV or Parquet, into files that appear only when they are complete."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from moderation.batch import RESERVED, Scored, dump
from moderation.errors import InputError
from moderation.formats.packing import packing_writer


def write_jsonl(records: Iterable[dict[str, Any]], out: IO[bytes]) -> None:
    """Write records as JSON lines."""
    for record in records:
        out.write(dump(record))


@contextmanager
def in_order(scored: Iterable[Scored]) -> Iterator[Iterator[bytes]]:
    """Give the lines with the highest key first, equal ones in their order.

    The lines wait in a temporary file, so that memory holds only about 50 bytes a row.
    """
    first, second, places = array("d"), array("d"), array("q")
    with tempfile.TemporaryFile() as waiting:
        at = 0
        for part in scored:
            waiting.write(part.lines)
            for line, (high, low) in zip(part.lines.split(b"\n")[:-1], part.keys, strict=True):
                first.append(high)
                second.append(low)
                places.append(at)
                at += len(line) + 1
        # lexsort is stable and its last key counts first.
        order = np.lexsort((-np.frombuffer(second), -np.frombuffer(first))) if places else ()
        yield (_line_at(waiting, places[place]) for place in order)


def _line_at(file: IO[bytes], place: int) -> bytes:
    file.seek(place)
    return file.readline()


@contextmanager
def spooled(scored: Iterable[Scored]) -> Iterator[IO[bytes]]:
    """Give all lines in a temporary file that can be read more than once."""
    with tempfile.TemporaryFile() as waiting:
        for part in scored:
            waiting.write(part.lines)
        waiting.seek(0)
        yield cast(IO[bytes], waiting)


def write_csv(lines: Iterable[bytes], out: IO[bytes], labels: Sequence[str]) -> None:
    """Write records as CSV: every column that any of them has, then a column per label, and what was found.

    Input columns with a name of ours get ``input_`` before it.
    """
    import csv
    import io

    with _flat(lines, labels) as (columns, records):
        text = io.TextIOWrapper(out, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
        writer = csv.DictWriter(text, list(columns), restval="")
        writer.writeheader()
        writer.writerows(records)
        text.detach()


def write_parquet(lines: Iterable[bytes], out: IO[bytes], labels: Sequence[str]) -> None:
    """Write records as Parquet, with the columns that `write_csv` gives; a column of mixed kinds becomes text."""
    from moderation.formats import parquet

    with _flat(lines, labels) as (columns, records):
        parquet.write_parquet(records, columns, out)


@contextmanager
def _flat(lines: Iterable[bytes], labels: Sequence[str]) -> Iterator[tuple[dict[str, str], Iterator[dict[str, Any]]]]:
    """Give columns with their kinds, and flat records, which wait in a temporary file until all columns are known."""
    from moderation.formats.parquet import column_kind, common_kind

    added = {f"score_{label}": "float" for label in labels}
    added |= dict.fromkeys(("action", "label", "model", "error"), "text")
    columns: dict[str, str] = {}
    with tempfile.TemporaryFile() as waiting:
        for line in lines:
            flat = _flatten(json.loads(line), added)
            for name, value in flat.items():
                if name not in added:
                    columns[name] = common_kind(columns.get(name), column_kind(value))
            waiting.write(dump(flat))
        waiting.seek(0)
        yield columns | added, (json.loads(line) for line in waiting)


def _flatten(record: dict[str, Any], added: Iterable[str]) -> dict[str, Any]:
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


def is_regular(path: Path) -> bool:
    """Say whether a name stands for a file that can appear whole: no pipe and no device."""
    return not path.exists() or path.is_file()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is complete; packed when the name ends in .gz or .zst.

    What is no regular file (a pipe, a device) is written to directly. Raises `InputError` when it cannot be written.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a file")
    try:
        with _renamed(path) if is_regular(path) else _direct(path) as out:
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
            with packing_writer(raw, path.suffix) as out:
                yield out
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(name, path.stat().st_mode if path.exists() else 0o666 & ~umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def umask() -> int:
    """Return the permissions that new files do without."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
