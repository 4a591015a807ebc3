"""Turn a publisher's files into unified rows, as the `upstream` table of a corpus in the registry describes them.

A unified row is a JSON object with id, text, split, labels (the corpus's own fields), incitement, abuse, group, parent
and case; `training.corpora` reads such rows and adds our labels.
"""

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from training.corpora import SPLITS, Corpus, RegistryError, Rule, UpstreamError, parse_rule

FORMATS = ("csv", "tsv", "jsonl", "lines")

_WHOLE = {
    "url": str,
    "format": str,
    "encoding": str,
    "files": list,
    "join": dict,
    "skip": list,
    "incitement": dict,
    "abuse": dict,
    "as_it_is": bool,
}
_EACH = {
    "path": str,
    "labels_path": str,
    "name": str,
    "id": str,
    "text": str,
    "split": str,
    "split_column": str,
    "same": list,
    "labels": dict,
    "constants": dict,
    "integers": list,
    "numbers": list,
    "blank_is_null": list,
    "names": dict,
    "group": dict,
    "parent": str,
    "case": str,
}
_GROUP_KEYS = ({"column"}, {"column", "nothing"}, {"flags", "prefix"})


@dataclass(frozen=True, slots=True)
class File:
    """One of the publisher's files and what its columns mean."""

    path: str
    """Path below the upstream's address."""
    labels_path: str | None
    """Path of the file with the labels, line by line, where they stand apart (format `lines`)."""
    form: Mapping[str, Any]
    """The settings of the registry: those of the file over those of the whole corpus."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a corpus can be fetched and how its files are read."""

    url: str
    """Address of the folder, with the commit in it and a slash at its end."""
    format: str
    """One of FORMATS."""
    encoding: str
    """Character encoding of the files."""
    files: tuple[File, ...]
    """The files, in the order of the unified rows."""
    join: Mapping[str, Any] | None
    """A second file: its path, the column `on` which it is joined, and the `columns` taken from it."""
    skip: frozenset[str]
    """Ids that the unified corpus does not have."""
    incitement: Rule
    """How the row's own `incitement` follows from its fields."""
    abuse: Rule
    """How the row's own `abuse` follows from its fields."""
    as_it_is: bool
    """The columns are the row: nothing is renamed or added."""

    def paths(self) -> list[str]:
        """Return the paths of all files to fetch, below `url`."""
        found = [path for file in self.files for path in (file.path, file.labels_path) if path]
        return [*found, *([self.join["path"]] if self.join else [])]


def local_name(path: str) -> str:
    """Return the file name under which the publisher's file `path` is kept while it is converted."""
    return path.replace("/", "_")


def parse_upstream(corpus: Corpus) -> Upstream | None:
    """Read the `upstream` table of a corpus; None if it has none. Raises RegistryError."""
    table = corpus.upstream
    if table is None:
        return None
    place = f"{corpus.name}.upstream"
    _expect_types(place, table, {**_WHOLE, **_EACH})
    for key in ("url", "format", "files"):
        if not table.get(key):
            _wrong(place, key, "a value", table.get(key))
    if not re.match(r"https://|http://127\.0\.0\.1[:/]", table["url"]) or not table["url"].endswith("/"):
        _wrong(place, "url", "https://... with a slash at its end", table["url"])
    if table["format"] not in FORMATS:
        _wrong(place, "format", "one of " + ", ".join(FORMATS), table["format"])
    join = table.get("join")
    if join is not None and set(join) != {"path", "on", "columns"}:
        _wrong(place, "join", "path, on and columns", join)
    never = Rule()
    return Upstream(
        url=table["url"],
        format=table["format"],
        encoding=table.get("encoding", "utf-8"),
        files=tuple(_file(place, table, file) for file in table["files"]),
        join=join,
        skip=frozenset(table.get("skip", ())),
        incitement=parse_rule(place, "incitement", table["incitement"]) if "incitement" in table else never,
        abuse=parse_rule(place, "abuse", table["abuse"]) if "abuse" in table else never,
        as_it_is=table.get("as_it_is", False),
    )


def _wrong(place: str, key: str, allowed: str, got: object) -> Never:
    raise RegistryError(f"registry [{place}] {key}: expected {allowed}, got {got!r}")


