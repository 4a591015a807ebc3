"""Read rows of comments: JSON lines, CSV, TSV, plain lines and Parquet, packed or not, one at a time."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moderation.comment import Article, Comment
from moderation.errors import InputError
from moderation.formats.forms import FORMATS as FORMATS
from moderation.formats.forms import Format as Format
from moderation.formats.forms import guess_format as guess_format
from moderation.formats.forms import refuse_utf_16 as refuse_utf_16
from moderation.formats.packing import HEAD as HEAD
from moderation.formats.packing import is_packed as is_packed
from moderation.formats.packing import open_plain as open_plain
from moderation.formats.packing import readable as readable
from moderation.formats.tables import is_utf_8, named, records

TEXT_FIELDS = ("text", "comment", "comment_text", "commentText", "commentBody", "body", "content", "message")
"""Where the text is looked for when no field is named."""

ID_FIELDS = ("id", "comment_id", "commentID", "commentId", "_id")
"""Where the identifier is looked for when no field is named."""

LONGEST_LINE = 16 << 20
"""Bytes in a line; a longer one is an error of that row, so that a broken file cannot fill memory."""

BLOCK = 1 << 20
"""Bytes of a block of lines that is read at once."""

_FROM_1252 = "if it is Windows-1252, iconv -f WINDOWS-1252 -t UTF-8 makes it so"

_COLUMN = re.compile(r"[\w.-]{1,40}")


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
    numbered: bool = False
    """Whether the comment came without an id or with a blank one, so that its id means nothing outside this input."""


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a row hold what."""

    text: str | None = None
    """Field of the text; when None, the first of `TEXT_FIELDS` that is there."""
    id: str | None = None
    """Field of the identifier; when None, the first of `ID_FIELDS`, else the line number."""


def read_rows(stream: io.BufferedReader, form: Format, fields: Fields, *, name: str = "input") -> Iterator[Row]:
    """Yield the rows of a stream in order; a bad row comes as a `Row` with an error and the run goes on.

    Raises `InputError` when the input as a whole cannot be read: a CSV file without the column that was asked for, a
    damaged gzip stream, text in UTF-16, a page without comments.
    """
    with readable(name):
        refuse_utf_16(name, form, stream.peek(HEAD))
        if form == "page":
            yield from _page_rows(stream, name)
        elif form == "parquet":
            yield from _parquet_rows(stream, fields, name)
        elif form in ("csv", "tsv"):
            yield from _table_rows(stream, form, fields, name)
        else:
            read = json_row if form == "jsonl" else line_row
            for line, raw in _lines(stream):
                if raw is None:
                    yield too_long(line)
                elif row := read(line, raw, fields):
                    yield row


def _page_rows(stream: io.BufferedReader, name: str) -> Iterator[Row]:
    from moderation.formats.pages import read_numbered

    comments, numbers = read_numbered(stream.read(), name=name)
    for place, comment in enumerate(comments, 1):
        yield Row(place, comment.to_json(), comment, numbered=comment.id in numbers)


def _parquet_rows(stream: io.BufferedReader, fields: Fields, name: str) -> Iterator[Row]:
    from moderation.formats.parquet import read_parquet

    names, records = read_parquet(stream, name)
    fields = _columns(names, fields, name)
    for place, record in enumerate(records, 1):
        yield _row(place, record, fields)


def _lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes | None]]:
    """Yield numbered lines without their ends; None for one that is too long, which is skipped."""
    for number, block in read_blocks(stream):
        if block is None:
            yield number, None
        else:
            yield from enumerate(split_lines(block), number)


