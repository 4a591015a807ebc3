"""Read rows of comments: JSON lines, CSV, TSV and plain lines, gzipped or not, one at a time."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, BinaryIO, Literal, cast, get_args

from moderation.comment import Article, Comment
from moderation.errors import InputError

Format = Literal["jsonl", "csv", "tsv", "lines", "page"]
FORMATS: tuple[Format, ...] = get_args(Format)

TEXT_FIELDS = ("text", "comment", "comment_text", "commentText", "commentBody", "body", "content", "message")
"""Where the text is looked for when no field is named."""

ID_FIELDS = ("id", "comment_id", "commentID", "commentId", "_id")
"""Where the identifier is looked for when no field is named."""

LONGEST_LINE = 16 << 20
"""Bytes in a line; a longer one is an error of that row, so that a broken file cannot fill memory."""

_COLUMN = re.compile(r"[\w.-]{1,40}")

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".html": "page",
    ".htm": "page",
    ".xhtml": "page",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of an input: a comment, or the reason why it is none."""

    line: int
    """Line on which the row begins, counted from 1."""
    data: dict[str, Any] = field(default_factory=dict)
    """The fields that came in, for the output to keep."""
    comment: Comment | None = None
    """The comment, when the row holds one."""
    error: str | None = None
    """What is wrong with the row, without its text."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a row hold what."""

    text: str | None = None
    """Field of the text; when None, the first of `TEXT_FIELDS` that is there."""
    id: str | None = None
    """Field of the identifier; when None, the first of `ID_FIELDS`, else the line number."""