def _expect_types(place: str, table: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for key, value in table.items():
        if key not in kinds:
            _wrong(place, key, "one of " + ", ".join(sorted(kinds)), key)
        if not isinstance(value, kinds[key]):
            _wrong(place, key, f"a {kinds[key].__name__}", value)


def _file(place: str, table: Mapping[str, Any], file: Any) -> File:
    if not isinstance(file, dict):
        _wrong(place, "files", "a list of tables", file)
    _expect_types(f"{place}.files", file, _EACH)
    form = {**{key: value for key, value in table.items() if key in _EACH}, **file}
    for key in ("path", "id", "text"):
        if key not in form:
            _wrong(place, key, "a value, for the file or for all files", None)
    if form.get("split") not in (None, *SPLITS):
        _wrong(place, "split", "one of " + ", ".join(SPLITS), form["split"])
    if "group" in form and set(form["group"]) not in _GROUP_KEYS:
        _wrong(place, "group", "{column}, {column, nothing} or {flags, prefix}", form["group"])
    if (table["format"] == "lines") != ("labels_path" in form):
        _wrong(place, "labels_path", "a path exactly if the format is lines", form.get("labels_path"))
    return File(form["path"], form.get("labels_path"), form)


def convert(upstream: Upstream, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the unified rows from the publisher's files, which lie in `folder` under their `local_name`.

    Raises UpstreamError if a file has another layout than the registry says.
    """
    joined = _joined(upstream, folder)
    for file in upstream.files:
        for number, record in enumerate(_records(upstream, file, folder)):
            if joined is not None and upstream.join is not None:
                own = _Record(file, number, record).column(upstream.join["on"])
                record |= joined.get(own, dict.fromkeys(upstream.join["columns"], ""))
            reader = _Record(file, number, record)
            # Gaps are the publisher's empty comments and rows that the unified corpus left out.
            if reader.column(file.form["text"]) and reader.identity() not in upstream.skip:
                yield dict(record) if upstream.as_it_is else reader.unified(upstream)


def _joined(upstream: Upstream, folder: Path) -> dict[str, dict[str, Any]] | None:
    if upstream.join is None:
        return None
    path, on, columns = (upstream.join[key] for key in ("path", "on", "columns"))
    found: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(_records(upstream, File(path, None, {}), folder)):
        reader = _Record(File(path, None, {}), number, record)
        found[reader.column(on)] = {name: reader.column(name) for name in columns}
    return found


def _records(upstream: Upstream, file: File, folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / local_name(file.path)
    # Bytes that are no text become U+FFFD, as in the unified corpora; the content digest tells if that went wrong.
    # Universal newlines for tables (no unified text holds a carriage return), but "\n" alone where a line is a record.
    newline = None if upstream.format in ("csv", "tsv") else "\n"
    with path.open(encoding=upstream.encoding, errors="replace", newline=newline) as lines:
        if upstream.format == "lines":
            yield from _paired(lines, file, folder)
        elif upstream.format == "jsonl":
            yield from _parsed(lines, file)
        else:
            yield from csv.DictReader(lines, delimiter="," if upstream.format == "csv" else "\t")


def _paired(lines: Iterable[str], file: File, folder: Path) -> Iterator[dict[str, Any]]:
    labels = (folder / local_name(file.labels_path or "")).read_text(encoding="ascii", errors="replace").split()
    texts = [line.removesuffix("\n") for line in lines]
    if len(texts) != len(labels):
        raise UpstreamError(f"{file.labels_path}: expected {len(texts)} labels, got {len(labels)}")
    for text, label in zip(texts, labels, strict=True):
        yield {"text": text, "label": label}


def _parsed(lines: Iterable[str], file: File) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UpstreamError(f"{file.path}: record {number}: expected a JSON object, got something else")
        yield found


class _Record:
    """One of the publisher's records, read as the registry says."""

    def __init__(self, file: File, number: int, record: Mapping[str, Any]) -> None:
        self.file, self.number, self.record = file, number, record

    def column(self, name: str) -> Any:
        """Return the value of a column, "" for none. Raises UpstreamError if there is no such column."""
        if name not in self.record:
            have = ", ".join(sorted(map(str, self.record)))
            raise UpstreamError(f"{self.file.path}: record {self.number}: expected a column {name!r}, got {have}")
        return "" if self.record[name] is None else self.record[name]

    def identity(self) -> str:
        """Return the id: the registry's pattern, filled in."""
        own = {"_row": str(self.number), "_file": self.file.form.get("name", "")}
        pattern: str = self.file.form["id"]
        return re.sub(r"\{(.*?)\}", lambda found: own.get(found[1]) or str(self.column(found[1])), pattern)

    def unified(self, upstream: Upstream) -> dict[str, Any]:
        """Return the unified row."""
        form = self.file.form
        row = {
            "id": self.identity(),
            "text": self.column(form["text"]),
            "split": self.column(form["split_column"]) if "split_column" in form else form.get("split"),
            "labels": self._labels(),
            "incitement": None,
            "abuse": None,
            "group": self._group(form.get("group", {})),
            "parent": (self.column(form["parent"]) or None) if "parent" in form else None,
            "case": self.column(form["case"]) if "case" in form else None,
        }
        row["incitement"], row["abuse"] = upstream.incitement.apply(row), upstream.abuse.apply(row)
        return row

    def _labels(self) -> dict[str, Any]:
        form = self.file.form
        columns = {**{name: name for name in form.get("same", ())}, **form.get("labels", {})}
        constants: dict[str, Any] = form.get("constants", {})
        return {label: self._value(label, column) for label, column in columns.items()} | constants

    def _value(self, label: str, column: str) -> Any:
        form, value = self.file.form, self.column(column)
        try:
            if label in form.get("integers", ()):
                return int(value)
            if label in form.get("numbers", ()):
                return float(value)
            if label in form.get("names", {}):
                return str(form["names"][label][value])
        except (KeyError, ValueError):
            raise UpstreamError(f"{self.file.path}: record {self.number}: {column}: got an unknown value") from None
        return None if value == "" and label in form.get("blank_is_null", ()) else value

    def _group(self, form: Mapping[str, Any]) -> str | None:
        if "flags" in form:
            raised = [name for name in form["flags"] if self.column(name) == "1"]
            return ",".join(name.removeprefix(form["prefix"]) for name in raised) or None
        group: str = self.column(form["column"]) if "column" in form else ""
        return None if group in ("", form.get("nothing")) else group


def pack_rows(raws: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write unified rows as `.jsonl.gz`; the same rows give the same bytes."""
    # Neither time nor file name in the header of the gzip file.
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        for raw in raws:
            packed.write(json.dumps(raw, ensure_ascii=False).encode("utf-8") + b"\n")
