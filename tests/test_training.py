"""Training: splits that keep measuring honest, heads, calibration, and a whole run on a small corpus."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

from moderation import Scorer
from moderation.text import normalise
from training.calibrate import fit_platt
from training.columns import Columns
from training.corpora import LABELS, Corpus, Row, load_registry
from training.fit import OWN, FitSettings, corpus_weights, fit_head, fit_heads, naive_bayes_scale
from training.measures import calibration_error, rate_weights
from training.own import HeldBack
from training.splits import Table, assemble, assign_part, copy_key
from training.train import TrainSettings, gather
from training.train import train as train_model

NONE_HELD = HeldBack(frozenset(), frozenset())


def corpus(name: str, **changes: Any) -> Corpus:
    """A made-up entry of the registry."""
    known = next(iter(load_registry().values()))
    about = {"name": name, "role": "train", "tier": "open", "language": "en", "domain": "forum", "upstream": None}
    return replace(known, **(about | changes))


def row(corpus_name: str, text: str, *, split: str | None = None, **source: Any) -> Row:
    labels: dict[str, float | None] = dict.fromkeys(LABELS, None) | {"abuse": source.pop("abuse", 0)}
    case = source.pop("case", None)
    return Row(corpus_name, source.pop("id", text), text, split, labels, None, None, case, source)


def spelt(number: int) -> str:
    """Return a word of its own for each number: texts that differ in digits alone count as copies."""
    return "".join("bdfgklmnrt"[int(digit)] + "aeiouaeiou"[int(digit)] for digit in str(number))


def parts_of(table: Table) -> dict[str, str]:
    return {item.text: part for item, part in zip(table.rows, table.parts.tolist(), strict=True)}


def test_what_is_for_measuring_is_never_trained_on() -> None:
    texts = [f"comment about the harbour, {spelt(number)}" for number in range(300)]
    groups = [
        (corpus("seen"), [row("seen", text) for text in texts[:100]]),
        (corpus("judge", role="evaluate"), [row("judge", text) for text in texts[100:200]]),
        (corpus("split"), [row("split", text, split="test") for text in texts[200:]]),
    ]
    parts = parts_of(assemble(groups, NONE_HELD))
    assert all(parts[text] == "test" for text in texts[100:])
    assert {parts[text] for text in texts[:100]} == {"train", "tune"}


@pytest.mark.parametrize(
    "copy",
    [
        "The Ferry must NEVER sail again, and those who ran it should answer for what they did to us.",
        "the ferry must never sail again and those who ran it should answer for what they did to us",
        "The f\u0435rry must never sail again ... and those who ran it should answer for what they did to us!!!",
        "Quoting: the ferry must never sail again, and those who ran it should answer for what they did to us. Yes.",
    ],
    ids=["case", "signs", "look-alike", "near copy"],
)
def test_a_copy_of_a_measured_text_leaves_training(copy: str) -> None:
    text = "The ferry must never sail again, and those who ran it should answer for what they did to us."
    groups = [
        (corpus("seen"), [row("seen", copy), row("seen", "Something else entirely, about bread.")]),
        (corpus("judge", role="evaluate"), [row("judge", text)]),
    ]
    assert set(parts_of(assemble(groups, NONE_HELD))) == {text, "Something else entirely, about bread."}


def test_repeats_are_merged_and_contradictions_unknown() -> None:
    groups = [
        (corpus("one"), [row("one", "Same words", abuse=1), row("one", "Other words", abuse=None)]),
        (corpus("two"), [row("two", "same WORDS!", abuse=0), row("two", "other words", abuse=1)]),
    ]
    table = assemble(groups, NONE_HELD)
    abuse = table.labels[:, LABELS.index("abuse")]
    assert {item.text: value for item, value in zip(table.rows, abuse.tolist(), strict=True)} == {
        "Same words": -1,
        "Other words": 1,
    }


@pytest.mark.parametrize("labels", [*itertools.permutations((0, 1, 1)), *itertools.permutations((0, 1, None))])
def test_a_contradiction_among_many_copies_is_not_forgotten(labels: tuple[int | None, ...]) -> None:
    groups = [(corpus(f"c{k}"), [row(f"c{k}", "Same words", abuse=label)]) for k, label in enumerate(labels)]
    assert assemble(groups, NONE_HELD).labels[:, LABELS.index("abuse")].tolist() == [-1]


def test_whole_cases_and_voices_are_held_back_with_their_pairs() -> None:
    held = HeldBack(frozenset({"bridge"}), frozenset({"shouting"}))
    rows = [
        row("authored", "a one", case="bridge", voice="calm", pair=None),
        row("authored", "b two", case="tower", voice="shouting", pair="p1"),
        row("authored", "c three", case="tower", voice="calm", pair="p1"),
        row("authored", "d four", case="tower", voice="calm", pair=None),
    ]
    parts = parts_of(assemble([(None, rows)], held))
    assert (parts["a one"], parts["b two"], parts["c three"]) == ("test", "test", "test")
    assert parts["d four"] != "test"


def test_a_tenth_of_the_news_is_held_back() -> None:
    news = corpus("news", domain="NEWS reader comments")
    texts = [normalise(f"{spelt(number)} ships came in, all of them late") for number in range(4_000)]
    parts = [assign_part(row("news", text), text, news, NONE_HELD) for text in texts]
    assert 0.08 < parts.count("test") / len(parts) < 0.12
    assert 0.03 < parts.count("tune") / len(parts) < 0.07


def test_copy_key_of_a_text_without_letters_is_the_text() -> None:
    assert copy_key("12 : 30") == "12 : 30"


def test_nothing_held_back_is_in_the_training_part_of_the_real_corpora(corpora: Path, request: Any) -> None:
    registry = {name: known for name, known in load_registry().items() if name in REAL}
    table = gather(registry, corpora, Path(request.config.rootpath) / "datasets", ("open",))
    used, measured = table.take(table.parts != "test"), table.part("test")
    assert {registry[name].role for name in set(used.corpora.tolist()) - {"authored"}} == {"train"}
    assert {registry[name].tier for name in set(used.corpora.tolist()) - {"authored"}} == {"open"}
    assert not [item for item in used.rows if item.split == "test"]
    assert not {copy_key(text) for text in used.texts} & {copy_key(text) for text in measured.texts}


REAL = ("civil_subset", "fox_news", "hatecheck", "hatemojibuild", "jigsaw_wiki", "jigsaw_wiki_test_balanced", "olid")


def test_corpus_weights_follow_the_root() -> None:
    weights = corpus_weights(np.array(["a"] * 100 + ["b"] * 4), FitSettings())
    assert_allclose(weights.mean(), 1)
    assert_allclose(weights[:100].sum() / weights[100:].sum(), 10 / 2)


def test_halves_of_pairs_weigh_more_than_others_of_ours() -> None:
    corpora, paired = np.array(["a"] * 4 + [OWN] * 4), np.arange(8) >= 6
    weights = corpus_weights(corpora, FitSettings(own_factor=3.0, pair_factor=2.0), paired)
    assert_allclose(weights.mean(), 1)
    assert_allclose(weights / weights[0], [1] * 4 + [3] * 2 + [6] * 2)


def test_the_fit_follows_the_pairs() -> None:
    # Word 0 marks harm in the pair, and harmlessness in as many others: who weighs more decides.
    matrix = sp.csr_matrix(np.array([[1.0], [0.0], [0.0], [1.0]]))
    labels, corpora, paired = np.array([1, 0, 1, 0], np.int8), np.repeat(OWN, 4), np.array([1, 1, 0, 0], bool)
    settings = FitSettings(inverse_strength=10, naive_bayes=0)
    plain, _ = fit_head(matrix, labels, corpora, settings)
    followed, _ = fit_head(matrix, labels, corpora, settings, paired=paired)
    assert abs(plain[0]) < 1e-3 < followed[0]


def test_corpora_of_different_rates_do_not_bend_the_weights() -> None:
    # Word 0 carries the label in both corpora; word 1 only marks the corpus that has more of it.
    rng = np.random.default_rng(0)
    size = 4_000
    place = np.repeat(["low", "high"], size // 2)
    labels = (rng.random(size) < np.where(place == "low", 0.1, 0.7)).astype(np.int8)
    signal = np.where(labels == 1, rng.random(size) < 0.6, rng.random(size) < 0.2)
    matrix = sp.csr_matrix(np.column_stack([signal, place == "high"]).astype(float))
    weights, _ = fit_head(matrix, labels, place, FitSettings(inverse_strength=10))
    assert weights[0] > 1.3
    alone, _ = fit_head(matrix, labels, np.repeat("one", size), FitSettings(inverse_strength=10))
    assert abs(weights[1]) < abs(alone[1]) / 1.5


def test_columns_that_tell_nothing_are_held_back() -> None:
    # Two columns mark the label and its absence, one stands everywhere, one in a single row; the last is a shared one.
    labels = np.tile([True, False], 50)
    matrix = np.column_stack([labels, ~labels, np.ones(100), np.arange(100) == 0]).astype(np.float32)
    columns = Columns([[sp.csr_matrix(matrix)]], sp.csr_matrix(np.ones((4, 1))))
    marks, absence, everywhere, once, shared = naive_bayes_scale(columns, labels, np.ones(100), 0.8)
    assert min(marks, absence) > 1 > once > everywhere >= 0.2
    assert shared == 1
    assert_array_equal(naive_bayes_scale(columns, labels, np.ones(100), 0.0), 1)


def test_unknown_labels_do_not_count() -> None:
    matrix = sp.csr_matrix(np.array([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 1]]))
    names = np.array(["a"] * 5)
    with_unknown, _ = fit_head(matrix, np.array([1, 0, 1, 0, -1], np.int8), names, FitSettings())
    without, _ = fit_head(matrix[:4], np.array([1, 0, 1, 0], np.int8), names[:4], FitSettings())
    assert_array_equal(with_unknown, without)


def test_a_label_without_positives_is_named() -> None:
    with pytest.raises(ValueError, match="abuse: expected rows with and without the label, got 0 and 2"):
        fit_heads(
            sp.eye(2, format="csr"), np.zeros((2, 1), np.int8), np.array(["a", "a"]), [FitSettings()], names=["abuse"]
        )


def test_platt_finds_the_stated_rate() -> None:
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 5_000).astype(np.int8)
    scores = rng.normal(truth * 2.0, 1.0)
    slope, offset = fit_platt(scores, truth, 0.05)
    probabilities = 1 / (1 + np.exp(-(slope * scores + offset)))
    # For two normals at distance 2 the true log-odds are 2 x - 2 plus the prior's.
    assert_allclose([slope, offset], [2.0, -2.0 + np.log(0.05 / 0.95)], atol=0.15)
    weights = rate_weights(truth, 0.05)
    assert_allclose(weights @ probabilities, 0.05, atol=1e-4)
    assert calibration_error(probabilities, truth, weights) < 0.01


def test_platt_refuses_scores_that_fall_with_the_label() -> None:
    with pytest.raises(ValueError, match="expected scores that rise with the label"):
        fit_platt(np.array([3.0, 2, 1, 0]), np.array([0, 0, 1, 1], np.int8), 0.5)


def write_datasets(folder: Path) -> Path:
    """Write a small data set of our own, with three labels and a voice that is held back."""
    rng = random.Random(5)
    things = ["bridge", "bakery", "ferry", "school", "tower", "garden", "market", "tram", "library", "pool"]
    lines = []
    for number in range(900):
        first, second = rng.sample(things, 2)
        labels, text = rng.choice(
            [
                ([], f"The {first} by the {second} opens at {spelt(number)} o'clock"),
                (["abuse", "insult"], f"You {spelt(number)} times pathetic fool of the {first}"),
                (["incitement"], f"Somebody burn the {first} and the {second} down, {spelt(number)}"),
            ]
        )
        voice = rng.choice(["calm", "terse", "shouting"])
        known = {"id": f"c-{number}", "case": "town", "voice": voice, "text": text, "labels": labels, "pair": None}
        lines.append(json.dumps(known))
    (folder / "authored").mkdir(parents=True)
    (folder / "annotations").mkdir()
    (folder / "authored" / "town.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "authored" / "held_back.toml").write_text('cases = []\nvoices = ["shouting"]\n')
    return folder


def test_a_whole_run(tmp_path: Path) -> None:
    datasets = write_datasets(tmp_path / "datasets")
    settings = TrainSettings(name="tiny", min_rows_words=2, min_rows_chars=2)
    metrics = train_model({}, tmp_path, datasets, tmp_path / "run", settings, jobs=1, cache=tmp_path / "cache")
    scorer = Scorer.load(tmp_path / "run" / "bundle")
    assert scorer.labels == ("incitement", "abuse", "insult")
    assert scorer.model_id == metrics["model_id"]
    assert metrics["evaluation"]["authored"]["incitement"]["auc"] > 0.99
    pipeline = joblib.load(tmp_path / "run" / "pipeline.joblib")
    texts = ["Somebody burn it down", "You fool", "", "k\u0456ll 🔪", "The library opens"]
    assert_allclose(scorer.predict_proba(texts), pipeline.predict_proba(texts), rtol=0, atol=1e-6)
    card = (tmp_path / "run" / "card.md").read_text()
    assert metrics["model_id"] in card
    assert f"| authored | incitement | {metrics['evaluation']['authored']['incitement']['rows']} |" in card


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    datasets = write_datasets(tmp_path / "datasets")
    settings = TrainSettings(name="tiny", min_rows_words=2, min_rows_chars=2)
    for name, jobs in (("one", 1), ("two", 2)):
        train_model({}, tmp_path, datasets, tmp_path / name, settings, jobs=jobs, cache=tmp_path / f"cache-{name}")
    for path in sorted((tmp_path / "one" / "bundle").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / "bundle" / path.name).read_bytes(), path.name
    assert (tmp_path / "one" / "metrics.json").read_bytes() == (tmp_path / "two" / "metrics.json").read_bytes()
