"""Tell the form of a file from its name and its first bytes."""

from __future__ import annotations

import codecs
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
    if re.match(rb'\{\s*["}]', start):
        return "jsonl"
    if _HEADER.match(start):
        raise InputError(f"{name}: looks like a table; name its form: --format csv, tsv or lines")
    return "lines"


_NAME = rb'"?(?:text|comment(?:_?text|_?body)?|body|content|message)"?'
_HEADER = re.compile(rb'(?=[^\n]*[,;\t])(?:["\w ]+[,;\t] ?)*' + _NAME + rb'(?:[,;\t]["\w ]+)*\r?\n', re.IGNORECASE)
"""A first line of names between separators, one of them a name under which a table's text is looked for."""


def refuse_utf_16(name: str, form: Format, head: bytes) -> None:
    """Raise `InputError` for a file whose form wants UTF-8 and whose first bytes are UTF-16."""
    if form not in ("page", "parquet") and (head.startswith(_MARKS) or _is_utf_16(head[:4096])):
        raise InputError(f"{name}: not UTF-8 but UTF-16 or the like; iconv -f UTF-16 -t UTF-8 makes it so")


_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def _is_utf_16(head: bytes) -> bool:
    """Tell whether most pairs of bytes are a NUL before, or after, one that is none: Western letters in UTF-16."""
    if b"\0" not in head:
        return False
    pairs = list(zip(head[::2], head[1::2], strict=False))
    little = sum(first != 0 and second == 0 for first, second in pairs)
    big = sum(first == 0 and second != 0 for first, second in pairs)
    return max(little, big) * 2 > len(pairs)
