"""What the name of an output says: its form, how it is packed, and what that takes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path, PurePath

from moderation.errors import InputError


class OutputFormat(StrEnum):
    """How results are written; `auto` is a table on a terminal, else JSON lines or what the name of --output says."""

    auto = "auto"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"
    table = "table"


_WRITTEN = {".csv": OutputFormat.csv, ".parquet": OutputFormat.parquet}
_NOT_WRITTEN = frozenset({".tsv", ".tab", ".html", ".htm", ".xhtml", ".xls", ".xlsx", ".ods"})
"""Endings of which everybody knows what they mean, and which would be wrong on JSON lines."""


def named(output: Path | None) -> Path | None:
    """Return the file that is meant; a hyphen, as none, means standard output."""
    return None if output == Path("-") else output


def form_of(output: Path) -> OutputFormat:
    """Tell the form of an output from its last ending before .gz or .zst: JSON lines where it says none."""
    from moderation.formats.packing import PACKED

    name = PurePath(output.name.lower())
    ending = (name.with_suffix("") if name.suffix in PACKED else name).suffix
    if ending in _NOT_WRITTEN:
        raise InputError(
            f"--output: {output}: {ending} cannot be written; allowed are .jsonl, .csv and .parquet, each also with "
            f"{' or '.join(PACKED)}. --to says the form of any name"
        )
    return _WRITTEN.get(ending, OutputFormat.jsonl)


def check_libraries(kind: OutputFormat, output: Path | None) -> None:
    """Raise `MissingExtra`, or `InputError` for a packing that cannot be written, before any work is done."""
    from moderation.formats import packing

    if kind is OutputFormat.parquet:
        from moderation.formats import parquet

        parquet.require()
    if output is not None:
        packing.require(output)
