"""Tell the form of a file from its name and its first bytes."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Literal, get_args

from moderation.errors import InputError

Format = Literal["jsonl", "csv", "tsv", "lines", "page", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".html": "page",
    ".htm": "page",
    ".xhtml": "page",
    ".parquet": "parquet",
}


def guess_format(name: str, head: bytes) -> Format:
    """Tell the form of a file from its name and its first bytes (decompressed)."""
    suffix = PurePath(name.lower().removesuffix(".gz").removesuffix(".zst")).suffix
    if head.startswith(b"PAR1"):
        return "parquet"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    from moderation.formats.pages import is_page

    if is_page(name, head):
        return "page"
    if suffix == ".txt":
        return "lines"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[" if suffix == ".json" else rb"\[\s*\{", start):
        raise InputError(f"{name}: a JSON array; expected JSON lines, one object a line (jq -c '.[]' makes them)")
    return "jsonl" if re.match(rb'\{\s*["}]', start) else "lines"
