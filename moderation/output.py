"""Write what was found: JSON lines, CSV or Parquet, into files that appear only when they are complete."""

from __future__ import annotations

import io
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
from moderation.formats.cells import safe_cell
from moderation.formats.packing import packing_writer, require


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
    with _waiting_room() as waiting:
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
    with _waiting_room() as waiting:
        for part in scored:
            waiting.write(part.lines)
        waiting.seek(0)
        yield waiting


def write_csv(lines: Iterable[bytes], out: IO[bytes], labels: Sequence[str]) -> None:
    """Write records as CSV: every column that any of them has, then a column per label, and what was found.

    Input columns with a name of ours get ``input_`` before it, as often as it takes to find a name that is free. No
    cell, and no name, can be taken for a formula: such a one has an apostrophe before it.
    """
    import csv

    with _flat(lines, labels) as (columns, records):
        text = io.TextIOWrapper(out, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
        writer = csv.DictWriter(text, list(columns), restval="")
        writer.writerow(_safe_names(columns))
        writer.writerows({name: safe_cell(value) for name, value in record.items()} for record in records)
        text.detach()


def _safe_names(columns: Iterable[str]) -> dict[str, str]:
    """Return for each column a name that is no formula and that no other one has."""
    columns = list(columns)
    names = {name: safe_cell(name) for name in columns}
    for name in columns:
        while names[name] != name and names[name] in columns:
            names[name] = "'" + names[name]
    return names


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
    kinds: dict[str, str] = {}
    with _waiting_room() as waiting:
        for line in lines:
            record = json.loads(line)
            came_in = _came_in(record)
            for name, value in came_in.items():
                kinds[name] = common_kind(kinds.get(name), column_kind(value))
            waiting.write(dump({"came_in": came_in, "found": _found(record)}))
        waiting.seek(0)
        names = _free_names(kinds, added)
        records = (json.loads(line) for line in waiting)
        yield (
            {names[name]: kind for name, kind in kinds.items()} | added,
            ({names[name]: value for name, value in row["came_in"].items()} | row["found"] for row in records),
        )


def _free_names(columns: Iterable[str], added: Iterable[str]) -> dict[str, str]:
    """Return for each column of the input a name that neither another one of it nor one of ours has."""
    names: dict[str, str] = {}
    taken = {*columns, *added}
    for name in columns:
        names[name] = name
        if name in added:
            while names[name] in taken:
                names[name] = f"input_{names[name]}"
            taken.add(names[name])
    return names


def _came_in(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a record that came in, as cells."""
    fields = {name: value for name, value in record.items() if name not in RESERVED} | record.get("input", {})
    return {
        name: value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
        for name, value in fields.items()
        if value is not None
    }


def _found(record: dict[str, Any]) -> dict[str, Any]:
    """Return what was found of a record, as cells."""
    cells = {f"score_{label}": value for label, value in record.get("scores", {}).items()}
    if "verdict" in record:
        cells |= {"action": record["verdict"]["action"], "label": record["verdict"].get("label", "")}
        cells["model"] = record["model"]
    if "error" in record:
        cells["error"] = f"line {record['error']['line']}: {record['error']['message']}"
    return cells


@contextmanager
def writing(name: Path | str) -> Iterator[None]:
    """Turn what goes wrong while something is written into an `InputError` that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{name}: cannot be written: {error.strerror or error}") from error


class Named(io.RawIOBase):
    """A stream without a buffer whose failing writes are `InputError`s with its name; closing it leaves it open."""

    def __init__(self, stream: IO[bytes], name: Path | str) -> None:
        self._stream = stream
        self._name = name

    def readable(self) -> bool:
        return self._stream.readable()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def seek(self, place: int, whence: int = 0, /) -> int:
        return self._stream.seek(place, whence)

    def readinto(self, buffer: Any, /) -> int:
        count: int = cast(Any, self._stream).readinto(buffer)
        return count

    def write(self, data: Any, /) -> int:
        with writing(self._name):
            return self._stream.write(data)


@contextmanager
def _waiting_room() -> Iterator[IO[bytes]]:
    """Give a temporary file to write to, and to read from after a `seek`."""
    name = f"temporary file in {tempfile.gettempdir()}"
    with tempfile.TemporaryFile(buffering=0) as raw, io.BufferedRandom(Named(raw, name)) as file:
        yield cast(IO[bytes], file)


def is_regular(path: Path) -> bool:
    """Say whether a name stands for a file that can appear whole: no pipe and no device."""
    with writing(path):
        return not path.exists() or path.is_file()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name only when it is complete; packed when the name ends in .gz or .zst.

    What is no regular file (a pipe, a device) is written to directly. Raises `InputError` when it cannot be written.
    """
    # What stands behind /dev/stdout or /dev/fd/63 need not have a name that could be opened.
    regular = is_regular(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a file")
    if regular:
        require(path)
    with _renamed(path.resolve(), path.suffix.lower()) if regular else _direct(path) as out:
        yield out


@contextmanager
def _direct(path: Path) -> Iterator[IO[bytes]]:
    with writing(path):
        raw = path.open("wb", buffering=0)
    with raw, io.BufferedWriter(Named(raw, path)) as out:
        yield cast(IO[bytes], out)


@contextmanager
def _renamed(path: Path, ending: str) -> Iterator[IO[bytes]]:
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder")
    with writing(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb", buffering=0) as raw:
            with io.BufferedWriter(Named(raw, path)) as plain, packing_writer(cast(IO[bytes], plain), ending) as out:
                yield out
            with writing(path):
                os.fsync(raw.fileno())
        with writing(path):
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
