"""A labelled file of a site's own: read it, and say what of it is not measured."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moderation.errors import InputError
from moderation.formats.rows import Fields, guess_format, open_plain, read_rows
from training.corpora import LABELS
from training.evaluate import FEWEST, LabelledSet, bare, counts, enough, set_of_rows

ALIKE = 0.8
"""How alike (`difflib`'s ratio) a column's name is to a label's to be taken for a slip of the pen."""

MOST_COLUMNS = 30
"""Columns that a message lists."""

_OF_FORUMS = ("thread",)
"""Usual names of columns that are like a label's and mean something else."""


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """What a labelled file holds."""

    path: Path
    """Where it is."""
    rows: LabelledSet
    """Its rows that have a text."""
    columns: Sequence[str]
    """Columns or fields, as the file writes them."""
    blank: int
    """Rows without a text."""


def read_labelled(path: Path, fields: Fields) -> LabelledFile:
    """Read a file; raise `InputError` where it or a row cannot be read, or a label is not understood."""
    try:
        stream = open_plain(path.open("rb", buffering=0))
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror}") from error
    with stream:
        form = guess_format(str(path), stream.peek(1 << 16))
        rows = list(read_rows(stream, form, fields, name=str(path)))
    bad = next((row for row in rows if row.error), None)
    if bad:
        raise InputError(f"{path}, line {bad.line}: {bad.error}")
    found = set_of_rows(str(path), rows)
    columns = list(dict.fromkeys(column for row in rows for column in row.data))
    return LabelledFile(path, found, columns, len(rows) - len(found.texts))


def remarks(file: LabelledFile, labels: Sequence[str]) -> list[str]:
    """Return a line for all that is left out when these labels are measured, and for texts that repeat."""
    found = []
    if file.blank:
        found.append(f"{file.blank} {'row' if file.blank == 1 else 'rows'} without text left out")
    repeats = sum(count > 1 for count in Counter(file.rows.texts).values())
    if repeats:
        found.append(
            "1 text repeats; it counts each time" if repeats == 1 else f"{repeats} texts repeat; they count each time"
        )
    measured = any(enough(file.rows.truth[label]) for label in labels)
    found += [f"left out: {what}" for what in (_left_out(file, labels) if measured else [_nothing(file, labels)])]
    return [f"{file.path}: {line}" for line in found]


def nothing_to_measure(files: Sequence[LabelledFile], labels: Sequence[str]) -> InputError:
    """Return the error for files in which none of these labels can be measured; it tells what they hold."""
    each = "; ".join(f"{file.path}: {_nothing(file, labels)}" for file in files)
    return InputError(f"{each}; labels are {', '.join(labels)}")


def _left_out(file: LabelledFile, labels: Sequence[str]) -> list[str]:
    return [
        *(
            f"{label}, {with_it} rows with it and {without} without; {FEWEST} of each are needed"
            for label, (with_it, without) in _thin(file, labels).items()
        ),
        *(f"{label}, which the model does not know" for label in _labels(file) if label not in labels),
        *(
            f"{_shown(column)}, which is no label; is {label} meant?"
            for column, label in _near_misses(file, labels).items()
        ),
    ]


def _nothing(file: LabelledFile, labels: Sequence[str]) -> str:
    none = f"no label with at least {FEWEST} rows of each kind"
    if not file.columns:
        return f"{none} in no rows"
    thin = ", ".join(
        f"{label}: {with_it} with it, {without} without" for label, (with_it, without) in _thin(file, labels).items()
    )
    near = _near_misses(file, labels)
    columns = [
        _shown(column) + (f" (is {near[column]} meant?)" if column in near else "")
        for column in file.columns[:MOST_COLUMNS]
    ]
    return f"{none}{thin and f' ({thin})'} among the columns {', '.join(columns)}"


def _labels(file: LabelledFile) -> list[str]:
    """Return the labels that the file has a column for."""
    names = {bare(column) for column in file.columns}
    return [label for label in LABELS if label in names]


def _thin(file: LabelledFile, labels: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the labels with too few rows of a kind, with how many have them and how many do not."""
    there = [label for label in _labels(file) if label in labels and not enough(file.rows.truth[label])]
    return {label: counts(file.rows.truth[label]) for label in there}


def _near_misses(file: LabelledFile, labels: Sequence[str]) -> dict[str, str]:
    """Return the columns that are named nearly like a label that is not there."""
    there = _labels(file)
    missing = [label for label in labels if label not in there]
    others = [column for column in file.columns if bare(column) not in (*there, *_OF_FORUMS)]
    near = {column: difflib.get_close_matches(bare(column), missing, 1, ALIKE) for column in others}
    return {column: labels[0] for column, labels in near.items() if labels}


def _shown(column: str) -> str:
    name = " ".join(column.split())[:60]
    return name if name.isprintable() else ascii(name)