def guess_format(name: str, head: bytes) -> Format:
    """Tell the form of a file from its name and its first bytes (decompressed)."""
    suffix = PurePath(name.lower().removesuffix(".gz")).suffix
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    from moderation.formats.pages import is_page

    if is_page(name, head):
        return "page"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[\s*\{", start):
        raise InputError(f"{name}: a JSON array; expected JSON lines, one object a line (jq -c '.[]' makes them)")
    return "jsonl" if start.startswith(b"{") else "lines"


HEAD = 1 << 17
"""Bytes that can be looked at ahead, to tell what a stream holds."""


class _Unpacked(gzip.GzipFile):
    """A gzip stream that closes what it reads from."""

    def __init__(self, packed: io.BufferedReader) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


def open_plain(stream: BinaryIO) -> io.BufferedReader:
    """Return a buffered reader of a stream, decompressed when it begins with gzip's magic number.

    Its ``peek`` shows up to `HEAD` bytes, and closing it closes the stream.
    """
    buffered: io.BufferedReader = io.BufferedReader(cast(io.RawIOBase, stream), HEAD)
    if buffered.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(cast(io.RawIOBase, _Unpacked(buffered)), HEAD)
    return buffered


def is_packed(stream: io.BufferedReader) -> bool:
    """Say whether what `open_plain` returned is being decompressed."""
    return isinstance(stream.raw, gzip.GzipFile)


def read_rows(stream: io.BufferedReader, form: Format, fields: Fields, *, name: str = "input") -> Iterator[Row]:
    """Yield the rows of a stream in order; a bad row comes as a `Row` with an error and the run goes on.

    Raises `InputError` when the input as a whole cannot be read: a CSV file without the column that was asked for, a
    damaged gzip stream, a page without comments.
    """
    with readable(name):
        if form == "page":
            yield from _page_rows(stream, name)
        elif form in ("csv", "tsv"):
            yield from _table_rows(stream, "," if form == "csv" else "\t", fields, name)
        else:
            read = _json_row if form == "jsonl" else _line_row
            for line, raw in _lines(stream):
                if raw is None:
                    yield Row(line, error=f"line longer than {LONGEST_LINE} bytes")
                elif row := read(line, raw, fields):
                    yield row


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what goes wrong while a stream is read into an `InputError` that names the stream."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{name}: damaged gzip stream: {error}") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error


def _page_rows(stream: io.BufferedReader, name: str) -> Iterator[Row]:
    from moderation.formats.pages import read_page

    for place, comment in enumerate(read_page(stream.read(), name=name), 1):
        yield Row(place, comment.to_json(), comment)


def _lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbered lines without their ends; None for one that is too long, which is skipped."""
    number = 0
    while raw := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE and not raw.endswith(b"\n"):
            while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, None
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        yield number, raw.rstrip(b"\r\n")


def _json_row(line: int, raw: bytes, fields: Fields) -> Row | None:
    if not raw.strip():
        return None
    try:
        data = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        return Row(line, error=f"not UTF-8 at byte {error.start}")
    except RecursionError:
        return Row(line, error="JSON nested too deeply")
    except json.JSONDecodeError as error:
        return Row(line, error=f"not JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return Row(line, error=f"not JSON: {error}")
    if not isinstance(data, dict):
        return Row(line, error=f"expected a JSON object, got {type(data).__name__}")
    return _row(line, data, fields)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _finite(number: str) -> float:
    value = float(number)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number beyond the range of floating point")
    return value


def _line_row(line: int, raw: bytes, fields: Fields) -> Row | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Row(line, error=f"not UTF-8 at byte {error.start}")
    if not text.strip():
        return None
    return Row(line, {"id": str(line), "text": text}, Comment(str(line), text))


def _table_rows(stream: io.BufferedReader, delimiter: str, fields: Fields, name: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_LINE)
    # Lines come in bounded pieces: a longer one breaks into rows in error, and memory stays bounded.
    if stream.peek(3).startswith(codecs.BOM_UTF8):
        stream.read(3)
    pieces = iter(lambda: stream.readline(LONGEST_LINE), b"")
    reader = csv.reader((piece.decode("utf-8", "surrogateescape") for piece in pieces), delimiter=delimiter)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{name}, line 1: the header is not readable: {error}") from error
    if not header:
        return
    fields = _columns(header, fields, name)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, error=f"not {'CSV' if delimiter == ',' else 'TSV'}: {error}")
            continue
        if values:
            yield _table_row(line, header, values, fields)


def _columns(header: Sequence[str], fields: Fields, name: str) -> Fields:
    """Find the columns that are asked for; raise `InputError` when one is not there."""
    text = _find(header, fields.text, TEXT_FIELDS)
    for option, wanted, found in (("text", fields.text, text), ("id", fields.id, _find(header, fields.id, ID_FIELDS))):
        if found is None and (option == "text" or wanted is not None):
            named = wanted or " or ".join(TEXT_FIELDS[:4])
            raise InputError(f"{name}: no column {named} {_known(header)}. Name it: --{option}-field")
    return Fields(text, fields.id)


def _known(header: Sequence[str]) -> str:
    """Tell the columns of a header; a first line that does not look like one may be a comment and is not repeated."""
    if all(_COLUMN.fullmatch(column) for column in header):
        return f"among {', '.join(header[:30])}"
    return f"among {len(header)}; is the first line a header?"


def _table_row(line: int, header: Sequence[str], values: Sequence[str], fields: Fields) -> Row:
    if any("\udc80" <= character <= "\udcff" for value in values for character in value):
        # surrogateescape put these in for bytes that are not UTF-8; they go no further.
        return Row(line, error="not UTF-8")
    data = dict(zip(header, values, strict=False))
    if len(values) != len(header):
        return Row(line, data, error=f"expected {len(header)} columns, got {len(values)}")
    return _row(line, data, fields)


def _find(names: Iterable[str], wanted: str | None, usual: Sequence[str]) -> str | None:
    """Return the field to take: the one that is wanted, else the first of the usual ones that is there."""
    there = set(names)
    return next((name for name in ([wanted] if wanted is not None else usual) if name in there), None)


def text_of(data: Mapping[str, Any], fields: Fields) -> str:
    """Return the text of a row that has been read with `fields`."""
    return str(data[_find(data, fields.text, TEXT_FIELDS) or "text"])


def _row(line: int, data: dict[str, Any], fields: Fields) -> Row:
    """Make a row of the fields that came in; what a `Comment` knows is taken over where it has the right type."""
    text_field = _find(data, fields.text, TEXT_FIELDS)
    if text_field is None:
        return Row(line, data, error=f"no field {fields.text or ' or '.join(TEXT_FIELDS[:4])}")
    text = data[text_field]
    if not isinstance(text, str):
        return Row(line, data, error=f"{text_field}: expected a string, got {_kind(text)}")
    id_field = _find(data, fields.id, ID_FIELDS)
    if fields.id is not None and id_field is None:
        return Row(line, data, error=f"no field {fields.id}")
    known: dict[str, Any] = {
        name: value
        for name in ("author", "place", "created", "parent_id", "language")
        if isinstance(value := data.get(name), str)
    }
    article = data.get("article")
    if isinstance(article, dict):
        title, url = (value if isinstance(value := article.get(key), str) else None for key in ("title", "url"))
        known["article"] = Article(title, url)
    identity = data.get(id_field) if id_field else None
    return Row(line, data, Comment(str(line) if identity is None else str(identity), text, **known))


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
