"""Public corpora, read into one kind of row.

Which corpora there are, and how our eight labels follow from theirs, stands in `datasets/registry.toml` and nowhere
else; this file only interprets it. Errors::

    CorpusError                 a corpus cannot be used
    ├── RegistryError           the registry is wrong; names the table
    ├── CorpusNotFound          there is no such corpus, or no such file; says how to get it
    ├── CorpusDamaged           the file is not the one that the registry knows
    ├── CorpusRowError          one line cannot be read; names file, line and field
    ├── UpstreamError           a publisher's file has another layout than the registry says
    └── FetchError              a download failed for good; names the address

Messages never hold the text of a comment.
"""

import hashlib
import json
import os
import sys
import tomllib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from moderation.errors import ModerationError

LABELS = (
    "incitement",
    "abuse",
    "threat",
    "insult",
    "identity_attack",
    "profanity",
    "severe_abuse",
    "sexually_explicit",
)
TIERS = ("open", "unstated", "noncommercial")
ROLES = ("train", "evaluate")
SPLITS = ("train", "dev", "test")
LARGEST_CORPUS = 2 * 2**30
"""Most bytes a corpus may unpack to: about four million comments; more is a decompression bomb."""

_FACTS = ("title", "source", "licence", "domain", "language", "faults")
_DIGESTS = ("sha256", "content_sha256")
_KEYS = {*_FACTS, *_DIGESTS, "tier", "role", "rows", "text_field", "labels", "upstream"}
_ROW_FIELDS = ("incitement", "abuse", "split", "group", "case")


class CorpusError(ModerationError):
    """A corpus cannot be used."""


class RegistryError(CorpusError, ValueError):
    """The registry is wrong; the message names the table, what is allowed and what came."""

    exit_code = 2


class CorpusNotFound(CorpusError, LookupError):
    """There is no corpus of this name, or no file of it; the message says how to get one."""

    exit_code = 2


class CorpusDamaged(CorpusError):
    """The file on disk is not the one that the registry knows."""


class CorpusRowError(CorpusError, ValueError):
    """One line of a data file cannot be read."""

    exit_code = 2

    def __init__(self, path: Path, line: int, field: str, message: str) -> None:
        super().__init__(f"{path.name}:{line}: {field}: {message}")
        self.line = line
        """Line number in the file, counted from 1."""
        self.field = field
        """Name of the field that is wrong; "line" for the line as a whole."""


class UpstreamError(CorpusError, ValueError):
    """A publisher's file has another layout than the registry says."""


class FetchError(CorpusError):
    """A download failed for good; the message names the address."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold of a row; of a field that the row lacks, only `absent` does."""

    field: str
    """Name of the field."""
    of_row: bool
    """The field is the unified row's (`case`, `abuse`, ...) and not the corpus's own."""
    equals: tuple[object, ...] = ()
    """The field is one of these; empty when a range is asked for instead."""
    at_least: float = float("-inf")
    """The field is this number or more."""
    below: float = float("inf")
    """The field is less than this number."""
    absent: bool = False
    """The row lacks the field, or has null."""

    def holds(self, raw: Mapping[str, Any]) -> bool:
        """Tell whether the unified row `raw` passes."""
        value = (raw if self.of_row else raw["labels"]).get(self.field)
        if value is None or self.absent:
            return self.absent and value is None
        if self.equals:
            return value in self.equals
        return isinstance(value, int | float) and self.at_least <= value < self.below


@dataclass(frozen=True, slots=True)
class Rule:
    """How one label follows from a row: 1, else 0, else unknown."""

    one: tuple[tuple[Check, ...], ...] = ()
    """The label is 1 if all checks of any group hold."""
    zero: tuple[tuple[Check, ...], ...] = ()
    """Otherwise it is 0 if all checks of any group hold; otherwise it is unknown."""
    score: str | None = None
    """The field with a machine's score from 0 to 1, which is taken as it is."""

    def apply(self, raw: Mapping[str, Any]) -> float | None:
        """Return the label's value for the unified row `raw`.

        Raises KeyError, TypeError or ValueError if a score is asked for that is no number from 0 to 1.
        """
        if self.score is not None:
            score = float(raw["labels"][self.score])
            if not 0 <= score <= 1:
                raise ValueError(self.score)
            return score
        if any(all(check.holds(raw) for check in group) for group in self.one):
            return 1
        return 0 if any(all(check.holds(raw) for check in group) for group in self.zero) else None


