"""How results look to a person at a terminal: a table of comments, a marked sentence, a progress bar."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, FileSizeColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from moderation.batch import RESERVED
from moderation.comment import Score, Span
from moderation.explain import Explanation
from moderation.formats.rows import Fields, text_of
from moderation.seen import Seen

EXCERPT = 320
"""Characters of a comment that a table shows; the words that drove the verdict are among them."""

ROWS = 1_000
"""Comments in one table."""

WIDTH = 110
"""Columns of a table that is not written to a terminal."""

COLOURS = {"allow": "green", "review": "yellow", "hold": "red"}


def console(out: IO[str]) -> Console:
    """Return a console for a stream; a stream that is no terminal gets plain text of a fixed width."""
    terminal = out.isatty()
    width = None if terminal or "COLUMNS" in os.environ else WIDTH
    return Console(file=out, width=width, highlight=False, emoji=False, markup=False, soft_wrap=False)


def print_table(records: Iterable[dict[str, Any]], out: IO[str], labels: Sequence[str], fields: Fields) -> None:
    """Print scored records as a table: verdict, score per label, who and when, and the comment with its reasons.

    After `ROWS` of them another table begins, so that memory holds no more than these.
    """
    records, to = iter(records), console(out)
    part = list(islice(records, ROWS))
    while True:
        table = Table(show_lines=True, expand=True, header_style="bold")
        table.add_column("verdict", no_wrap=True)
        for label in labels:
            table.add_column(label, justify="right", no_wrap=True)
        table.add_column("comment", ratio=1, overflow="fold")
        for record in part:
            table.add_row(*_row(record, labels, fields))
        to.print(table)
        if not (part := list(islice(records, ROWS))):
            return


def _row(record: dict[str, Any], labels: Sequence[str], fields: Fields) -> list[Text | str]:
    if "error" in record:
        place = f"{record['error']['file']}, line {record['error']['line']}: "
        return ["error", *[""] * len(labels), place + record["error"]["message"]]
    verdict, scores = record["verdict"], record["scores"]
    numbers = [f"{scores[label]:.2f}" if label in scores else "" for label in labels]
    return [Text(verdict["action"], style=COLOURS[verdict["action"]]), *numbers, _comment_cell(record, fields)]


def _comment_cell(record: dict[str, Any], fields: Fields) -> Text:
    text = text_of(record["input"] if fields.text in RESERVED else record, fields)
    text, spans = _as_read(text, [Span.from_json(reason) for reason in record["verdict"].get("reasons", [])])
    identity = record["verdict"]["comment_id"]
    about = [str(record[name]) for name in ("author", "place", "created") if record.get(name)]
    if record.get("parent_id"):
        about.append(f"in reply to {record['parent_id']}")
    cell = Text(" · ".join([printable(f"#{identity}"), *map(printable, about)]) + "\n", style="dim")
    cell.append_text(mark(text, spans))
    words = {word.casefold(): word for span in spans if (word := printable(text[span.start : span.end]).strip())}
    if words:
        # Named as well as marked: marks are lost on a page without colours.
        cell.append(f"\n{'because of' if record['verdict']['action'] != 'allow' else 'nearest'}: ", style="dim")
        cell.append(", ".join(words.values()), style="bold")
    return cell


def _as_read(text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """Return a text without its markup, which scoring reads past, and where the spans stand in it."""
    seen = Seen(text)
    places = [seen.place(span.start, span.end) for span in spans]
    return seen.text, [
        replace(span, start=start, end=end) for span, (start, end) in zip(spans, places, strict=True) if start < end
    ]


def mark(text: str, spans: Sequence[Span]) -> Text:
    """Return an excerpt of a text in which the spans stand out."""
    first, last = _excerpt(text, spans)
    marked = Text("…" if first else "")
    places = sorted({(max(span.start, first), min(span.end, last)) for span in spans})
    at = first
    for start, end in places:
        if end > start >= at:
            marked.append(printable(text[at:start]))
            marked.append(printable(text[start:end]), style="bold reverse")
            at = end
    marked.append(printable(text[at:last]) + ("…" if last < len(text) else ""))
    return marked


def _excerpt(text: str, spans: Sequence[Span]) -> tuple[int, int]:
    """Choose the stretch to show: all of a short text, else the part around the heaviest span."""
    if len(text) <= EXCERPT:
        return 0, len(text)
    centre = spans[0].start if spans else 0
    first = max(0, min(centre - EXCERPT // 2, len(text) - EXCERPT))
    return first, first + EXCERPT


def printable(text: str) -> str:
    """Replace what could move a terminal's cursor or break its encoding; keep the number of characters."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return " "
    safe = character.isprintable() and not "\ud800" <= character <= "\udfff"
    return character if safe else "\N{REPLACEMENT CHARACTER}"


def print_explanation(
    text: str, score: Score, explanation: Explanation, labels: Sequence[str], most: int, out: IO[str]
) -> None:
    """Print, per label, the probability, the sentence with its driving words marked, and each word's weight."""
    to = console(out)
    for label in labels:
        shown, reasons = _as_read(text, explanation.reasons(label, most))
        line = Text(f"{label} {score.probabilities[label]:.3f}  ", style="bold")
        to.print(line.append_text(mark(shown, reasons)))
        weights = ", ".join(f"{printable(shown[span.start : span.end])} {span.weight:+.2f}" for span in reasons)
        start, total = explanation.intercept[label], explanation.decision[label]
        to.print(
            Text(f"  {weights or 'no word pulls towards it'}  (start {start:+.2f}, sum {total:+.2f})", style="dim")
        )


@contextmanager
def progress_reader(stream: io.BufferedReader, name: str, size: int | None) -> Iterator[io.BufferedReader]:
    """Show how far a stream has been read, its rate and the time left, on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield stream
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), FileSizeColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield io.BufferedReader(_Counting(stream, lambda n: bar.advance(task, n)), 1 << 20)


class _Counting(io.RawIOBase):
    """A stream that tells how much was read from it."""

    def __init__(self, stream: io.BufferedReader, tell: Any) -> None:
        self._stream = stream
        self._tell = tell

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._tell(count)
        return count
