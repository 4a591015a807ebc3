"""CSV and TSV as records of values, one at a time, in bounded memory."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence


def records(
    stream: io.BufferedReader, delimiter: str | None, longest: int
) -> Iterator[tuple[int, list[str] | str | None]]:
    """Yield the line and the values of each record that is not blank, or what is wrong with it.

    Without a `delimiter` the first line that is not blank tells it: a comma, or a semicolon as spreadsheets write it
    where the comma stands in numbers.

    None stands for a line of more than `longest` bytes, which is skipped. A quotation mark that is never closed would
    take all lines below it into one field, up to the next one. So after the closing mark of a field the field has to
    end; where it does not, the line at which the record began is read by itself, and those below are read again.
    """
    csv.field_size_limit(longest)
    again: deque[str | None] = deque()
    taken: list[str | None] = []

    def lines() -> Iterator[str]:
        size = 0
        while (line := again.popleft() if again else _line(stream, longest)) != "":
            size = len(line or "") + (size if taken else 0)
            taken.append(line)
            if line is None or (size > longest and len(taken) > 1):
                raise csv.Error("a quotation mark is not closed before there is too much text")
            yield line

    before = 0
    while (first := _line(stream, longest)) and not first.strip("\r\n"):
        before += 1
    again.append(first)
    delimiter = delimiter or _delimiter(first or "")
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        line = before + reader.line_num + 1
        taken.clear()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first = taken[0]
            yield line, None if first is None else _alone(first, delimiter) or _wrong(error)
            again.extendleft(reversed(taken[1:]))
            reader, before = csv.reader(lines(), delimiter=delimiter, strict=True), line
        else:
            if values:
                yield line, values


def _alone(line: str, delimiter: str) -> list[str] | None:
    """Return the values of a line whose quotation marks are not as they should be; None where one stays open."""
    try:
        values = next(csv.reader([line.rstrip("\r\n") + "\n"], delimiter=delimiter))
    except csv.Error:
        return None
    return None if values[-1].endswith("\n") else values


def _wrong(error: csv.Error) -> str:
    """Say what is wrong with a record in words for who has the file."""
    if str(error).endswith("expected after '\"'"):
        return "a quotation mark is not closed, or others in the same value are not doubled"
    return "a quotation mark is not closed" if str(error) == "unexpected end of data" else str(error)


def _line(stream: io.BufferedReader, longest: int) -> str | None:
    """Return the next line with its end, nothing at the end of the stream, or None for one that is too long."""
    line = stream.readline(longest + 1)
    if len(line) <= longest or line.endswith(b"\n"):
        return line.decode("utf-8", "surrogateescape")
    while line and not line.endswith(b"\n"):
        line = stream.readline(longest)
    return None


def _delimiter(header: str) -> str:
    """Tell what stands between the columns of a header."""
    bare = _QUOTED.sub("", header)
    return ";" if ";" in bare and "," not in bare else ","


_QUOTED = re.compile(r'"[^"]*(?:"|$)')


def named(header: Sequence[str]) -> list[str]:
    """Return a header in which columns without a name, when there are several, are named by their place."""
    several = sum(not name.strip() for name in header) > 1
    return [name if name.strip() or not several else f"column {place}" for place, name in enumerate(header, 1)]


def is_utf_8(values: Sequence[str]) -> bool:
    """Tell whether a record was all UTF-8; for other bytes surrogateescape has put these characters in."""
    return not any("\udc80" <= character <= "\udcff" for value in values for character in value)