@dataclass(frozen=True, slots=True)
class Corpus:
    """One table of the registry."""

    name: str
    """Name of the table and, with `.jsonl.gz`, of the file."""
    title: str
    """What its authors call it."""
    source: str
    """Where it comes from: repository and commit."""
    licence: str
    """The licence as published, or that none was found."""
    tier: str
    """`open`, `unstated` or `noncommercial`: only open ones may go into a model that is given away."""
    role: str
    """`train`, or `evaluate`: never to be trained on."""
    domain: str
    """Where its comments were written."""
    language: str
    """ISO codes of the languages."""
    rows: int
    """How many rows the file has."""
    faults: str
    """What is wrong with it."""
    sha256: str
    """SHA-256 of the `.jsonl.gz` file, in hexadecimal."""
    content_sha256: str
    """`content_digest` of the rows, in hexadecimal: the same however the file was packed."""
    labels: Mapping[str, Rule]
    """How our labels follow from a row; a label that is missing here is never known."""
    text_field: str = "text"
    """The row's field with the comment."""
    upstream: Mapping[str, Any] | None = None
    """Where and how to fetch it, as `training.convert` reads it; None: there is no stable address."""

    @property
    def file_name(self) -> str:
        """Name of the file in the corpora folder."""
        return f"{self.name}.jsonl.gz"


@dataclass(frozen=True, slots=True)
class Row:
    """One comment with what is known about it."""

    corpus: str
    """Name of the corpus; "authored" for our own comments."""
    id: str
    """Unique within the corpus."""
    text: str
    """The comment."""
    split: str | None
    """`train`, `dev` or `test` as its authors split it; None if they did not."""
    labels: Mapping[str, float | None]
    """Every name of LABELS with 1, 0 or None (unknown); scores between 0 and 1 where the corpus holds a machine's."""
    group: str | None
    """The identity that is attacked or named."""
    parent: str | None
    """The comment replied to."""
    case: str | None
    """The functional test or the authored case that it belongs to."""
    source: Mapping[str, Any]
    """The corpus's own fields, unchanged."""


def registry_path() -> Path:
    """Return the registry that lies beside this package in a checkout."""
    return Path(__file__).resolve().parents[1] / "datasets" / "registry.toml"


def load_registry(path: Path | None = None) -> dict[str, Corpus]:
    """Read and check the registry; `path` None means the one of this checkout.

    Raises CorpusNotFound without such a file, RegistryError if it is wrong.
    """
    path = path or registry_path()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusNotFound(f"{path}: no registry here; it comes with a checkout of the repository") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path.name}: not TOML: {error}") from error
    return {name: _corpus(name, table) for name, table in tables.items()}


def _wrong(table: str, key: str, allowed: str, got: object) -> Never:
    raise RegistryError(f"registry [{table}] {key}: expected {allowed}, got {got!r}")


def _corpus(name: str, table: Any) -> Corpus:
    if not isinstance(table, dict):
        _wrong(name, "table", "a table", table)
    for key in table:
        if key not in _KEYS:
            _wrong(name, key, "one of " + ", ".join(sorted(_KEYS)), key)
    for key in (*_FACTS, *_DIGESTS, "tier", "role"):
        if not isinstance(table.get(key), str) or not table[key]:
            _wrong(name, key, "a non-empty string", table.get(key))
    for key, allowed in (("tier", TIERS), ("role", ROLES)):
        if table[key] not in allowed:
            _wrong(name, key, "one of " + ", ".join(allowed), table[key])
    for key in _DIGESTS:
        if len(table[key]) != 64 or not set(table[key]) <= set("0123456789abcdef"):
            _wrong(name, key, "64 hexadecimal digits", table[key])
    if type(table.get("rows")) is not int or table["rows"] < 1:
        _wrong(name, "rows", "a whole number above 0", table.get("rows"))
    for key, kind in (("labels", dict), ("upstream", dict), ("text_field", str)):
        if key in table and not isinstance(table[key], kind):
            _wrong(name, key, f"a {kind.__name__}", table[key])
    rules = {label: parse_rule(f"{name}.labels", label, rule) for label, rule in table.get("labels", {}).items()}
    return Corpus(name=name, **{**table, "labels": rules})


