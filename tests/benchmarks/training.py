"""Train on millions of made-up comments: ``python -m tests.benchmarks.training --rows 2000000 --corpora DIR``.

Comments are made from those of the public corpora: sentences of three comments, shuffled, with one word in ten taken from
elsewhere and one in fifty misspelt, so that ever new n-grams come, as they do in an archive. Their labels are those of the
comment that the first sentence is from; what is trained is of no use. Our own comments are in it with their copies, as
in ``python -m training train``, of which this is the costly part: `training.train.fit`, from the table to the bundle.

Prints time and peak memory, of this process, after each step. ``--labels`` names the heads, ``--steps`` cuts their fit
short (the model then stops before its optimum).
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from moderation.features import FeatureSettings
from tests.conftest import ROOT
from training import design, fit, train
from training.corpora import LABELS, Row, load_registry, read_corpus
from training.own import read_authored
from training.splits import Table, _normalise_all

SENTENCE = re.compile(r"(?<=[.!?])\s+")


def comments(rows: list[Row], count: int, seed: int = 0) -> Iterator[Row]:
    """Yield made-up comments."""
    dice = random.Random(seed)
    sentences = [SENTENCE.split(row.text) for row in rows]
    words = [word for row in rows[::10] for word in row.text.split()]
    for number in range(count):
        first, *others = (dice.randrange(len(rows)) for _ in range(3))
        kept = [dice.choice(sentences[place]) for place in (first, *others)]
        parts = kept if len(sentences[first]) > 1 else kept[: dice.randrange(1, 4)]
        text = " ".join(_vary(word, words, dice) for part in parts for word in part.split())
        yield Row("civil_made", str(number), text, None, rows[first].labels, None, None, None, {})


def _vary(word: str, words: list[str], dice: random.Random) -> str:
    chance = dice.random()
    if chance < 0.1:
        return dice.choice(words)
    if chance < 0.12 and len(word) > 3:
        place = dice.randrange(len(word))
        return word[:place] + dice.choice("abcdefghijklmnopqrstuvwxyz") + word[place + 1 :]
    return word


def table_of(corpora: Path, count: int) -> Table:
    """Return a table of so many made-up comments, a hundredth of them to tune on, and our own comments."""
    registry = load_registry(ROOT / "datasets" / "registry.toml")
    names = [name for name in registry if registry[name].language.startswith("en")]
    found = [
        row
        for name in names
        if (corpora / f"{name}.jsonl.gz").exists()
        for row in read_corpus(registry[name], corpora)
        if row.text.strip()
    ]
    rows = [*read_authored(ROOT / "datasets" / "authored"), *comments(found, count)]
    labels = np.array([[v if type(v := row.labels[label]) is int else -1 for label in LABELS] for row in rows], np.int8)
    parts = np.where(np.arange(len(rows)) % 100 == 2, "tune", "train")
    return Table(rows, _normalise_all([row.text for row in rows], 1), labels, parts)


def told(name: str, function: Any, started: float) -> Any:
    """Return a function that also prints time and peak memory when it is done."""

    def call(*arguments: Any, **options: Any) -> Any:
        begun = time.monotonic()
        result = function(*arguments, **options)
        now, peak = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name:<22}{now - begun:>8.0f} s  {now - started:>8.0f} s in all  peak {peak:>6.1f} GB", flush=True)
        return result

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=fit.FitSettings().most_steps)
    parser.add_argument("--labels", default=",".join(LABELS))
    chosen = parser.parse_args()
    started = time.monotonic()
    table = told("made the table", table_of, started)(chosen.corpora, chosen.rows)
    unwanted = [place for place, label in enumerate(LABELS) if label not in chosen.labels.split(",")]
    table.labels[:, unwanted] = -1
    design.fit_vectorisers = told("counted features", design.fit_vectorisers, started)  # type: ignore[assignment]
    design.sharing_matrix = told("learnt sharing", design.sharing_matrix, started)
    fit._minimise = told("fitted part or whole", fit._minimise, started)
    train.fit_heads = told("fitted all heads", train.fit_heads, started)
    plain = train.TrainSettings(features=FeatureSettings())
    settings = replace(
        plain,
        fit=replace(plain.fit, most_steps=chosen.steps),
        fit_violence=replace(plain.fit_violence, most_steps=chosen.steps),
    )
    characters = sum(map(len, table.texts)) / len(table.texts)
    print(f"{len(table.texts):,} comments of {characters:.0f} characters on average", flush=True)
    bundle = told("trained", train.fit, started)(table, settings, jobs=chosen.jobs)
    print(f"{len(bundle.words):,} word and {len(bundle.chars):,} character n-grams, labels {', '.join(bundle.labels)}")


if __name__ == "__main__":
    main()
