"""Read and write Parquet with pyarrow, a stretch of rows at a time."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

from moderation.errors import InputError, MissingExtra

ROWS_AT_ONCE = 5_000
"""Rows that are held in memory while a file is read or written."""

EXACT = 1 << 53
"""Up to here a float holds every whole number."""

_UNFIT = (ValueError, OverflowError, LookupError)
"""What pyarrow raises for a value that Python's types cannot hold: a moment finer than a microsecond or after the year
9999, a text that is not UTF-8, a time zone that is not known."""


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet files need a library: pip install -e '.[parquet]' in a clone") from error
    return pyarrow, pyarrow.parquet


def require() -> None:
    """Raise `MissingExtra` when Parquet can be neither read nor written here."""
    _arrow()


def read_parquet(stream: io.BufferedReader, name: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return a file's columns and its rows as plain JSON data; raise `InputError` when it is damaged or a pipe."""
    arrow, parquet = _arrow()
    if not stream.seekable():
        raise InputError(f"{name}: Parquet cannot be read from a pipe; name a file")
    try:
        file = parquet.ParquetFile(stream)
        names = list(file.schema_arrow.names)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not readable as Parquet: expected names of columns in UTF-8") from error
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{name}: not readable as Parquet") from error

    def rows() -> Iterator[dict[str, Any]]:
        try:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                yield from _plain_rows(batch, names)
        except (arrow.ArrowException, OSError) as error:
            raise InputError(f"{name}: damaged Parquet data") from error

    return names, rows()


def _plain_rows(batch: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    try:
        rows = batch.to_pylist()
    except _UNFIT:
        columns = [[_plain_scalar(scalar) for scalar in column] for column in batch.columns]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    return [{column: plain(value) for column, value in row.items()} for row in rows]


def _plain_scalar(scalar: Any) -> Any:
    try:
        return plain(scalar.as_py())
    except _UNFIT:
        return _plain_unfit(scalar)


def _plain_unfit(scalar: Any) -> Any:
    """Return a value that Python's types cannot hold: one with others inside piece by piece, a time in words."""
    arrow, _ = _arrow()
    if isinstance(scalar, arrow.StructScalar):
        return {name: _plain_scalar(item) for name, item in scalar.items()}
    if isinstance(scalar, arrow.MapScalar):
        return [[_plain_scalar(item) for _, item in pair.items()] for pair in scalar.values]
    if isinstance(scalar, arrow.ListScalar):
        return [_plain_scalar(item) for item in scalar.values]
    if isinstance(scalar, arrow.DictionaryScalar | arrow.ExtensionScalar):
        return _plain_scalar(scalar.value)
    if isinstance(scalar, arrow.BinaryScalar):
        return plain(scalar.as_buffer().to_pybytes())
    if isinstance(scalar, arrow.Time64Scalar):
        return scalar.cast(arrow.string()).as_py()
    return _moment(arrow.array([scalar.value], scalar.type).to_numpy(zero_copy_only=False)[0], scalar.type)


def _moment(value: Any, kind: Any) -> str | None:
    """Return a date, time or duration of numpy's, which has every year and the nanoseconds, in its words."""
    if str(value) == "NaT":
        return None
    return f"{value}+00:00" if getattr(kind, "tz", None) else str(value)


def plain(value: Any) -> Any:
    """Return a value as JSON data: times in ISO 8601, bytes as text, numbers that JSON has not as null."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def column_kind(value: Any) -> str:
    """Return the kind of column that holds a value: bool, int, long (beyond `EXACT`), float or text."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        if abs(value) <= EXACT:
            return "int"
        return "long" if -(1 << 63) <= value < 1 << 63 else "text"
    return "float" if isinstance(value, float) else "text"


def common_kind(first: str | None, second: str) -> str:
    """Return the kind of column that holds values of both kinds."""
    if first in (None, second):
        return second
    kinds = {first, second}
    if kinds == {"int", "long"}:
        return "long"
    return "float" if kinds == {"int", "float"} else "text"


def write_parquet(records: Iterable[Mapping[str, Any]], kinds: Mapping[str, str], out: IO[bytes]) -> None:
    """Write flat records as Parquet with a column for each of `kinds`, in its order."""
    arrow, parquet = _arrow()
    types = {"bool": arrow.bool_(), "float": arrow.float64(), "text": arrow.string()}
    types |= dict.fromkeys(("int", "long"), arrow.int64())
    schema = arrow.schema([(_text(name), types[kind]) for name, kind in kinds.items()])
    stream = iter(records)
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        while rows := list(islice(stream, ROWS_AT_ONCE)):
            columns = [arrow.array(_column(rows, name, kind), types[kind]) for name, kind in kinds.items()]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))


def _column(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> list[Any]:
    values = [row.get(name) for row in rows]
    return [_text(value) for value in values] if kind == "text" else values


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