def parse_rule(table: str, label: str, form: Any) -> Rule:
    """Read one rule of the registry; `table` is its place for messages.

    Forms: "row" (the row's own value), {copy = field}, {score = field}, {one = cases, zero = cases}.
    Raises RegistryError.
    """
    if label not in LABELS:
        _wrong(table, label, "one of " + ", ".join(LABELS), label)
    if form == "row":
        return _copied(label, of_row=True)
    if not isinstance(form, dict) or set(form) not in ({"copy"}, {"score"}, {"one"}, {"zero"}, {"one", "zero"}):
        _wrong(table, label, '"row", {copy = field}, {score = field} or {one = cases, zero = cases}', form)
    for key in ("copy", "score"):
        if key in form and not isinstance(form[key], str):
            _wrong(table, f"{label}.{key}", "the name of a field", form[key])
    if "copy" in form:
        return _copied(form["copy"], of_row=False)
    if "score" in form:
        return Rule(score=form["score"])
    place = (table, label)
    return Rule(one=_groups(place, form.get("one", [])), zero=_groups(place, form.get("zero", [])))


def _copied(field: str, *, of_row: bool) -> Rule:
    return Rule(one=((Check(field, of_row, (1,)),),), zero=((Check(field, of_row, (0,)),),))


def _groups(place: tuple[str, str], cases: Any) -> tuple[tuple[Check, ...], ...]:
    cases = [cases] if isinstance(cases, dict) else cases
    if not isinstance(cases, list) or not all(isinstance(case, dict) and case for case in cases):
        _wrong(*place, "a table of fields, or a list of such tables", cases)
    return tuple(tuple(_checks(place, case)) for case in cases)


def _checks(place: tuple[str, str], case: dict[str, Any]) -> Iterator[Check]:
    for field, wanted in case.items():
        if field != "row":
            yield _check(place, field, wanted, of_row=False)
            continue
        for name, value in wanted.items() if isinstance(wanted, dict) else _wrong(*place, "row.FIELD", wanted):
            if name not in _ROW_FIELDS:
                _wrong(*place, "row." + ", row.".join(_ROW_FIELDS), f"row.{name}")
            yield _check(place, name, value, of_row=True)


def _check(place: tuple[str, str], field: str, wanted: Any, *, of_row: bool) -> Check:
    if wanted == {"absent": True}:
        return Check(field, of_row, absent=True)
    if isinstance(wanted, dict):
        numbers = all(type(number) in (int, float) for number in wanted.values())
        if not wanted or not set(wanted) <= {"at_least", "below"} or not numbers:
            _wrong(*place, f"{field} = {{at_least = number, below = number}} or {{absent = true}}", wanted)
        return Check(field, of_row, **wanted)
    values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
    if not values or not all(isinstance(value, str | int | float) for value in values):
        _wrong(*place, f"{field} = a value, a list of values or a range", wanted)
    return Check(field, of_row, values)


def find_corpora(directory: Path | None = None) -> Path:
    """Return the folder of the corpora: `directory`, else $MODERATION_CORPORA, else the user's cache."""
    if directory is not None:
        return directory
    if named := os.environ.get("MODERATION_CORPORA"):
        return Path(named)
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "moderation" / "corpora"