def read_blocks(stream: io.BufferedReader, size: int = BLOCK) -> Iterator[tuple[int, bytes | None]]:
    """Yield blocks of whole lines of about `size` bytes with the number of their first line, from 1.

    A line that is longer than `LONGEST_LINE` comes as None and is skipped. Where the cuts fall depends on nothing but
    the content and `size`.
    """
    number = 1
    while block := stream.read(size):
        rest = b"" if block.endswith(b"\n") else stream.readline(LONGEST_LINE + 1)
        start = block.rfind(b"\n") + 1
        too_long = len(block) - start + len(rest) > LONGEST_LINE + rest.endswith(b"\n")
        if too_long:
            block = block[:start]
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(LONGEST_LINE)
        else:
            block += rest
        first, number = number, number + block.count(b"\n") + (not block.endswith(b"\n"))
        if block:
            yield first, block.removeprefix(codecs.BOM_UTF8) if first == 1 else block
        if too_long:
            number = first + block.count(b"\n")
            yield number, None
            number += 1


def too_long(line: int) -> Row:
    """Return the row in error that stands for a line of more than `LONGEST_LINE` bytes."""
    return Row(line, error=f"line longer than {LONGEST_LINE} bytes")


def split_lines(block: bytes) -> list[bytes]:
    """Return the lines of a block without their ends."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip(b"\r") for line in lines] if b"\r" in block else lines


def json_row(line: int, raw: bytes, fields: Fields) -> Row | None:
    """Read one line of JSON; None when it is blank."""
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


def line_row(line: int, raw: bytes, fields: Fields) -> Row | None:
    """Read one plain line; None when it is blank."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Row(line, error=f"not UTF-8 at byte {error.start}")
    if not text.strip():
        return None
    return Row(line, {"id": str(line), "text": text}, Comment(str(line), text), numbered=True)


def _table_rows(stream: io.BufferedReader, form: Format, fields: Fields, name: str) -> Iterator[Row]:
    if stream.peek(3).startswith(codecs.BOM_UTF8):
        stream.read(3)
    header = list[str]()
    for line, values in records(stream, None if form == "csv" else "\t", LONGEST_LINE):
        if not isinstance(values, list):
            bad = too_long(line) if values is None else Row(line, error=f"not {form.upper()}: {values}")
            if not header:
                raise InputError(f"{name}, line {line}: the header is not readable: {values or bad.error}")
            yield bad
        elif header:
            yield _table_row(line, header, values, fields)
        elif not is_utf_8(values):
            raise InputError(f"{name}, line {line}: the header is not readable: expected UTF-8; {_FROM_1252}")
        else:
            header = named(values)
            fields = _columns(header, fields, name)


def _columns(header: Sequence[str], fields: Fields, name: str) -> Fields:
    """Find the columns that are asked for; raise `InputError` when one is not there, or two have one name."""
    text = _find(header, fields.text, TEXT_FIELDS)
    for option, wanted, found in (("text", fields.text, text), ("id", fields.id, _find(header, fields.id, ID_FIELDS))):
        if found is None and (option == "text" or wanted is not None):
            looked_for = wanted or " or ".join(TEXT_FIELDS[:4])
            raise InputError(f"{name}: no column {looked_for} {_known(header, option)}")
    # The first line holds a column that was looked for, so that it is a header and no comment: it may be repeated.
    for column, count in Counter(header).items():
        if count > 1:
            raise InputError(f"{name}: two columns are named {' '.join(column.split())[:60]!r}; rename one of them")
    return Fields(text, fields.id)


def _known(header: Sequence[str], option: str) -> str:
    """Tell the columns of a header; a first line that does not look like one may be a comment and is not repeated."""
    if all(_COLUMN.fullmatch(column) for column in header):
        return f"among {', '.join(header[:30])}. Name it: --{option}-field"
    if len(header) == 1 and "\t" in header[0]:
        return "among 1; are there tabs between its columns? Then name the format: tsv"
    return f"among {len(header)}; is the first line a header? Else name the column: --{option}-field"


def _table_row(line: int, header: Sequence[str], values: Sequence[str], fields: Fields) -> Row:
    if not is_utf_8(values):
        return Row(line, error=f"not UTF-8; {_FROM_1252}")
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
    name = "" if identity is None else str(identity)
    comment = Comment(str(line) if identity is None else name, text, **known)
    return Row(line, data, comment, numbered=not name.strip())


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
