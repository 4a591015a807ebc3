"""What this project wrote itself: comments, and annotations of public comments by row id."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moderation.text import normalise
from training.corpora import LABELS, CorpusError, CorpusNotFound, CorpusRowError, Row, expect, is_bit, objects

SHINGLE = 6
"""Words in a shingle, for finding near copies among our own comments."""

NEAR = 0.5
"""Share of shingles from which on two comments are near copies."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Our verdict on one row of a public corpus."""

    corpus: str
    """Name of the corpus."""
    id: str
    """The row's id."""
    labels: Mapping[str, int | None]
    """Labels that were judged: 1, 0, or None if the annotator cannot tell."""
    annotator: str
    """Who judged."""
    confidence: str | float | None
    """How sure the annotator was, in the annotator's own scale."""
    note: str | None = None
    """Why, where the decision was not plain."""


class HeldBackError(CorpusError, ValueError):
    """``held_back.toml`` is wrong; the message names the file, what is allowed and what came."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Cases and voices of our own comments that are never trained on."""

    cases: frozenset[str]
    """Names of whole cases."""
    voices: frozenset[str]
    """Names of whole voices."""

    @classmethod
    def load(cls, authored: Path) -> HeldBack:
        """Read ``held_back.toml`` beside the authored comments. Raises CorpusNotFound or HeldBackError."""
        path = authored / "held_back.toml"
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CorpusNotFound(
                f"{path}: no such file; to hold nothing back, write cases = [] and voices = []"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise HeldBackError(f"{path}: not TOML: {error}") from error
        for key in ("cases", "voices"):
            names = data.get(key)
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise HeldBackError(f"{path}: {key}: expected a list of names, got {names!r}")
        return cls(frozenset(data["cases"]), frozenset(data["voices"]))

    def unknown(self, rows: Sequence[Row]) -> list[str]:
        """Return a line for every case and voice that no comment has: a name that is mistyped holds nothing back."""
        cases = self.cases - {row.case for row in rows}
        voices = self.voices - {row.source["voice"] for row in rows}
        named = [*(f"case {name!r}" for name in sorted(cases)), *(f"voice {name!r}" for name in sorted(voices))]
        return [f"held_back.toml: {name}: no comment has it" for name in named]


def _folder_objects(directory: Path) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    if not directory.is_dir():
        raise CorpusNotFound(f"{directory}: no such folder")
    for path in sorted(directory.glob("*.jsonl")):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise CorpusRowError(path, 1, "line", "expected UTF-8, got other bytes") from None
        for number, found in objects(path, text):
            yield path, number, found


def _expect_keys(path: Path, number: int, raw: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in {*raw} ^ {*keys}:
        found = "a field that is not" if key in raw else "a line without it"
        raise CorpusRowError(path, number, key, f"expected the fields {', '.join(keys)}, got {found}")


def read_authored(directory: Path) -> list[Row]:
    """Read the comments written for this project, `*.jsonl` in `directory`; all their labels are known.

    Their voice and pair are in `source`. Raises CorpusNotFound or CorpusRowError.
    """
    rows: dict[str, Row] = {}
    for path, number, raw in _folder_objects(directory):
        row = _authored(path, number, raw)
        if row.id in rows:
            raise CorpusRowError(path, number, "id", f"expected an id of its own, got {row.id} again")
        rows[row.id] = row
    return list(rows.values())


def _authored(path: Path, number: int, raw: dict[str, Any]) -> Row:
    _expect_keys(path, number, raw, ("id", "case", "voice", "text", "labels", "pair"))
    for field in ("id", "case", "voice", "text"):
        expect(path, number, raw, field, "a non-empty string", isinstance(raw[field], str) and raw[field])
    expect(path, number, raw, "pair", "a string or null", isinstance(raw["pair"], str | None))
    listed = raw["labels"]
    good = isinstance(listed, list) and all(name in LABELS for name in listed) and len({*listed}) == len(listed)
    expect(path, number, raw, "labels", "a list without repeats of " + ", ".join(LABELS), good)
    labels: dict[str, float | None] = {label: int(label in listed) for label in LABELS}
    source = {"voice": raw["voice"], "pair": raw["pair"], "labels": listed}
    return Row("authored", raw["id"], raw["text"], None, labels, None, None, raw["case"], source)


def read_annotations(directory: Path) -> list[Annotation]:
    """Read our labels on public comments, `*.jsonl` in `directory`. Raises CorpusNotFound or CorpusRowError."""
    return [_annotation(path, number, raw) for path, number, raw in _folder_objects(directory)]


def _annotation(path: Path, number: int, raw: dict[str, Any]) -> Annotation:
    _expect_keys(path, number, {"note": None} | raw, ("corpus", "id", "labels", "annotator", "confidence", "note"))
    for field in ("corpus", "id", "annotator"):
        expect(path, number, raw, field, "a non-empty string", isinstance(raw[field], str) and raw[field])
    labels = raw["labels"]
    good = isinstance(labels, dict) and {*labels} <= {*LABELS} and all(map(is_bit, labels.values()))
    expect(path, number, raw, "labels", "0, 1 or null for any of " + ", ".join(LABELS), good)
    sure = raw["confidence"]
    good = isinstance(sure, str | float | int | None) and not isinstance(sure, bool)
    expect(path, number, raw, "confidence", "a word, a number or null", good)
    expect(path, number, raw, "note", "a string or null", isinstance(raw.get("note"), str | None))
    return Annotation(**raw)


def apply_annotations(rows: Iterable[Row], annotations: Iterable[Annotation]) -> list[Row]:
    """Override the labels of annotated rows; where two annotations name one label of one row, the later holds.

    An annotation of a row that is not among `rows` changes nothing.
    """
    verdicts: dict[tuple[str, str], dict[str, int | None]] = {}
    for annotation in annotations:
        verdicts.setdefault((annotation.corpus, annotation.id), {}).update(annotation.labels)
    return [
        replace(row, labels={**row.labels, **verdict}) if (verdict := verdicts.get((row.corpus, row.id))) else row
        for row in rows
    ]


def problems(rows: Sequence[Row]) -> list[str]:
    """Return what is wrong with our own comments as a whole: near copies, broken pairs, labels that contradict.

    Two halves of a minimal pair share most of their words by design and are not near copies.
    """
    return [*_near_copies(rows), *_broken_pairs(rows), *_contradictions(rows)]


def _near_copies(rows: Sequence[Row]) -> Iterator[str]:
    where: dict[str, list[int]] = defaultdict(list)
    sizes = []
    for place, row in enumerate(rows):
        words = normalise(row.text).split(" ")
        shingles = {" ".join(words[k : k + SHINGLE]) for k in range(max(1, len(words) - SHINGLE + 1))}
        sizes.append(len(shingles))
        for shingle in shingles:
            where[shingle].append(place)
    shared: Counter[tuple[int, int]] = Counter()
    for places in where.values():
        # A phrase that stands in many comments is a saying, and comparing all of them would be quadratic.
        if len(places) <= 20:
            shared.update((first, second) for k, second in enumerate(places) for first in places[:k])
    for (first, second), count in sorted(shared.items()):
        if count >= NEAR * min(sizes[first], sizes[second]) and not _same_pair(rows[first], rows[second]):
            yield f"{rows[second].id}: nearly a copy of {rows[first].id}"


def _same_pair(first: Row, second: Row) -> bool:
    return bool(first.source["pair"]) and (first.case, first.source["pair"]) == (second.case, second.source["pair"])


def _broken_pairs(rows: Sequence[Row]) -> Iterator[str]:
    pairs: dict[tuple[str | None, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.source["pair"]:
            pairs[row.case, row.source["pair"]].append(row)
    for (case, pair), both in pairs.items():
        differ = any(len({row.labels[label] for row in both}) == 2 for label in ("incitement", "abuse"))
        if len(both) != 2 or not differ:
            yield f"{case}, pair {pair}: expected two comments that differ in incitement or abuse, got {len(both)}"


def _contradictions(rows: Sequence[Row]) -> Iterator[str]:
    implied = {"insult": "abuse", "identity_attack": "abuse", "severe_abuse": "abuse", "threat": "incitement"}
    for row in rows:
        for label, broader in implied.items():
            if row.labels[label] == 1 and row.labels[broader] == 0:
                yield f"{row.id}: {label} without {broader}"


def agreement(annotations: Iterable[Annotation], first: str, second: str) -> dict[str, dict[str, float]]:
    """Return, per label, how two groups of annotators agree on the rows that both judged.

    Parameters
    ----------
    first, second : what the annotators' names of each group begin with

    Returns
    -------
    per label: rows, share of equal judgements, and Cohen's kappa (Cohen 1960)
    """
    judged: dict[tuple[str, str], dict[str, Mapping[str, int | None]]] = defaultdict(dict)
    for annotation in annotations:
        for group in (first, second):
            if annotation.annotator.startswith(group):
                judged[annotation.corpus, annotation.id][group] = annotation.labels
    both = [found for found in judged.values() if len(found) == 2]
    out = {}
    for label in LABELS:
        pairs = [
            (one, two)
            for found in both
            if None not in (one := found[first].get(label), two := found[second].get(label))
        ]
        if pairs:
            out[label] = {"rows": len(pairs), **_kappa(pairs)}
    return out


def _kappa(pairs: Sequence[tuple[int | None, int | None]]) -> dict[str, float]:
    total = len(pairs)
    same = sum(one == two for one, two in pairs) / total
    chance = sum(
        sum(one == value for one, _ in pairs) * sum(two == value for _, two in pairs) / total**2 for value in (0, 1)
    )
    return {"same": same, "kappa": (same - chance) / (1 - chance) if chance < 1 else 1.0}