def content_digest(raws: Iterable[Mapping[str, Any]], text_field: str = "text") -> str:
    """Return the SHA-256 over id, text, split, incitement and abuse of unified rows, in their order."""
    digest = hashlib.sha256()
    for raw in raws:
        kept = [raw["id"], raw[text_field], raw.get("split"), raw.get("incitement"), raw.get("abuse")]
        digest.update(json.dumps(kept, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()


def read_corpus(corpus: Corpus, directory: Path, *, verify: bool = True) -> list[Row]:
    """Read a corpus from its file in `directory` with our labels.

    With `verify`, the file must have the registry's SHA-256, or rows of the registry's content digest: a copy that
    `training.fetch` made is packed differently. Raises CorpusNotFound, CorpusDamaged or CorpusRowError.
    """
    path = directory / corpus.file_name
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        raise CorpusNotFound(
            f"{path}: not here; run `python -m training fetch {corpus.name}`, or put a copy there"
        ) from None
    raws = [
        (number, _checked(path, number, raw, corpus.text_field)) for number, raw in objects(path, _unpack(path, packed))
    ]
    if verify and hashlib.sha256(packed).hexdigest() != corpus.sha256:
        got = content_digest((raw for _, raw in raws), corpus.text_field)
        if got != corpus.content_sha256:
            raise CorpusDamaged(f"{path}: expected content {corpus.content_sha256}, got {got}; fetch it again")
    return [_row(corpus, path, number, raw) for number, raw in raws]


def _unpack(path: Path, packed: bytes) -> str:
    engine = zlib.decompressobj(wbits=31)
    try:
        data = engine.decompress(packed, LARGEST_CORPUS)
        if engine.unconsumed_tail:
            raise CorpusDamaged(f"{path}: expected at most {LARGEST_CORPUS} bytes unpacked, got more")
        if not engine.eof or engine.unused_data:
            raise CorpusDamaged(f"{path}: expected one whole gzip stream, got {len(packed)} bytes that are not")
        return data.decode("utf-8")
    except (zlib.error, UnicodeDecodeError) as error:
        raise CorpusDamaged(
            f"{path}: expected UTF-8 packed by gzip, got {len(packed)} bytes of something else"
        ) from error


def objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of every line that is not blank; raise CorpusRowError for another line."""
    # Only "\n" ends a line: comments hold other line separators, and splitlines() would break rows at them.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise CorpusRowError(
                path, number, "line", f"expected JSON, got an error at {error.args[0][-30:]}"
            ) from None
        if not isinstance(found, dict):
            raise CorpusRowError(path, number, "line", f"expected an object, got {type(found).__name__}")
        yield number, found


def _checked(path: Path, number: int, raw: dict[str, Any], text_field: str) -> dict[str, Any]:
    for field in ("id", text_field):
        expect(path, number, raw, field, "a non-empty string", isinstance(raw.get(field), str) and raw[field])
    expect(path, number, raw, "split", "train, dev, test or null", raw.get("split") in (None, *SPLITS))
    for field in ("incitement", "abuse"):
        expect(path, number, raw, field, "0, 1 or null", is_bit(raw.get(field)))
    for field in ("group", "parent", "case"):
        expect(path, number, raw, field, "a string or null", isinstance(raw.get(field), str | None))
    if text_field == "text":
        expect(path, number, raw, "labels", "an object", isinstance(raw.get("labels"), dict))
        return raw
    # A foreign row form: every other field is the corpus's own.
    return {**raw, "labels": {key: value for key, value in raw.items() if key not in ("id", text_field)}}


def is_bit(value: object) -> bool:
    """Say whether a value is 0, 1 or None."""
    return value is None or (type(value) is int and value in (0, 1))


def expect(path: Path, number: int, raw: Mapping[str, Any], field: str, allowed: str, good: object) -> None:
    """Raise CorpusRowError naming file, line and field unless `good`."""
    if not good:
        # The type only: a value could be the text of a comment.
        raise CorpusRowError(path, number, field, f"expected {allowed}, got {type(raw.get(field)).__name__}")


def _row(corpus: Corpus, path: Path, number: int, raw: dict[str, Any]) -> Row:
    labels: dict[str, float | None] = dict.fromkeys(LABELS)
    for label, rule in corpus.labels.items():
        try:
            labels[label] = rule.apply(raw)
        except (KeyError, TypeError, ValueError):
            raise CorpusRowError(path, number, rule.score or label, "expected a score from 0 to 1") from None
    return Row(
        corpus=corpus.name,
        id=raw["id"],
        text=raw[corpus.text_field],
        split=raw.get("split"),
        labels=labels,
        group=raw.get("group"),
        parent=raw.get("parent"),
        case=raw.get("case"),
        source=raw["labels"],
    )
