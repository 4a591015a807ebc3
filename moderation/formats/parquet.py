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


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet files need a library: pip install 'moderation[parquet]'") from error
    return pyarrow, pyarrow.parquet


def read_parquet(stream: io.BufferedReader, name: str) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return a file's columns and its rows as plain JSON data; raise `InputError` when it is damaged or a pipe."""
    arrow, parquet = _arrow()
    if not stream.seekable():
        raise InputError(f"{name}: Parquet cannot be read from a pipe; name a file")
    try:
        file = parquet.ParquetFile(stream)
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{name}: not readable as Parquet") from error

    def rows() -> Iterator[dict[str, Any]]:
        try:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield {column: plain(value) for column, value in row.items()}
        except (arrow.ArrowException, OSError) as error:
            raise InputError(f"{name}: damaged Parquet data") from error

    return list(file.schema_arrow.names), rows()


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
    """Return the kind of column that holds a value: bool, int, float or text."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(1 << 63) <= value < 1 << 63 else "text"
    return "float" if isinstance(value, float) else "text"


def common_kind(first: str | None, second: str) -> str:
    """Return the kind of column that holds values of both kinds."""
    if first in (None, second):
        return second
    return "float" if {first, second} == {"int", "float"} else "text"


def write_parquet(records: Iterable[Mapping[str, Any]], kinds: Mapping[str, str], out: IO[bytes]) -> None:
    """Write flat records as Parquet with a column for each of `kinds`, in its order."""
    arrow, parquet = _arrow()
    types = {"bool": arrow.bool_(), "int": arrow.int64(), "float": arrow.float64(), "text": arrow.string()}
    schema = arrow.schema([(name, types[kind]) for name, kind in kinds.items()])
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
